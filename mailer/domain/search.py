"""What a search is for, cleaned queries, and the snippet of a text that shows a match."""

import re
import unicodedata
from collections.abc import Set
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mailer.language_data import languages

MAX_QUERY_CHARS = 200
"""The rest of a longer query is ignored."""
_SNIPPET_CHARS = 240
_LEAD_CHARS = 60
"""Maximum length of a snippet before its first matching word."""
_MAX_WORDS = 20
_LOOSE_DASHES = re.compile(r"-+(?![^\W_])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# Letters with combining marks, which \w does not match.
_WORD = re.compile(r"[^\W_][\w\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670]*")
_OPERATORS = re.compile(r"\"|(?:^|\s)-\w|\bor\b", re.IGNORECASE)
_STEM_LETTERS = 3
"""Minimum length of a stem."""
_VOWELS = "aeiouyëаеиоуыєіїюяъь"


class Fragment(NamedTuple):
    text: str
    is_match: bool


@dataclass(frozen=True, slots=True)
class StoryFilter:
    """Which stories are looked for. What is empty does not matter."""

    query: str = ""
    """Words that any text of the story has."""
    section: int | None = None
    language: str = ""
    """A language that the story has a text in, and in which words are looked for."""
    issue: int | None = None
    with_picture: bool = False


def normalized_query(query: str) -> str:
    """Return the query on one line, without control characters and loose dashes.

    PostgreSQL fails on about thirty nested operators, and a loose dash is one.
    """
    line = _CONTROL.sub(" ", query[: 4 * MAX_QUERY_CHARS])
    return " ".join(_LOOSE_DASHES.sub(" ", line).split()[:_MAX_WORDS])[:MAX_QUERY_CHARS].rstrip(" -")


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def stems(query: str) -> list[str]:
    """Return stems of a query's words, for languages without a stemmer in PostgreSQL.

    A suffixed article and a final vowel are removed if at least three letters remain. The list is empty for a query
    with operators.
    """
    if _OPERATORS.search(query):
        return []
    return [_stem(word) for word in re.findall(r"[^\W_]+", _folded(query)) if len(word) > _STEM_LETTERS]


def _folded(text: str) -> str:
    """Return the text folded like ``search_folded()`` in the database."""
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
    """Return the suffixed articles of all languages, longest first. A stem that is too short only matches more."""
    articles = {_folded(article) for known in languages().values() for article in known.articles}
    return tuple(sorted(articles, key=lambda article: (-len(article), article)))


def highlighted(text: str, matched_words: Set[str]) -> list[Fragment]:
    """Return the text in fragments; each occurrence of a matched word is a fragment with ``is_match``."""
    pieces, at = [], 0
    for match in _WORD.finditer(text):
        if match[0] in matched_words:
            pieces += [Fragment(text[at : match.start()], False), Fragment(match[0], True)]
            at = match.end()
    return [piece for piece in (*pieces, Fragment(text[at:], False)) if piece.text]


def snippet(text: str, matched_words: Set[str]) -> list[Fragment]:
    """Return the highlighted part of a text around its first matched word.

    The text is cut between words, with an ellipsis where text is omitted.
    """
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
