"""Which stories an edition shows and in which language, for ``compose`` and ``expand``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailer.domain.languages import FallbackChains, choose_language
from mailer.domain.states import MissingTranslationPolicy

ALL_SECTIONS = (1 << 62) - 1
"""The mask of a reader who follows every section, including future ones."""


@dataclass(frozen=True, slots=True)
class StoryLanguages:
    """A story with its section's bit and the languages in which its text is ready."""

    story: int
    section_bit: int
    languages: frozenset[str]


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """The language settings of an issue and its newsletter."""

    languages: Sequence[str]
    """Languages whose front matter is ready."""
    fallback_chains: FallbackChains
    default_language: str
    missing_translations: MissingTranslationPolicy


def language_shown(story: StoryLanguages, edition: str, rules: LanguageRules) -> str | None:
    """Return the language in which an edition shows a story, or None if it omits the story."""
    if edition in story.languages:
        return edition
    if rules.missing_translations is not MissingTranslationPolicy.fallback:
        return None
    match = choose_language([edition], sorted(story.languages), rules.fallback_chains, rules.default_language)
    return match.language if match else None


def sections_shown(stories: Iterable[StoryLanguages], edition: str, rules: LanguageRules) -> int:
    """Return the mask of sections with at least one story to show in this language."""
    mask = 0
    for story in stories:
        if language_shown(story, edition, rules) is not None:
            mask |= 1 << story.section_bit
    return mask


def section_bits(mask: int) -> list[int]:
    """Return the positions of the set bits, lowest first."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def missing_languages(stories: Iterable[StoryLanguages], rules: LanguageRules) -> list[tuple[int, str]]:
    """Return (story, language) pairs without a text. They block approval under the policy ``block``."""
    return [
        (story.story, language) for story in stories for language in rules.languages if language not in story.languages
    ]
