"""The look of an edition: MJML and plain text from templates.

A designer changes ``templates/email``; this module keeps that safe. The MJML renderer (mrml) prints
attribute values with a debug escape, which breaks no-break spaces, joiners, bidi marks and combining marks:
it is given tags of pure ASCII, and the characters come back afterwards. It also prints what it does not
know, so that nothing authored reaches it unless escaped here or cleaned by ``mailer.adapters.markdown``.
"""

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape
from mjml import mjml2html

from mailer.adapters import cldr, markdown
from mailer.adapters.i18n import Catalogues, install_gettext
from mailer.adapters.variants import VariantDocument, mark_part
from mailer.domain.colours import palette
from mailer.domain.content import EditionContent
from mailer.domain.locales import direction

MAX_MJML_CHARACTERS = 2_000_000
"""Characters of MJML for one edition; a full one of sixteen stories has 30,000."""

# Tags, and the title, which mrml makes an attribute of the body.
_TAGS = re.compile(r"<mj-title>[^<]*|<[^<>]+>")
# Runs of references to other than ASCII characters; those of two digits may be quotes and the like, and stay.
_CHARACTER_REFERENCES = re.compile(r"&#\d{3,7};(?:&#\d{3,7};)*")
# XML 1.0 and HTML have no way to say these, and HTML reads a reference to U+0080–U+009F as Windows-1252.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_EMAIL_ROLE, _PAGE_ROLE = 'aria-roledescription="email" role="article"', 'role="main"'
"""What the outermost part is: an article in the mail program's page, the main part of a page of its own."""
_ADJACENT_OUTLOOK_COMMENTS = "<![endif]-->\n<!--[if mso | IE]>"
"""Neighbouring comments for Outlook are one to it."""
_STYLE_ATTRIBUTE = re.compile(r'(<\w[^<>]* style=")([^"<>]*)')
_REDUNDANT_STYLE = re.compile(r"background:(#[0-9a-f]{6});(?=background-color:\1)|;$|(?<=[: ]0)px(?=[; ]|$)")
"""What mrml's styles can do without: a kilobyte in a full edition, and Gmail cuts long mails."""
_FOLLOWED_TITLES, _LEFT_OUT_TITLES = (f"titles{secrets.token_hex(6)}{name}x" for name in ("followed", "leftout"))
"""Stand on the sheet for the lists of sections that an edition names."""
_LINE_BREAKS_TO_SPACES = str.maketrans("\t\n\r", "   ")


class UnsafeLink(ValueError):
    """A link that a mail must not have: it is no absolute http, https or mailto URL."""


class TooLarge(ValueError):
    """An edition has more text than can be rendered."""


@dataclass(frozen=True, slots=True)
class RenderedEdition:
    """One edition: a mail as a whole HTML document, the plain text beside it, and the same edition as a page
    for everybody, without anything of its reader."""

    html: str
    text: str
    web_view_html: str


class Renderer:
    """Renders editions with the templates in one folder (``email``, ``locales``), compiled once.

    Safe to share between threads.
    """

    def __init__(self, templates: Path) -> None:
        self._catalogues = Catalogues(templates / "locales")
        self._mjml = make_environment(templates / "email", html=True).get_template("edition.mjml")
        self._text = make_environment(templates / "email", html=False).get_template("edition.txt")

    def render(self, content: EditionContent) -> RenderedEdition:
        """The edition with all the sections of its content. Raises as ``sheet`` does."""
        every = {section.key for section in content.sections}
        return self.render_language(content).edition(every, content.urls.web_view)

    def render_language(self, content: EditionContent) -> "RenderedLanguage":
        """What all editions of an issue in one language are cut from: ``content`` has all their sections.

        Raises ``UnsafeLink``, ``TooLarge``, or ``markup.TooLong`` and ``TooDeep`` for authored text.
        """
        frame = self._template_values(content)
        return RenderedLanguage(
            content, to_html(self._mjml.render(frame)), _UNPRINTABLE.sub("", self._text.render(frame))
        )

    def mjml_source(self, content: EditionContent) -> str:
        """The MJML of the sheet, with marked parts."""
        return self._mjml.render(self._template_values(content))

    def _template_values(self, content: EditionContent) -> dict[str, object]:
        rtl = content.direction == "rtl"
        return {
            "edition": content,
            "palette": palette(content.theme, tuple(section.colour for section in content.sections)),
            "rtl": rtl,
            "start": "right" if rtl else "left",
            "section_titles": _FOLLOWED_TITLES,
            "left_out_titles": _LEFT_OUT_TITLES,
            "left_out_numbers": range(1, len(content.unfollowed_sections) + len(content.sections) + 1),
            "catalogue": self._catalogues.translations(content.language, content.text_overrides),
        }


