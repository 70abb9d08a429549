"""Contact notes: ``*(For info: Name)*``, and whether they speak for one story or for all above."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mailer.domain.document.normalize import folded
from mailer.language_data import languages

MAX_CONTACT_NOTE_CHARS = 600
"""Characters; a longer text in brackets is no contact note."""


@lru_cache(maxsize=1)
def _asking_pattern() -> re.Pattern[str]:
    return _any_of(stem for known in languages().values() for stem in known.contacts.asking)


@lru_cache(maxsize=64)
def _above_pattern(base: str) -> re.Pattern[str] | None:
    """The pattern of "on the above", "on all of the above"; None for a language without such words."""
    stems = [stem for tag, known in languages().items() if tag.split("-")[0] == base for stem in known.contacts.above]
    return _any_of(stems) if stems else None


def _any_of(stems: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(folded(stem)) for stem in stems))


@dataclass(frozen=True, slots=True)
class ContactNote:
    """A contact note at the end of a text. ``named`` says whether its words ask for information or contact;
    ``italic`` whether it was emphasised, which tells it apart where its words are not known here."""

    preceding_text: str
    text: str
    asks_for_contact: bool
    is_italic: bool


def split_contact(text: str) -> ContactNote | None:
    """The contact note that the text ends in: a text in round brackets with a colon in it."""
    end = text.rstrip()
    tail = end[end.rfind(")") + 1 :] if ")" in end else end
    if tail.strip("*_. ") or len(tail) > 10:
        return None
    close = len(end) - len(tail) - 1
    depth, start = 0, -1
    for index in range(close, max(-1, close - MAX_CONTACT_NOTE_CHARS), -1):
        if end[index] == ")":
            depth += 1
        elif end[index] == "(":
            depth -= 1
            if not depth:
                start = index
                break
    head, colon, _ = end[start + 1 : close].replace("：", ":").partition(":")
    if start < 0 or not colon or "](" in end[start - 1 : start + 1]:
        return None
    before = end[:start]
    lead = before[len(before.rstrip("*_")) :]
    note = end[start : close + 1]
    marks = tail.strip(". ")
    italic = bool(lead or marks)
    if lead and marks:
        before = before[: len(before) - len(lead)]
    elif lead:
        before, note = before[: len(before) - len(lead)], _without_marker(note, lead)
    elif marks:
        # The emphasis opened inside the note, "(*For info: …)*", or long before it.
        inside = _without_marker(note, marks)
        before, note = (before, inside) if inside != note else (before.rstrip() + marks, note)
    inner = note[1:-1].strip()
    if len(inner) > 2 and inner[0] in "*_" and inner[-1] == inner[0]:
        note, italic = f"({inner.strip('*_ ')})", True
    named = _asking_pattern().search(f" {folded(head)[:80]}") is not None
    return ContactNote(before.rstrip(), note, named, italic)


def _without_marker(contact_note: str, marker: str) -> str:
    """The note without the single emphasis mark that was left in it."""
    return contact_note.replace(marker, "", 1)


def applies_to_all(contact_note: str, language: str) -> bool | None:
    """Whether the note says "on the above"; None if the language, or the wording, leaves that open."""
    head = folded(contact_note.partition(":")[0])
    pattern, english = (_above_pattern(base) for base in (language.split("-")[0].lower(), "en"))
    if any(one and one.search(head) for one in (pattern, english)):
        return True
    return False if pattern and len(head.split()) <= 7 else None
