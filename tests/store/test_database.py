"""The one way to the database."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from mailer.bootstrap import Mailer
from mailer.store.database import Database, DatabaseDown
from tests.snapshots import filled

PARTS = text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'delivery'::regclass")


@pytest.mark.parametrize("small", [0, 1 << 40], ids=["by new files", "row by row"])
def test_emptied_it_has_only_its_tables_and_counts_from_one(
    parts: Mailer,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    small: int,
) -> None:
    monkeypatch.setattr("mailer.store.database._SMALL", small)
    for _ in range(2):
        issue = import_issue("en")
        assert issue == 1
        add_readers("ada@example.org;en;")
        prepare(issue)
        with parts.database.transaction() as session:
            assert session.scalar(text("SELECT max(subscriber_id) FROM delivery")) == 1
            assert session.scalar(PARTS) == 1
        parts.database.empty()
        assert filled(parts.database) == []
        with parts.database.transaction() as session:
            assert session.scalar(PARTS) == 0


def test_a_line_keeps_one_connection_and_takes_another_when_that_is_lost(database: Database) -> None:
    line, backend = database.line(), text("SELECT pg_backend_pid()")

    def asked() -> int:
        with line.transaction() as session:
            return int(session.scalar(backend) or 0)

    first = asked()
    assert asked() == first
    with pytest.raises(ZeroDivisionError), line.transaction() as session:
        session.execute(text("CREATE TABLE half_done (id int)"))
        raise ZeroDivisionError
    with line.transaction() as session:
        assert session.scalar(text("SELECT to_regclass('half_done')")) is None
    second = asked()
    with database.transaction() as session:
        session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": second})
    with pytest.raises(DatabaseDown):
        asked()
    assert asked() != second
    line.close()
