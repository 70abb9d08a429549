"""Sign-up with double opt-in: a request, confirmed through a link sent to the address."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.consents import ConsentChannel, ConsentKind
from mailer.domain.feedback import FeedbackKind
from mailer.domain.languages import choose_language, match_language
from mailer.domain.localized import LocalizedText
from mailer.domain.page_frame import PageFrame
from mailer.domain.preferences import NotOffered, Preferences
from mailer.domain.states import Frequency, SubscriptionState
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.suppressions import LIFTED_BY_OPT_IN
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import Consent, Newsletter, Signup, Subscriber, Subscription
from mailer.services.subscribers.request_limits import Requester, check_network, may_mail
from mailer.store import feedback, newsletters, rate_limits, rescheduling, signups, subscribers, transactional
from mailer.store.database import Database, Session

CONFIRMATION_LIFETIME = timedelta(days=7)
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MAX_UNPROVEN_FORMS_PER_HOUR = 3
"""From one network, of forms without the requested proof of work."""


@dataclass(frozen=True, slots=True)
class SectionOption:
    bit: int
    title: LocalizedText
    description: LocalizedText
    always_included: bool


@dataclass(frozen=True, slots=True)
class SignupPage:
    """The data of a newsletter's sign-up page."""

    frame: PageFrame
    tagline: LocalizedText
    sender_name: str
    offered_languages: tuple[str, ...]
    languages: tuple[str, ...]
    """The preselected languages."""
    sections: tuple[SectionOption, ...]


@dataclass(frozen=True, slots=True)
class SignupForm:
    """The submitted form. All hashes are keyed."""

    address: str
    address_hash: bytes
    mailbox_hash: bytes
    """Hash of the mailbox, without spelling variants such as tags."""
    requester: Requester
    preferences: Preferences
    """Languages, sections and name."""
    wording: str
    """The consent text that the page showed."""
    channel: ConsentChannel


def signup_page(database: Database, slug: str, preferred_languages: Sequence[str]) -> SignupPage | None:
    """Return the sign-up page, or None if the newsletter does not exist or is not public."""
    with database.public_transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        return _signup_page(session, newsletter, preferred_languages) if newsletter and newsletter.public else None


def request(
    database: Database, slug: str, form: SignupForm, preferred_languages: Sequence[str], now: datetime
) -> SignupPage | None:
    """Store a sign-up and send its confirmation link. The result does not reveal who is subscribed.

    Above the daily limit of a mailbox, the result is the same but nothing is sent. Return None if there is no such
    public newsletter. Raises NotOffered or RateLimited; no sign-up is stored then.
    """
    check_network(database, form.requester, now)
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None or not newsletter.public:
            return None
        page = _signup_page(session, newsletter, preferred_languages)
        preferences = form.preferences
        if not preferences.languages or not set(page.offered_languages) >= set(preferences.languages):
            raise NotOffered("No language was chosen, or one that the newsletter does not offer.")
        if not may_mail(session, form.mailbox_hash, now):
            return page
        signup = signups.add(
            session,
            Signup(
                newsletter_id=newsletter.id,
                address=form.address,
                address_hash=form.address_hash,
                name=preferences.name,
                languages=list(dict.fromkeys(preferences.languages)),
                sections=preferences.sections,
                language=page.frame.language,
                wording=form.wording,
                channel=form.channel,
                created_at=now,
            ),
        )
        confirm = TransactionalEmailKind.confirm
        transactional.add(session, confirm, newsletter.id, page.frame.language, now, signup=signup)
        return page


def request_again(
    database: Database,
    ref: SubscriptionRef,
    wording: str,
    channel: ConsentChannel,
    language: str,
    now: datetime,
    *,
    hash_mailbox: Callable[[str], bytes],
    requester: Requester,
) -> bool:
    """Send a confirmation link to a subscriber to whom nothing is sent because of a bounce. Return whether it is sent.

    Confirming lifts the suppression and keeps the preferences. ``wording`` and ``language`` are those of the consent
    text that the page showed. Above the daily limit of the mailbox, nothing is sent. Raises RateLimited.
    """
    check_network(database, requester, now)
    with database.transaction() as session:
        context = subscribers.resolve(session, ref)
        if (
            context is None
            or context.subscription.state is not SubscriptionState.active
            or subscribers.bounced_at(session, context.subscriber.address_hash) is None
            or not may_mail(session, hash_mailbox(context.subscriber.address), now)
        ):
            return False
        signup = signups.add(
            session,
            Signup(
                newsletter_id=context.newsletter.id,
                address=context.subscriber.address,
                address_hash=context.subscriber.address_hash,
                name=context.subscriber.name,
                languages=context.subscriber.languages,
                sections=context.subscription.sections,
                language=language,
                wording=wording,
                channel=channel,
                created_at=now,
            ),
        )
        transactional.add(session, TransactionalEmailKind.confirm, context.newsletter.id, language, now, signup=signup)
        return True


def claim_nonce(database: Database, nonce: bytes, now: datetime) -> bool:
    """Return whether a form's nonce is used for the first time."""
    with database.transaction() as session:
        return rate_limits.hit(session, b"ticket" + nonce, now, _DAY) == 1


def allow_without_proof_of_work(database: Database, network_hash: bytes, now: datetime) -> bool:
    """Return whether the network may send another form without proof of work, and count it."""
    with database.transaction() as session:
        return rate_limits.hit(session, b"waited" + network_hash, now, _HOUR) <= _MAX_UNPROVEN_FORMS_PER_HOUR


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """The data of the page that confirms a sign-up."""

    signup_page: SignupPage
    section_titles: tuple[str, ...]
    """The titles of the chosen sections and of those that are always included."""
    languages: tuple[str, ...]
    confirmed: bool


