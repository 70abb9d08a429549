"""The look of a note: words from ``templates/email/notes``, set in the same MJML and text as all others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mailer.adapters import cldr
from mailer.adapters.i18n import Catalogues
from mailer.adapters.mjml import make_environment, to_html
from mailer.domain.colours import palette
from mailer.domain.content import TransactionalContent
from mailer.domain.locales import native_name
from mailer.domain.text_overrides import OverrideText

_BLANK_LINES = re.compile(r"\n{3,}")
_PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
_BLANKS = re.compile(r"[ \t\r\n]+")
"""Those at which a line may end. A no-break space is none of them: French has one before a colon."""


@dataclass(frozen=True, slots=True)
class RenderedTransactional:
    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True)
class _HeadValues:
    """What the head of an edition's template asks of an edition."""

    subject: str
    preheader: str
    language: str
    direction: str


class TransactionalRenderer:
    """Renders notes with the templates in one folder. Safe to share between threads."""

    def __init__(self, templates: Path) -> None:
        self._catalogues = Catalogues(templates / "locales")
        html, text = (make_environment(templates / "email", html=html) for html in (True, False))
        self._mjml, self._text = (
            html.get_template("transactional.mjml"),
            text.get_template("transactional.txt"),
        )
        self._digest = text.get_template("digest.txt")
        self._content_templates = {
            name.removeprefix("notes/").removesuffix(".txt"): text.get_template(name)
            for name in text.list_templates(filter_func=lambda name: name.startswith("notes/"))
        }

    def digest_texts(
        self, language: str, month: date, overrides: Mapping[str, OverrideText]
    ) -> tuple[str, str]:
        """The month by name, and what stands at the beginning of its digest."""
        named = cldr.format_month(month, language)
        frame = {"month": named, "catalogue": self._catalogues.translations(language, overrides)}
        return named, self._digest.render(frame).strip()

    def render(self, content: TransactionalContent) -> RenderedTransactional:
        """A note as subject, HTML and text, with the same links in both. Raises ``UnsafeLink``."""
        rtl = content.direction == "rtl"
        frame: Mapping[str, object] = {
            "note": content,
            "palette": palette(content.theme, ()),
            "rtl": rtl,
            "start": "right" if rtl else "left",
            "section_titles": cldr.join_items(content.sections, content.language),
            "language_names": cldr.join_items(tuple(map(native_name, content.languages)), content.language),
            "catalogue": self._catalogues.translations(content.language, content.text_overrides),
        }
        words = self._content_templates[content.kind].render(frame)
        said = [_BLANKS.sub(" ", paragraph.strip()) for paragraph in _PARAGRAPH_BREAK.split(words.strip())]
        subject, heading, *paragraphs, button = filter(None, said)
        frame = dict(frame) | {
            "edition": _HeadValues(subject, paragraphs[0], content.language, content.direction),
            "heading": heading,
            "paragraphs": paragraphs,
            "button": button,
        }
        text = _BLANK_LINES.sub("\n\n", self._text.render(frame)).strip() + "\n"
        return RenderedTransactional(subject, to_html(self._mjml.render(frame)), text)
