"""A coordinator who has never seen a terminal: from an invitation to the report, in a real browser."""

import socket
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role
from mailer.services.newsletters.apply import apply_newsletter
from tests.conftest import SAMPLE
from tests.support.browser import WIDE, PageCheck, sign_in
from tests.support.sending import send_scheduled
from tests.support.staff import add_account


@pytest.fixture
def app(make_app: Callable[..., Container], listener: socket.socket) -> Container:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return make_app({"public_url": url, "web_components": True})


@pytest.fixture
def page(app: Container, server: None, browser: Browser) -> Iterator[Page]:
    """A browser at the desk. The test fails for any breach of the content security policy."""
    breaches: list[str] = []
    context = browser.new_context(base_url=app.settings.public_url, viewport=WIDE)
    page = context.new_page()
    page.on("console", lambda line: breaches.append(line.text) if "Content Security" in line.text else None)
    yield page
    context.close()
    assert breaches == []


def test_from_an_invitation_to_the_report(
    page: Page,
    app: Container,
    inbox: InboxServer,
    add_subscribers: Callable[[str], None],
    look_over: PageCheck,
) -> None:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    apply_newsletter(app.database, settings.model_copy(update={"four_eyes": True}))
    add_subscribers("""
        ada@example.org;en;
        jeanne@example.org;fr;
        leila@example.org;ar;
    """)
    add_account(app, "amina@example.org", Role.administrator, name="Amina")

    # Invited, with a link by mail.
    page.goto("/sign-in")
    look_over(page)
    sign_in(page, "amina@example.org")
    page.goto("/desk/components")
    look_over(page)
    page.get_by_role("link", name="Colleagues").click()
    look_over(page)
    page.get_by_label("Name").fill("Jovan")
    page.get_by_label("Email address").fill("jovan@example.org")
    page.get_by_label("Coordinator does all of the above").first.check()
    page.get_by_role("button", name="Send the invitation").click()
    page.get_by_text("The invitation is on its way.").wait_for()
    app.transactional_sender.send_due(app.clock.now())
    (mail,) = inbox.wait_for(1, 10)
    assert mail.recipients == ("jovan@example.org",)
    link = page.locator("code", has_text="/w/").inner_text()
    page.context.clear_cookies()
    page.goto(link)
    look_over(page)
    page.get_by_label("New password").fill("four plain words here")
    page.get_by_role("button", name="Set this password").click()
    page.get_by_text("Your password is set.").wait_for()

    # Signed in, uploaded in two languages.
    sign_in(page, "jovan@example.org", "four plain words here")
    look_over(page)
    page.get_by_text("There is no issue yet.").wait_for()
    for language in ("en", "fr"):
        page.get_by_role("link", name="Upload a document").click()
        look_over(page)
        page.get_by_label("Document").set_input_files(SAMPLE / f"2026-4.{language}.md")
        page.get_by_label("Pictures").set_input_files(
            [SAMPLE / "pictures" / name for name in ("01-charter.jpg", "04-gauges.jpg", "13-market-boats.jpg")]
        )
        page.get_by_label("Language").select_option(language)
        page.get_by_role("button", name="Show how it is understood").click()
        page.get_by_role("heading", name="What would change").wait_for()
        look_over(page)
        page.get_by_role("button", name="Import").click()
        page.get_by_text("The document is imported.").wait_for()
    look_over(page)

    # Previewed on a phone in the dark, approved by another.
    page.get_by_role("link", name="Preview").click()
    page.get_by_label("Language").select_option("fr")
    page.get_by_label("Screen").select_option("phone")
    page.get_by_label("Colours").select_option("dark")
    page.get_by_role("button", name="Show", exact=True).click()
    frame = page.frame_locator("iframe.edition")
    frame.get_by_text("Les guetteurs de glace").first.wait_for()
    look_over(page)
    page.get_by_role("link", name="All editions at a glance").click()
    look_over(page)
    issue_url = page.url.partition("/editions")[0]
    page.goto(f"{issue_url}/check")
    expect(page.get_by_text("You changed it last: someone else approves it.")).to_have_count(2)
    sign_in(page, "amina@example.org")
    page.goto(f"{issue_url}/check")
    look_over(page)
    page.get_by_role("button", name="Approve the chosen languages").click()
    page.get_by_text("The issue is approved.").wait_for()

    # Scheduled with the number on the button, watched, and the report read.
    sign_in(page, "jovan@example.org", "four plain words here")
    page.goto(f"{issue_url}/send")
    look_over(page)
    page.get_by_label("Now").check()
    page.get_by_role("button", name="Schedule for 3 readers").click()
    page.get_by_text("The issue is scheduled.").wait_for()
    page.get_by_text("It has not begun.").wait_for()
    look_over(page)
    send_scheduled(app, int(issue_url.rpartition("/")[2]))
    expect(page.locator("table.sums td").nth(1)).to_have_text("3")  # by itself, without a click
    numbers = [int(cell.inner_text()) for cell in page.locator("table.sums td").all()]
    assert numbers == [3, 3, 0, 0, 0, 0]
    page.reload()
    look_over(page)
    assert len(inbox.messages()) == 4
    pages = "/desk/newsletters/lumen-basin/settings"
    sign_in(page, "amina@example.org")
    for place in ("/desk", "/account", "/desk/audit-log", pages, f"{pages}/languages", f"{pages}/colours"):
        page.goto(place)
        look_over(page)
    page.get_by_label("Text", exact=True).fill("#cccccc")
    page.get_by_text("Text: 1.6 to 1 – emails show").wait_for()  # by itself, before it is saved
