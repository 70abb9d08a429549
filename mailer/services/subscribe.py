"""Subscribe: somebody asks for a newsletter, and confirms it by a mail to that very address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.languages import choose, match
from mailer.domain.phrases import Words, own_words
from mailer.domain.states import SubscriptionState
from mailer.domain.suppressions import LIFTED_BY_OPT_IN
from mailer.domain.wording import Wording, page_language, spoken, worded
from mailer.models import Consent, Newsletter, Signup, Subscriber
from mailer.store import attempts, feedback, newsletters, notes, readers, signups
from mailer.store.database import Database, Session

LASTS = timedelta(days=7)
"""How long a sign-up waits to be confirmed."""
_A_DAY = timedelta(days=1)
_AN_HOUR = timedelta(hours=1)
_MAILS_A_DAY = 3
"""To one mailbox, whichever of its addresses they name."""
_FORMS_AN_HOUR = 30
"""From one network: an office, or a classroom, behind one address."""
_FORMS_OF_A_PROVIDER = 300
"""An hour, from all networks of an IPv6 provider: a single customer may have thousands of them."""

_WAITED_AN_HOUR = 3
"""From one network, of forms that show no work where some is asked: a robot waits as easily as a person."""


class NotOffered(ValueError):
    """What was chosen is not there."""


class NothingChosen(ValueError):
    """No section was chosen."""


class TooMany(RuntimeError):
    """So much came from this network that it has to wait."""


@dataclass(frozen=True, slots=True)
class SectionOffer:
    bit: int
    title: Wording
    description: Wording
    always: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What the page of a newsletter offers, in the language to speak."""

    slug: str
    name: Wording
    tagline: Wording
    sender: str
    language: str
    page_languages: tuple[str, ...]
    offered: tuple[str, ...]
    """Languages of the newsletter."""
    languages: tuple[str, ...]
    """Those to begin with, for a reader of ``language``."""
    sections: tuple[SectionOffer, ...]
    archive: str
    """The newsletter's name in addresses where its archive is open to everybody, else empty."""
    postal_address: str
    theme: dict[str, str]
    own_words: Mapping[str, Words] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody filled in. ``address_hash``, ``mailbox``, ``network`` and ``provider`` are keyed
    hashes."""

    address: str
    address_hash: bytes
    mailbox: bytes
    """Where mail to the address lies, as far as its spelling tells."""
    network: bytes
    name: str
    languages: Sequence[str]
    """Best first."""
    sections: Sequence[int]
    """Bits."""
    new_sections: bool
    wording: str
    """What the page said that one agrees to."""
    source: str
    provider: bytes = b""
    """Of the network; empty where none is counted."""


def offer(database: Database, slug: str, speak: Sequence[str]) -> Offer | None:
    """None when nobody can subscribe to it by themselves."""
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        return _offer(session, newsletter, speak) if newsletter and newsletter.public else None


def ask(database: Database, slug: str, wanted: Wanted, speak: Sequence[str], now: datetime) -> Offer | None:
    """Note a sign-up and have the mail sent that confirms it; the answer never tells who is subscribed.

    Whoever asks for the same mailbox again and again gets the same answer and no more mail. None when there
    is no such newsletter. Raises NotOffered, NothingChosen, TooMany, and stores no sign-up then.
    """
    if not _within_limits(database, wanted, now):
        raise TooMany(TooMany.__doc__)
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None or not newsletter.public:
            return None
        shown = _offer(session, newsletter, speak)
        known = {section.bit: section for section in shown.sections}
        if not known.keys() >= set(wanted.sections) or not set(shown.offered) >= set(wanted.languages):
            raise NotOffered(NotOffered.__doc__)
        if not wanted.languages:
            raise NotOffered("No language was chosen.")
        if known and not wanted.sections and not any(section.always for section in known.values()):
            raise NothingChosen(NothingChosen.__doc__)
        if attempts.count(session, b"sign-up" + wanted.mailbox, now, _A_DAY) > _MAILS_A_DAY:
            return shown
        to_come = ALL_SECTIONS & ~sum(1 << bit for bit in known) if wanted.new_sections else 0
        signup = signups.add(
            session,
            Signup(
                newsletter_id=newsletter.id,
                address=wanted.address,
                address_hash=wanted.address_hash,
                name=wanted.name,
                languages=list(dict.fromkeys(wanted.languages)),
                sections=sum(1 << bit for bit in set(wanted.sections)) | to_come,
                language=shown.language,
                wording=wanted.wording,
                source=wanted.source,
                created_at=now,
            ),
        )
        notes.add(session, "confirm", newsletter.id, shown.language, now, signup=signup)
        return shown


def _within_limits(database: Database, wanted: Wanted, now: datetime) -> bool:
    with database.transaction() as session:
        if attempts.count(session, b"network" + wanted.network, now, _AN_HOUR) > _FORMS_AN_HOUR:
            return False  # and uses up nothing of its neighbours'
        who = b"provider" + wanted.provider
        return not wanted.provider or attempts.count(session, who, now, _AN_HOUR) <= _FORMS_OF_A_PROVIDER


def first_use(database: Database, ticket: bytes, now: datetime) -> bool:
    """Whether a showing of the form is used for the first time."""
    with database.transaction() as session:
        return attempts.count(session, b"ticket" + ticket, now, _A_DAY) == 1


def may_wait(database: Database, network: bytes, now: datetime) -> bool:
    """Whether one more form from this network counts that shows no work; this uses up one of a few."""
    with database.transaction() as session:
        return attempts.count(session, b"waited" + network, now, _AN_HOUR) <= _WAITED_AN_HOUR


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A sign-up as the page that confirms it shows it."""

    offer: Offer
    titles: tuple[str, ...]
    """Of the sections that were chosen, and of those that everybody gets."""
    languages: tuple[str, ...]
    confirmed: bool


