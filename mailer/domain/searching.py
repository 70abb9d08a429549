"""What somebody types into a search, made harmless, and the part of a text that shows why it was found."""

import re
import unicodedata
from collections.abc import Set
from typing import NamedTuple

LONGEST = 200
"""Characters of a query that are read."""
_SNIPPET = 240
"""Characters of a text that are shown."""
_LEAD = 60
"""Of these, at most so many before the first word that was found."""
_MOST_WORDS = 20
_LOOSE_DASHES = re.compile(r"-+(?![^\W_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# Letters with the marks that stand on them, which are no letters to Python.
_WORD = re.compile(r"[^\W_][\w\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670]*")
_OPERATORS = re.compile(r"\"|(?:^|\s)-\w|\bor\b", re.IGNORECASE)
_VOWELS = "aeiouyëаеиоуыєіїюяъь"


class Piece(NamedTuple):
    text: str
    found: bool


def cleaned(typed: str) -> str:
    """The query on one line, without what no text can hold, nor dashes that belong to no word: PostgreSQL
    gives up at some thirty operators in one another."""
    line = _CONTROL.sub(" ", typed[: 4 * LONGEST])
    return " ".join(_LOOSE_DASHES.sub(" ", line).split()[:_MOST_WORDS])[:LONGEST].rstrip(" -")


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def stems(query: str) -> list[str]:
    """The beginnings of the words of a plain query, for languages whose endings PostgreSQL does not know: a
    last vowel of a longer word is taken for an ending. Empty for a query with operators."""
    if _OPERATORS.search(query):
        return []
    folded = "".join(
        c for c in unicodedata.normalize("NFKD", query.casefold()) if not unicodedata.combining(c)
    ).translate(str.maketrans("đłøıς", "dloiσ"))
    found = re.findall(r"[^\W_]+", folded)
    return [word[:-1] if len(word) > 4 and word[-1] in _VOWELS else word for word in found if len(word) > 3]


def marked(text: str, found: Set[str]) -> list[Piece]:
    """The text in pieces; each ``found`` piece is one of these words."""
    pieces, at = [], 0
    for match in _WORD.finditer(text):
        if match[0] in found:
            pieces += [Piece(text[at : match.start()], False), Piece(match[0], True)]
            at = match.end()
    return [piece for piece in (*pieces, Piece(text[at:], False)) if piece.text]


def snippet(text: str, found: Set[str]) -> list[Piece]:
    """The part of a text around the first word that was found, ``marked``. It is cut between words, with an
    ellipsis where something is missing."""
    first, last = next((match.span() for match in _WORD.finditer(text) if match[0] in found), (0, 0))
    start = text.rfind(" ", 0, first - _LEAD) + 1 if first > _LEAD else 0
    end = len(text)
    if end - start > _SNIPPET:
        end = max(text.rfind(" ", start, start + _SNIPPET), last) if last else text.rfind(" ", 0, _SNIPPET)
        end = end if end > start else start + _SNIPPET
    pieces = marked(text[start:end], found)
    return [
        *([Piece("…\u00a0", False)] if start else []),
        *pieces,
        *([Piece("\u00a0…", False)] if end < len(text) else []),
    ]
