"""The database adapter."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from tests.support.snapshots import non_empty_tables

PARTS = text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'delivery'::regclass")


@pytest.mark.parametrize("small", [0, 1 << 40], ids=["by new files", "row by row"])
def test_deleting_all_rows_resets_the_sequences(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    small: int,
) -> None:
    for _ in range(2):
        issue = import_issue("en")
        assert issue == 1
        add_subscribers("ada@example.org;en;")
        prepare(issue)
        with app.database.transaction() as session:
            assert session.scalar(text("SELECT max(subscriber_id) FROM delivery")) == 1
            assert session.scalar(PARTS) == 1
        app.database.delete_all_rows(small)
        assert non_empty_tables(app.database) == []
        with app.database.transaction() as session:
            assert session.scalar(PARTS) == 0
