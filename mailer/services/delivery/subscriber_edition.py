"""The edition of an issue that one reader gets, or why they get nothing."""

from dataclasses import dataclass
from datetime import datetime

from mailer.domain.states import SkipReason
from mailer.models import Issue, Subscriber
from mailer.services.delivery.expand import language_choices
from mailer.store import deliveries, digests, eligibility, issues, newsletters, subscribers
from mailer.store.audience import LanguageRequest
from mailer.store.database import Database, Session
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
        possible, reason = possible_edition(session, row, subscriber, sources, now)
        if reason or possible.language is None:
            return SubscriberEdition(skip_reason=reason)
        sections = (subscription.sections | possible.always_mask) & possible.sections
        return SubscriberEdition(possible.language, sections, sources)


def possible_edition(
    session: Session, issue: Issue, subscriber: Subscriber, sources: int, now: datetime
) -> tuple[PossibleEdition, SkipReason | None]:
    """Return what an issue could show a subscriber before its expansion, and the reason why they would get nothing.

    ``sources``: only of a digest, the mask of the issues that it would hold for them.
    """
    ((language, sections),) = language_choices(session, issue, [LanguageRequest(subscriber.languages, sources)])
    edition = PossibleEdition(language, sections, newsletters.always_mask(session, issue.newsletter_id))
    reason = eligibility.of_subscriber(
        session, issue.newsletter_id, subscriber.id, now, digest=issue.digest_month is not None, edition=edition
    )
    return edition, reason
