"""Notes: which of them a worker takes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from mailer.bootstrap import Mailer
from mailer.store import notes
from tests.plans import by_whatever_plan, forbid

LEASE = timedelta(minutes=1)


@by_whatever_plan
def test_no_more_are_claimed_than_asked_for(
    parts: Mailer,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    without: tuple[str, ...],
) -> None:
    import_issue("en")
    add_readers("\n".join(f"reader{n}@example.org;en;" for n in range(6)))
    now = datetime.now(UTC)
    with parts.database.transaction() as session:
        newsletter = session.scalars(text("SELECT id FROM newsletter")).one()
        for reader in session.scalars(text("SELECT id FROM subscriber")):
            notes.add(session, "welcome", newsletter, "en", now, subscriber=reader)
    with parts.database.transaction() as session:
        forbid(session, without)
        first = notes.claim(session, now, LEASE, 2)
        second = notes.claim(session, now, LEASE, 2)
        assert (len(first), len(second)) == (2, 2)
        assert not set(first) & set(second)
        assert session.scalar(text("SELECT sum(attempts) FROM note")) == 4
