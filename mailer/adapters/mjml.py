"""Renders editions as HTML (via MJML) and plain text, with the templates in ``templates/email``.

The MJML renderer (mrml) prints attribute values with a debug escape, which breaks no-break spaces, joiners, bidi marks
and combining marks. Therefore tags are converted to ASCII character references before rendering and back afterwards.
mrml also prints unknown markup as it is, so all authored text is escaped by Jinja or cleaned by
``mailer.adapters.markdown``.
"""

import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
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
from mailer.domain.errors import UserError
from mailer.domain.locales import direction, native_name
from mailer.domain.localized import N_
from mailer.domain.markdown import is_allowed_link
from mailer.domain.partial_editions import edition_subject_and_preheader

MAX_MJML_CHARACTERS = 2_000_000
"""For one edition. An edition of sixteen stories has 30,000."""

# Tags, and the title, which mrml turns into an attribute of the body.
_TAGS = re.compile(r"<mj-title>[^<]*|<[^<>]+>")
# Runs of references to non-ASCII characters. References with two digits, such as quotes, are kept.
_CHARACTER_REFERENCES = re.compile(r"&#\d{3,7};(?:&#\d{3,7};)*")
# Characters that XML 1.0 and HTML cannot represent. HTML reads references to U+0080–U+009F as Windows-1252.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_EMAIL_ROLE, _PAGE_ROLE = 'aria-roledescription="email" role="article"', 'role="main"'
"""Attributes of the outermost element: an article inside a mail program, the main content of a web page."""
_ADJACENT_OUTLOOK_COMMENTS = "<![endif]-->\n<!--[if mso | IE]>"
"""Removed, since Outlook treats adjacent comments as one."""
_SIZED_PICTURE = re.compile(r'<img (src="[^"]*" alt="[^"]*") width="(\d+)" height="\d+">')
_TABLE = '<table class="d" border="1" cellpadding="6" cellspacing="0" style="border-collapse:collapse;margin:0 0 12px">'
_STYLE_ATTRIBUTE = re.compile(r'(<\w[^<>]* style=")([^"<>]*)')
_REDUNDANT_STYLE = re.compile(r"background:(#[0-9a-f]{6});(?=background-color:\1)|;$|(?<=[: ]0)px(?=[; ]|$)")
"""Redundant parts of mrml's styles. They add a kilobyte to a full edition, and Gmail clips long messages."""
_PLACEHOLDERS = tuple(f"text{secrets.token_hex(6)}{name}x" for name in ("followed", "leftout", "subject", "preheader"))
"""In place of what differs between the editions of a language: lists of section titles, subject and preheader."""
_FOLLOWED_TITLES, _LEFT_OUT_TITLES, _SUBJECT, _PREHEADER = _PLACEHOLDERS
# TRANSLATORS: A link below a story, to a page with more about it.
_READ_MORE = N_("Read more")
_LINE_BREAKS_TO_SPACES = str.maketrans("\t\n\r", "   ")


class UnsafeLink(UserError, ValueError):
    """A link in an email must be an absolute http, https or mailto URL."""


class TooLarge(UserError, ValueError):
    """An edition has too much text to be rendered."""


@dataclass(frozen=True, slots=True)
class RenderedEdition:
    """A rendered edition."""

    subject: str
    preheader: str
    html: str
    """A complete HTML document."""
    text: str
    web_view_html: str
    """The edition as a public web page, without personal data."""


