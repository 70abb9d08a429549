"""The pages of an issue: plan, preview, check, approval, sending and report."""

from collections.abc import Callable
from datetime import UTC, date, timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import update

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.states import IssueState, MissingTranslationPolicy
from mailer.models import Issue
from mailer.services.accounts import audit
from mailer.services.delivery import dispatch
from mailer.services.issues import approve, compile, plan, schedule
from mailer.web.live import LiveStreams
from tests.support.clock import clock_of, next_change
from tests.support.staff import SAME_ORIGIN, add_account, form_token_for, post, sign_in, words


def state(app: Container, issue: int) -> IssueState:
    return plan.load_head(app.database, issue).state


def hidden(html: str, name: str) -> str:
    return html.split(f'name="{name}" value="')[1].split('"')[0]


def seen(html: str, *languages: str) -> dict[str, object]:
    """Return the form that approves languages as a page shows them."""
    return {"language": list(languages)} | {f"seen:{tag}": hidden(html, f"seen:{tag}") for tag in languages}


@pytest.mark.usefixtures("coordinator")
def test_a_coordinator_looks_approves_schedules_and_takes_it_back(
    client: TestClient, app: Container, issue: int
) -> None:
    base = f"/desk/issues/{issue}"
    home = client.get("/desk").text
    assert "2026/3" in home
    assert "Draft" in home
    shown = client.get(base).text
    assert "Water and rivers" in shown
    assert shown.count('class="mark ready"') == 2 * 17  # the front matter and sixteen stories, in two languages
    assert shown.count('class="mark missing"') == 16 * 17  # and in none of the others
    check = client.get(f"{base}/check").text
    assert "Nothing stands in the way of approval." in check
    assert "3 readers get it" in check
    assert state(app, issue) is IssueState.draft

    answer = post(client, f"{base}/approve", seen(check, "en", "fr"))
    assert answer.headers["location"].endswith("/send?done=approved")
    assert state(app, issue) is IssueState.approved
    page = client.get(f"{base}/send").text
    form = {name: hidden(page, name) for name in ("revision", "subscribers")}
    for data, expected in (
        ({"when": "at", "at": "2001-01-01T09:00", "zone": "Europe/Vienna"}, "This time has passed"),
        ({"when": "at", "at": "", "zone": "Europe/Vienna"}, "Give a day and a time"),
        ({"when": "at", "at": "2031-01-01T09:00", "zone": "Mars/Base"}, "Give a day and a time"),
        ({"when": "local", "at": "2001-01-01T09:00"}, "This time has passed"),
        ({"when": "at", "at": "9999-12-31T23:59", "zone": "Europe/Vienna"}, "is more than two years ahead"),
        ({"when": "at", "at": "9999-12-31T23:59", "zone": "America/New_York"}, "Give a day and a time"),
        ({"when": "local", "at": "9999-12-31T23:59"}, "is more than two years ahead"),
    ):
        refused = post(client, f"{base}/schedule", {**form, **data})
        assert refused.status_code == 409
        assert expected in refused.text
    assert post(client, f"{base}/schedule", {**form, "subscribers": "1", "when": "now"}).status_code == 409
    assert state(app, issue) is IssueState.approved
    clock = clock_of(app)
    at = clock.now().replace(microsecond=0, tzinfo=None).isoformat()[:16]
    clock.advance(hours=-3)
    answer = post(client, f"{base}/schedule", {**form, "when": "at", "at": at, "zone": "UTC"})
    assert answer.status_code == 303
    assert state(app, issue) is IssueState.scheduled
    assert "Scheduled for" in client.get("/desk").text
    assert post(client, f"{base}/unschedule", {}).status_code == 303
    assert state(app, issue) is IssueState.approved
    assert post(client, f"{base}/reopen", {}).status_code == 303
    assert state(app, issue) is IssueState.draft
    log = [(event.action.value, event.actor) for event in audit.search(app.database, None, "", None)]
    assert log[:4] == [
        (name, "Amina") for name in ("issue_reopened", "issue_unscheduled", "issue_scheduled", "issue_approved")
    ]


