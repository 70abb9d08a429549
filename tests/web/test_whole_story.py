"""From a link in one mail to the next mail that arrives changed: in a real browser, without script."""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Page, expect, sync_playwright
from sqlalchemy import text

from mailer.adapters.dkim import Key, KeyKind, Signer, new_private_key
from mailer.adapters.inbox import RunningInbox
from mailer.bootstrap import Mailer
from mailer.domain.newsletter import read_newsletter
from mailer.models import Base
from mailer.services import approve, compose, digest, expand, schedule
from mailer.services.newsletter import apply_newsletter
from mailer.web.app import create_app
from tests.conftest import SAMPLE
from tests.mails import html
from tests.mails import text as words
from tests.notes import link_in, mails_to, send_notes

ADA, EVA = "ada@example.org", "eva@example.org"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, parts: Mailer, serve: Callable[..., str]) -> Iterator[Page]:
    site = serve(create_app(parts))
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
    parts: Mailer, import_issue: Callable[..., int], prepare: Callable[[int], None], send: Callable[[], int]
) -> Callable[[], int]:
    """Send the sample issue, under another number each time."""
    numbers = iter(range(1, 100))

    def run() -> int:
        issue = import_issue("en", "fr")
        prepare(issue)
        sent = send()
        with parts.database.transaction() as session:
            session.execute(
                text("UPDATE issue SET number = :number WHERE id = :id"),
                {"number": f"2026/3 ({next(numbers)})", "id": issue},
            )
        return sent

    return run


def test_from_the_form_to_the_erasure(
    page: Page,
    parts: Mailer,
    inbox: RunningInbox,
    import_issue: Callable[..., int],
    deliver: Callable[[], int],
) -> None:
    parts.signer = Signer([Key("lumen-basin.example.org", "s1", new_private_key(KeyKind.ed25519))])
    import_issue("en", "fr")
    page.goto("/subscribe/lumen-basin")
    page.get_by_label("Your email address").fill(EVA)
    for title in ("Health and care", "Culture and heritage"):
        page.get_by_label(title).uncheck()
    page.get_by_role("button", name="Subscribe").click()
    expect(page.get_by_role("status")).to_contain_text("We have sent an email to eva@example.org")
    send_notes(parts)
    (confirm,) = mails_to(inbox, EVA)
    assert confirm["DKIM-Signature"]
    page.goto(link_in(confirm, "/c/"))
    page.get_by_role("button", name="Confirm my subscription").click()
    expect(page.get_by_role("status")).to_contain_text("You are subscribed")

    assert deliver() == 1
    first = mails_to(inbox, EVA)[-1]
    assert first["Content-Language"] == "en"
    assert "Nine countries sign" in html(first)
    assert "Nine choirs" not in html(first)

    page.goto(link_in(first, "/p/"))
    page.get_by_role("button", name="Send me the link").click()
    expect(page.get_by_role("status")).to_contain_text("We have sent you the link")
    send_notes(parts)
    page.goto(link_in(mails_to(inbox, EVA)[-1], "/k/"))
    page.get_by_label("Culture and heritage").check()
    page.get_by_label("News and events").uncheck()
    page.get_by_label("First language").select_option("fr")
    page.get_by_label("Text only").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_be_focused()
    assert deliver() == 1
    second = mails_to(inbox, EVA)[-1]
    assert second["Content-Language"] == "fr"
    assert second.get_content_type() == "text/plain"
    assert "Neuf chœurs, une chanson" in words(second)
    assert "Neuf pays signent" not in words(second)

    page.goto(link_in_text(second, "/u/") + "?lang=en")
    page.get_by_label("Culture and heritage").check()
    page.get_by_role("button", name="Unsubscribe from the selected sections").click()
    expect(page.get_by_role("status")).to_contain_text("Culture and heritage")
    page.goto(link_in_text(second, "/u/") + "?lang=en")
    page.get_by_label("Pause for").select_option("1")
    page.get_by_role("button", name="Pause my emails").click()
    assert deliver() == 0
    page.get_by_role("button", name="Undo this change").click()
    assert deliver() == 1
    assert "Neuf chœurs, une chanson" not in words(mails_to(inbox, EVA)[-1])

    page.goto(link_in_text(second, "/u/") + "?lang=en")
    page.get_by_role("button", name="Unsubscribe", exact=True).click()
    page.get_by_label("Too many emails").check()
    page.get_by_role("button", name="Send my answer").click()
    expect(page.get_by_role("status").last).to_contain_text("Thank you")
    assert deliver() == 0
    page.get_by_role("button", name="Restore my subscription").click()

    page.goto(link_in_text(second, "/p/") + "?lang=en")
    page.get_by_role("button", name="Send me the link").click()
    send_notes(parts)
    page.goto(link_in(mails_to(inbox, EVA)[-1], "/k/") + "?lang=en")
    page.get_by_role("link", name="View, download or erase").click()
    expect(page.get_by_role("main")).to_contain_text(EVA)
    page.get_by_label("Yes, erase everything").check()
    page.get_by_role("button", name="Erase everything").click()
    expect(page.get_by_role("status")).to_contain_text("Everything has been erased")
    assert deliver() == 0
    with parts.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM subscriber")) == 0


