"""Matches the stories of a document with those of an issue, also across languages.

Evidence is tried from the strongest to the weakest: identical stories, the same headline or text (in the same
language), picture, link, dates, and last the position, if all other stories of the section are matched.
Stories without evidence stay unmatched.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

_MIN_SHARED_WORDS = 0.4
"""The share of the shorter text's words, with the language tag, that one story's two versions have in common."""


@dataclass(frozen=True, slots=True)
class StoryFingerprint:
    """The features that identify a story. Empty ones are ignored."""

    headline: str = ""
    picture: str = ""
    link: str = ""
    dates: tuple[tuple[str, str], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class StoryMatches:
    """The matched and unmatched stories of a section."""

    pairs: dict[int, int]
    """Index in the document → index in the issue."""
    by_position: tuple[int, ...]
    """Document indices of pairs that were matched only by position."""
    unmatched: tuple[int, ...]
    """Document indices without a match."""


def _resemble(ours: StoryFingerprint, theirs: StoryFingerprint) -> bool:
    """Return whether two stories may be one: unless both are in the same language and share hardly a word."""
    if not (ours.headline and theirs.headline and ours.text and theirs.text):
        return True
    first, second = (set(re.findall(r"\w+", f"{story.headline} {story.text}".casefold())) for story in (ours, theirs))
    return len(first & second) >= _MIN_SHARED_WORDS * min(len(first), len(second))


def match_stories(
    document: Sequence[StoryFingerprint], issue: Sequence[StoryFingerprint], *, same_section: bool = True
) -> StoryMatches:
    """Match the stories of one section, or by strong evidence only those of different sections."""
    pairs: dict[int, int] = {}

    def unmatched_document() -> list[int]:
        return [index for index in range(len(document)) if index not in pairs]

    def unmatched_issue() -> list[int]:
        matched = set(pairs.values())
        return [index for index in range(len(issue)) if index not in matched]

    def match_unique(feature: Callable[[StoryFingerprint], Hashable]) -> None:
        """Match stories whose feature occurs once on each side."""
        for index in unmatched_document():
            value = feature(document[index])
            if not value:
                continue
            same = [other for other in unmatched_document() if feature(document[other]) == value]
            candidates = [other for other in unmatched_issue() if feature(issue[other]) == value]
            if len(same) == len(candidates) == 1:
                pairs[index] = candidates[0]

    def match_in_order(feature: Callable[[StoryFingerprint], Hashable]) -> None:
        """Match stories with the same feature, the first with the first and so on."""
        for index in unmatched_document():
            if value := feature(document[index]):
                candidates = [other for other in unmatched_issue() if feature(issue[other]) == value]
                if candidates:
                    pairs[index] = candidates[0]

    match_in_order(lambda story: story if story.headline or story.text else None)
    match_unique(lambda story: story.headline)
    match_unique(lambda story: story.text)
    match_unique(lambda story: story.picture)
    match_unique(lambda story: story.link)
    if not same_section:
        return StoryMatches(pairs, (), tuple(unmatched_document()))
    match_unique(lambda story: story.dates)
    match_in_order(lambda story: story.headline)
    rest, candidates = unmatched_document(), unmatched_issue()
    by_position: list[int] = []
    if len(rest) == len(candidates):
        for index, candidate in zip(rest, candidates, strict=True):
            ours, theirs = document[index], issue[candidate]
            conflict = any(a and b and a != b for a, b in ((ours.dates, theirs.dates), (ours.picture, theirs.picture)))
            if not conflict and _resemble(ours, theirs):
                pairs[index] = candidate
                by_position.append(index)
    return StoryMatches(pairs, tuple(by_position), tuple(unmatched_document()))
