"""Feedback: what comes back by mail or is told by hand. It writes rows that expand reads and send checks again."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.consents import ConsentChannel
from mailer.domain.dsn import DeliveryStatus, is_automatic_reply, parse_dsn
from mailer.domain.errors import UserError
from mailer.domain.feedback import FeedbackKind
from mailer.domain.outcomes import Outcome
from mailer.domain.ports import MailUrls
from mailer.domain.subscriber_fields import InvalidValue, read_address
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.models import UnrecognizedMail
from mailer.store import feedback, newsletters, personal_data, resolution, subscribers, transactional
from mailer.store.database import Database, Session

_MAX_BOUNCE_AGE = timedelta(days=14)
"""For a bounce that suppresses: servers give up within days, and a return path that somebody finds later in an old
mail is to be of no use to them."""


def suppress(database: Database, hashes: Sequence[bytes], reason: SuppressionReason, note: str = "") -> int:
    """Suppress addresses by hand, by their keyed hashes; return how many were not suppressed before.

    No opt-in lifts such a suppression, whatever its reason.
    """
    with database.transaction() as session:
        return sum(
            subscribers.suppress(session, address_hash, reason, SuppressionSource.staff, note)
            for address_hash in hashes
        )


def lift_suppressions(database: Database, hashes: Sequence[bytes]) -> int:
    """Take suppressions back, whatever their reason; returns how many there were. Subscribes nobody."""
    with database.transaction() as session:
        return sum(subscribers.lift_suppression(session, address_hash) for address_hash in hashes)


def unsubscribe(database: Database, slug: str, hashes: Sequence[bytes], now: datetime) -> int:
    """End subscriptions to a newsletter for people who asked for it in another way than by their link.

    Returns how many were subscribed. Raises NewsletterNotFound. The last-moment check keeps queued mail back.
    """
    with database.transaction() as session:
        newsletter = newsletters.get(session, slug)
        ended = 0
        for address_hash in hashes:
            reader = subscribers.by_hash(session, address_hash)
            if reader and subscribers.unsubscribe(session, newsletter.id, None, reader.id, ConsentChannel.by_hand, now):
                ended += 1
        return ended


def receive(
    database: Database,
    urls: MailUrls,
    recipient: str,
    message: bytes,
    now: datetime,
    wait_for_mail: Callable[[Collection[int], int], object] | None = None,
) -> str:
    """Take in a mail that came to one of our own addresses; returns what it was, in a few words.

    Only the token in the recipient's address says whom it is about: what stands in the mail may be forged.
    The same mail twice changes nothing twice.
    After a request to unsubscribe, ``wait_for_mail`` is called with newsletters and a subscriber, to wait for mail
    that is being sent.
    """
    about = urls.parse_recipient(recipient)
    if about is None:
        return "ignored: no token of ours"
    if about.kind in ("unsubscribe", "unsubscribe_newsletter"):
        by_issue = about.kind == "unsubscribe"
        tie = (
            SubscriptionRef(about.target_id, issue=about.context_id)
            if by_issue
            else SubscriptionRef(about.target_id, newsletter=about.context_id)
        )
        with database.transaction() as session:
            reader = personal_data.resolve_alias(session, tie.subscriber)
            found = subscribers.resolve(session, tie._replace(subscriber=reader))
            if found is None:
                return "ignored: nobody by this token"
            resolution.confirm_delivered(session, tie, now)
            ended = subscribers.unsubscribe(
                session, found.newsletter.id, tie.issue or None, reader, ConsentChannel.mailto, now
            )
        if wait_for_mail is not None:
            wait_for_mail([found.newsletter.id], reader)
        return "unsubscribed" if ended else "unsubscribed before"
    notice = parse_dsn(message)
    with database.transaction() as session:
        if about.kind == "transactional":
            return _record_transactional_bounce(session, about.target_id, notice, now) if notice else _NO_DSN
        # Asked first: an uncertain delivery is settled by this very mail.
        telling = feedback.concerns_current_address(session, about.context_id, about.target_id, now - _MAX_BOUNCE_AGE)
        # Whatever came to this address was sent in answer to the mail: somebody has it.
        known = subscribers.resolve(session, SubscriptionRef(about.target_id, issue=about.context_id))
        forwarded = notice and known and not _names_only(notice, known.subscriber.address)
        refused = notice.reply if notice and notice.action == "failed" and not forwarded else None
        settled = resolution.record_returned_mail(session, about.context_id, about.target_id, refused, now)
        if notice:
            done = _record_bounce(session, about.context_id, about.target_id, notice, telling, now)
        else:
            done = _NO_DSN
            if known and not is_automatic_reply(message):
                feedback.keep_unrecognized(session, about.context_id, known.subscriber.id, message, now)
        return f"{done}; an uncertain delivery is settled" if settled else done


class UnrecognizedMailNotFound(UserError, LookupError):
    """There is no such mail."""


@dataclass(frozen=True, slots=True)
class KeptMail:
    """A mail to a return path that was not recognized, as far as it is kept."""

    id: int
    at: datetime
    issue: int
    text: str
    """Without control characters other than line breaks and tabs."""


def list_unrecognized(database: Database, limit: int) -> list[KeptMail]:
    """Return the latest mails to return paths that were not recognized, latest first."""
    with database.transaction() as session:
        return [_kept_mail(row) for row in feedback.list_unrecognized(session, limit)]


def read_unrecognized(database: Database, mail: int) -> KeptMail:
    """Return a mail that was not recognized. Raises UnrecognizedMailNotFound."""
    with database.transaction() as session:
        row = feedback.unrecognized(session, mail)
        if row is None:
            raise UnrecognizedMailNotFound(f"There is no mail {mail}. Such mails are kept for a month.")
        return _kept_mail(row)


def _kept_mail(row: UnrecognizedMail) -> KeptMail:
    text = row.beginning.decode("utf-8", "replace").replace("\r\n", "\n")
    text = "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
    return KeptMail(row.id, row.at, row.issue_id, text)


_NO_DSN = "ignored: no delivery status notification"


def _record_bounce(
    session: Session,
    issue: int,
    subscriber: int,
    dsn: DeliveryStatus,
    concerns_current_address: bool,
    now: datetime,
) -> str:
    found = subscribers.resolve(session, SubscriptionRef(subscriber, issue=issue))
    if found is None:
        return "ignored: nobody by this token"
    if dsn.outcome is Outcome.ACCEPTED:
        return f"ignored: {dsn.action}"
    kind = FeedbackKind.bounce if dsn.action == "failed" else FeedbackKind.delay
    if feedback.exists(session, kind, issue, subscriber):
        return f"{kind}, known before"
    feedback.add(session, kind, now, found.newsletter.id, issue, subscriber, {"reply": dsn.reply})
    if concerns_current_address and _is_hard_bounce_of(dsn, found.subscriber.address):
        _suppress_hard_bounce(session, found.subscriber.address_hash, dsn)
        return "bounce, suppressed"
    session.flush()
    if dsn.action == "failed" and feedback.suppress_repeatedly_refused(session, issue, [subscriber], now):
        return "bounce, suppressed after repeated refusals"
    return kind.value


def _record_transactional_bounce(session: Session, email_id: int, dsn: DeliveryStatus, now: datetime) -> str:
    row = transactional.by_id(session, email_id)
    if row is None or dsn.outcome is Outcome.ACCEPTED:
        return "ignored"
    row.last_reply = dsn.reply
    reader = subscribers.by_id(session, row.subscriber_id) if row.subscriber_id else None
    if reader is None or not _is_hard_bounce_of(dsn, reader.address):
        return "bounce of a note"
    since = now - _MAX_BOUNCE_AGE
    if row.created_at <= max(reader.address_changed_at or since, since):
        return "bounce of a note"  # too late, or from the address that they had before
    _suppress_hard_bounce(session, reader.address_hash, dsn)
    return "bounce of a note, suppressed"


def _is_hard_bounce_of(dsn: DeliveryStatus, address: str) -> bool:
    """Return whether a mailbox is gone, and is the one at this address, not one to which its mail is forwarded."""
    return dsn.outcome is Outcome.HARD_BOUNCE and bool(dsn.recipients) and _names_only(dsn, address)


def _names_only(dsn: DeliveryStatus, address: str) -> bool:
    """Return whether a bounce names no recipient but this one."""
    return {*map(_normalized, dsn.recipients)} <= {_normalized(address)}


def _normalized(address: str) -> str:
    try:
        return read_address(address)[1]
    except InvalidValue:
        return address


def _suppress_hard_bounce(session: Session, address_hash: bytes, dsn: DeliveryStatus) -> None:
    subscribers.suppress(session, address_hash, SuppressionReason.hard_bounce, SuppressionSource.system, dsn.reply)