@pytest.fixture
def first(
    page: Page,
    inbox: RunningInbox,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    deliver: Callable[[], int],
) -> EmailMessage:
    """Ada's first mail."""
    assert page
    import_issue("en", "fr")
    add_readers(f"{ADA};en;")
    assert deliver() == 1
    return mails_to(inbox, ADA)[-1]


def to_own_page(page: Page, parts: Mailer, inbox: RunningInbox, mail: EmailMessage, to: str = ADA) -> None:
    """From a mail to the reader's own page, by the link that is sent for it."""
    page.goto(link_in(mail, "/p/"))
    page.get_by_role("button", name="Send me the link").click()
    send_notes(parts)
    page.goto(link_in(mails_to(inbox, to)[-1], "/k/"))


def test_leaving_from_the_mail_and_staying_after_all(
    page: Page, inbox: RunningInbox, first: EmailMessage, deliver: Callable[[], int]
) -> None:
    page.goto(link_in(first, "/u/"))
    page.get_by_role("button", name="Unsubscribe", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("You are unsubscribed")
    assert deliver() == 0
    page.goto(link_in(first, "/u/"))  # the tab was closed meanwhile
    page.get_by_role("button", name="Restore my subscription").click()
    expect(page.get_by_role("status")).to_contain_text("You are subscribed again")
    assert deliver() == 1
    assert len(mails_to(inbox, ADA)) == 2


def test_to_another_address(
    page: Page, parts: Mailer, inbox: RunningInbox, first: EmailMessage, deliver: Callable[[], int]
) -> None:
    new = "ada@new.example.org"
    to_own_page(page, parts, inbox, first)
    page.get_by_label("New email address").fill(new)
    page.get_by_role("button", name="Change my address").click()
    expect(page.get_by_role("status")).to_contain_text("We have sent two emails")
    send_notes(parts)
    page.goto(link_in(mails_to(inbox, new)[-1], "/a/"))
    page.get_by_role("button", name="Confirm the change").click()
    expect(page.get_by_role("status")).to_contain_text("This address is confirmed")
    assert deliver() == 1
    assert mails_to(inbox, ADA)[-1]["List-Unsubscribe"]  # until both have agreed
    page.goto(link_in(mails_to(inbox, ADA)[-2], "/a/"))
    page.get_by_role("button", name="Confirm the change").click()
    expect(page.get_by_role("status")).to_contain_text("Your address has been changed")
    before = len(mails_to(inbox, ADA))
    assert deliver() == 1
    assert new in words(mails_to(inbox, new)[-1])
    assert len(mails_to(inbox, ADA)) == before
    # Links of mails that went to the old address go on working.
    page.goto(link_in(first, "/u/"))
    page.get_by_role("button", name="Unsubscribe", exact=True).click()
    assert deliver() == 0


def test_once_a_month_is_enough(
    page: Page, parts: Mailer, inbox: RunningInbox, first: EmailMessage, deliver: Callable[[], int]
) -> None:
    page.goto(link_in(first, "/u/"))
    page.get_by_role("button", name="Switch to monthly").click()
    expect(page.get_by_role("status")).to_contain_text("Your changes have been saved")
    assert deliver() == 0
    with parts.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-09-14 10:00+00'"))
    (issue,) = digest.make_due(
        parts.database, datetime(2026, 10, 1, 6, tzinfo=UTC), parts.note_renderer.month_words
    )
    on_its_way(parts, issue)
    monthly = mails_to(inbox, ADA)[-1]
    assert monthly["Subject"] == "The Lumen Basin Quarterly: September 2026"
    assert "Nine countries sign" in html(monthly)
    to_own_page(page, parts, inbox, monthly)
    page.get_by_role("radio", name="Every issue", exact=True).check()
    page.get_by_role("button", name="Save").click()
    assert deliver() == 1


def on_its_way(parts: Mailer, issue: int) -> None:
    now = datetime.now(UTC)
    assert schedule.begin_due(parts.database, now, 10) == [issue]
    while expand.expand_some(parts.database, issue, now):
        pass
    while compose.render_stale(parts.database, parts.renderer, parts.links, "", issue, 8):
        pass
    assert expand.settle(parts.database, issue, now)
    for batch, _ in schedule.hand_out(parts.database, now, timedelta(0), 10):
        parts.sender.send_batch(batch)
    schedule.finish_done(parts.database, now)


def test_nine_o_clock_where_the_reader_is(
    page: Page, parts: Mailer, inbox: RunningInbox, first: EmailMessage, import_issue: Callable[..., int]
) -> None:
    to_own_page(page, parts, inbox, first)
    page.get_by_label("Time zone").select_option("America/New_York")
    page.get_by_role("button", name="Save").click()
    issue = import_issue("en")
    approve.approve(parts.database, compose.load(parts.database, parts.links, issue), "tests")
    schedule.schedule_locally(parts.database, issue, datetime(2026, 10, 1, 9), "tests")
    morning = datetime(2026, 10, 1, 6, tzinfo=UTC)
    assert schedule.begin_due(parts.database, morning, 10) == [issue]
    while expand.expand_some(parts.database, issue, morning):
        pass
    with parts.database.transaction() as session:
        due = session.scalar(text("SELECT due_at FROM delivery WHERE issue_id = :id"), {"id": issue})
    assert due == datetime(2026, 10, 1, 13, tzinfo=UTC)


def test_another_newsletter_of_the_same_sender(
    page: Page, parts: Mailer, inbox: RunningInbox, first: EmailMessage
) -> None:
    other = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    other.slug, other.list_id, other.names = "lumen-culture", "culture.example.org", {"en": "Lumen Culture"}
    apply_newsletter(parts.database, other)
    to_own_page(page, parts, inbox, first)
    page.get_by_role("link", name="Lumen Culture").click()
    page.get_by_label("Your email address").fill(ADA)
    page.get_by_role("button", name="Subscribe").click()
    send_notes(parts)
    page.goto(link_in(mails_to(inbox, ADA)[-1], "/c/"))
    page.get_by_role("button", name="Confirm my subscription").click()
    send_notes(parts)
    welcome = mails_to(inbox, ADA)[-1]
    assert "Lumen Culture" in str(welcome["Subject"])
    to_own_page(page, parts, inbox, welcome)
    expect(page.get_by_role("main")).to_contain_text("Lumen Culture at ada@example.org")
    page.get_by_role("link", name="The Lumen Basin Quarterly").click()
    expect(page.get_by_role("main")).to_contain_text("The Lumen Basin Quarterly at ada@example.org")


def link_in_text(mail: object, room: str) -> str:
    found = {urlsplit(link).path for link in re.findall(r"https?://[^\s<>]+", words(mail))}  # type: ignore[arg-type]
    (path,) = {path for path in found if path.startswith(room)}
    return path


def snapshot(parts: Mailer) -> dict[str, list[str]]:
    with parts.database.transaction() as session:
        return {
            table.name: list(
                session.execute(text(f"SELECT t::text FROM {table.name} t ORDER BY 1")).scalars()
            )
            for table in Base.metadata.sorted_tables
        }


def test_fetching_every_link_of_every_mail_changes_nothing_and_leaves_no_trace(
    parts: Mailer,
    inbox: RunningInbox,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    deliver: Callable[[], int],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """As mail scanners do. Nothing of it, nor of the posts before, stands in a log."""
    caplog.set_level(logging.DEBUG)
    import_issue("en", "fr")
    add_readers("ada@example.org;en;")
    with TestClient(create_app(parts), follow_redirects=False) as client:
        client.post("/subscribe/lumen-basin", data={"address": EVA})
        deliver()
        send_notes(parts)
        client.post(link_in(mails_to(inbox, EVA)[0], "/c/"))
        client.post("/subscribe/lumen-basin", data={"address": "new@example.org"})
        ada = mails_to(inbox, "ada@example.org")[0]
        client.post(link_in(ada, "/p/"), data={"action": "send"})
        send_notes(parts)
        own = link_in(mails_to(inbox, "ada@example.org")[-1], "/k/")
        client.post(own, data={"action": "move", "address": "ada@new.example.org"})
        send_notes(parts)
        mails = [mail for to in recipients(inbox) for mail in mails_to(inbox, to)]
        links = {
            link for mail in mails for link in re.findall(r"https?://[^\s<>\"]+", words(mail) + html(mail))
        }
        links |= {
            link
            for mail in mails
            for link in re.findall(r"<(https?://[^>]+)>", str(mail["List-Unsubscribe"]))
        }
        ours = {urlsplit(link).path for link in links if link.startswith("http://news.example.org/")}
        assert {path[:3] for path in ours} >= {"/u/", "/p/", "/e/", "/c/", "/k/", "/a/"}
        ours |= {own + "/data", own + "/data.json"}
        before = snapshot(parts)
        for path in sorted(ours):
            for method in ("GET", "HEAD", "OPTIONS"):
                for query in ("", "?action=leave&sure=yes", "?lang=fr"):
                    assert client.request(method, path + query).status_code in (200, 405), path
        assert snapshot(parts) == before
    tokens = {path.split("/")[2] for path in ours if path[:3] in ("/u/", "/p/", "/c/", "/k/", "/a/")}
    kept = [record.getMessage() for record in caplog.records if record.name.startswith(("mailer", "uvicorn"))]
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            said = file.read_text("utf-8", "replace")
            # The embedded Redis writes down where it listens itself.
            kept.append(said.replace("127.0.0.1", "") if "valkey" in file.parts else said)
    secrets = {*tokens, EVA, "ada@example.org", "testclient", "127.0.0.1"}
    assert not [said for said in kept for secret in secrets if secret in said]


def recipients(inbox: RunningInbox) -> list[str]:
    return list(dict.fromkeys(mail.recipients[0] for mail in inbox.messages()))
