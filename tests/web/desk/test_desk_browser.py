"""What the scripts of the desk do in a real browser, under the policy of its pages."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date

import pytest
from playwright.sync_api import Browser, Error, Locator, Page, expect

from mailer.bootstrap import Container
from mailer.domain.crops import Crop, CropFormat
from mailer.domain.permissions import Role
from mailer.services.issues import contacts, hold_over, plan
from mailer.services.newsletters import picture_library
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
def page(app: Container, browser: Browser, serve: Callable[..., str]) -> Iterator[Page]:
    """A page of an author; the test fails when a page breaks its own policy, or a script has an error."""
    add_account(app, "amina@example.org", Role.author)
    context = browser.new_context(viewport={"width": 1280, "height": 1400}, base_url=serve(create_app(app)))
    opened = context.new_page()
    complaints: list[str] = []
    context.on("console", lambda message: complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    sign_in(opened, "amina@example.org")
    yield opened
    context.close()
    assert not complaints


def test_a_plan_is_put_in_order_by_hand(app: Container, issue: int, page: Page) -> None:
    def stories() -> list[list[int]]:
        sections = plan.load_plan(app.database, app.urls, issue).all_sections
        return [[story.id for story in section.stories] for section in sections]

    page.goto(f"/desk/issues/{issue}")
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


def test_the_frame_of_a_crop_is_moved_by_pointer_and_keys(app: Container, issue: int, page: Page) -> None:
    newsletter = plan.load_head(app.database, issue).newsletter
    item = picture_library.load_library(app.database, newsletter).items[0]
    page.goto(f"/desk/newsletters/lumen-basin/pictures/{item.id}")
    frame, left = page.locator(".crop-frame"), page.get_by_label("From left to right")
    page.get_by_label("Square").check()
    expect(left).to_have_value("50")
    box = page.locator(".crop-view").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.3, box["y"] + box["height"] / 2)
    expect(left).to_have_value("30")
    expect(frame).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(left).to_have_value("42")
    shown, view = frame.bounding_box(), page.locator(".crop-view").bounding_box()
    assert shown is not None
    assert view is not None
    assert shown["x"] + shown["width"] / 2 == pytest.approx(view["x"] + view["width"] * 0.42, abs=3)
    page.get_by_role("button", name="Crop the picture").click()
    page.get_by_text("The picture is cropped.").wait_for()
    assert picture_library.load_picture(app.database, newsletter, item.id).crop == Crop(CropFormat.square, 42, 50)


HAS_COPY = """(words) => new Promise((resolve) => {
    const opened = indexedDB.open("texts", 1);
    opened.onsuccess = () => {
        const copies = opened.result.transaction("copies").objectStore("copies").getAll();
        copies.onsuccess = () => resolve(JSON.stringify(copies.result).includes(words));
    };
})"""


def test_a_note_that_was_not_saved_is_back(app: Container, issue: int, page: Page) -> None:
    story = plan.load_plan(app.database, app.urls, issue).sections[0].stories[0].id
    path = f"/desk/issues/{issue}/stories/{story}/en/contacts"

    def open_notes(place: Page) -> tuple[Locator, Locator]:
        place.goto(path)
        expect(place.locator("#notes[data-started]")).to_be_visible()
        fields = place.get_by_role("textbox", name=re.compile("in English"))
        return fields.first, fields.last

    first, new = open_notes(page)
    first.press("End")
    first.press_sequentially(" Ask Jovan.")
    new.fill("(For information: Ana)")
    page.wait_for_function(HAS_COPY, arg="(For information: Ana)")
    page.close()

    again = page.context.new_page()
    first, new = open_notes(again)
    expect(again.get_by_text(re.compile("What you wrote at .* is back"))).to_be_visible()
    expect(first).to_contain_text("Ask Jovan.")
    expect(new).to_have_text("(For information: Ana)")

    # What is saved is gone from the browser, what is not stays.
    again.get_by_role("button", name="Add the note").click()
    again.get_by_text("The contact is below the story.").wait_for()
    first, new = open_notes(again)
    expect(first).to_contain_text("Ask Jovan.")
    expect(new).to_have_text("")
    again.get_by_role("button", name="Save the note").first.click()
    again.get_by_text("The note is saved.").wait_for()

    # Nor is that lost which is written on the page that says so, and is not saved.
    expect(again.locator("#notes[data-started]")).to_be_visible()
    first = again.get_by_role("textbox", name=re.compile("in English")).first
    first.press("End")
    first.press_sequentially(" Or Ana.")
    again.wait_for_function(HAS_COPY, arg="Or Ana.")
    again.route("**/*", lambda route: route.abort("connectionrefused"), times=1)
    with suppress(Error):
        again.get_by_role("button", name="Save the note").first.click()
    again.wait_for_url("chrome-error://**")
    again.go_back()
    expect(first).to_contain_text("Or Ana.")
    again.get_by_role("button", name="Save the note").first.click()
    again.get_by_text("The note is saved.").wait_for()

    first, new = open_notes(again)
    expect(again.locator("#restored")).to_be_hidden()
    notes = [note.text for note in contacts.list_contacts(app.database, issue, story, "en")]
    assert notes[0].endswith("Ask Jovan. Or Ana.")
    assert notes[-1] == "(For information: Ana)"

    # A story that is held over takes what was not saved along.
    new.fill("(For information: Jovan)")
    again.wait_for_function(HAS_COPY, arg="(For information: Jovan)")
    target = hold_over.hold_over(app.database, issue, story, None, date(2026, 10, 2), "tests").id
    first, new = open_notes(again)
    assert f"/issues/{target}/" in again.url
    expect(new).to_have_text("(For information: Jovan)")


def test_a_contact_that_was_not_saved_is_back(issue: int, page: Page) -> None:
    def open_new() -> tuple[Locator, Locator]:
        page.goto("/desk/newsletters/lumen-basin/address-book/new")
        expect(page.locator("#notes[data-started]")).to_be_visible()
        return page.get_by_label("Name"), page.get_by_role("textbox", name="English")

    name, note = open_new()
    name.fill("Ana")
    note.fill("(For information: Ana)")
    page.wait_for_function(HAS_COPY, arg="(For information: Ana)")
    name, note = open_new()
    expect(name).to_have_value("Ana")
    expect(note).to_have_text("(For information: Ana)")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("The contact is in the address book.").wait_for()
    expect(page.locator("#notes[data-started]")).to_be_attached()
    name, note = open_new()
    expect(name).to_have_value("")
    expect(note).to_have_text("")
    expect(page.locator("#restored")).to_be_hidden()
