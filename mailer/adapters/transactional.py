"""Transactional emails: the templates in ``templates/email/<kind>`` (subject.txt, body.txt, body.mjml)."""

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
from mailer.domain.transactional import STAFF_KINDS

_BLANK_LINES = re.compile(r"\n{3,}")
_BLANKS = re.compile(r"[ \t\r\n]+")
"""White space except no-break spaces: French has one before a colon."""


@dataclass(frozen=True, slots=True)
class RenderedTransactional:
    """A rendered transactional email."""

    subject: str
    html: str
    text: str


class TransactionalRenderer:
    """Renders transactional emails with the templates in one folder. Safe to share between threads."""

    def __init__(self, templates: Path, catalogues: Catalogues, staff_catalogues: Catalogues) -> None:
        self._catalogues = catalogues
        self._staff_catalogues = staff_catalogues
        self._mjml, self._text = (make_environment(templates / "email", html=html) for html in (True, False))

    def digest_texts(self, language: str, month: date, overrides: Mapping[str, OverrideText]) -> tuple[str, str]:
        """Return the name of the month and the introduction of its digest."""
        name = cldr.format_month(month, language)
        values = {"month": name, "catalogue": self._catalogues.translations(language, overrides)}
        return name, self._text.get_template("digest.txt").render(values).strip()

    def render(self, content: TransactionalContent) -> RenderedTransactional:
        """Return subject, HTML and text, with the same links in both. Raises UnsafeLink."""
        rtl = content.direction == "rtl"
        values: dict[str, object] = {
            "email": content,
            "palette": palette(content.theme, ()),
            "rtl": rtl,
            "start": "right" if rtl else "left",
            "section_titles": cldr.join_titles(content.sections),
            "language_names": cldr.join_items(tuple(map(native_name, content.languages)), content.language),
            "catalogue": self._catalogues.translations(content.language, content.text_overrides),
        }
        if content.kind in STAFF_KINDS:
            values["catalogue"] = self._staff_catalogues.translations(content.language)
        subject = self._text.get_template(f"{content.kind}/subject.txt").render(values)
        values["subject"] = _BLANKS.sub(" ", subject).strip()
        text = self._text.get_template(f"{content.kind}/body.txt").render(values)
        mjml = self._mjml.get_template(f"{content.kind}/body.mjml").render(values)
        return RenderedTransactional(
            subject=_BLANKS.sub(" ", subject).strip(),
            html=to_html(mjml),
            text=_BLANK_LINES.sub("\n\n", text).strip() + "\n",
        )
