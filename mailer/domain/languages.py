"""Which language a reader gets: BCP 47 matching, then the newsletter's fallback chain.

The order follows RFC 4647 section 3.4 (lookup): a wanted tag is shortened from the end until a language
on offer fits (``sr-Latn-BA``, ``sr-Latn``, ``sr``). Only then do relatives count: the same language in the
same script from another region. A wanted ``sr`` means Serbian in its usual script, Cyrillic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import langcodes

FallbackChains = Mapping[str, Sequence[str]]


class InvalidLanguageTag(ValueError):
    """A tag that is not well-formed BCP 47, or names no language."""


@lru_cache(maxsize=4096)
def canonical_tag(tag: str) -> str:
    """``sr-latn-ba`` → ``sr-Latn-BA``; deprecated tags become today's. Raises NotALanguage."""
    try:
        found = langcodes.Language.get(langcodes.standardize_tag(tag.strip().replace("_", "-")))
    except (ValueError, AttributeError):
        raise InvalidLanguageTag(f"“{tag}” is not a language tag such as en, sr-Latn or pt-BR") from None
    if not found.language or not found.is_valid():
        raise InvalidLanguageTag(f"“{tag}” names no known language")
    return str(found.to_tag())


@lru_cache(maxsize=4096)
def _maximized(tag: str) -> tuple[str, str, str]:
    """Language, script and region with the likely values filled in."""
    full = langcodes.Language.get(tag).maximize()
    return full.language or "", full.script or "", full.territory or ""


def match_language(wanted: str, offered: Sequence[str]) -> str | None:
    """The language in ``offered`` that serves a reader of ``wanted``, or None."""
    by_tag = {tag.casefold(): tag for tag in offered}
    parts = wanted.split("-")
    while parts:
        shortened = "-".join(parts)
        if found := by_tag.get(shortened.casefold()):
            return found
        parts.pop()
        if parts and len(parts[-1]) == 1:  # a singleton goes with what it introduced
            parts.pop()
    language, script, region = _maximized(wanted)
    relatives = [tag for tag in offered if _maximized(tag)[:2] == (language, script)]
    return next(
        (tag for tag in relatives if _maximized(tag)[2] == region), relatives[0] if relatives else None
    )


def _fallback_chain(wanted: str, chains: FallbackChains) -> Sequence[str]:
    found = match_language(wanted, list(chains))
    return chains[found] if found else ()


@dataclass(frozen=True, slots=True)
class LanguageMatch:
    language: str
    reason: str
    """``asked``: in the reader's list; ``fallback``: by the newsletter's chain; ``default``."""
    wanted: str
    """The entry of the reader's list that led there; empty for ``default``."""


def choose_language(
    wanted: Sequence[str], offered: Sequence[str], chains: FallbackChains, default: str
) -> LanguageMatch | None:
    """The language for a reader whose preferences are ``wanted``, best first; None when nothing fits.

    First the reader's whole list, then the chain of each entry, then the newsletter's default language:
    what a reader says about themself outranks what a newsletter believes about languages.
    """
    for tag in wanted:
        if found := match_language(tag, offered):
            return LanguageMatch(found, "asked", tag)
    for tag in wanted:
        for other in _fallback_chain(tag, chains):
            if found := match_language(other, offered):
                return LanguageMatch(found, "fallback", tag)
    if found := match_language(default, offered):
        return LanguageMatch(found, "default", "")
    return None
