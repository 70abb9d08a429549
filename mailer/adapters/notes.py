"""The look of a note: words from ``templates/email/notes``, set in the same MJML and text as all others."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mailer.adapters import cldr
from mailer.adapters.catalogues import Catalogues
from mailer.adapters.mjml import _environment, to_html
from mailer.domain.colours import palette
from mailer.domain.content import NoteContent
from mailer.domain.locales import native_name
from mailer.domain.phrases import Words

_GAPS = re.compile(r"\n{3,}")
_PARAGRAPHS = re.compile(r"\n\s*\n")
_BLANKS = re.compile(r"[ \t\r\n]+")
"""Those at which a line may end. A no-break space is none of them: French has one before a colon."""


@dataclass(frozen=True, slots=True)
class RenderedNote:
    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """What the head of an edition's template asks of an edition."""

    subject: str
    preheader: str
    language: str
    direction: str


class NoteRenderer:
    """Renders notes with the templates in one folder. Safe to share between threads."""

    def __init__(self, templates: Path) -> None:
        self._catalogues = Catalogues(templates / "locales")
        html, text = (_environment(templates / "email", html=html) for html in (True, False))
        self._mjml, self._text = html.get_template("note.mjml"), text.get_template("note.txt")
        self._digest = text.get_template("digest.txt")
        self._words = {
            name.removeprefix("notes/").removesuffix(".txt"): text.get_template(name)
            for name in text.list_templates(filter_func=lambda name: name.startswith("notes/"))
        }

    def month_words(self, language: str, month: date, own: Mapping[str, Words]) -> tuple[str, str]:
        """The month by name, and what stands at the beginning of its digest."""
        named = cldr.month(month, language)
        frame = {"month": named, "catalogue": self._catalogues.translations(language, own)}
        return named, self._digest.render(frame).strip()

    def render_note(self, note: NoteContent) -> RenderedNote:
        """A note as subject, HTML and text, with the same links in both. Raises ``UnsafeLink``."""
        rtl = note.direction == "rtl"
        frame: Mapping[str, object] = {
            "note": note,
            "palette": palette(note.theme, ()),
            "rtl": rtl,
            "start": "right" if rtl else "left",
            "section_titles": cldr.listed(note.sections, note.language),
            "language_names": cldr.listed(tuple(map(native_name, note.languages)), note.language),
            "catalogue": self._catalogues.translations(note.language, note.own_words),
        }
        words = self._words[note.kind].render(frame)
        said = [_BLANKS.sub(" ", paragraph.strip()) for paragraph in _PARAGRAPHS.split(words.strip())]
        subject, heading, *paragraphs, button = filter(None, said)
        frame = dict(frame) | {
            "edition": _Frame(subject, paragraphs[0], note.language, note.direction),
            "heading": heading,
            "paragraphs": paragraphs,
            "button": button,
        }
        text = _GAPS.sub("\n\n", self._text.render(frame)).strip() + "\n"
        return RenderedNote(subject, to_html(self._mjml.render(frame)), text)