@pytest.mark.usefixtures("coordinator")
def test_a_change_of_clocks_is_said_and_a_late_issue_waits(client: TestClient, app: Container, issue: int) -> None:
    base = f"/desk/issues/{issue}"
    post(client, f"{base}/approve", seen(client.get(f"{base}/check").text, "en", "fr"))
    page = client.get(f"{base}/send").text
    form = {name: hidden(page, name) for name in ("revision", "subscribers")}
    at = next_change("Europe/Vienna", 2)
    answer = post(
        client, f"{base}/schedule", {**form, "when": "at", "at": at.isoformat()[:16], "zone": "Europe/Vienna"}
    )
    assert "The clocks change that day" in client.get(answer.headers["location"]).text
    assert plan.load_head(app.database, issue).scheduled_at == at.replace(hour=1, tzinfo=UTC)
    schedule.schedule(app.database, issue, app.clock.now() - timedelta(days=2), "tests")
    assert "It is so overdue" not in client.get(f"{base}/report").text
    assert dispatch.start_due(app.database, app.clock.now(), 10) == []
    assert "It is so overdue that it has not been sent" in client.get(f"{base}/report").text


@pytest.mark.usefixtures("coordinator")
def test_an_approval_is_for_what_was_seen(client: TestClient, app: Container, issue: int) -> None:
    base = f"/desk/issues/{issue}"
    form = seen(client.get(f"{base}/check").text, "en", "fr")
    assert post(client, f"{base}/policy", {"policy": "omit"}).status_code == 303
    (event,) = audit.search(app.database, AuditAction.issue_policy_changed, "Amina", None)
    assert event.detail == {"policy": "omit"}
    answer = post(client, f"{base}/approve", form)
    assert answer.status_code == 409
    assert "changed while you looked" in answer.text
    assert state(app, issue) is IssueState.draft
    assert post(client, f"{base}/approve", {}).status_code == 400
    assert post(client, f"{base}/approve", {"language": "fr", "seen:fr": "what"}).status_code == 400


def test_languages_are_approved_by_those_who_may(client: TestClient, app: Container, issue: int) -> None:
    base = f"/desk/issues/{issue}"
    add_account(app, "mira@example.org", RoleGrant(Role.approver, None, ("fr",)))
    sign_in(client, "mira@example.org")
    page = client.get(f"{base}/check").text
    assert "Your roles do not cover this language." in page
    form = seen(page, "fr")
    assert post(client, f"{base}/approve", {**form, "language": ["en"], "seen:en": "00"}).status_code == 403
    assert post(client, f"{base}/approve", form).headers["location"].endswith("/check?done=language_approved")
    assert state(app, issue) is IssueState.draft
    assert "Waiting for you" not in client.get("/desk").text
    assert "Mira, " in words(client, f"{base}/check")
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, "jane")
    assert "approved by Mira, changed by jane" in words(client, f"{base}/check")


@pytest.mark.usefixtures("coordinator")
def test_an_edition_is_shown_as_it_will_arrive_in_a_sandbox(client: TestClient, issue: int) -> None:
    base = f"/desk/issues/{issue}"
    page = client.get(f"{base}/preview?language=fr&section=water-and-rivers&width=phone&scheme=dark").text
    assert 'class="edition phone dark"' in page
    source = page.split('src="')[-1].split('"')[0].replace("&amp;", "&")
    edition = client.get(source)
    assert "sandbox" in edition.headers["Content-Security-Policy"]
    assert "script" not in edition.headers["Content-Security-Policy"]
    assert 'lang="fr"' in edition.text
    assert "https://" in client.get(f"{base}/preview?show=text").text
    for bad in ("?language=xx", "?language=fr&section=nothing"):
        assert client.get(f"{base}/edition{bad}").status_code == 404
        assert client.get(f"{base}/preview{bad}").status_code == 200


