"""Subscribe: somebody asks for a newsletter, and confirms it by a mail to that very address."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.consents import ConsentChannel, ConsentKind
from mailer.domain.feedback import FeedbackKind
from mailer.domain.languages import choose_language, match_language
from mailer.domain.localized import LocalizedText
from mailer.domain.page_frame import PageFrame
from mailer.domain.preferences import NotOffered, Preferences
from mailer.domain.states import SubscriptionState
from mailer.domain.suppressions import LIFTED_BY_OPT_IN
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import Consent, Newsletter, Signup, Subscriber
from mailer.store import feedback, newsletters, rate_limits, signups, subscribers, transactional
from mailer.store.database import Database, Session

CONFIRMATION_LIFETIME = timedelta(days=7)
"""How long a sign-up waits to be confirmed."""
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_MAX_MAILS_PER_DAY = 3
"""To one mailbox, whichever of its addresses they name."""
_MAX_FORMS_PER_HOUR = 30
"""From one network: an office, or a classroom, behind one address."""
_MAX_FORMS_PER_ISP_HOUR = 300
"""An hour, from all networks of an IPv6 provider: a single customer may have thousands of them."""

_MAX_UNPROVEN_FORMS_PER_HOUR = 3
"""From one network, of forms that show no work where some is asked: a robot waits as easily as a person."""


class RateLimited(RuntimeError):
    """So much came from this network that it has to wait."""


@dataclass(frozen=True, slots=True)
class SectionOption:
    bit: int
    title: LocalizedText
    description: LocalizedText
    always_included: bool


@dataclass(frozen=True, slots=True)
class SignupPage:
    """What the sign-up page of a newsletter offers."""

    frame: PageFrame
    tagline: LocalizedText
    sender_name: str
    offered_languages: tuple[str, ...]
    """Languages of the newsletter."""
    languages: tuple[str, ...]
    """Those to begin with, for a reader of the page's language."""
    sections: tuple[SectionOption, ...]


@dataclass(frozen=True, slots=True)
class SignupForm:
    """What somebody filled in. The hashes are keyed."""

    address: str
    address_hash: bytes
    mailbox_hash: bytes
    """Where mail to the address lies, as far as its spelling tells."""
    network_hash: bytes
    preferences: Preferences
    """Languages, sections and name."""
    wording: str
    """What the page said that one agrees to."""
    channel: ConsentChannel
    isp_hash: bytes = b""
    """Of the network; empty where none is counted."""


def signup_page(database: Database, slug: str, preferred_languages: Sequence[str]) -> SignupPage | None:
    """None when nobody can subscribe to it by themselves."""
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        return _signup_page(session, newsletter, preferred_languages) if newsletter and newsletter.public else None


def request(
    database: Database, slug: str, form: SignupForm, preferred_languages: Sequence[str], now: datetime
) -> SignupPage | None:
    """Note a sign-up and have the mail sent that confirms it; the answer never tells who is subscribed.

    Whoever asks for the same mailbox again and again gets the same answer and no more mail. None when there
    is no such newsletter. Raises NotOffered and RateLimited, and stores no sign-up then.
    """
    if not _within_limits(database, form, now):
        raise RateLimited(RateLimited.__doc__)
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None or not newsletter.public:
            return None
        shown = _signup_page(session, newsletter, preferred_languages)
        chosen = form.preferences
        if not chosen.languages or not set(shown.offered_languages) >= set(chosen.languages):
            raise NotOffered("A choice names no language, or one that the newsletter does not have.")
        if rate_limits.hit(session, b"sign-up" + form.mailbox_hash, now, _DAY) > _MAX_MAILS_PER_DAY:
            return shown
        signup = signups.add(
            session,
            Signup(
                newsletter_id=newsletter.id,
                address=form.address,
                address_hash=form.address_hash,
                name=chosen.name,
                languages=list(dict.fromkeys(chosen.languages)),
                sections=chosen.sections,
                language=shown.frame.language,
                wording=form.wording,
                channel=form.channel,
                created_at=now,
            ),
        )
        confirm = TransactionalEmailKind.confirm
        transactional.add(session, confirm, newsletter.id, shown.frame.language, now, signup=signup)
        return shown


def _within_limits(database: Database, form: SignupForm, now: datetime) -> bool:
    with database.transaction() as session:
        if rate_limits.hit(session, b"network" + form.network_hash, now, _HOUR) > _MAX_FORMS_PER_HOUR:
            return False  # and uses up nothing of its neighbours'
        who = b"provider" + form.isp_hash
        return not form.isp_hash or rate_limits.hit(session, who, now, _HOUR) <= _MAX_FORMS_PER_ISP_HOUR


