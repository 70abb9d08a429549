"""What somebody types into a search, made harmless, and the part of a text that shows why it was found."""

import re
import unicodedata
from collections.abc import Set
from functools import lru_cache
from typing import NamedTuple

from mailer.language_data import languages

MAX_QUERY_CHARS = 200
"""Characters of a query that are read."""
_SNIPPET_CHARS = 240
"""Characters of a text that are shown."""
_LEAD_CHARS = 60
"""Of these, at most so many before the first word that was found."""
_MAX_WORDS = 20
_LOOSE_DASHES = re.compile(r"-+(?![^\W_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# Letters with the marks that stand on them, which are no letters to Python.
_WORD = re.compile(r"[^\W_][\w\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670]*")
_OPERATORS = re.compile(r"\"|(?:^|\s)-\w|\bor\b", re.IGNORECASE)
_STEM_LETTERS = 3
"""A stem is not cut to fewer."""
_VOWELS = "aeiouyëаеиоуыєіїюяъь"


class Fragment(NamedTuple):
    text: str
    is_match: bool


def normalized_query(query: str) -> str:
    """The query on one line, without what no text can hold, nor dashes that belong to no word: PostgreSQL
    gives up at some thirty operators in one another."""
    line = _CONTROL.sub(" ", query[: 4 * MAX_QUERY_CHARS])
    return " ".join(_LOOSE_DASHES.sub(" ", line).split()[:_MAX_WORDS])[:MAX_QUERY_CHARS].rstrip(" -")


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def stems(query: str) -> list[str]:
    """Return the beginnings of the words of a plain query, for languages whose endings PostgreSQL does not know.

    A suffixed article and a last vowel are taken for endings where three letters remain. Empty for a query with
    operators.
    """
    if _OPERATORS.search(query):
        return []
    return [_stem(word) for word in re.findall(r"[^\W_]+", _folded(query)) if len(word) > _STEM_LETTERS]


def _folded(text: str) -> str:
    """Return the text as ``search_folded()`` in the database does."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return bare.translate(str.maketrans("đłøıς", "dloiσ"))


def _stem(word: str) -> str:
    for ending in _articles():
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_LETTERS:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > _STEM_LETTERS and word[-1] in _VOWELS else word


@lru_cache(maxsize=1)
def _articles() -> tuple[str, ...]:
    """Return the articles of all languages, the longest first: too short a beginning only finds more."""
    found = {_folded(article) for known in languages().values() for article in known.articles}
    return tuple(sorted(found, key=lambda article: (-len(article), article)))


def highlighted(text: str, matched_words: Set[str]) -> list[Fragment]:
    """The text in pieces; each ``found`` piece is one of these words."""
    pieces, at = [], 0
    for match in _WORD.finditer(text):
        if match[0] in matched_words:
            pieces += [Fragment(text[at : match.start()], False), Fragment(match[0], True)]
            at = match.end()
    return [piece for piece in (*pieces, Fragment(text[at:], False)) if piece.text]


def snippet(text: str, matched_words: Set[str]) -> list[Fragment]:
    """The part of a text around the first word that was found, ``marked``. It is cut between words, with an
    ellipsis where something is missing."""
    first, last = next((match.span() for match in _WORD.finditer(text) if match[0] in matched_words), (0, 0))
    start = text.rfind(" ", 0, first - _LEAD_CHARS) + 1 if first > _LEAD_CHARS else 0
    end = len(text)
    if end - start > _SNIPPET_CHARS:
        end = max(text.rfind(" ", start, start + _SNIPPET_CHARS), last) if last else text.rfind(" ", 0, _SNIPPET_CHARS)
        end = end if end > start else start + _SNIPPET_CHARS
    pieces = highlighted(text[start:end], matched_words)
    return [
        *([Fragment("…\u00a0", False)] if start else []),
        *pieces,
        *([Fragment("\u00a0…", False)] if end < len(text) else []),
    ]
