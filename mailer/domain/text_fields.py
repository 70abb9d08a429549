"""The fields of a text as they are typed, and what is stored of them.

A browser sends the trees of mailer.domain.text_tree, a form without script Markdown. All of it is hostile: each value
is bounded before it is read, and becomes what the import of a document would store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailer.domain.content import Dateline
from mailer.domain.document.datelines import MAX_DATELINE_CHARS, read_datelines
from mailer.domain.document.sentences import one_line
from mailer.domain.document.source import without_control_characters
from mailer.domain.errors import UserError
from mailer.domain.markdown import MAX_LENGTH, complete_link, is_allowed_link
from mailer.domain.staff_texts import gettext
from mailer.domain.states import TextSubject
from mailer.domain.text_tree import (
    canonical,
    canonical_line,
    line_to_markdown,
    line_to_tree,
    plain_line,
    to_markdown,
    to_tree,
)

MAX_LINE_CHARS = 1000
"""Of a subject, a preheader, an alternative text, a label or a credit."""
MAX_ALT_CHARS = 1000
MAX_CREDIT_CHARS = 300
"""Of what is said of a picture where it is chosen or described."""
MAX_LINK_CHARS = 2000
MAX_DATELINES = 20
RICH = {TextSubject.front_matter: ("intro", "partial_intro"), TextSubject.story: ("body",)}
"""The fields with paragraphs."""
PLAIN = {
    TextSubject.front_matter: ("subject", "preheader", "partial_subject", "partial_preheader"),
    TextSubject.story: ("alt", "picture_credit"),
}
"""The fields that are one line without formatting."""


class InvalidText(UserError, ValueError):
    """What was typed is no text that can be stored. The message says why."""


@dataclass(frozen=True, slots=True)
class TypedText:
    """What was typed, as it is stored. Fields that were not sent are not among it."""

    content: dict[str, Any]
    """Columns of the text."""
    problems: dict[str, str] = field(default_factory=dict)
    """Field → why it is not stored as it is typed, for a person who is still typing."""


def read_fields(
    subject: TextSubject, fields: Mapping[str, object], language: str, *, is_markdown: bool = False
) -> TypedText:
    """Return what was typed into the fields of a text. ``is_markdown``: they come from a form without script.

    Raises InvalidText, and InvalidTree, TooLong and TooDeep of the modules that read trees and Markdown.
    """
    content: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name in RICH[subject]:
        if name in fields:
            content[name] = _markdown(fields[name], canonical) if is_markdown else to_markdown(fields[name])
    for name in PLAIN[subject]:
        if name in fields:
            content[name] = _line(fields[name], MAX_LINE_CHARS)
    if subject is TextSubject.front_matter:
        return TypedText(content)
    if "headline" in fields:
        headline = fields["headline"]
        content["headline"] = _markdown(headline, canonical_line) if is_markdown else line_to_markdown(headline)
    if "datelines" in fields:
        content["datelines"] = _datelines(fields["datelines"], language)
    if "link_label" in fields:
        content["link_label"] = _escaped(_line(fields["link_label"], MAX_LINE_CHARS))
    if "link" in fields:
        link = complete_link(_line(fields["link"], MAX_LINK_CHARS).replace(" ", "%20"))
        if link and not is_allowed_link(link):
            problems["link"] = gettext(
                "This is no complete web or email address; those begin with https:// or mailto:."
            )
        else:
            content["link"] = link
    return TypedText(content, problems)


def typed_fields(subject: TextSubject, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a stored text as a browser edits them. Raises InvalidTree if a tree cannot hold one."""
    fields: dict[str, Any] = {name: to_tree(content.get(name, "")) for name in RICH[subject]}
    fields |= {name: content.get(name) or "" for name in PLAIN[subject]}
    if subject is TextSubject.story:
        fields |= {
            "headline": line_to_tree(content["headline"]),
            "datelines": [{"text": line["text"]} for line in content["datelines"]],
            "link": content["link"],
            "link_label": plain_line(content["link_label"]),
        }
    return fields


def merge(before: Mapping[str, Any], typed: TypedText) -> dict[str, Any]:
    """Return a stored text with what was typed."""
    merged = {**before, **typed.content}
    if plain_line(before.get("link_label", "")) == plain_line(merged.get("link_label", "")):
        merged["link_label"] = before.get("link_label", "")  # it may have formatting, which its field does not show
    return {name: value for name, value in merged.items() if name in before}


def _datelines(value: object, language: str) -> list[dict[str, Any]]:
    """Return the datelines in what was typed, as an import reads them. Empty lines are left out."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_DATELINES:
        raise InvalidText(gettext("A story has at most %(count)s datelines.", count=MAX_DATELINES))
    found: list[Dateline] = []
    for line in value:
        text = _line(line.get("text") if isinstance(line, Mapping) else None, MAX_DATELINE_CHARS)
        if text := text.rstrip(":：").strip():
            found += read_datelines(text, language)[0]
    return [dateline.to_json() for dateline in found]


def _line(value: object, max_chars: int) -> str:
    """Return one line of plain text. Raises InvalidText."""
    if not isinstance(value, str):
        raise InvalidText(gettext("This text was not sent by the editor. Reload the page."))
    if len(value) > max_chars:
        raise InvalidText(gettext("A line has more than %(count)s characters.", count=max_chars))
    return one_line(without_control_characters(value)[0])


def _markdown(value: object, read: Callable[[str], str]) -> str:
    if not isinstance(value, str):
        raise InvalidText(gettext("This text was not sent by the editor. Reload the page."))
    text = without_control_characters(value.replace("\r\n", "\n"))[0]
    if len(text) > MAX_LENGTH:
        raise InvalidText(gettext("A text has more than %(count)s characters.", count=MAX_LENGTH))
    return read(text)


def _escaped(text: str) -> str:
    """Return plain text as one line of Markdown."""
    content = [{"type": "text", "text": text}] if text else []
    return line_to_markdown({"type": "doc", "content": [{"type": "paragraph", "content": content}]})
