"""The mail in clients with little CSS: classic Outlook, which lays out with Word, and clients that drop <style>."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser

import pytest
from playwright.sync_api import Browser

from mailer.adapters.mjml import to_html
from mailer.domain.colours import contrast_ratio
from mailer.domain.content import EditionSection, Theme
from mailer.domain.transactional import TEMPLATE_KINDS
from tests.adapters import test_mjml, test_transactional
from tests.adapters.test_mjml import TEMPLATES, edition, story

_FOR_OUTLOOK = re.compile(r"<!--\[if [^\]!]*mso[^\]!]*\]>(.*?)<!\[endif\]-->", re.DOTALL)
_NOT_FOR_OUTLOOK = re.compile(r"<!--\[if !mso\]><!-->.*?<!--<!\[endif\]-->", re.DOTALL)
_STYLE_SHEET = re.compile(r"<style.*?</style>", re.DOTALL)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    has_text: bool = False

    def style(self, name: str) -> str:
        """Return an inline property, or an empty string."""
        found = re.search(rf"(?:^|;)\s*{name}:([^;]*)", self.attributes.get("style", ""))
        return found[1].strip() if found else ""

    def all(self, *tags: str) -> Iterator["Element"]:
        for child in self.children:
            if child.tag in tags:
                yield child
            yield from child.all(*tags)

    @property
    def width(self) -> float | None:
        """The width in pixels, if it is declared in pixels."""
        declared = self.style("width").removesuffix("px") or self.attributes.get("width", "")
        return float(declared) if declared.isdecimal() else None

    @property
    def padding(self) -> tuple[float, float]:
        """The horizontal paddings in pixels."""
        sides = [float(side.removesuffix("px")) for side in self.style("padding").split()] or [0.0]
        return (sides[3] if len(sides) == 4 else sides[1 % len(sides)]), sides[1 % len(sides)]


class Tree(HTMLParser):
    """The elements of a document; every element must be closed where it was opened."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(html)
        self.close()
        assert self._open == [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in {"img", "br", "meta"}:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self._open[-1].has_text |= bool(data.strip())

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag


def as_outlook_reads(html: str) -> Element:
    """Return the body with the conditional comments that classic Outlook obeys."""
    body = html[html.index("<body") :].removesuffix("</html>")
    return Tree(_FOR_OUTLOOK.sub(r"\1", _NOT_FOR_OUTLOOK.sub("", body))).root


def misfits(element: Element, room: float) -> Iterator[str]:
    """Yield the rows, tables and pictures that do not fit into ``room`` pixels, and rows that leave a gap."""
    if element.tag in ("img", "table") and (element.width or 0) > room:
        yield f"{element.tag} of {element.width} in {room}"
    if element.tag == "table":
        room = element.width or room
    if element.tag == "tr":
        cells = [child.width for child in element.children]
        declared = [width for width in cells if width is not None]
        if declared and (len(declared) < len(cells) or sum(declared) != room):
            yield f"cells of {cells} in {room}"
    if element.tag == "td":
        room = (element.width or room) - sum(element.padding)
    for child in element.children:
        yield from misfits(child, room)


def emails() -> Iterator[tuple[str, str]]:
    """Yield every template as HTML, in both directions, with one and several sections, with and without pictures."""
    for language, direction in (("en", "ltr"), ("ar", "rtl")):
        for count in (1, 2, 5):
            sections = [
                EditionSection(
                    f"s{number}",
                    f"Title {number}",
                    language,
                    (
                        story(number, language=language),
                        story(10 + number, picture=None, link="", language=language),
                        story(20 + number, is_fallback=True, language="fr"),
                    ),
                )
                for number in range(count)
            ]
            content = edition(*sections, language=language, direction=direction)
            yield f"{count} sections {language}", test_mjml.RENDERER.render(content).html
        for kind in TEMPLATE_KINDS:
            email = replace(test_transactional.email(kind, language), direction=direction)
            yield f"{kind} {language}", test_transactional.RENDERER.render(email).html


EMAILS = dict(emails())


@pytest.mark.parametrize("name", EMAILS)
def test_rows_add_up_in_outlook(name: str) -> None:
    body = as_outlook_reads(EMAILS[name])
    assert list(misfits(body, 640)) == []
    assert sum(1 for table in body.all("table") if table.width in (600, 640)) >= 3


def test_rows_that_do_not_add_up_are_found() -> None:
    columns = '<mj-column width="100%">{0}</mj-column><mj-column width="50%">{0}</mj-column>'
    source = '<mjml><mj-body width="640px"><mj-section padding="{1}">{0}</mj-section></mj-body></mjml>'
    text = "<mj-text>x</mj-text>"
    assert list(misfits(as_outlook_reads(to_html(source.format(columns.format(text), "0px 24px"))), 640))
    half = f'<mj-column width="50%">{text}</mj-column>'
    assert list(misfits(as_outlook_reads(to_html(source.format(half * 2, "0 24px"))), 640))  # reckoned as 640
    assert not list(misfits(as_outlook_reads(to_html(source.format(half * 2, "0px 24px"))), 640))


@pytest.mark.parametrize("name", EMAILS)
def test_only_cells_need_padding_in_outlook(name: str) -> None:
    """Outlook ignores padding on all but cells. A button has its own and, for Outlook, a cell with the same."""
    body = as_outlook_reads(EMAILS[name])
    padded = [
        element
        for element in body.all("p", "div", "a", "ul", "ol", "li", "h1", "h2", "h3", "blockquote", "span", "img")
        if element.style("padding").strip("0 px")
    ]
    cells = {id(child): cell for cell in body.all("td") for child in cell.children}
    for button in padded:
        cell = cells[id(button)]
        assert button.tag == "a" and cell.style("padding") == button.style("padding")
        assert cell.attributes["bgcolor"] == button.style("background")
    assert len(padded) == 1
    css = "".join(_STYLE_SHEET.findall(EMAILS[name]))
    assert {value.strip() for value in re.findall(r"padding[\w-]*:([^;}!]*)", css)} <= {"0"}


def test_paddings_in_templates_have_units() -> None:
    """The MJML renderer ignores the sides of a padding with a plain 0 when it reckons widths."""
    for template in (TEMPLATES / "email").rglob("*.mjml"):
        for value in re.findall(r'<mj-[^>]* padding="([^"]*)"', template.read_text("utf-8")):
            assert "{{" in value or not re.search(r"(^| )0( |$)", value), (template.name, value)
            assert not re.search(r'"0| 0 | 0"', value), (template.name, value)


@pytest.mark.parametrize("name", EMAILS)
def test_preview_text_is_hidden_without_colours(name: str) -> None:
    """White on white is what spam filters look for (SpamAssassin's HTML_FONT_LOW_CONTRAST)."""
    preview, *_ = (element for element in as_outlook_reads(EMAILS[name]).all("div") if element.has_text)
    assert preview.style("display") == "none" and not preview.style("color")


@pytest.mark.parametrize("accent", ["#0b5566", "#ffffff", "#f7d038", "#000000"])
def test_every_text_has_contrast_to_the_colour_behind_it(accent: str) -> None:
    """As far as inline styles tell, which is all that some clients and spam filters read."""
    content = edition(EditionSection("news", "News", "en", (story(1), story(2)), accent), theme=Theme(accent=accent))

    def pairs(element: Element, colour: str, ground: str) -> Iterator[tuple[str, str]]:
        colour = element.style("color") or colour
        ground = element.style("background-color") or element.style("background") or ground
        if element.has_text:
            yield colour, ground
        for child in element.children:
            yield from pairs(child, colour, ground)

    (body,) = as_outlook_reads(test_mjml.RENDERER.render(content).html).children
    assert all(contrast_ratio(*pair) >= 4.5 for pair in set(pairs(body, "#000000", "#ffffff")))


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_contents_lead_to_places_that_each_client_finds(direction: str) -> None:
    language = {"ltr": "en", "rtl": "ar"}[direction]
    sections = [
        EditionSection(f"s{n}", f"Title {n}", language, (story(n, language=language), story(9, language=language)))
        for n in range(3)
    ]
    body = as_outlook_reads(test_mjml.RENDERER.render(edition(*sections, language=language, direction=direction)).html)
    links = [link.attributes for link in body.all("a")]
    wanted = [attributes["href"].removeprefix("#") for attributes in links if attributes.get("href", "")[:1] == "#"]
    assert wanted == ["s-1", "s-1-1", "s-1-2", "s-2", "s-2-1", "s-2-2", "s-3", "s-3-1", "s-3-2"]
    # Gmail and Outlook know "name" only, others "id".
    assert [attributes["name"] for attributes in links if "name" in attributes] == wanted
    assert [attributes["id"] for attributes in links if "name" in attributes] == wanted


@pytest.mark.parametrize("name", [name for name in EMAILS if name.startswith("2 sections")])
def test_stories_stack_without_style_sheets(name: str, browser: Browser) -> None:
    """GMX, WEB.DE, and Gmail's app with other accounts drop <style>. Given room, words stand beside pictures."""
    page = browser.new_page()
    page.set_content(re.sub(r' src="[^"]*"', "", _STYLE_SHEET.sub("", EMAILS[name])))
    for width, stacked in ((320, True), (390, True), (800, False)):
        page.set_viewport_size({"width": width, "height": 800})
        pictures, words = ([part.bounding_box() for part in page.locator(side).all()] for side in (".l", ".r"))
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert len(pictures) == len(words) == 2
        for left, right in zip(pictures, words, strict=True):
            assert left and right and (right["y"] >= left["y"] + left["height"]) is stacked
    page.close()