def claim_nonce(database: Database, nonce: bytes, now: datetime) -> bool:
    """Whether a showing of the form is used for the first time."""
    with database.transaction() as session:
        return rate_limits.hit(session, b"ticket" + nonce, now, _DAY) == 1


def allow_without_proof_of_work(database: Database, network_hash: bytes, now: datetime) -> bool:
    """Whether one more form from this network counts that shows no work; this uses up one of a few."""
    with database.transaction() as session:
        return rate_limits.hit(session, b"waited" + network_hash, now, _HOUR) <= _MAX_UNPROVEN_FORMS_PER_HOUR


@dataclass(frozen=True, slots=True)
class ConfirmationPage:
    """A sign-up as the page that confirms it shows it."""

    signup_page: SignupPage
    section_titles: tuple[str, ...]
    """Of the sections that were chosen, and of those that everybody gets."""
    languages: tuple[str, ...]
    confirmed: bool


def view(database: Database, signup: int, preferred_languages: Sequence[str], now: datetime) -> ConfirmationPage | None:
    """None when there is no such sign-up, or not any more."""
    with database.transaction() as session:
        row = signups.by_id(session, signup)
        return _confirmation_page(session, row, preferred_languages) if row and _is_pending(row, now) else None


def confirm(
    database: Database, signup: int, preferred_languages: Sequence[str], now: datetime
) -> ConfirmationPage | None:
    """Subscribe whoever signed up: new, again, or with other choices than before. Twice is the same as once,
    unless they have left since: who presses the button again wants it again.

    This lifts a suppression that only said that mail did not get through, or was not wanted: the mail has got
    through, and it is wanted.
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
            reader = _find_or_add_subscriber(session, row)
            _activate_subscription(session, row, reader, now)
            row.confirmed_at = now
            transactional.add(
                session,
                TransactionalEmailKind.welcome,
                row.newsletter_id,
                row.language,
                now,
                subscriber=reader.id,
            )
        return _confirmation_page(session, row, preferred_languages)


def _find_or_add_subscriber(session: Session, row: Signup) -> Subscriber:
    reader = subscribers.by_hash(session, row.address_hash)
    if reader is None:
        reader = subscribers.get_or_create(session, row.address, row.address_hash, row.languages)
        # Anybody may have filled in the form, and the mail that confirms it shows no name: who is known keeps theirs.
        reader.name = reader.name or row.name
    # Languages that this newsletter does not offer were chosen for another one: they stay, behind.
    offered = newsletters.by_id(session, row.newsletter_id).languages
    others = [tag for tag in reader.languages if match_language(tag, offered) is None]
    reader.languages = list(dict.fromkeys([*row.languages, *others]))
    session.flush()
    return reader


def _activate_subscription(session: Session, row: Signup, subscriber: Subscriber, now: datetime) -> None:
    subscription = subscribers.subscription(session, row.newsletter_id, subscriber.id)
    if subscription is None:
        subscription = subscribers.subscribe(session, row.newsletter_id, subscriber.id, row.sections)
    if subscription.state is not SubscriptionState.active:
        subscription.state, subscription.changed_at = SubscriptionState.active, now
    subscription.sections, subscription.paused_until = row.sections, None
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


def _is_active(session: Session, row: Signup) -> bool:
    """Return whether it is confirmed, and nobody has unsubscribed since."""
    reader = subscribers.by_hash(session, row.address_hash)
    found = subscribers.subscription(session, row.newsletter_id, reader.id) if reader else None
    return row.confirmed_at is not None and found is not None and found.state is SubscriptionState.active


def _is_pending(row: Signup, now: datetime) -> bool:
    return now - row.created_at <= CONFIRMATION_LIFETIME


def _confirmation_page(session: Session, row: Signup, preferred_languages: Sequence[str]) -> ConfirmationPage:
    shown = _signup_page(session, newsletters.by_id(session, row.newsletter_id), [*preferred_languages, row.language])
    titles = tuple(s.title.text for s in shown.sections if s.always_included or row.sections >> s.bit & 1)
    return ConfirmationPage(shown, titles, tuple(row.languages), _is_active(session, row))


def _signup_page(session: Session, newsletter: Newsletter, preferred_languages: Sequence[str]) -> SignupPage:
    frame = newsletters.page_frame(newsletter, preferred_languages)
    first = choose_language(
        [*preferred_languages, frame.language], newsletter.languages, frame.fallbacks, frame.default_language
    )
    return SignupPage(
        frame=frame,
        tagline=frame.localize(newsletter.taglines),
        sender_name=newsletter.sender_name,
        offered_languages=tuple(newsletter.languages),
        languages=(first.language,) if first else (newsletter.default_language,),
        sections=tuple(
            SectionOption(s.bit, frame.localize(s.titles), frame.localize(s.descriptions), s.always_included)
            for s in newsletters.sections(session, newsletter.id)
        ),
    )
