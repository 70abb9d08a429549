"""Feedback: what comes back by mail or is told by hand. It writes rows that expand reads and send checks again."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from mailer.domain.notices import Notice, read_notice
from mailer.domain.outcomes import Outcome
from mailer.domain.ports import Links
from mailer.domain.suppressions import HARD_BOUNCE
from mailer.domain.ties import Tie
from mailer.store import feedback, newsletters, notes, people, readers, settling
from mailer.store.database import Database, Session

_LATEST = timedelta(days=14)
"""For a bounce that suppresses: servers give up within days, and a return path that somebody finds later in an old
mail is to be of no use to them."""


class NoNewsletter(LookupError):
    """There is no such newsletter."""


def suppress(database: Database, hashes: Sequence[bytes], reason: str) -> int:
    """Suppress addresses by their keyed hashes; returns how many were not suppressed before."""
    with database.transaction() as session:
        return sum(readers.suppress(session, address_hash, reason, "") for address_hash in hashes)


def lift(database: Database, hashes: Sequence[bytes]) -> int:
    """Take suppressions back, whatever their reason; returns how many there were. Subscribes nobody."""
    with database.transaction() as session:
        return sum(readers.lift_suppression(session, address_hash) for address_hash in hashes)


def unsubscribe(database: Database, slug: str, hashes: Sequence[bytes], now: datetime) -> int:
    """End subscriptions to a newsletter for people who asked for it in another way than by their link.

    Returns how many were subscribed. The last-moment check keeps queued mail back.
    """
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None:
            raise NoNewsletter(
                f"There is no newsletter “{slug}”; there is {', '.join(newsletters.slugs(session))}."
            )
        ended = 0
        for address_hash in hashes:
            reader = readers.by_hash(session, address_hash)
            if reader and readers.end(session, newsletter.id, None, reader.id, "by hand", now):
                ended += 1
        return ended


def receive(database: Database, links: Links, recipient: str, message: bytes, now: datetime) -> str:
    """Take in a mail that came to one of our own addresses; returns what it was, in a few words.

    Only the token in the recipient's address says whom it is about: what stands in the mail may be forged.
    The same mail twice changes nothing twice.
    """
    about = links.returned(recipient)
    if about is None:
        return "ignored: no token of ours"
    if about.kind in ("unsubscribe", "quit"):
        by_issue = about.kind == "unsubscribe"
        tie = Tie(about.second, issue=about.first) if by_issue else Tie(about.second, newsletter=about.first)
        with database.transaction() as session:
            reader = people.became(session, tie.subscriber)
            found = readers.tied(session, tie._replace(subscriber=reader))
            if found is None:
                return "ignored: nobody by this token"
            settling.arrived(session, tie, now)
            ended = readers.end(session, found.newsletter.id, tie.issue or None, reader, "mail", now)
        return "unsubscribed" if ended else "unsubscribed before"
    notice = read_notice(message)
    with database.transaction() as session:
        if about.kind == "note":
            return _note_bounced(session, about.second, notice, now) if notice else _NO_NOTICE
        # Asked first: an uncertain delivery is settled by this very mail.
        telling = feedback.tells_of_the_address(session, about.first, about.second, now - _LATEST)
        # Whatever came to this address was sent in answer to the mail: somebody has it.
        refused = notice.reply if notice and notice.action == "failed" else None
        settled = settling.came_back(session, about.first, about.second, refused, now)
        done = _bounced(session, about.first, about.second, notice, telling, now) if notice else _NO_NOTICE
        return f"{done}; an uncertain delivery is settled" if settled else done


_NO_NOTICE = "ignored: no delivery status notification"


def _bounced(
    session: Session, issue: int, subscriber: int, notice: Notice, telling: bool, now: datetime
) -> str:
    found = readers.tied(session, Tie(subscriber, issue=issue))
    if found is None:
        return "ignored: nobody by this token"
    if notice.outcome is Outcome.ACCEPTED:
        return f"ignored: {notice.action}"
    kind = "bounce" if notice.action == "failed" else "delay"
    if feedback.is_known(session, kind, issue, subscriber):
        return f"{kind}, known before"
    feedback.add(session, kind, now, found.newsletter.id, issue, subscriber, {"reply": notice.reply})
    if notice.outcome is Outcome.HARD and telling:
        readers.suppress(session, found.reader.address_hash, HARD_BOUNCE, notice.reply)
        return "bounce, suppressed"
    return kind


def _note_bounced(session: Session, note: int, notice: Notice, now: datetime) -> str:
    row = notes.by_id(session, note)
    if row is None or notice.outcome is Outcome.ACCEPTED:
        return "ignored"
    row.reply = notice.reply
    reader = readers.by_id(session, row.subscriber_id) if row.subscriber_id else None
    if reader is None or notice.outcome is not Outcome.HARD:
        return "bounce of a note"
    since = now - _LATEST
    if row.created_at <= max(reader.keys_from or since, since):
        return "bounce of a note"  # too late, or from the address that they had before
    readers.suppress(session, reader.address_hash, HARD_BOUNCE, notice.reply)
    return "bounce of a note, suppressed"
