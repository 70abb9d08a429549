"""Text made comparable: small letters without accents, plain digits, blanks and dashes, no marks."""

import re
import unicodedata
from functools import lru_cache

_TAG = re.compile(r"</?su[bp]>", re.IGNORECASE)
# Two letters that are one to a reader: the dotless i of KASIM/Kasım, and the Greek final sigma.
_EQUIVALENTS = {"ı": "i", "ς": "σ"}
_DROPPED = {"\\", "*", "_", "ـ"}
"""Marks of Markdown, and the Arabic stretcher of letters."""
_DASHES = {"−", "~", "〜"}


def fold(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters the index in ``text`` that it came from."""
    folded: list[str] = []
    places: list[int] = []
    tags = {match.start(): match.end() for match in _TAG.finditer(text)}
    index = 0
    while index < len(text):
        if index in tags:
            index = tags[index]
            continue
        for character in _fold_character(text[index]):
            folded.append(character)
            places.append(index)
        index += 1
    return "".join(folded), places


def folded(text: str) -> str:
    """The folded text alone."""
    return fold(text)[0]


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    if character in _DROPPED:
        return ""
    result = []
    for part in unicodedata.normalize("NFKD", character).lower():
        kind = unicodedata.category(part)
        if kind in ("Mn", "Cf"):
            continue  # accents; soft hyphens, marks of direction
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
