"""Reads and writes lists of sections, as in a CSV file: names separated by commas, semicolons or bars."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.preferences import NEW_SECTIONS_BIT
from mailer.domain.subscriber_fields import InvalidValue, quoted


@dataclass(frozen=True, slots=True)
class SectionNames:
    """The names that a file may use for a section: its key, or its title in any language."""

    key: str
    bit: int
    titles: Mapping[str, str]


def _fold_name(name: str) -> str:
    # Turkish İ folds to an i with a dot above it, and people type a plain i.
    return " ".join(unicodedata.normalize("NFC", name).casefold().replace("i\u0307", "i").split())


SEPARATORS = " |;,"
"""Characters between names."""
_ALL, _NONE, _FUTURE = "all", "none", "future"
_MAX_SECTIONS_CHARS = 10_000
"""62 sections with titles of a hundred characters, and more."""


class SectionParser:
    """Parses the sections column for one newsletter."""

    def __init__(self, sections: Iterable[SectionNames]) -> None:
        self._masks: dict[str, int] = {}
        self._keys: list[str] = []
        self._bits: list[int] = []
        future = ALL_SECTIONS
        for section in sections:
            self._keys.append(section.key)
            self._bits.append(section.bit)
            future &= ~(1 << section.bit)
            for name in (section.key, *section.titles.values()):
                self._masks.setdefault(_fold_name(name), 1 << section.bit)
        for name, mask in ((_ALL, ALL_SECTIONS), (_FUTURE, future)):
            self._masks.setdefault(name, mask)
        # Longest first, since a title may begin with another title. Titles may contain commas and spaces.
        names = sorted(filter(None, self._masks), key=len, reverse=True)
        any_name = "|".join(map(re.escape, names)) or r"(?!)"
        self._match_name = re.compile(rf"({any_name})(?:[\s|;,]+|$)").match

    def read(self, written: str) -> int:
        """Return the mask of the sections named by key or title. An empty text means all, including future sections.

        The words ``all``, ``none`` and ``future`` are known too. Raises InvalidValue.
        """
        if len(written) > _MAX_SECTIONS_CHARS:
            raise InvalidValue(f"the list of sections has more than {_MAX_SECTIONS_CHARS:,} characters")
        text = _fold_name(written).strip(SEPARATORS)
        if not text:
            return ALL_SECTIONS
        if text in (_NONE, "-") and text not in self._masks:
            return 0
        mask = at = 0
        while at < len(text):
            match = self._match_name(text, at)
            if not match:
                unknown = re.split(r"[|;,]", text[at:], maxsplit=1)[0].strip()
                raise InvalidValue(
                    f"there is no section {quoted(unknown)}; there is {', '.join(self._keys)}, all, or none"
                )
            mask |= self._masks[match[1]]
            at = match.end()
        return mask

    def write(self, mask: int) -> str:
        """Return the text that ``read`` reads as this mask: ``all``, ``none``, or keys."""
        keys = [key for key, bit in zip(self._keys, self._bits, strict=True) if mask >> bit & 1]
        follows_future = bool(mask & NEW_SECTIONS_BIT)
        if follows_future and len(keys) == len(self._keys):
            return _ALL
        return " ".join([*keys, *([_FUTURE] if follows_future else [])]) or _NONE
