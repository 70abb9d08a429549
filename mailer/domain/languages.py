"""Chooses a reader's language: BCP 47 matching, then the newsletter's fallback chain.

Matching follows RFC 4647 section 3.4 (lookup): the requested tag is shortened from the end until an
available language matches (``sr-Latn-BA``, ``sr-Latn``, ``sr``). After that, the same language in the same
script from another region matches. ``sr`` alone means Serbian in its default script, Cyrillic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from mailer.domain.errors import UserError

FallbackChains = Mapping[str, Sequence[str]]


class InvalidLanguageTag(UserError, ValueError):
    """A tag that is not well-formed BCP 47 or does not name a language."""


@lru_cache(maxsize=4096)
def canonical_tag(tag: str) -> str:
    """Return the canonical form: ``sr-latn-ba`` → ``sr-Latn-BA``. Replaces deprecated tags.

    Raises InvalidLanguageTag.
    """
    import langcodes  # its tables take a tenth of a command's start, and few commands read a tag

    try:
        language = langcodes.Language.get(langcodes.standardize_tag(tag.strip().replace("_", "-")))
    except (ValueError, AttributeError):
        raise InvalidLanguageTag(f"“{tag}” is not a language tag such as en, sr-Latn or pt-BR") from None
    if not language.language or not language.is_valid():
        raise InvalidLanguageTag(f"“{tag}” is not a known language")
    return str(language.to_tag())


@lru_cache(maxsize=4096)
def _maximized(tag: str) -> tuple[str, str, str]:
    """Return language, script and region, with likely subtags filled in (CLDR)."""
    import langcodes

    full = langcodes.Language.get(tag).maximize()
    return full.language or "", full.script or "", full.territory or ""


def match_language(requested: str, available: Sequence[str]) -> str | None:
    """Return the available language for a reader of ``requested``, or None."""
    by_tag = {tag.casefold(): tag for tag in available}
    subtags = requested.split("-")
    while subtags:
        shortened = "-".join(subtags)
        if tag := by_tag.get(shortened.casefold()):
            return tag
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:  # a singleton is removed with its extension (RFC 4647 3.4)
            subtags.pop()
    language, script, region = _maximized(requested)
    relatives = [tag for tag in available if _maximized(tag)[:2] == (language, script)]
    return next((tag for tag in relatives if _maximized(tag)[2] == region), relatives[0] if relatives else None)


def _fallback_chain(requested: str, chains: FallbackChains) -> Sequence[str]:
    tag = match_language(requested, list(chains))
    return chains[tag] if tag else ()


@dataclass(frozen=True, slots=True)
class LanguageMatch:
    """A reader's language and why it was chosen."""

    language: str
    reason: str
    """``asked`` (from the reader's list), ``fallback`` (from the newsletter's chain) or ``default``."""
    wanted: str
    """The entry of the reader's list that matched. Empty for ``default``."""


def choose_language(
    preferred: Sequence[str], available: Sequence[str], chains: FallbackChains, default: str
) -> LanguageMatch | None:
    """Return the available language for a reader's list, best first, or None if none matches.

    Tries the reader's whole list, then the fallback chain of each entry, then the newsletter's default
    language. So the reader's own list outranks the newsletter's assumptions.
    """
    for tag in preferred:
        if language := match_language(tag, available):
            return LanguageMatch(language, "asked", tag)
    for tag in preferred:
        for fallback in _fallback_chain(tag, chains):
            if language := match_language(fallback, available):
                return LanguageMatch(language, "fallback", tag)
    if language := match_language(default, available):
        return LanguageMatch(language, "default", "")
    return None