def view(database: Database, signup: int, preferred_languages: Sequence[str], now: datetime) -> ConfirmationPage | None:
    """Return the confirmation page, or None if the sign-up does not exist or has expired."""
    with database.transaction() as session:
        row = signups.by_id(session, signup)
        return _confirmation_page(session, row, preferred_languages) if row and _is_pending(row, now) else None


def confirm(
    database: Database, signup: int, preferred_languages: Sequence[str], now: datetime
) -> ConfirmationPage | None:
    """Confirm a sign-up: create or reactivate the subscription with the chosen preferences.

    Idempotent, except that it subscribes again after an unsubscription in between. A suppression by a bounce or a
    complaint is lifted, because the email arrived and was wanted. Return None if the sign-up does not exist, has
    expired or its address is suppressed for another reason.
    """
    with database.transaction() as session:
        row = signups.lock(session, signup)
        if row is None or not _is_pending(row, now):
            return None
        if not _is_active(session, row):
            if suppression := subscribers.suppression(session, row.address_hash):
                if suppression.source not in LIFTED_BY_OPT_IN:
                    return None
                subscribers.lift_suppression(session, row.address_hash)
            subscriber = _find_or_add_subscriber(session, row)
            _activate_subscription(session, row, subscriber, now)
            row.confirmed_at = now
            transactional.add(
                session,
                TransactionalEmailKind.welcome,
                row.newsletter_id,
                row.language,
                now,
                subscriber=subscriber.id,
            )
        return _confirmation_page(session, row, preferred_languages)


def _find_or_add_subscriber(session: Session, row: Signup) -> Subscriber:
    subscriber = subscribers.by_hash(session, row.address_hash)
    if subscriber is None:
        subscriber = subscribers.get_or_create(session, row.address, row.address_hash, row.languages)
        # Anyone may have filled in the form, and the email shows no name: an existing name is kept.
        subscriber.name = subscriber.name or row.name
    # Languages that this newsletter does not offer were chosen for another one. They are kept, at the end.
    offered = newsletters.by_id(session, row.newsletter_id).languages
    others = [tag for tag in subscriber.languages if match_language(tag, offered) is None]
    subscriber.languages = list(dict.fromkeys([*row.languages, *others]))
    session.flush()
    return subscriber


def _activate_subscription(session: Session, row: Signup, subscriber: Subscriber, now: datetime) -> None:
    subscription = subscribers.subscription(session, row.newsletter_id, subscriber.id)
    if subscription is None:
        subscription = subscribers.subscribe(session, row.newsletter_id, subscriber.id, row.sections)
    if subscription.state is not SubscriptionState.active:
        subscription.state, subscription.changed_at = SubscriptionState.active, now
        _reset_preferences(session, subscription, row.channel, now)
    subscription.sections, subscription.paused_until = row.sections, None
    session.flush()
    rescheduling.reschedule(session, subscriber.id, now)
    subscribers.save_previous(subscription, None, now)
    subscribers.add_consent(
        session,
        Consent(
            subscriber_id=subscriber.id,
            newsletter_id=row.newsletter_id,
            kind=ConsentKind.subscribe,
            given=True,
            channel=row.channel,
            wording=row.wording,
            language=row.language,
            requested_at=row.created_at,
            at=now,
        ),
    )
    feedback.add(session, FeedbackKind.confirm, now, row.newsletter_id, None, subscriber.id, {})


def _reset_preferences(session: Session, subscription: Subscription, channel: ConsentChannel, now: datetime) -> None:
    """Reset what the form does not ask for, so that somebody who left and subscribes anew does so as anybody else."""
    subscription.frequency = Frequency.each
    if subscription.tracking:
        subscription.tracking = False
        subscribers.add_consent(
            session,
            Consent(
                subscriber_id=subscription.subscriber_id,
                newsletter_id=subscription.newsletter_id,
                kind=ConsentKind.tracking,
                given=False,
                channel=channel,
                at=now,
            ),
        )


def _is_active(session: Session, row: Signup) -> bool:
    """Return whether the sign-up is confirmed and the subscription still active."""
    subscriber = subscribers.by_hash(session, row.address_hash)
    subscription = subscribers.subscription(session, row.newsletter_id, subscriber.id) if subscriber else None
    return row.confirmed_at is not None and subscription is not None and subscription.state is SubscriptionState.active


def _is_pending(row: Signup, now: datetime) -> bool:
    return now - row.created_at <= CONFIRMATION_LIFETIME


def _confirmation_page(session: Session, row: Signup, preferred_languages: Sequence[str]) -> ConfirmationPage:
    page = _signup_page(session, newsletters.by_id(session, row.newsletter_id), [*preferred_languages, row.language])
    titles = tuple(s.title.text for s in page.sections if s.always_included or row.sections >> s.bit & 1)
    return ConfirmationPage(page, titles, tuple(row.languages), _is_active(session, row))


def _signup_page(session: Session, newsletter: Newsletter, preferred_languages: Sequence[str]) -> SignupPage:
    frame = newsletters.page_frame(newsletter, preferred_languages)
    choice = choose_language(
        [*preferred_languages, frame.language], newsletter.languages, frame.fallbacks, frame.default_language
    )
    return SignupPage(
        frame=frame,
        tagline=frame.localize(newsletter.taglines),
        sender_name=newsletter.sender_name,
        offered_languages=tuple(newsletter.languages),
        languages=(choice.language,) if choice else (newsletter.default_language,),
        sections=tuple(
            SectionOption(s.bit, frame.localize(s.titles), frame.localize(s.descriptions), s.always_included)
            for s in newsletters.offered_sections(session, newsletter.id)
        ),
    )
