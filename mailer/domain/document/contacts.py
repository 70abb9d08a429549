"""Contact notes such as ``*(For info: Name)*``, and whether they cover one story or all stories above."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mailer.domain.document.normalize import folded
from mailer.language_data import languages

MAX_CONTACT_NOTE_CHARS = 600
"""A longer text in brackets is not a contact note."""


@lru_cache(maxsize=1)
def _asking_pattern() -> re.Pattern[str]:
    return _any_of(stem for known in languages().values() for stem in known.contacts.asking)


@lru_cache(maxsize=64)
def _above_pattern(base: str) -> re.Pattern[str] | None:
    """Return a pattern for "on the above" and "on all of the above", or None for a language without such words."""
    stems = [stem for tag, known in languages().items() if tag.split("-")[0] == base for stem in known.contacts.above]
    return _any_of(stems) if stems else None


def _any_of(stems: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(folded(stem)) for stem in stems))


@dataclass(frozen=True, slots=True)
class ContactNote:
    """A contact note at the end of a text."""

    preceding_text: str
    text: str
    asks_for_contact: bool
    """Whether its words ask the reader to get information or make contact."""
    is_italic: bool
    """Whether it is emphasised, which identifies a note whose words are unknown."""


def split_contact(text: str) -> ContactNote | None:
    """Return the contact note at the end of the text, or None.

    A contact note is a text in round brackets that contains a colon.
    """
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
        # The emphasis starts inside the note, "(*For info: …)*", or well before it.
        inside = _without_marker(note, marks)
        before, note = (before, inside) if inside != note else (before.rstrip() + marks, note)
    inner = note[1:-1].strip()
    if len(inner) > 2 and inner[0] in "*_" and inner[-1] == inner[0]:
        note, italic = f"({inner.strip('*_ ')})", True
    asks = _asking_pattern().search(f" {folded(head)[:80]}") is not None
    return ContactNote(before.rstrip(), note, asks, italic)


def _without_marker(contact_note: str, marker: str) -> str:
    """Return the note without the unpaired emphasis mark in it."""
    return contact_note.replace(marker, "", 1)


def applies_to_all(contact_note: str, language: str) -> bool | None:
    """Return whether the note says "on the above"; None if the language or wording leaves this open."""
    head = folded(contact_note.partition(":")[0])
    pattern, english_pattern = (_above_pattern(base) for base in (language.split("-")[0].lower(), "en"))
    if any(known and known.search(head) for known in (pattern, english_pattern)):
        return True
    return False if pattern and len(head.split()) <= 7 else None