class RenderedLanguage:
    """All sections of an issue in one language, rendered. To cut an edition from it takes little time.

    HTML and text have the same links, and each slot marker of the content as it was.
    """

    def __init__(self, content: EditionContent, html: str, text: str) -> None:
        self._content = content
        web_view = [content.urls.web_view] if content.urls.web_view else []
        self._html = VariantDocument(html, [_FOLLOWED_TITLES, _LEFT_OUT_TITLES, *map(escape, web_view)])
        self._text = VariantDocument(text, web_view)

    def edition(self, sections: Collection[str], web_view: str) -> RenderedEdition:
        """The edition with the sections of these keys; ``web_view`` stands where the content's own stood."""
        content = self._content
        names, left_out = self.visible_parts(sections)
        titles = tuple(section.title for section in content.sections if section.key in sections)
        followed, others = (
            _UNPRINTABLE.sub("", cldr.join_items(some, content.language)) for some in (titles, left_out)
        )
        web_views = {content.urls.web_view: web_view}
        words = {_FOLLOWED_TITLES: followed, _LEFT_OUT_TITLES: others} | web_views
        values = {str(escape(word)): str(escape(value)) for word, value in words.items()}
        text = self._text.select(names, web_views)
        for word in (_FOLLOWED_TITLES, _LEFT_OUT_TITLES):
            text = _insert_items(text, word, words[word])
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        return RenderedEdition(
            html=self._html.select(names, values).replace(_ADJACENT_OUTLOOK_COMMENTS, ""),
            text=text.strip() + "\n",
            web_view_html=self._html.select(names - {"reader"}, values)
            .replace(_ADJACENT_OUTLOOK_COMMENTS, "")
            .replace(_EMAIL_ROLE, _PAGE_ROLE, 1),
        )

    def visible_parts(self, sections: Collection[str]) -> tuple[frozenset[str], tuple[str, ...]]:
        """Names of the parts of an edition with the sections of these keys, and the titles of the others."""
        content = self._content
        kept = [number for number, section in enumerate(content.sections, 1) if section.key in sections]
        left_out = (
            *(s.title for s in content.sections if s.key not in sections),
            *content.unfollowed_sections,
        )
        half = (len(kept) + 1) // 2
        names = [
            "reader",
            "halves" if len(kept) > 1 else "alone",
            f"left out {len(left_out)}",
            *(f"section {number}" for number in kept),
            *(f"first {number}" for number in kept[:half]),
            *(f"second {number}" for number in kept[half:]),
        ]
        if sum(len(content.sections[number - 1].stories) for number in kept) > 1:
            names.append("contents")
        return frozenset(names), left_out


def _insert_items(text: str, placeholder: str, items: str) -> str:
    """A text with a list of items instead of a word, and the line that it stands in wrapped."""
    before, found, after = text.partition(placeholder)
    if not found:
        return text
    before, end, start = before.rpartition("\n")
    rest, newline, after = after.partition("\n")
    return f"{before}{end}{markdown.wrap(start + items + rest)}{newline}{after}"


def to_html(mjml: str) -> str:
    """MJML as HTML, whatever characters its attributes hold. Raises ``TooLarge``."""
    if len(mjml) > MAX_MJML_CHARACTERS:
        raise TooLarge(TooLarge.__doc__)
    source = _UNPRINTABLE.sub("", mjml).replace("\\", "&#92;")
    html = mjml2html(_TAGS.sub(_to_ascii, source), fonts={})
    html = _CHARACTER_REFERENCES.sub(_to_characters, _STYLE_ATTRIBUTE.sub(_minify_style, html))
    # Lines that editions have in common are encoded once.
    return html.replace("<!--[if", "\n<!--[if")


def _minify_style(styled: re.Match[str]) -> str:
    return styled[1] + _REDUNDANT_STYLE.sub("", styled[2])


def _to_ascii(part: re.Match[str]) -> str:
    return part[0] if part[0].isascii() else part[0].encode("ascii", "xmlcharrefreplace").decode("ascii")


def _to_characters(references: re.Match[str]) -> str:
    return "".join(chr(int(number)) for number in references[0][2:-1].split(";&#"))


def make_environment(folder: Path, *, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=html,  # noqa: S701 - plain text has nothing to escape
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_collapse_line_breaks if html else None,
        extensions=["jinja2.ext.i18n"],
    )
    install_gettext(environment)
    environment.globals["part"] = mark_part
    environment.filters |= {
        "day": cldr.format_day,
        "dated": cldr.format_dateline,
        "language_name": cldr.language_name,
    }
    if html:
        environment.filters |= {
            "link": _checked_link,
            "html": _block_html,
            "line": _inline_html,
            "spoken": _language_attributes,
        }
    else:
        environment.filters |= {
            "line": markdown.inline_text,
            "text": markdown.to_text,
            "wrapped": markdown.wrap,
            "linked": markdown.text_link,
            "item": markdown.list_item,
        }
    return environment


def _collapse_line_breaks(value: object) -> object:
    """Line ends and tabs are blanks in HTML, but literal escapes in mrml's attributes."""
    return value.translate(_LINE_BREAKS_TO_SPACES) if type(value) is str else value


def _checked_link(url: str) -> str:
    if not markdown.is_allowed_link(url):
        raise UnsafeLink(f"{UnsafeLink.__doc__} {url!r}")
    return url


def _inline_html(source: str) -> Markup:
    return Markup(markdown.inline_html(source))  # noqa: S704 - cleaned there


def _block_html(source: str) -> Markup:
    return Markup(markdown.to_html(source))  # noqa: S704 - cleaned there


@pass_context
def _language_attributes(context: Context, language: str, aligned: bool = True) -> Markup:
    """The attributes of words in another language than the edition's; nothing for words in its own. Blocks
    of text are aligned as their language runs; single lines may stay where the rest stands."""
    edition: EditionContent = context["edition"]
    if language == edition.language:
        return Markup()
    way = direction(language)
    attributes = Markup(' lang="{}" dir="{}"').format(language, way)
    if aligned and way != edition.direction:
        attributes += Markup(' style="text-align:{}"').format("right" if way == "rtl" else "left")
    return attributes
