"""The one way to the database."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from mailer.bootstrap import Mailer
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
