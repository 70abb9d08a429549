"""Asking for texts: emails, reminders, links that end, and texts that are sent back."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.accounts import AuditAction
from mailer.domain.errors import ChangeRefused, UserError
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.states import InvalidIssueState, TextSubject
from mailer.domain.suppressions import SuppressionReason
from mailer.domain.text_requests import RequestState, TextTask, link_expires_at, reminder_due
from mailer.domain.time_zones import time_zone
from mailer.domain.versions import TextKey
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.feedback import bounces
from mailer.services.issues import text_request_list, text_requests
from mailer.services.issues.text_requests import NewRequest
from mailer.services.maintenance import retention
from tests.support.staff import add_account, staff_of
from tests.support.transactional import emails_to, link_path, send_transactional

NOW = datetime(2026, 12, 1, 10, tzinfo=UTC)
DUE = date(2026, 12, 11)
JEAN = "jean@example.org"


@pytest.fixture
def amina(app: Container, issue: int) -> Staff:
    return staff_of(add_account(app, "amina@example.org", Role.coordinator, name="Amina Demir"), Role.coordinator)


def wanted(app: Container, issue: int, **changes: object) -> NewRequest:
    """Ask Jean, who has no account, to translate the first story into Spanish."""
    story = text_request_list.list_stories(app.database, issue)[0][0]
    words = "Short sentences: our readers are young."
    new = NewRequest(story, "es", TextTask.translation, None, "Jean Morel", JEAN, DUE, words)
    return replace(new, **changes)  # type: ignore[arg-type]


def ask(app: Container, issue: int, staff: Staff, now: datetime = NOW, **changes: object) -> int:
    new = wanted(app, issue, **changes)
    return text_requests.ask(app.database, issue, new, staff, app.tokens.address_hash, now)


def state(app: Container, issue: int, request: int, now: datetime = NOW) -> RequestState:
    return text_request_list.load(app.database, issue, request, now).state


def test_somebody_without_an_account_is_asked_by_email(
    app: Container, issue: int, amina: Staff, inbox: InboxServer
) -> None:
    request = ask(app, issue, amina)
    assert send_transactional(app, NOW) == 1
    (mail,) = emails_to(inbox, JEAN)
    assert mail["Subject"] == "A text for The Lumen Basin Quarterly 2026/3 by 11 December 2026"
    assert "Amina Demir asks you to translate" in str(mail)
    path = link_path(mail, "/t/")
    assert app.urls.text_request_url(request).endswith(path)
    (event,) = audit.search(app.database, AuditAction.text_requested, "Amina", None)
    assert event.detail.keys() == {"language", "headline", "request"}, "no name or address of a stranger to the log"
    with app.database.transaction() as session:
        token = path.rpartition("/")[2]
        stored = session.scalars(text("SELECT r::text FROM text_request r")).one()
        assert token not in stored


def test_a_colleague_is_sent_to_the_text_itself(app: Container, issue: int, amina: Staff, inbox: InboxServer) -> None:
    luka = add_account(app, "luka@example.org", RoleGrant(Role.translator, None, ("es",)))
    with app.database.transaction() as session:
        session.execute(text("UPDATE account SET language = 'fr' WHERE id = :id"), {"id": luka})
    request = ask(app, issue, amina, account=luka)
    send_transactional(app, NOW)
    (mail,) = emails_to(inbox, "luka@example.org")
    story = text_request_list.load(app.database, issue, request, NOW).story
    assert f"/desk/issues/{issue}/stories/{story}/es" in str(mail)
    assert mail["Content-Language"] == "fr"
    ((own, name),) = text_request_list.list_own(app.database, luka, NOW)
    assert (own.id, name) == (request, "The Lumen Basin Quarterly 2026/3")
    key, translator = TextKey(issue, TextSubject.story, story or 0, "es"), staff_of(luka, Role.translator)
    with app.database.transaction() as session:
        text_requests.text_is_ready(session, key, amina, NOW)
        text_requests.text_is_ready(session, replace(key, language="fr"), translator, NOW)
    assert state(app, issue, request) is RequestState.open
    with app.database.transaction() as session:
        text_requests.text_is_ready(session, key, translator, NOW)
    assert state(app, issue, request) is RequestState.done
    assert text_request_list.list_own(app.database, luka, NOW) == []
    send_transactional(app, NOW)
    (arrived,) = emails_to(inbox, "amina@example.org")
    assert "Luka has finished the text" in str(arrived)


def test_what_cannot_be_asked_is_refused(app: Container, issue: int, amina: Staff) -> None:
    luka = add_account(app, "luka@example.org", RoleGrant(Role.translator, None, ("fr",)))
    bounced = app.tokens.address_hash("gone@example.org")
    bounces.suppress(app.database, [bounced], SuppressionReason.hard_bounce)
    for changes, reason in (
        ({"language": "tlh"}, "languages"),
        ({"story": 99_999_999}, "not in this issue"),
        ({"language": "en"}, "no text to translate"),
        ({"due_on": date(2026, 11, 30)}, "past"),
        ({"due_on": date(2027, 6, 1)}, "ahead"),
        ({"words": "x" * 2001}, "characters"),
        ({"name": ""}, "name"),
        ({"name": "Jean\u202emorf"}, "name"),
        ({"address": "jean"}, "no email address"),
        ({"address": "gone@example.org"}, "suppressed"),
        ({"account": luka}, "may not write"),
        ({"account": 99_999_999}, "no such account"),
    ):
        with pytest.raises(ChangeRefused, match=reason):
            ask(app, issue, amina, **changes)
    ask(app, issue, amina)
    with pytest.raises(ChangeRefused, match="already"):
        ask(app, issue, amina, address="Jean@Example.org")
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'approved'"))
    with pytest.raises(InvalidIssueState):
        ask(app, issue, amina, language="fr")


def test_emails_and_open_requests_are_bounded(app: Container, issue: int, amina: Staff) -> None:
    for number in range(text_requests.MAX_MAILS_PER_HOUR):
        ask(app, issue, amina, address=f"jean{number}@example.org")
    with pytest.raises(ChangeRefused, match="an hour"):
        ask(app, issue, amina)
    ask(app, issue, amina, now=NOW + timedelta(hours=1))
    with app.database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO text_request (issue_id, subject, subject_id, language, task, name, address, address_hash,"
                " words, due_on, expires_at, asked_at, asked_by) SELECT issue_id, subject, subject_id, language, task,"
                " name, address, address_hash, words, due_on, expires_at, asked_at, asked_by FROM text_request,"
                " generate_series(1, 5) LIMIT 300"
            )
        )
    with pytest.raises(ChangeRefused, match="open requests"):
        ask(app, issue, amina, now=NOW + timedelta(hours=2), address="last@example.org")


def test_one_reminder_is_sent_two_days_before(app: Container, issue: int, amina: Staff, inbox: InboxServer) -> None:
    ask(app, issue, amina)
    assert send_transactional(app, NOW) == 1
    early = datetime(2026, 12, 9, 4, tzinfo=UTC)
    assert text_requests.remind_due(app.database, early) == 0
    assert text_requests.remind_due(app.database, early + timedelta(hours=6)) == 1
    assert text_requests.remind_due(app.database, early + timedelta(days=2)) == 0
    assert send_transactional(app, early + timedelta(hours=6)) == 1
    assert emails_to(inbox, JEAN)[-1]["Subject"].startswith("Reminder: ")


@pytest.mark.parametrize(
    "end",
    [
        "UPDATE text_request SET handed_in_at = now()",
        "UPDATE text_request SET withdrawn_at = now()",
        "UPDATE issue SET state = 'approved'",
    ],
)
def test_nobody_is_reminded_of_what_is_over(app: Container, issue: int, amina: Staff, end: str) -> None:
    ask(app, issue, amina)
    at = datetime(2026, 12, 10, 12, tzinfo=UTC)
    assert text_requests.remind_due(app.database, at) == 1  # but it is not sent yet
    with app.database.transaction() as session:
        session.execute(text(end))
    assert send_transactional(app, at) == 0
    with app.database.transaction() as session:
        session.execute(text("UPDATE text_request SET reminded_at = NULL"))
    assert text_requests.remind_due(app.database, at) == 0


def test_when_a_reminder_is_due() -> None:
    zone = time_zone("Europe/Belgrade")

    def days(asked_on: date) -> int | None:
        at = reminder_due(DUE, datetime.combine(asked_on, datetime.min.time(), zone), zone)
        return at.date().toordinal() - DUE.toordinal() if at else None

    assert [days(DUE - timedelta(days=ahead)) for ahead in (10, 3, 2, 1, 0)] == [-2, -2, 0, 0, None]


def test_a_link_expires_two_weeks_after_the_due_day_or_after_ninety_days() -> None:
    zone = time_zone("Europe/Belgrade")
    assert link_expires_at(DUE, NOW, zone) == datetime(2026, 12, 26, tzinfo=zone)
    assert link_expires_at(NOW.date() + timedelta(days=89), NOW, zone) == NOW + timedelta(days=90)


def test_a_reminder_by_hand_is_sent_once_a_day(app: Container, issue: int, amina: Staff) -> None:
    request = ask(app, issue, amina)
    with pytest.raises(ChangeRefused, match="less than a day"):
        text_requests.remind(app.database, issue, request, amina, NOW + timedelta(hours=23))
    text_requests.remind(app.database, issue, request, amina, NOW + timedelta(hours=25))
    with pytest.raises(ChangeRefused, match="less than a day"):
        text_requests.remind(app.database, issue, request, amina, NOW + timedelta(hours=26))
    with pytest.raises(UserError):
        text_requests.remind(app.database, issue + 1, request, amina, NOW)
    with pytest.raises(ChangeRefused, match="expired"):
        text_requests.remind(app.database, issue, request, amina, NOW + timedelta(days=80))


def test_late_ones_come_before_open_ones(app: Container, issue: int, amina: Staff) -> None:
    first, late = ask(app, issue, amina), ask(app, issue, amina, address="ana@example.org", due_on=date(2026, 12, 2))
    gone = ask(app, issue, amina, address="zoe@example.org")
    text_requests.withdraw(app.database, issue, gone, amina, NOW)
    listed = text_request_list.list_requests(app.database, issue, NOW + timedelta(days=3))
    assert [(one.id, one.state) for one in listed] == [
        (late, RequestState.late),
        (first, RequestState.open),
        (gone, RequestState.withdrawn),
    ]


def test_requests_are_deleted_weeks_after_the_issue(app: Container, issue: int, amina: Staff) -> None:
    ask(app, issue, amina, due_on=date(2027, 1, 31))
    policy = retention.RetentionPolicy(0, 0, 0, 0, 0)
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET finished_at = :at"), {"at": NOW + timedelta(days=20)})
    for days, left in ((47, 1), (49, 0)):
        retention.run(app.database, policy, NOW + timedelta(days=days))
        with app.database.transaction() as session:
            assert session.scalar(text("SELECT count(*) FROM text_request")) == left
