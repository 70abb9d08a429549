"""Pages in a real browser: how staff sign in, and how axe and a narrow screen see a page."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from tests.support.staff import PASSWORD

RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"], "resultTypes": ["violations"]}
"""The rules that see another page in the dark."""
WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=320, height=700)


def sign_in(page: Page, address: str, password: str = PASSWORD) -> None:
    """Sign in as somebody, whoever was signed in before."""
    page.context.clear_cookies()
    page.goto("/sign-in")
    page.get_by_label("Email address").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: not url.endswith("/sign-in"))


def look_over(page: Page) -> None:
    """Check a page as axe and a narrow screen see it, in light and dark.

    The sandbox of an edition keeps axe out, and editions are looked over by tests of their own.
    """
    schemes: tuple[tuple[Literal["light", "dark"], dict[str, list[str]]], ...] = (("light", RULES), ("dark", COLOURS))
    for scheme, rules in schemes:
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=rules).response["violations"]
        assert [(rule["id"], rule["nodes"][0]["html"][:160]) for rule in found] == [], (page.url, scheme)
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
