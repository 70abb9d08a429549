"""Figures of an issue that are kept until they may have changed."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.errors import IssueNotFound
from mailer.services.issues import report
from mailer.store import figures


@pytest.fixture
def issue(prepared_issue: Callable[..., int]) -> int:
    """Ready to go out to two readers."""
    return prepared_issue("ada@example.org;en;\nbob@example.org;en;", "en")


def find(app: Container, issue: int) -> figures.Kept:
    with app.database.transaction() as session:
        return figures.find(session, issue, "test")


def keep(app: Container, issue: int, seconds: float, value: object) -> None:
    version = find(app, issue).version
    with app.database.transaction() as session:
        figures.save(session, issue, "test", version, seconds, value)


def test_figures_hold_until_a_delivery_changes(app: Container, issue: int, send: Callable[[], int]) -> None:
    assert find(app, issue).figures is None
    keep(app, issue, 0.001, {"a": 1})
    assert find(app, issue).figures == {"a": 1}
    send()
    assert find(app, issue).figures is None
    keep(app, issue, 0.001, [2])
    assert find(app, issue).figures == [2]


def test_what_takes_long_is_kept_for_a_while_although_something_changed(
    app: Container, issue: int, send: Callable[[], int]
) -> None:
    keep(app, issue, 2.0, [1])
    send()
    assert find(app, issue).figures == [1]
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue_figures SET counted_at = now() - interval '121 seconds'"))
    assert find(app, issue).figures is None, "older than sixty times two seconds"


def test_a_report_is_counted_again_after_sending(app: Container, issue: int, send: Callable[[], int]) -> None:
    assert sum(row.sent for row in report.by_language(app.database, issue)) == 0
    send()
    report.count_ahead(app.database, app.clock.now())
    assert sum(row.sent for row in report.by_language(app.database, issue)) == 2


def test_the_ledger_is_audited_again_although_its_sums_are_the_same(
    app: Container, issue: int, send: Callable[[], int]
) -> None:
    send()
    assert report.findings(app.database, issue) == []
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET state = 'failed' WHERE subscriber_id = 1"))
        session.execute(text("UPDATE issue_figures SET counted_at = now() - interval '59 minutes'"))
    assert report.findings(app.database, issue) == []
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue_figures SET counted_at = now() - interval '61 minutes'"))
    assert report.findings(app.database, issue) == report.audit(app.database, issue) != []


def test_an_unknown_issue_has_none(app: Container) -> None:
    with pytest.raises(IssueNotFound):
        find(app, 77)