def look(database: Database, signup: int, speak: Sequence[str], now: datetime) -> Confirmation | None:
    """None when there is no such sign-up, or not any more."""
    with database.transaction() as session:
        row = signups.by_id(session, signup)
        return _confirmation(session, row, speak) if row and _open(row, now) else None


def confirm(database: Database, signup: int, speak: Sequence[str], now: datetime) -> Confirmation | None:
    """Subscribe whoever signed up: new, again, or with other choices than before. Twice is the same as once,
    unless they have left since: who presses the button again wants it again.

    This lifts a suppression that only said that mail did not get through, or was not wanted: the mail has got
    through, and it is wanted.
    """
    with database.transaction() as session:
        row = signups.locked(session, signup)
        if row is None or not _open(row, now):
            return None
        if not _in_force(session, row):
            if suppression := readers.suppression(session, row.address_hash):
                if suppression.reason not in LIFTED_BY_OPT_IN:
                    return None
                readers.lift_suppression(session, row.address_hash)
            reader = _reader(session, row)
            _subscribed(session, row, reader, now)
            row.confirmed_at = now
            notes.add(session, "welcome", row.newsletter_id, row.language, now, subscriber=reader.id)
        return _confirmation(session, row, speak)


def _reader(session: Session, row: Signup) -> Subscriber:
    reader = readers.by_hash(session, row.address_hash)
    if reader is None:
        reader = readers.add(session, row.address, row.address_hash, row.languages)
        # Anybody may have filled in the form, and the mail that confirms it shows no name: who is known keeps theirs.
        reader.name = reader.name or row.name
    # Languages that this newsletter does not offer were chosen for another one: they stay, behind.
    offered = newsletters.by_id(session, row.newsletter_id).languages
    others = [tag for tag in reader.languages if match(tag, offered) is None]
    reader.languages = list(dict.fromkeys([*row.languages, *others]))
    session.flush()
    return reader


def _subscribed(session: Session, row: Signup, reader: Subscriber, now: datetime) -> None:
    subscription = readers.subscription(session, row.newsletter_id, reader.id)
    if subscription is None:
        subscription = readers.tie(session, row.newsletter_id, reader.id, row.sections)
    if subscription.state is not SubscriptionState.active:
        subscription.state, subscription.changed_at = SubscriptionState.active, now
    subscription.sections, subscription.paused_until = row.sections, None
    readers.remember(subscription, None, now)
    readers.add_consent(
        session,
        Consent(
            subscriber_id=reader.id,
            newsletter_id=row.newsletter_id,
            kind="subscribe",
            given=True,
            source=row.source,
            wording=row.wording,
            language=row.language,
            asked_at=row.created_at,
            at=now,
        ),
    )
    feedback.add(session, "confirm", now, row.newsletter_id, None, reader.id, {})


def _in_force(session: Session, row: Signup) -> bool:
    """Whether it is confirmed, and nobody has left since."""
    reader = readers.by_hash(session, row.address_hash)
    tie = readers.subscription(session, row.newsletter_id, reader.id) if reader else None
    return row.confirmed_at is not None and tie is not None and tie.state is SubscriptionState.active


def _open(row: Signup, now: datetime) -> bool:
    return now - row.created_at <= LASTS


def _confirmation(session: Session, row: Signup, speak: Sequence[str]) -> Confirmation:
    shown = _offer(session, newsletters.by_id(session, row.newsletter_id), [*speak, row.language])
    titles = tuple(s.title.text for s in shown.sections if s.always or row.sections >> s.bit & 1)
    return Confirmation(shown, titles, tuple(row.languages), _in_force(session, row))


def _offer(session: Session, newsletter: Newsletter, speak: Sequence[str]) -> Offer:
    chains, default = newsletter.fallbacks, newsletter.default_language
    language = page_language(speak, newsletter.languages, chains, default)
    first = choose([*speak, language], newsletter.languages, chains, default)

    def words(texts: dict[str, str]) -> Wording:
        return worded(texts, language, chains, default)

    return Offer(
        slug=newsletter.slug,
        name=words(newsletter.names),
        tagline=words(newsletter.taglines),
        sender=newsletter.sender_name,
        language=language,
        page_languages=spoken(newsletter.languages),
        offered=tuple(newsletter.languages),
        languages=(first.language,) if first else (default,),
        sections=tuple(
            SectionOffer(s.bit, words(s.titles), words(s.descriptions), s.always_included)
            for s in newsletters.sections(session, newsletter.id)
        ),
        archive=newsletter.slug if newsletter.public else "",
        postal_address=newsletter.postal_address,
        theme={name: str(value) for name, value in newsletter.theme.items()},
        own_words=own_words(newsletter.phrases, language),
    )