@pytest.mark.usefixtures("coordinator")
def test_a_draft_is_deleted_only_by_its_number(client: TestClient, issue: int) -> None:
    base = f"/desk/issues/{issue}"
    assert post(client, f"{base}/delete", {"number": "2026/2"}).status_code == 400
    assert client.get(base).status_code == 200
    deleted = post(client, f"{base}/delete", {"number": "2026/3"})
    assert "The draft is deleted." in words(client, deleted.headers["location"])
    assert client.get(base).status_code == 404


@pytest.mark.usefixtures("coordinator")
def test_progress_adds_up_and_can_be_steered(
    client: TestClient, app: Container, issue: int, prepare: Callable[[int], None], send: Callable[[], int]
) -> None:
    base = f"/desk/issues/{issue}"
    for data in ({"action": "cancel"}, {"action": "limit", "rate": "much"}, {"action": "dance"}):
        assert post(client, f"{base}/progress", dict(data)).status_code == 400
    assert post(client, f"{base}/progress", {"action": "pause"}).status_code == 409
    prepare(issue)
    for action, expected in (("pause", IssueState.paused), ("resume", IssueState.sending)):
        assert post(client, f"{base}/progress", {"action": action, "reason": "a typo"}).status_code == 303
        assert state(app, issue) is expected
        page = client.get(f"{base}/report").text
        assert 'id="progress" data-live data-stream=' in page and "live.js" in page
    refreshed = client.get(f"{base}/report", headers={"X-Refresh": "1"}).text
    assert 'id="state" data-live' in refreshed and 'id="progress" data-live' in refreshed
    assert "Log" in page and "Log" not in refreshed.replace("Audit log", ""), "only what changes is rendered"
    assert post(client, f"{base}/progress", {"action": "limit", "rate": "60000"}).status_code == 303
    send()
    counts = plan.load_head(app.database, issue).counts
    assert counts.candidates == 3
    assert counts.pending == 0
    for headers in ({}, {"X-Refresh": "1"}):
        ended = client.get(f"{base}/report", headers=headers).text
        assert 'id="progress"' in ended and "data-live" not in ended, "it asks no more"
    assert "a typo" in client.get(f"{base}/report").text
    row = client.get(f"{base}/report").text.split('class="list sums"')[1].split("</table>")[0]
    shown = [int(cell.split(">")[1].split("<")[0]) for cell in row.split("<td")[1:]]
    assert shown[0] == sum(shown[1:]) == 3
    assert shown[1] == counts.sent
    assert post(client, f"{base}/progress", {"action": "cancel", "sure": "1"}).status_code == 409
    explained = client.get(f"{base}/reader?address=Jeanne@example.org").text
    assert "jeanne@example.org" in explained.casefold()
    assert explained.count("<li>") > 3
    assert client.get(f"{base}/reader?address=no+address").status_code == 400
    assert "nobody@example.org" in client.get(f"{base}/reader?address=nobody@example.org").text


class InterruptedStreams(LiveStreams):
    """Does something after each time that it has measured, without a pause between them."""

    def __init__(self, *then: Callable[[], object]) -> None:
        super().__init__(measure_seconds=0, check_seconds=0, stream_seconds=5)
        self._then = list(then)

    def measure(self, name: str, measure: Callable[[], str]) -> str:
        version = super().measure(name, measure)
        if self._then:
            self._then.pop(0)()
        return version


