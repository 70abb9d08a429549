"""The archive in a real browser, without script and by keyboard alone."""

from collections.abc import Callable, Iterator
from itertools import product

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from tests.support.html_page import ARCHIVE_PATH


@pytest.fixture
def page(browser: Browser, archive_web_app: FastAPI, serve: Callable[..., str], sample: int) -> Iterator[Page]:
    """A phone without script; the test fails when the page asks another host, or breaks its own policy."""
    site = serve(archive_web_app)
    context = browser.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False, base_url=site)
    opened = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    yield opened
    context.close()
    assert all(url.startswith(site) for url in asked)
    assert not complaints


def go_to(page: Page, name: str) -> None:
    """Go by Tab to a control whose words begin with this."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        words = focused.evaluate("e => (e.labels?.[0] ?? e).innerText.trim()") if focused.count() else ""
        if words.startswith(name):
            assert focused.evaluate("e => getComputedStyle(e).outlineStyle") != "none"
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_reading_by_keyboard(page: Page) -> None:
    page.goto(f"{ARCHIVE_PATH}/en")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    expect(page.locator(":focus")).to_be_in_viewport()
    go_to(page, "Nine countries, one river charter")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Nine countries, one river charter")
    go_to(page, "Choose what to read")
    page.keyboard.press("Enter")
    for title in ("News and events", "Water and rivers", "Schools and skills", "Trade and crossings"):
        go_to(page, title)
        page.keyboard.press("Space")
    go_to(page, "Show only these sections")
    page.keyboard.press("Enter")
    page.wait_for_url("**/2026-3?section=health-and-care&section=culture-and-heritage")
    assert page.locator("main section > h2").all_inner_texts() == ["Health and care", "Culture and heritage"]
    page.get_by_role("link", name="Show the whole issue").click()
    expect(page.locator("main section > h2")).to_have_count(6)
    page.get_by_role("link", name="A clinic that comes by boat").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A clinic that comes by boat")
    page.get_by_role("link", name="Next story").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Village kitchens bring neighbours to one table")


def test_switching_the_language(page: Page) -> None:
    page.goto(f"{ARCHIVE_PATH}/en/2026-3?section=health-and-care")
    page.locator("summary").first.click()
    page.get_by_role("link", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.locator("main section > h2")).to_have_text(["الصحة والرعاية"])


def test_searching(page: Page) -> None:
    page.goto(f"{ARCHIVE_PATH}/en")
    page.get_by_role("searchbox", name="Search the stories").fill("electric ferries")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 story found")
    assert "ferry" in page.locator("mark").all_inner_texts()
    page.get_by_role("link", name="The ferry at Port Selin goes electric").click()
    expect(page.get_by_role("article")).to_contain_text("Patient Heron")


@pytest.mark.parametrize("language", ["en", "ar"])
def test_no_content_is_clipped_and_all_pictures_load(page: Page, language: str) -> None:
    page.goto(f"{ARCHIVE_PATH}/{language}/2026-3")
    story = page.locator("article").first.get_attribute("id") or ""
    paths = ("", "/2026-3", "/2026-3/" + story.removeprefix("story-"), "?q=n")
    for width, path in product((320, 390, 1280), paths):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{ARCHIVE_PATH}/{language}{path}")
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for picture in page.locator("img").all():
            picture.scroll_into_view_if_needed()
        page.evaluate("Promise.all(Array.from(document.images, image => image.decode()))")
        assert page.evaluate("Array.from(document.images, i => i.naturalWidth > 0).every(Boolean)")
        controls = page.locator("main button, input, summary, .contents a, .tongues li a, .chooser label")
        assert min(controls.evaluate_all("all => all.map(e => e.getBoundingClientRect().height)")) >= 20


def test_print_hides_the_controls(page: Page) -> None:
    page.goto(f"{ARCHIVE_PATH}/en/2026-3")
    page.emulate_media(media="print")
    for hidden in (".tongues", ".aside", ".neighbours", ".foot ul"):
        for found in page.locator(hidden).all():
            expect(found).to_be_hidden()
    expect(page.locator("article").first).to_be_visible()
    address = page.locator(".more a").first.evaluate("e => getComputedStyle(e, '::after').content")
    assert address == '" (" attr(href) ")"' or "https://example.org/charter" in address