class Renderer:
    """Renders editions with the templates in one folder (``email``), compiled once.

    Safe to share between threads.
    """

    def __init__(self, templates: Path, catalogues: Catalogues) -> None:
        self._catalogues = catalogues
        self._mjml = make_environment(templates / "email", html=True).get_template("edition.mjml")
        self._text = make_environment(templates / "email", html=False).get_template("edition.txt")

    def render(self, content: EditionContent) -> RenderedEdition:
        """Return the edition with all sections of its content. Raises the errors of ``render_language``."""
        all_sections = {section.key for section in content.sections}
        return self.render_language(content).edition(all_sections, content.urls.web_view)

    def render_language(self, content: EditionContent) -> "RenderedLanguage":
        """Render all editions of an issue in one language at once; ``content`` must have all their sections.

        Raises UnsafeLink and TooLarge, and TooLong and TooDeep of ``mailer.domain.markdown`` for authored text.
        """
        text = self._text.render(self._template_values(content))
        return RenderedLanguage(content, to_html(self.mjml_source(content)), _UNPRINTABLE.sub("", text))

    def mjml_source(self, content: EditionContent) -> str:
        """Return the MJML source with marked parts."""
        return self._mjml.render(self._template_values(content))

    def _template_values(self, content: EditionContent) -> dict[str, object]:
        rtl = content.direction == "rtl"
        return {
            "edition": replace(content, subject=_SUBJECT, preheader=_PREHEADER),
            "palette": palette(content.theme, tuple(section.colour for section in content.sections)),
            "rtl": rtl,
            "start": "right" if rtl else "left",
            "section_titles": _FOLLOWED_TITLES,
            "left_out_titles": _LEFT_OUT_TITLES,
            "left_out_numbers": range(1, len(content.unfollowed_sections) + len(content.sections) + 1),
            "catalogue": self._catalogues.translations(content.language, content.text_overrides),
            "read_more": lambda language: self._read_more(content, language),
        }

    def _read_more(self, content: EditionContent, language: str) -> str:
        """Return the text of the link below a story in this language."""
        overrides = content.text_overrides if language == content.language else None
        return str(self._catalogues.translations(language, overrides).gettext(_READ_MORE))


