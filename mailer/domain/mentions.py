"""Recognizes which stories of an issue a subject or an introduction speaks of, and counts words."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

_STEM_LETTERS = 5
"""Words count as the same if their first letters are: river, rivers; Brücke, Brücken."""
_MIN_LETTERS = 4
"""Shorter words are mostly articles and prepositions. Scripts without upper case write no vowels or have fewer."""
_MAX_SUBJECT_STEMS = 6
_WORD = re.compile(r"[^\W\d_]+")
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""
_SENTENCE_END = re.compile(r"[.!?؟।]\s+|[。！？]|\n+")
_LINK_TARGET = re.compile(r"\]\([^)]*\)")


class StoryWording(NamedTuple):
    """The texts of a story in one language."""

    headline: str
    text: str


class StoryIndex:
    """The words by which each story of an issue is recognized in one language."""

    def __init__(self, stories: Mapping[int, StoryWording]) -> None:
        self._headline_stems = {story: _stems(wording.headline) for story, wording in stories.items()}
        all_stems = [stems | _stems(stories[story].text) for story, stems in self._headline_stems.items()]
        in_headlines = Counter(stem for stems in self._headline_stems.values() for stem in stems)
        in_stories = Counter(stem for stems in all_stems for stem in stems)
        self._distinctive = {stem for stem, count in in_headlines.items() if count == 1}
        self._rare = {
            stem
            for stem in self._distinctive
            if in_stories[stem] == 1 and (len(stem) == _STEM_LETTERS or not _cased(stem))
        }

    def mentioned(self, text: str) -> list[int]:
        """Return the stories that a text speaks of.

        A sentence speaks of a story if it has words of its headline that no other headline has: two, one of which is
        in no other story at all, or three. As short as a subject, one that is in no other story is enough.
        """
        found = set()
        for sentence in _SENTENCE_END.split(_LINK_TARGET.sub("]", text)):
            stems = _stems(sentence)
            enough = 1 if len(stems) <= _MAX_SUBJECT_STEMS else 2
            for story, headline in self._headline_stems.items():
                shared = stems & headline & self._distinctive
                if (shared & self._rare and len(shared) >= enough) or len(shared) > 2:
                    found.add(story)
        return [story for story in self._headline_stems if story in found]


def count_words(text: str) -> int:
    """Return the number of words of a Markdown text; in scripts without spaces between words, of letters."""
    text = _LINK_TARGET.sub("]", text)
    spaced = _UNSPACED.sub(" ", text).split()
    return len(_UNSPACED.findall(text)) + sum(any(letter.isalnum() for letter in word) for word in spaced)


def _cased(word: str) -> bool:
    return word.lower() != word.upper()


def _stems(text: str) -> set[str]:
    """Return the beginnings of the words, without case and accents; pairs of letters in scripts without spaces."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    stems = set()
    for word in _WORD.findall(letters):
        if _UNSPACED.match(word):
            stems |= {word[at : at + 2] for at in range(len(word) - 1)}
        elif len(word := word.removeprefix("ال")) >= (_MIN_LETTERS if _cased(word) else _MIN_LETTERS - 1):
            stems.add(word[:_STEM_LETTERS])
    return stems
