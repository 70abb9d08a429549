"""Which stories an edition shows and in which language, for ``compose`` and ``expand``."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailer.domain.languages import FallbackChains, choose_language
from mailer.domain.states import MissingTranslationPolicy

ALL_SECTIONS = (1 << 62) - 1
"""The mask of a reader who follows every section, including future ones."""


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """The language settings of an issue and its newsletter."""

    languages: Sequence[str]
    """Languages whose front matter is ready."""
    fallback_chains: FallbackChains
    default_language: str
    missing_translations: MissingTranslationPolicy


@dataclass(frozen=True, slots=True)
class DigestSource:
    """An issue that a digest holds."""

    issue: int
    rules: LanguageRules
    subjects: Mapping[str, str]
    """By language; only those that are ready."""


@dataclass(frozen=True, slots=True)
class StoryLanguages:
    """A story with its section's bit and the languages in which its text is ready."""

    story: int
    section_bit: int
    languages: frozenset[str]
    source: DigestSource | None = None
    """Only in a digest: the issue from which the story comes. Its rules apply to the story there, too."""


def in_sources(sources: Sequence[DigestSource], mask: int) -> list[DigestSource]:
    """Return the issues of a digest whose positions are in the mask."""
    return [source for position, source in enumerate(sources) if mask >> position & 1]


def digest_languages(languages: Iterable[str], sources: Sequence[DigestSource]) -> list[str]:
    """Return those languages in which at least one of these issues was published."""
    return [language for language in languages if any(language in source.rules.languages for source in sources)]


def language_shown(story: StoryLanguages, edition: str, rules: LanguageRules) -> str | None:
    """Return the language in which an edition shows a story, or None if it omits the story.

    In a digest the policy of the story's own issue applies to the languages of that issue. In any other language its
    readers would have got the issue in a fallback language, and so they get the story.
    """
    if edition in story.languages:
        return edition
    own = story.source.rules if story.source else rules
    published = story.source is None or edition in own.languages
    if published and own.missing_translations is not MissingTranslationPolicy.fallback:
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
