"""Who did what to an issue: its log, and the audit log with it."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from mailer.bootstrap import Container
from mailer.domain.accounts import THE_SERVICE, AuditAction
from mailer.domain.permissions import Role
from mailer.domain.states import InvalidIssueState, IssueEventKind, MissingTranslationPolicy, TextSubject
from mailer.domain.text_fields import TypedText
from mailer.domain.text_requests import TextTask
from mailer.domain.versions import TextKey
from mailer.models import Account, AuditEvent, IssueEvent
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.issues import approve, edit, plan, report, schedule, text_requests, write_text
from mailer.services.issues.text_requests import NewRequest
from mailer.services.issues.write_text import SaveOrder
from mailer.store import issues
from tests.conftest import NOW
from tests.support.staff import add_account, staff_of


@pytest.fixture
def ann(app: Container) -> Staff:
    account = add_account(app, "ann@example.org", Role.coordinator)
    return staff_of(account, Role.coordinator, "Ann")


def audited(app: Container) -> list[AuditEvent]:
    known = set(AuditAction) - {AuditAction.account_created}
    return [event for event in audit.search(app.database, None, "", None) if event.action in known]


def last_actor(app: Container, issue: int) -> str:
    return report.events(app.database, issue)[-1][1]


def test_an_order_of_staff_is_in_both_logs(app: Container, import_issue: Callable[..., int], ann: Staff) -> None:
    issue = import_issue("en", "fr")
    before = len(audited(app))
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, ann)
    event = audited(app)[0]
    assert (event.action, event.actor, event.account_id) == (AuditAction.issue_policy_changed, "Ann", ann.account)
    assert (event.roles, event.network, event.detail) == (["coordinator"], "192.0.2.0/24", {"policy": "omit"})
    assert (event.object_kind, event.object_id) == ("issue", issue)
    with pytest.raises(InvalidIssueState):
        schedule.unschedule(app.database, issue, ann)
    assert len(audited(app)) == before + 1, "what was refused was not done"
    with app.database.transaction() as session:
        session.execute(update(Account).values(name="Ann Lee"))
    assert last_actor(app, issue) == "Ann Lee"
    with app.database.transaction() as session:
        session.execute(delete(Account))
    assert last_actor(app, issue) == "Ann", "the name at that time, once the account is gone"
    assert audited(app)[0].account_id is None


def test_the_command_line_is_named_and_the_service_is_not(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, "jane")
    event = audited(app)[0]
    assert (event.actor, event.account_id, event.roles) == ("jane", None, [])
    assert last_actor(app, issue) == "jane"
    before = len(audited(app))
    with app.database.transaction() as session:
        issues.log(session, issue, THE_SERVICE, IssueEventKind.reopened)
        assert session.query(IssueEvent).order_by(IssueEvent.id.desc()).first().account_id is None  # type: ignore[union-attr]
    assert len(audited(app)) == before
    edit.delete_draft(app.database, issue, "jane")
    assert audited(app)[0].detail == {"number": "2026/3"}


def test_headlines_are_without_formatting_in_both_logs(
    app: Container, import_issue: Callable[..., int], ann: Staff
) -> None:
    issue = import_issue("en", "fr")
    story = plan.load_plan(app.database, app.urls, issue).sections[0].stories[0].id
    key = TextKey(issue, TextSubject.story, story, "en")
    order = SaveOrder(write_text.load_state(app.database, key).base, TypedText({"headline": "Salt *and* stars"}))
    due_on = NOW.date() + timedelta(days=10)
    wanted = NewRequest(story, "es", TextTask.translation, None, "Jean", "jean@example.org", due_on, "")
    orders: dict[AuditAction, Callable[[], object]] = {
        AuditAction.text_written: lambda: write_text.save_text(app.database, key, order, ann, NOW),
        AuditAction.text_requested: lambda: text_requests.ask(
            app.database, issue, wanted, ann, app.tokens.address_hash, NOW
        ),
        AuditAction.story_moved: lambda: edit.move_story(
            app.database, issue, story, plan.load_head(app.database, issue).revision, ann, step=1
        ),
        AuditAction.story_removed: lambda: edit.remove_story(app.database, issue, story, "", ann),
    }
    for action, carry_out in orders.items():
        carry_out()
        assert (audited(app)[0].action, audited(app)[0].detail["headline"]) == (action, "Salt and stars")
    assert not [detail for _, _, _, detail in report.events(app.database, issue) if "*" in detail]
