"""Folds text for comparison: lower case, no accents or Markdown marks, ASCII digits, spaces and dashes."""

import re
import unicodedata
from functools import lru_cache

_TAG = re.compile(r"</?su[bp]>", re.IGNORECASE)
# Variants of the same character: the dotless i of KASIM/Kasım, the Greek final sigma, and apostrophes.
_EQUIVALENTS = {"ı": "i", "ς": "σ", "’": "'", "ʼ": "'"}
_DROPPED = {"\\", "*", "_", "ـ"}
"""Markdown marks and the Arabic tatweel."""
_DASHES = {"−", "~", "〜"}


def fold(text: str) -> tuple[str, list[int]]:
    """Return the folded text and, for each of its characters, the index of its original in ``text``."""
    folded: list[str] = []
    indices: list[int] = []
    tags = {match.start(): match.end() for match in _TAG.finditer(text)}
    index = 0
    while index < len(text):
        if index in tags:
            index = tags[index]
            continue
        for character in _fold_character(text[index]):
            folded.append(character)
            indices.append(index)
        index += 1
    return "".join(folded), indices


def folded(text: str) -> str:
    """Return the folded text."""
    return fold(text)[0]


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    if character in _DROPPED:
        return ""
    result = []
    for part in unicodedata.normalize("NFKD", character).lower():
        kind = unicodedata.category(part)
        if kind in ("Mn", "Cf"):
            continue  # accents, soft hyphens and direction marks
        digit = unicodedata.decimal(part, None)
        if digit is not None:
            result.append(str(digit))
        elif kind == "Pd" or part in _DASHES:
            result.append("-")
        elif part.isspace():
            result.append(" ")
        else:
            result.append({"،": ",", "؛": ";"}.get(part, _EQUIVALENTS.get(part, part)))
    return "".join(result)
