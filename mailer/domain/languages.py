"""Which language a reader gets: BCP 47 matching, then the newsletter's fallback chain.

The order follows RFC 4647 section 3.4 (lookup): a wanted tag is shortened from the end until a language
on offer fits (``sr-Latn-BA``, ``sr-Latn``, ``sr``). Only then do relatives count: the same language in the
same script from another region. A wanted ``sr`` means Serbian in its usual script, Cyrillic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import langcodes

Chains = Mapping[str, Sequence[str]]


class NotALanguage(ValueError):
    """A tag that is not well-formed BCP 47, or names no language."""


@lru_cache(maxsize=4096)
def canonical(tag: str) -> str:
    """``sr-latn-ba`` → ``sr-Latn-BA``; deprecated tags become today's. Raises NotALanguage."""
    try:
        found = langcodes.Language.get(langcodes.standardize_tag(tag.strip().replace("_", "-")))
    except (ValueError, AttributeError):
        raise NotALanguage(f"“{tag}” is not a language tag such as en, sr-Latn or pt-BR") from None
    if not found.language or not found.is_valid():
        raise NotALanguage(f"“{tag}” names no known language")
    return str(found.to_tag())


@lru_cache(maxsize=4096)
def _full(tag: str) -> tuple[str, str, str]:
    """Language, script and region with the likely values filled in."""
    full = langcodes.Language.get(tag).maximize()
    return full.language or "", full.script or "", full.territory or ""


def match(wanted: str, offered: Sequence[str]) -> str | None:
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
    language, script, region = _full(wanted)
    relatives = [tag for tag in offered if _full(tag)[:2] == (language, script)]
    return next((tag for tag in relatives if _full(tag)[2] == region), relatives[0] if relatives else None)


def _chain(wanted: str, chains: Chains) -> Sequence[str]:
    found = match(wanted, list(chains))
    return chains[found] if found else ()


@dataclass(frozen=True, slots=True)
class Choice:
    language: str
    why: str
    """``asked``: in the reader's list; ``fallback``: by the newsletter's chain; ``default``."""
    wanted: str
    """The entry of the reader's list that led there; empty for ``default``."""


def choose(wanted: Sequence[str], offered: Sequence[str], chains: Chains, default: str) -> Choice | None:
    """The language for a reader whose preferences are ``wanted``, best first; None when nothing fits.

    First the reader's whole list, then the chain of each entry, then the newsletter's default language:
    what a reader says about themself outranks what a newsletter believes about languages.
    """
    for tag in wanted:
        if found := match(tag, offered):
            return Choice(found, "asked", tag)
    for tag in wanted:
        for other in _chain(tag, chains):
            if found := match(other, offered):
                return Choice(found, "fallback", tag)
    if found := match(default, offered):
        return Choice(found, "default", "")
    return None
