"""Pages in a real browser: how staff sign in, and how axe and a narrow screen see a page."""

from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, ViewportSize

from tests.support.staff import PASSWORD

WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=320, height=700)

_COLOURS = ("color-contrast", "link-in-text-block")
"""The rules that see another page in the dark. They take most of the time."""
_OTHER_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {rule: {"enabled": False} for rule in _COLOURS},
    "resultTypes": ["violations"],
}
_COLOUR_RULES = {"runOnly": _COLOURS, "resultTypes": ["violations"]}
_FIND_NEW_KINDS = """known => {
    const kinds = new Map()
    for (const element of document.querySelectorAll('*')) {
        const style = getComputedStyle(element)
        const look = [style.color, style.backgroundColor, style.backgroundImage, style.opacity]
        const font = [style.fontSize, style.fontWeight, style.textDecorationLine]
        const name = [element.tagName, element.getAttribute('class'), element.tabIndex]
        kinds.set(element, [kinds.get(element.parentElement), ...name, ...look, ...font].join(' '))
    }
    const all = new Set(known)
    window.newElements = [...kinds.keys()].filter(element => !all.has(kinds.get(element)))
    return [...new Set(newElements.map(element => kinds.get(element)))]
}"""
"""Returns the kinds of elements that are not known. A kind is what colours and the keyboard depend on: the element
with its classes, tabindex, colours and font, inside elements of certain kinds."""


def sign_in(page: Page, address: str, password: str = PASSWORD) -> None:
    """Sign in as somebody, whoever was signed in before."""
    page.context.clear_cookies()
    page.goto("/sign-in")
    page.get_by_label("Email address").fill(address)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: not url.endswith("/sign-in"))


class PageCheck:
    """Checks pages as axe and a narrow screen see them.

    Colours are checked in light and dark, but each kind of element only on the first page that has it: this takes a
    quarter of the time. The sandbox of an edition keeps axe out, and editions are looked over by tests of their own.
    """

    def __init__(self, *, colours: bool = True) -> None:
        self._axe = Axe()
        self._colours = colours
        self._known: set[str] = set()

    def faults(self, page: Page) -> list[tuple[str, str]]:
        """Return the rules of axe that a page breaks, each with the HTML of an element."""
        if not page.evaluate("'axe' in window"):
            page.evaluate(self._axe.axe_script)
        found = _violations(page.evaluate("rules => axe.run(rules)", _OTHER_RULES))
        new = page.evaluate(_FIND_NEW_KINDS, list(self._known)) if self._colours else []
        if not new:
            return found
        schemes: tuple[Literal["dark", "light"], ...] = ("dark", "light")  # ends with what pages begin with
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            page.evaluate(
                "Promise.all(document.getAnimations().filter(a => a instanceof CSSTransition).map(a => a.finished))"
            )
            report = page.evaluate("rules => axe.run({include: newElements}, rules)", _COLOUR_RULES)
            found += [(f"{rule}, {scheme}", html) for rule, html in _violations(report)]
        if not found:
            self._known.update(new)
        return found

    def __call__(self, page: Page) -> None:
        """Fail if a page breaks a rule, or is wider than a narrow screen."""
        assert self.faults(page) == [], page.url
        page.set_viewport_size(NARROW)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url
        page.set_viewport_size(WIDE)


def _violations(report: Any) -> list[tuple[str, str]]:
    return [(fault["id"], node["html"][:200]) for fault in report["violations"] for node in fault["nodes"]]
