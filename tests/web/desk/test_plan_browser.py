"""Stories and sections are moved in a real browser, by dragging and with keys."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from mailer.bootstrap import Container
from mailer.domain.permissions import Role
from mailer.services.issues import plan
from mailer.web.app import create_app
from tests.support.browser import sign_in
from tests.support.staff import add_account


@pytest.fixture
def app(make_app: Callable[..., Container]) -> Container:
    return make_app({"public_url": "http://127.0.0.1"})


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int]) -> int:
    return import_issue("en")


@pytest.fixture
def page(app: Container, issue: int, browser: Browser, serve: Callable[..., str]) -> Iterator[Page]:
    """The plan, opened by an author; the test fails when the page breaks its own policy."""
    add_account(app, "amina@example.org", Role.author)
    context = browser.new_context(viewport={"width": 1280, "height": 1400}, base_url=serve(create_app(app)))
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    sign_in(opened, "amina@example.org")
    opened.goto(f"/desk/issues/{issue}")
    yield opened
    context.close()
    assert not complaints


def test_a_plan_is_put_in_order_by_hand(app: Container, issue: int, page: Page) -> None:
    def stories() -> list[list[int]]:
        sections = plan.load_plan(app.database, app.urls, issue).all_sections
        return [[story.id for story in section.stories] for section in sections]

    before = stories()
    first, second = before[0][:2]
    row = page.locator(f"#story-{first}")
    grip = row.locator(".grip")
    said = page.locator("#moved")

    # By keys within the section, and twice in a row: the second move waits for the first.
    grip.focus()
    page.keyboard.press("Alt+ArrowDown")
    expect(said).to_have_text(re.compile(rf"at place 2 of {len(before[0])} in "))
    expect(grip).to_be_focused()
    assert stories()[0][:2] == [second, first]
    for _ in range(len(before[0]) - 2):
        page.keyboard.press("Alt+ArrowDown")
        expect(grip).to_be_focused()
    expect(said).to_have_text(re.compile(rf"at place {len(before[0])} of "))
    page.keyboard.press("Alt+ArrowDown")
    expect(said).to_have_text(re.compile(rf"at place 1 of {len(before[1]) + 1} in "))
    assert stories()[1] == [first, *before[1]]

    # Dragged back before the first story of its section; undone by the button that then appears.
    grip.drag_to(page.locator(f"#story-{second}"), target_position={"x": 60, "y": 4})
    expect(said).to_have_text(re.compile(rf"at place 1 of {len(before[0])} in "))
    assert stories() == before
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("The story is back where it was.").wait_for()
    assert stories()[1] == [first, *before[1]]

    # A section is dragged after another, and moved back with a key.
    bands = page.locator(".plan-band")
    titles = bands.locator("h2").all_inner_texts()
    bands.nth(0).locator(".grip").drag_to(bands.nth(1))
    expect(bands.locator("h2").first).to_have_text(titles[1])
    page.keyboard.press("Alt+ArrowUp")
    expect(bands.locator("h2").first).to_have_text(titles[0])
    expect(said).to_have_text(re.compile("The section .* is at place 1 of"))
