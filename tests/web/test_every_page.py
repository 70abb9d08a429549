"""Every page for readers is accessible, small, self-contained and private."""

import re
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, BrowserContext, Page, Route

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.states import TrackingMode
from mailer.language_data import languages
from mailer.services.newsletters.apply import apply_newsletter
from mailer.settings import ROOT, Settings
from mailer.web.app import create_app
from tests.conftest import SAMPLE
from tests.support.browser import PageCheck
from tests.support.mailing import Mailing
from tests.support.page_tour import ADA, JOVAN, LEILA, PageTour, PageView

PARTIAL = {
    "archive/_macros",
    "archive/layout",
    "public/_macros",
    "public/_preferences",
    "public/embedded_form",
    "public/layout",
}
"""Templates that are not pages."""
OPEN = {path.stem for path in (ROOT / "templates" / "web" / "archive").glob("*.html")}
CONTROLS = "a[href], summary, button, select, textarea, input:not([type=hidden]):not([disabled]):not([tabindex='-1'])"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Forms ask for some work, so that the page with a script is among them."""
    return settings.model_copy(update={"subscribe_pow_bits": 1})


@pytest.fixture
def web_app(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> FastAPI:
    issue = import_issue("en", "ar", "de")
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    settings.tracking = TrackingMode.individual
    settings.sections[0].always_included = True
    apply_newsletter(app.database, settings)
    settings.slug, settings.list_id = "lumen-culture", "culture.lumen-basin.example.org"
    apply_newsletter(app.database, settings)
    add_subscribers(f"{ADA};en;\n{LEILA};ar;water-and-rivers culture-and-heritage\n{JOVAN};sr-Latn en;")
    prepare(issue)
    send()
    made = create_app(app)
    made.state.issue = issue
    return made


@pytest.fixture
def site(web_app: FastAPI, serve: Callable[..., str]) -> str:
    return serve(web_app)


@pytest.fixture
def client(web_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(web_app) as made:
        yield made


@pytest.fixture(params=["en", "ar"])
def pages(
    request: pytest.FixtureRequest, web_app: FastAPI, app: Container, client: TestClient, inbox: InboxServer
) -> list[PageView]:
    return list(PageTour(app, client, inbox, web_app.state.issue, request.param).pages())


@pytest.fixture
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 320, "height": 256}, reduced_motion="reduce", base_url=site)
    yield made
    made.close()


def show(page: Page, shown: PageView) -> None:
    """Answers to forms cannot be gone to: they are shown as they were answered, beside the real style sheets."""

    def answer(route: Route) -> None:
        headers = {name: value for name, value in shown.headers.items() if not name.startswith("content-enc")}
        route.fulfill(status=shown.status, headers=headers, body=shown.body)

    page.route("**/shown", answer)
    page.goto("/shown")
    page.unroute("**/shown")


def open_all(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")


def test_every_page_is_small_self_contained_private_and_accessible(
    pages: list[PageView], client: TestClient, context: BrowserContext
) -> None:
    none_is_forgotten(pages)
    each_is_light_and_asks_nobody_else(pages, client)
    each_is_private_or_the_same_for_all(pages)
    each_is_accessible(pages, context)


def none_is_forgotten(pages: list[PageView]) -> None:
    there = {
        f"{folder}/{file.stem}"
        for folder in ("public", "archive")
        for file in (ROOT / "templates" / "web" / folder).glob("*.html")
    }
    walked = {shown.name.partition(",")[0] for shown in pages}
    assert {name.partition("/")[2] for name in there - PARTIAL} == walked


def each_is_accessible(pages: list[PageView], context: BrowserContext) -> None:
    """At 320 px, which is also 1280 px at 400 %, with all that opens open."""
    # axe takes joined Arabic letters for an icon: contrast is checked in English, with the same colours.
    arabic = b'lang="ar"' in pages[-1].body[:60]
    page, check = context.new_page(), PageCheck(colours=not arabic)
    checked: set[str] = set()
    found = []
    for shown in pages:
        show(page, shown)
        open_all(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, shown.name
        template = shown.name.partition(",")[0]
        if arabic and template in checked:
            continue  # its states have the same markup as in English
        checked.add(template)
        found += [(shown.name, *fault) for fault in check.faults(page)]
        # Each kind of control is the same on the next page, and in Arabic.
        if not arabic and page.evaluate("which => newElements.some(element => element.matches(which))", CONTROLS):
            assert missed_by_keyboard(page) == [], shown.name
    assert not found
    show(page, pages[-1])
    page.evaluate("const p = document.querySelector('main p'); p.style.color = '#7f7f7f'; p.append(new Image())")
    contrast = set() if arabic else {"color-contrast, light", "color-contrast, dark"}
    assert {rule for rule, _ in check.faults(page)} == contrast | {"image-alt"}
    open_all(page)
    page.evaluate(
        "const b = document.createElement('button'); b.tabIndex = -1; document.querySelector('main').append(b)"
    )
    assert len(missed_by_keyboard(page)) == 1


def missed_by_keyboard(page: Page) -> list[str]:
    """Controls that Tab does not come to, or that do not show it, and those that it should pass over: of radio
    buttons with one name, Tab reaches one; arrows do the rest."""
    wanted = page.evaluate(
        """which => {
            window.all = [...document.querySelectorAll(which)]
            window.wanted = all.filter(
                e => e.type !== 'radio' || e.checked || all.find(o => o.name === e.name) === e
            )
            window.reached = new Map()
            document.addEventListener('focusin', ({target}) => {
                reached.set(target, getComputedStyle(target).outlineStyle !== 'none')
            })
            return wanted.length
        }""",
        CONTROLS,
    )
    missed: list[str] = []
    # Once around from wherever the page put the focus. On its way from the last control to the first the focus is
    # the browser's for a moment, and keys are lost: then it is gone around once more.
    for presses in (wanted + 3, 5, wanted):
        for _ in range(presses):
            page.keyboard.down("Tab")
        page.keyboard.up("Tab")
        missed = page.evaluate(
            "all.filter(e => wanted.includes(e) ? !reached.get(e) : reached.has(e)).map(e => e.outerHTML)"
        )
        if not missed:
            break
    return missed


def each_is_light_and_asks_nobody_else(pages: list[PageView], client: TestClient) -> None:
    weights: dict[str, int] = {}
    for shown in pages:
        html = shown.body.decode()
        loaded = re.findall(r'<(?:link rel="(?:stylesheet|icon)"|script|img)[^>]* (?:href|src)="([^"]+)"', html)
        assert all(address.startswith("/") for address in loaded), shown.name
        parts = [address for address in loaded if "/pictures/" not in address]
        assert len(parts) >= 3
        weights |= {address: len(client.get(address).content) for address in set(parts) - weights.keys()}
        sent = int(shown.headers.get("content-length", len(shown.body)))
        assert sent + sum(weights[address] for address in parts) < 50_000, shown.name
        assert not re.search(r" (?:style|on[a-z]+)=|<style|javascript:", html), shown.name


def each_is_private_or_the_same_for_all(pages: list[PageView]) -> None:
    for shown in pages:
        policy = shown.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "script-src" not in policy or shown.name.startswith("subscribe")
        assert shown.headers["referrer-policy"] == "no-referrer"
        assert shown.headers["x-content-type-options"] == "nosniff"
        if shown.name.partition(",")[0] in OPEN:
            assert shown.headers["cache-control"] == "public, max-age=300"
            assert not re.search(r"/[upkac]/[\w-]{22}|(?:ada|leila|jovan)[.a-z]*@", shown.body.decode())
        else:
            assert shown.headers["cache-control"] == "no-store"
            assert "noindex" in shown.headers["x-robots-tag"]


def test_every_language_fits_the_layout(context: BrowserContext, site: str, web_app: FastAPI, app: Container) -> None:
    walk = PageTour(app, TestClient(web_app), None, web_app.state.issue, "en")
    page = context.new_page()
    widths = [320, 1280]
    for language in languages():
        for path in walk.paths():
            page.goto(f"{path}?lang={language}")
            assert page.evaluate("document.documentElement.lang") == language
            for width in widths:
                if page.viewport_size != {"width": width, "height": 800}:
                    page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, language)
            widths.reverse()  # The next page begins at the width where this one ended.


@pytest.mark.parametrize("language", ["en", "ar"])
def test_the_mail_in_the_browser_is_accessible(
    context: BrowserContext, web_app: FastAPI, app: Container, language: str
) -> None:
    page, check = context.new_page(), PageCheck()
    page.goto(Mailing(app, web_app.state.issue).web_view_path(language))
    for width in (320, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert check.faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
