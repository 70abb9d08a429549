"""The readers' pages in a real browser, without script and by keyboard alone."""

import re
from collections.abc import Callable, Iterator
from itertools import product

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from tests.support.mailing import Mailing

ADA, LEILA = "ada@example.org", "leila@example.org"


@pytest.fixture
def site(web_app: FastAPI, serve: Callable[..., str]) -> str:
    return serve(web_app)


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """A phone without script; the test fails when the page asks another host, or breaks its own policy."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False, base_url=site)
    opened = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    yield opened
    context.close()
    assert all(url.startswith(site) for url in asked)
    assert not [text for text in complaints if "favicon" not in text and "422" not in text]


def press_until(page: Page, name: str) -> None:
    """Go by Tab to a control with this name."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.locator(":focus").filter(has_text=re.compile(f"^{re.escape(name)}$")).count():
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_unsubscribing_and_undoing_by_keyboard(page: Page, mailing: Mailing) -> None:
    page.goto(mailing.unsubscribe_path(ADA))
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Do you want to stop receiving The Lumen Basin Quarterly?"
    )
    assert mailing.profile(ADA).subscribed
    press_until(page, "Unsubscribe")
    page.keyboard.press("Enter")
    left = "We no longer send The Lumen Basin Quarterly to a…@example.org"
    expect(page.get_by_role("status")).to_contain_text(left)
    assert not mailing.profile(ADA).subscribed
    press_until(page, "Restore my subscription")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("You are subscribed again")
    assert mailing.profile(ADA).subscribed


def test_saving_and_undoing_preferences(page: Page, mailing: Mailing) -> None:
    page.goto(mailing.manage_path(ADA))
    expect(page.get_by_label("News and events")).to_be_disabled()
    before = mailing.profile(ADA)
    for title in ("Health and care", "Culture and heritage"):
        page.get_by_label(title).uncheck()
    page.get_by_label("First language").select_option("ar")
    page.get_by_label("Second language").select_option("English")
    page.get_by_role("button", name="Save").click()
    saved = page.get_by_role("status")
    expect(saved).to_be_focused()
    # Arabic is the reader's first language from now on, so the page speaks it.
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    expect(saved).to_contain_text("المياه والأنهار")
    expect(saved).not_to_contain_text("الصحة والرعاية")
    expect(saved).to_contain_text("English")
    assert mailing.followed_bits(ADA) == [0, 1, 2, 4]
    assert mailing.profile(ADA).languages == ("ar", "en")
    saved.get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("Your previous settings have been restored.")
    assert mailing.profile(ADA) == before


def test_rejected_form_shows_advice(page: Page, mailing: Mailing) -> None:
    page.goto(mailing.manage_path(LEILA) + "?lang=en")
    page.locator("option[value=en]").nth(0).evaluate("option => { option.value = 'tlh' }")
    page.get_by_label("First language").select_option("tlh")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed")
    assert mailing.followed_bits(LEILA) == [1]


def test_switching_the_language_by_link(page: Page, mailing: Mailing) -> None:
    page.goto(mailing.unsubscribe_path(ADA))
    page.locator("summary").click()
    page.get_by_role("link", name="العربية").click()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    page.locator("main button").first.click()
    expect(page.locator("html")).to_have_attribute("lang", "ar")
    assert not mailing.profile(ADA).subscribed


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_no_content_is_clipped_and_targets_are_large_enough(page: Page, mailing: Mailing, language: str) -> None:
    for width, path in product((320, 390, 1280), (mailing.unsubscribe_path(ADA), mailing.manage_path(ADA))):
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(f"{path}?lang={language}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator("summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = page.locator("button, select, summary, label.choice, nav a").evaluate_all(
            "controls => controls.map(control => control.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 44


def test_the_web_view_shows_its_pictures(browser: Browser, site: str, mailing: Mailing) -> None:
    """Pictures stand at the public address, which a browser has to be led to here."""
    context = browser.new_context(base_url=site)
    page = context.new_page()
    broken: list[str] = []
    page.on("console", lambda message: broken.append(message.text))
    page.route(
        "http://news.example.org/**",
        lambda route: route.fulfill(
            response=page.request.get(site + route.request.url.removeprefix("http://news.example.org"))
        ),
    )
    page.goto(mailing.web_view_path("en"), wait_until="load")
    sizes = page.evaluate("Array.from(document.images, image => image.naturalWidth)")
    assert sizes
    assert min(sizes) > 0
    assert not [text for text in broken if "favicon" not in text]
    context.close()