@pytest.mark.usefixtures("coordinator")
def test_progress_is_told_as_long_as_the_session_lasts(
    client: TestClient, app: Container, issue: int, prepare: Callable[[int], None]
) -> None:
    prepare(issue)
    web_app = client.app
    assert isinstance(web_app, FastAPI)
    web_app.state.live_streams = InterruptedStreams(
        lambda: schedule.pause(app.database, issue, "jane"),
        lambda: None,
        lambda: clock_of(app).advance(hours=15),
    )
    answer = client.get(f"/desk/issues/{issue}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    alive, changed = ": alive\n\n", "data: changed\n\n"
    assert answer.text == alive + changed + alive + changed + alive


def test_nobody_sees_an_issue_of_a_newsletter_that_is_not_theirs(
    client: TestClient, app: Container, issue: int
) -> None:
    add_account(app, "bo@example.org", RoleGrant(Role.author, None), name="Bo")
    newsletter = plan.load_head(app.database, issue).newsletter
    add_account(app, "cy@example.org", RoleGrant(Role.author, newsletter), name="Cy")
    sign_in(client, "cy@example.org")
    assert "2026/3" in client.get("/desk").text
    for path in ("approve", "schedule", "unschedule", "reopen", "progress"):
        assert post(client, f"/desk/issues/{issue}/{path}", {"revision": "1"}).status_code == 403
    assert client.get(f"/desk/issues/{issue}/report").status_code == 403
    for path in ("/desk/issues/999", "/desk/issues/x", "/desk/issues/0", f"/desk/issues/{'9' * 30}"):
        assert client.get(path).status_code == 404


def test_a_form_that_was_open_too_long_is_refused_not_repeated(client: TestClient, app: Container, issue: int) -> None:
    add_account(app, "amina@example.org", Role.coordinator)
    sign_in(client, "amina@example.org")
    token = form_token_for(client)
    sign_in(client, "amina@example.org")
    answer = client.post(
        f"/desk/issues/{issue}/policy", data={"policy": "omit", "form_token": token}, headers=SAME_ORIGIN
    )
    assert answer.status_code == 403
    assert "open for too long" in answer.text


@pytest.mark.usefixtures("coordinator")
def test_the_calendar_shows_what_is_planned(client: TestClient, app: Container, issue: int) -> None:
    assert "Nothing is scheduled in this month" in client.get("/desk/calendar?month=2030-02").text
    assert 'href="/desk/calendar"' in client.get("/desk").text
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "jane")
    at = (app.clock.now() + timedelta(days=40)).replace(hour=12)
    schedule.schedule(app.database, issue, at, "jane")
    page = f"/desk/calendar?month={at:%Y-%m}"
    assert f"2026/3 {at:%H:%M} UTC Scheduled" in words(client, page)
    for bad in ("2026-13", "1999-12", "2100-01", "2026", "x" * 100):
        assert client.get(f"/desk/calendar?month={bad}").status_code == 404


@pytest.mark.usefixtures("coordinator")
def test_the_report_is_downloaded_without_addresses(
    client: TestClient, app: Container, issue: int, prepare: Callable[[int], None], send: Callable[[], int]
) -> None:
    prepare(issue)
    send()
    to_report = f'href="/desk/issues/{issue}/report"'
    places = (f"/desk/issues/{issue}", f"/desk/issues/{issue}/send", f"/desk/calendar?month={app.clock.now():%Y-%m}")
    assert all(to_report in client.get(place).text for place in places)
    add_account(app, "bo@example.org", Role.author)
    sign_in(client, "bo@example.org")
    assert not any("/report" in client.get(place).text for place in places), "authors may not read it"
    sign_in(client, "amina@example.org")
    with app.database.transaction() as session:
        session.add(Issue(newsletter_id=1, number="2026/2", issue_date=date(2026, 6, 30), ready_at=app.clock.now()))
        session.execute(update(Issue).where(Issue.id == issue).values(ready_at=app.clock.now() + timedelta(days=90)))
    shown = client.get(f"/desk/issues/{issue}/report")
    assert "By receiving domain" in shown.text
    answer = client.get(f"/desk/issues/{issue}/report.csv")
    assert "attachment" in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert "issue,2026/3,3,3,0,0,," in lines
    assert "domain,example.org,3,3,0,,0,0" in lines
    assert lines[-1] == "previous issue,2026/2,0,0,0,,0,0"
    assert "@" not in answer.text