class RenderedLanguage:
    """All sections of an issue rendered in one language, from which editions are selected quickly.

    HTML and text have the same links. Slot markers of the content are unchanged.
    """

    def __init__(self, content: EditionContent, html: str, text: str) -> None:
        self._content = content
        web_view = [content.urls.web_view] if content.urls.web_view else []
        self._html = VariantDocument(html, [*_PLACEHOLDERS, *map(escape, web_view)])
        self._text = VariantDocument(text, web_view)

    def edition(self, sections: Collection[str], web_view: str) -> RenderedEdition:
        """Return the edition with the sections of these keys, and ``web_view`` as its web view URL."""
        content = self._content
        names, left_out = self.visible_parts(sections)
        followed = tuple(section.title for section in content.sections if section.key in sections)
        subject, preheader = edition_subject_and_preheader(content, sections, markdown.inline_text)
        web_views = {content.urls.web_view: web_view}
        texts = {
            _FOLLOWED_TITLES: cldr.join_titles(followed),
            _LEFT_OUT_TITLES: cldr.join_titles(left_out),
            _SUBJECT: subject.translate(_LINE_BREAKS_TO_SPACES),
            _PREHEADER: preheader,
        }
        replacements = {name: _UNPRINTABLE.sub("", value) for name, value in texts.items()} | web_views
        values = {str(escape(placeholder)): str(escape(value)) for placeholder, value in replacements.items()}
        text = self._text.select(names, web_views)
        for placeholder in (_FOLLOWED_TITLES, _LEFT_OUT_TITLES):
            text = _insert_items(text, placeholder, replacements[placeholder])
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        return RenderedEdition(
            subject=subject,
            preheader=preheader,
            html=self._html.select(names, values).replace(_ADJACENT_OUTLOOK_COMMENTS, ""),
            text=text.strip() + "\n",
            web_view_html=self._html.select(names - {"reader"}, values)
            .replace(_ADJACENT_OUTLOOK_COMMENTS, "")
            .replace(_EMAIL_ROLE, _PAGE_ROLE, 1),
        )

    def visible_parts(self, sections: Collection[str]) -> tuple[frozenset[str], tuple[str, ...]]:
        """Return the names of the parts in an edition with these section keys, and the titles of other sections."""
        content = self._content
        kept = [number for number, section in enumerate(content.sections, 1) if section.key in sections]
        left_out = (
            *(s.title for s in content.sections if s.key not in sections),
            *content.unfollowed_sections,
        )
        half = (len(kept) + 1) // 2
        names = [
            "reader",
            "partial" if left_out else "whole",
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
    """Replace a placeholder by a list of items, and wrap its line."""
    if placeholder not in text:
        return text
    before, _, after = text.partition(placeholder)
    before, end, start = before.rpartition("\n")
    rest, newline, after = after.partition("\n")
    return f"{before}{end}{markdown.wrap(start + items + rest)}{newline}{after}"


def to_html(mjml: str) -> str:
    """Render MJML as HTML, preserving all characters in attributes. Raises TooLarge."""
    if len(mjml) > MAX_MJML_CHARACTERS:
        raise TooLarge(TooLarge.__doc__)
    source = _UNPRINTABLE.sub("", mjml).replace("\\", "&#92;")
    html = mjml2html(_TAGS.sub(_to_ascii, source), fonts={})
    html = _CHARACTER_REFERENCES.sub(_to_characters, _STYLE_ATTRIBUTE.sub(_minify_style, html))
    # More line breaks: equal lines of several editions are encoded only once.
    return html.replace("<!--[if", "\n<!--[if")


def _minify_style(styled: re.Match[str]) -> str:
    return styled[1] + _REDUNDANT_STYLE.sub("", styled[2])


def _to_ascii(part: re.Match[str]) -> str:
    return part[0] if part[0].isascii() else part[0].encode("ascii", "xmlcharrefreplace").decode("ascii")


def _to_characters(references: re.Match[str]) -> str:
    return "".join(chr(int(number)) for number in references[0][2:-1].split(";&#"))


def make_environment(folder: Path, *, html: bool) -> Environment:
    """Return a Jinja environment for the templates of emails, as MJML or as plain text."""
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
        "native_name": native_name,
        "direction": direction,
    }
    if html:
        environment.filters |= {
            "link": _checked_link,
            "html": _block_html,
            "line": _inline_html,
            "language_attributes": _language_attributes,
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
    """Replace line breaks and tabs by spaces, since mrml prints them as escapes in attributes."""
    return value.translate(_LINE_BREAKS_TO_SPACES) if type(value) is str else value


def _checked_link(url: str) -> str:
    if not is_allowed_link(url):
        raise UnsafeLink(f"{UnsafeLink.__doc__} {url!r}")
    return url


def _inline_html(source: str) -> Markup:
    return Markup(markdown.inline_html(source))  # noqa: S704 - cleaned there


def _block_html(source: str, width: int = 592) -> Markup:
    """Return Markdown as HTML with what Outlook and clients that drop style sheets need.

    ``width``: the width of the text in pixels, which limits pictures.
    """

    def picture(found: re.Match[str]) -> str:
        style = "display:block;max-width:100%;height:auto;margin:0 0 12px"
        return f'<img {found[1]} width="{min(int(found[2]), width)}" style="{style}" />'

    html = _SIZED_PICTURE.sub(picture, markdown.to_html(source))
    if "<t" in html:
        html = html.replace("<table>", _TABLE).replace("<th>", '<th style="text-align:inherit">')
    return Markup(html)  # noqa: S704 - cleaned there


@pass_context
def _language_attributes(context: Context, language: str, aligned: bool = True) -> Markup:
    """Return the ``lang`` and ``dir`` attributes of a text in another language than the edition's.

    ``aligned``: align the text by its own direction. Use it for blocks, not for single lines.
    """
    edition: EditionContent = context["edition"]
    if language == edition.language:
        return Markup()
    text_direction = direction(language)
    attributes = Markup(' lang="{}" dir="{}"').format(language, text_direction)
    if aligned and text_direction != edition.direction:
        attributes += Markup(' style="text-align:{}"').format("right" if text_direction == "rtl" else "left")
    return attributes
