"""Which stories an edition shows, and in which language: the rules behind ``compose`` and ``expand``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailer.domain.languages import FallbackChains, choose_language
from mailer.domain.states import MissingTranslationPolicy

ALL_SECTIONS = (1 << 62) - 1
"""The mask of a reader who follows every section, and every one that is still to come."""


@dataclass(frozen=True, slots=True)
class StoryLanguages:
    """A story as these rules see it: its section's bit, and the languages in which its text is ready."""

    story: int
    section_bit: int
    languages: frozenset[str]


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """What an issue and its newsletter decide about languages."""

    languages: Sequence[str]
    """Languages of the issue: those whose front matter is ready."""
    fallback_chains: FallbackChains
    default_language: str
    missing_translations: MissingTranslationPolicy


def language_shown(story: StoryLanguages, edition: str, rules: LanguageRules) -> str | None:
    """The language in which an edition shows a story; None when it leaves the story out."""
    if edition in story.languages:
        return edition
    if rules.missing_translations is not MissingTranslationPolicy.fallback:
        return None
    found = choose_language([edition], sorted(story.languages), rules.fallback_chains, rules.default_language)
    return found.language if found else None


def sections_shown(stories: Iterable[StoryLanguages], edition: str, rules: LanguageRules) -> int:
    """Mask of the sections that have at least one story to show in this language."""
    mask = 0
    for story in stories:
        if language_shown(story, edition, rules) is not None:
            mask |= 1 << story.section_bit
    return mask


def sections_for(followed: int, always_included: int, shown: int) -> int:
    """Mask of the sections that a reader gets; 0 when there is nothing for them this time."""
    return (followed | always_included) & shown


def section_bits(mask: int) -> list[int]:
    """The bits that are set in a mask, lowest first."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def missing_languages(stories: Iterable[StoryLanguages], rules: LanguageRules) -> list[tuple[int, str]]:
    """(story, language) pairs without a text: what blocks approval under the policy ``block``."""
    return [
        (story.story, language)
        for story in stories
        for language in rules.languages
        if language not in story.languages
    ]
