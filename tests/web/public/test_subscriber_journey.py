"""Journeys from a link in an email to the next, changed email, in a browser without script."""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import text

from mailer.adapters.dkim import Key, Signer, new_private_key
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.dkim import KeyKind
from mailer.domain.newsletter_check import read_newsletter
from mailer.models import Base
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import approve, compile, digest, schedule
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers.preferences import NOTICE_DELAY
from mailer.web.app import create_app
from tests.conftest import SAMPLE
from tests.support.emails import html_body
from tests.support.emails import text_body as words
from tests.support.transactional import emails_to, link_path, send_transactional

ADA, EVA = "ada@example.org", "eva@example.org"


@pytest.fixture
def page(browser: Browser, app: Container, serve: Callable[..., str]) -> Iterator[Page]:
    site = serve(create_app(app))
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, java_script_enabled=False, base_url=site, locale="en-GB"
    )
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    yield opened
    context.close()
    assert not [said for said in complaints if "favicon" not in said and "422" not in said]


@pytest.fixture
def deliver(
    app: Container, import_issue: Callable[..., int], prepare: Callable[[int], None], send: Callable[[], int]
) -> Callable[[], int]:
    """Send the sample issue, under another number each time."""
    numbers = iter(range(1, 100))

    def run() -> int:
        issue = import_issue("en", "fr")
        prepare(issue)
        sent = send()
        with app.database.transaction() as session:
            session.execute(
                text("UPDATE issue SET number = :number WHERE id = :id"),
                {"number": f"2026/3 ({next(numbers)})", "id": issue},
            )
        return sent

    return run


def test_from_sign_up_to_erasure(
    page: Page,
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    deliver: Callable[[], int],
) -> None:
    app.signer = Signer([Key("lumen-basin.example.org", "s1", new_private_key(KeyKind.ed25519))])
    import_issue("en", "fr")
    page.goto("/subscribe/lumen-basin")
    page.get_by_label("Your email address").fill(EVA)
    for title in ("Health and care", "Culture and heritage"):
        page.get_by_label(title).uncheck()
    page.get_by_role("button", name="Subscribe").click()
    expect(page.get_by_role("status")).to_contain_text("We have sent an email to eva@example.org")
    send_transactional(app)
    (confirm,) = emails_to(inbox, EVA)
    assert confirm["DKIM-Signature"]
    page.goto(link_path(confirm, "/c/"))
    page.get_by_role("button", name="Confirm my subscription").click()
    expect(page.get_by_role("status")).to_contain_text("You are subscribed")

    assert deliver() == 1
    first = emails_to(inbox, EVA)[-1]
    assert first["Content-Language"] == "en"
    assert "Nine countries sign" in html_body(first)
    assert "Nine choirs" not in html_body(first)

    page.goto(link_path(first, "/p/"))
    page.get_by_role("button", name="Send me the link").click()
    expect(page.get_by_role("status")).to_contain_text("We have sent you the link")
    send_transactional(app)
    page.goto(link_path(emails_to(inbox, EVA)[-1], "/k/"))
    page.get_by_label("Culture and heritage").check()
    page.get_by_label("News and events").uncheck()
    page.get_by_label("First language").select_option("fr")
    page.get_by_label("Text only").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_be_focused()
    assert deliver() == 1
    second = emails_to(inbox, EVA)[-1]
    assert second["Content-Language"] == "fr"
    assert second.get_content_type() == "text/plain"
    assert "Neuf chœurs, une chanson" in words(second)
    assert "Neuf pays signent" not in words(second)

    page.goto(link_in_text(second, "/u/") + "?lang=en")
    page.get_by_label("Culture and heritage").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Your changes have been saved.")
    expect(page.get_by_role("status")).not_to_contain_text("Culture and heritage")
    send_transactional(app, datetime.now(UTC) + NOTICE_DELAY)
    assert link_path(emails_to(inbox, EVA)[-1], "/p/")
    page.goto(link_in_text(second, "/u/") + "?lang=en")
    page.get_by_label("Pause for").select_option("1")
    page.get_by_role("button", name="Pause my emails").click()
    assert deliver() == 0
    page.get_by_role("button", name="Undo this change").click()
    assert deliver() == 1
    assert "Neuf chœurs, une chanson" not in words(emails_to(inbox, EVA)[-1])

    page.goto(link_in_text(second, "/u/") + "?lang=en")
    page.get_by_role("button", name="Unsubscribe", exact=True).click()
    page.get_by_label("Too many emails").check()
    page.get_by_role("button", name="Send my answer").click()
    expect(page.get_by_role("status").last).to_contain_text("Thank you")
    assert deliver() == 0
    page.get_by_role("button", name="Restore my subscription").click()

    page.goto(link_in_text(second, "/p/") + "?lang=en")
    page.get_by_role("button", name="Send me the link").click()
    send_transactional(app)
    page.goto(link_path(emails_to(inbox, EVA)[-1], "/k/") + "?lang=en")
    page.get_by_role("link", name="View, download or erase").click()
    expect(page.get_by_role("main")).to_contain_text(EVA)
    page.get_by_label("Yes, erase everything").check()
    page.get_by_role("button", name="Erase everything").click()
    expect(page.get_by_role("status")).to_contain_text("Everything has been erased")
    assert deliver() == 0
    with app.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM subscriber")) == 0


