"""Which story of a document is which story of an issue, when the document is in another language.

Evidence is tried from the surest to the weakest: the same in everything, the same headline or text (in the same
language), the same picture, the same link, the same dates, and last the same place in a section whose other
stories all found their partner. What is left is not guessed.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoryFingerprint:
    """What a story can be recognised by; an empty value says nothing."""

    headline: str = ""
    picture: str = ""
    link: str = ""
    dates: tuple[tuple[str, str], ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class StoryMatches:
    pairs: dict[int, int]
    """Index in the document → index in the issue."""
    by_position: tuple[int, ...]
    """Those of the pairs, by document index, that only their order speaks for."""
    unmatched: tuple[int, ...]
    """Document indices without a partner."""


def match_stories(document: Sequence[StoryFingerprint], issue: Sequence[StoryFingerprint]) -> StoryMatches:
    """Pair the stories of one section."""
    pairs: dict[int, int] = {}

    def left() -> list[int]:
        return [at for at in range(len(document)) if at not in pairs]

    def open_() -> list[int]:
        taken = set(pairs.values())
        return [at for at in range(len(issue)) if at not in taken]

    def by(trait: Callable[[StoryFingerprint], Hashable]) -> None:
        for at in left():
            value = trait(document[at])
            if not value:
                continue
            here = [other for other in left() if trait(document[other]) == value]
            there = [other for other in open_() if trait(issue[other]) == value]
            if len(here) == len(there) == 1:
                pairs[at] = there[0]

    def in_turn(trait: Callable[[StoryFingerprint], Hashable]) -> None:
        """The first with the first, the second with the second of those that are alike."""
        for at in left():
            if value := trait(document[at]):
                there = [other for other in open_() if trait(issue[other]) == value]
                if there:
                    pairs[at] = there[0]

    in_turn(lambda story: story if story.headline or story.text else None)
    by(lambda story: story.headline)
    by(lambda story: story.text)
    by(lambda story: story.picture)
    by(lambda story: story.link)
    by(lambda story: story.dates)
    in_turn(lambda story: story.headline)
    here, there = left(), open_()
    by_order: list[int] = []
    if len(here) == len(there):
        for at, other in zip(here, there, strict=True):
            mine, theirs = document[at], issue[other]
            clash = any(
                a and b and a != b for a, b in ((mine.dates, theirs.dates), (mine.picture, theirs.picture))
            )
            if not clash:
                pairs[at] = other
                by_order.append(at)
    return StoryMatches(pairs, tuple(by_order), tuple(left()))
