"""Which stories an edition shows, and in which language: the rules behind ``compose`` and ``expand``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailer.domain.languages import Chains, choose
from mailer.domain.states import MissingPolicy

ALL_SECTIONS = (1 << 62) - 1
"""The mask of a reader who follows every section, and every one that is still to come."""


@dataclass(frozen=True, slots=True)
class StoryText:
    """A story as these rules see it: its section's bit, and the languages in which its text is ready."""

    story: int
    bit: int
    languages: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rules:
    """What an issue and its newsletter decide about languages."""

    languages: Sequence[str]
    """Languages of the issue: those whose front matter is ready."""
    chains: Chains
    default: str
    policy: MissingPolicy


def shown_in(story: StoryText, edition: str, rules: Rules) -> str | None:
    """The language in which an edition shows a story; None when it leaves the story out."""
    if edition in story.languages:
        return edition
    if rules.policy is not MissingPolicy.fall_back:
        return None
    found = choose([edition], sorted(story.languages), rules.chains, rules.default)
    return found.language if found else None


def sections_shown(stories: Iterable[StoryText], edition: str, rules: Rules) -> int:
    """Mask of the sections that have at least one story to show in this language."""
    mask = 0
    for story in stories:
        if shown_in(story, edition, rules) is not None:
            mask |= 1 << story.bit
    return mask


def sections_for(followed: int, always: int, shown: int) -> int:
    """Mask of the sections that a reader gets; 0 when there is nothing for them this time."""
    return (followed | always) & shown


def bits(mask: int) -> list[int]:
    """The bits that are set in a mask, lowest first."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def missing(stories: Iterable[StoryText], rules: Rules) -> list[tuple[int, str]]:
    """(story, language) pairs without a text: what blocks approval under the policy ``block``."""
    return [
        (story.story, language)
        for story in stories
        for language in rules.languages
        if language not in story.languages
    ]