@pytest.fixture
def first(
    page: Page,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    deliver: Callable[[], int],
) -> EmailMessage:
    """Ada's first mail."""
    assert page
    import_issue("en", "fr")
    add_subscribers(f"{ADA};en;")
    assert deliver() == 1
    return emails_to(inbox, ADA)[-1]


def to_own_page(page: Page, app: Container, inbox: InboxServer, mail: EmailMessage, to: str = ADA) -> None:
    """From a mail to the reader's own page, by the link that is sent for it."""
    page.goto(link_path(mail, "/p/"))
    page.get_by_role("button", name="Send me the link").click()
    send_transactional(app)
    page.goto(link_path(emails_to(inbox, to)[-1], "/k/"))


def test_unsubscribing_from_an_email_and_undoing_it(
    page: Page, inbox: InboxServer, first: EmailMessage, deliver: Callable[[], int]
) -> None:
    page.goto(link_path(first, "/u/"))
    page.get_by_role("button", name="Unsubscribe", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("You are unsubscribed")
    assert deliver() == 0
    page.goto(link_path(first, "/u/"))  # the tab was closed meanwhile
    page.get_by_role("button", name="Restore my subscription").click()
    expect(page.get_by_role("status")).to_contain_text("You are subscribed again")
    assert deliver() == 1
    assert len(emails_to(inbox, ADA)) == 2


def test_changing_the_address(
    page: Page, app: Container, inbox: InboxServer, first: EmailMessage, deliver: Callable[[], int]
) -> None:
    new = "ada@new.example.org"
    to_own_page(page, app, inbox, first)
    page.get_by_label("New email address").fill(new)
    page.get_by_role("button", name="Change my address").click()
    expect(page.get_by_role("status")).to_contain_text("We have sent two emails")
    send_transactional(app)
    page.goto(link_path(emails_to(inbox, new)[-1], "/a/"))
    page.get_by_role("button", name="Confirm the change").click()
    expect(page.get_by_role("status")).to_contain_text("This address is confirmed")
    assert deliver() == 1
    assert emails_to(inbox, ADA)[-1]["List-Unsubscribe"]  # until both have agreed
    page.goto(link_path(emails_to(inbox, ADA)[-2], "/a/"))
    page.get_by_role("button", name="Confirm the change").click()
    expect(page.get_by_role("status")).to_contain_text("Your address has been changed")
    before = len(emails_to(inbox, ADA))
    assert deliver() == 1
    assert new in words(emails_to(inbox, new)[-1])
    assert len(emails_to(inbox, ADA)) == before
    # Links of mails that went to the old address go on working.
    page.goto(link_path(first, "/u/"))
    page.get_by_role("button", name="Unsubscribe", exact=True).click()
    assert deliver() == 0


def test_switching_to_monthly(
    page: Page, app: Container, inbox: InboxServer, first: EmailMessage, deliver: Callable[[], int]
) -> None:
    page.goto(link_path(first, "/u/"))
    page.get_by_label("Once a month").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Your changes have been saved")
    assert deliver() == 0
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-09-14 10:00+00'"))
    turn = datetime(2026, 10, 1, 6, tzinfo=UTC)
    (issue,) = digest.create_due_digests(app.database, turn, app.transactional_renderer.digest_texts)
    on_its_way(app, issue, turn)
    monthly = emails_to(inbox, ADA)[-1]
    assert monthly["Subject"] == "The Lumen Basin Quarterly: September 2026"
    assert "Nine countries sign" in html_body(monthly)
    to_own_page(page, app, inbox, monthly)
    page.get_by_role("radio", name="Every issue", exact=True).check()
    page.get_by_role("button", name="Save").click()
    assert deliver() == 1


def on_its_way(app: Container, issue: int, started_at: datetime | None = None) -> None:
    now = datetime.now(UTC)
    assert dispatch.start_due(app.database, started_at or now, 10) == [issue]
    while expand.expand_next(app.database, issue, now):
        pass
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass
    assert dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    for batch, _ in dispatch.enqueue_due(app.database, now, timedelta(0), 10):
        app.send_worker.send_batch(batch)
    dispatch.finish_done(app.database, now)


def test_sending_at_nine_in_the_readers_time_zone(
    page: Page, app: Container, inbox: InboxServer, first: EmailMessage, import_issue: Callable[..., int]
) -> None:
    to_own_page(page, app, inbox, first)
    page.get_by_label("Time zone").select_option("America/New_York")
    page.get_by_role("button", name="Save").click()
    issue = import_issue("en")
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    schedule.schedule_local_time(app.database, issue, datetime(2026, 10, 1, 9), "tests")
    morning = datetime(2026, 10, 1, 6, tzinfo=UTC)
    assert dispatch.start_due(app.database, morning, 10) == [issue]
    while expand.expand_next(app.database, issue, morning):
        pass
    with app.database.transaction() as session:
        due = session.scalar(text("SELECT due_at FROM delivery WHERE issue_id = :id"), {"id": issue})
    assert due == datetime(2026, 10, 1, 13, tzinfo=UTC)


def test_another_newsletter_of_the_same_sender(
    page: Page, app: Container, inbox: InboxServer, first: EmailMessage
) -> None:
    other = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    other.slug, other.list_id, other.names = "lumen-culture", "culture.example.org", {"en": "Lumen Culture"}
    apply_newsletter(app.database, other)
    to_own_page(page, app, inbox, first)
    page.get_by_role("link", name="Lumen Culture").click()
    page.get_by_label("Your email address").fill(ADA)
    page.get_by_role("button", name="Subscribe").click()
    send_transactional(app)
    page.goto(link_path(emails_to(inbox, ADA)[-1], "/c/"))
    page.get_by_role("button", name="Confirm my subscription").click()
    send_transactional(app)
    welcome = emails_to(inbox, ADA)[-1]
    assert "Lumen Culture" in str(welcome["Subject"])
    to_own_page(page, app, inbox, welcome)
    expect(page.get_by_role("main")).to_contain_text("Lumen Culture at ada@example.org")
    page.get_by_role("link", name="The Lumen Basin Quarterly").click()
    expect(page.get_by_role("main")).to_contain_text("The Lumen Basin Quarterly at ada@example.org")


def link_in_text(mail: object, room: str) -> str:
    found = {urlsplit(link).path for link in re.findall(r"https?://[^\s<>]+", words(mail))}  # type: ignore[arg-type]
    (path,) = {path for path in found if path.startswith(room)}
    return path


def snapshot(app: Container) -> dict[str, list[str]]:
    with app.database.transaction() as session:
        return {
            table.name: list(session.execute(text(f"SELECT t::text FROM {table.name} t ORDER BY 1")).scalars())
            for table in Base.metadata.sorted_tables
        }


def test_fetching_every_link_of_every_email_changes_nothing(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    deliver: Callable[[], int],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """As mail scanners do. Nothing of it, nor of the posts before, stands in a log."""
    caplog.set_level(logging.DEBUG)
    import_issue("en", "fr")
    add_subscribers("ada@example.org;en;")
    with TestClient(create_app(app), follow_redirects=False) as client:
        client.post("/subscribe/lumen-basin", data={"address": EVA})
        deliver()
        send_transactional(app)
        client.post(link_path(emails_to(inbox, EVA)[0], "/c/"))
        client.post("/subscribe/lumen-basin", data={"address": "new@example.org"})
        ada = emails_to(inbox, "ada@example.org")[0]
        client.post(link_path(ada, "/p/"), data={"action": "send"})
        send_transactional(app)
        own = link_path(emails_to(inbox, "ada@example.org")[-1], "/k/")
        client.post(own, data={"action": "change-address", "address": "ada@new.example.org"})
        send_transactional(app)
        mails = [mail for to in recipients(inbox) for mail in emails_to(inbox, to)]
        links = {link for mail in mails for link in re.findall(r"https?://[^\s<>\"]+", words(mail) + html_body(mail))}
        links |= {link for mail in mails for link in re.findall(r"<(https?://[^>]+)>", str(mail["List-Unsubscribe"]))}
        ours = {urlsplit(link).path for link in links if link.startswith("http://news.example.org/")}
        assert {path[:3] for path in ours} >= {"/u/", "/p/", "/e/", "/c/", "/k/", "/a/"}
        ours |= {own + "/data", own + "/data.json"}
        before = snapshot(app)
        for path in sorted(ours):
            for method in ("GET", "HEAD", "OPTIONS"):
                for query in ("", "?action=unsubscribe&sure=yes", "?lang=fr"):
                    assert client.request(method, path + query).status_code in (200, 405), path
        assert snapshot(app) == before
    tokens = {path.split("/")[2] for path in ours if path[:3] in ("/u/", "/p/", "/c/", "/k/", "/a/")}
    kept = [record.getMessage() for record in caplog.records if record.name.startswith(("mailer", "uvicorn"))]
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            said = file.read_text("utf-8", "replace")
            # The embedded Redis writes down where it listens itself.
            kept.append(said.replace("127.0.0.1", "") if "valkey" in file.parts else said)
    secrets = {*tokens, EVA, "ada@example.org", "testclient", "127.0.0.1"}
    assert not [said for said in kept for secret in secrets if secret in said]


def recipients(inbox: InboxServer) -> list[str]:
    return list(dict.fromkeys(mail.recipients[0] for mail in inbox.messages()))
