"""The edition of an issue that one reader gets, or why they get nothing."""

from dataclasses import dataclass
from datetime import datetime

from mailer.domain.states import SkipReason
from mailer.services.delivery.expand import language_choices
from mailer.store import deliveries, digests, eligibility, issues, newsletters, subscribers
from mailer.store.audience import LanguageRequest
from mailer.store.database import Database
from mailer.store.eligibility import PossibleEdition


@dataclass(frozen=True, slots=True)
class SubscriberEdition:
    """The edition of one reader. Without ``language`` they get nothing."""

    language: str = ""
    sections: int = 0
    sources: int = 0
    """Only of a digest: the mask of the issues that it holds for them."""
    skip_reason: SkipReason | None = None
    """None also for somebody who has no subscription."""


def find_edition(database: Database, issue: int, address_hash: bytes, now: datetime) -> SubscriberEdition:
    """Return the edition that a reader was sent or would be sent now. Raises IssueNotFound.

    It follows the rules of the expansion, and once there is a delivery, what that says.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        subscriber = subscribers.by_hash(session, address_hash)
        if subscriber is None:
            return SubscriberEdition()
        subscription = subscribers.subscription(session, row.newsletter_id, subscriber.id)
        if subscription is None:
            return SubscriberEdition()
        sources = digests.sources_for(session, row, subscriber.id)
        delivery = deliveries.detail(session, issue, subscriber.id)
        if delivery is not None:
            if delivery.language is None:
                return SubscriberEdition(skip_reason=delivery.skip_reason)
            return SubscriberEdition(delivery.language, delivery.sections or 0, sources)
        if row.frozen_at is not None or (row.digest_month and not sources):
            return SubscriberEdition()
        ((language, sections),) = language_choices(session, row, [LanguageRequest(subscriber.languages, sources)])
        always = newsletters.always_mask(session, row.newsletter_id)
        reason = eligibility.of_subscriber(
            session,
            row.newsletter_id,
            subscriber.id,
            now,
            digest=row.digest_month is not None,
            edition=PossibleEdition(language, sections, always),
        )
        if reason or language is None:
            return SubscriberEdition(skip_reason=reason)
        return SubscriberEdition(language, (subscription.sections | always) & sections, sources)
