"""Notes: which of them a worker takes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Mailer
from mailer.store import notes
from mailer.store.database import Session

LEASE = timedelta(minutes=1)


@pytest.mark.parametrize("plan", [(), ("hashjoin", "mergejoin", "hashagg", "sort", "material")])
def test_no_more_are_claimed_than_asked_for_by_whatever_plan(
    parts: Mailer, import_issue: Callable[..., int], add_readers: Callable[[str], None], plan: tuple[str, ...]
) -> None:
    import_issue("en")
    add_readers("\n".join(f"reader{n}@example.org;en;" for n in range(6)))
    now = datetime.now(UTC)
    with parts.database.transaction() as session:
        newsletter = session.scalars(text("SELECT id FROM newsletter")).one()
        for reader in session.scalars(text("SELECT id FROM subscriber")):
            notes.add(session, "welcome", newsletter, "en", now, subscriber=reader)

    def claim(session: Session) -> list[int]:
        for way in plan:
            session.execute(text(f"SET LOCAL enable_{way} = off"))
        return notes.claim(session, now, LEASE, 2)

    with parts.database.transaction() as session:
        first = claim(session)
        second = claim(session)
        assert (len(first), len(second)) == (2, 2)
        assert not set(first) & set(second)
        assert session.scalar(text("SELECT sum(attempts) FROM note")) == 4
