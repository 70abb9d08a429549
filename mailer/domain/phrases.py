"""A newsletter's own words for phrases of the mail and the pages, and which of them may stand in.

A phrase is named by its English text in the catalogues. One that counts something has as many forms as its
language has plurals (by CLDR, for whole numbers), in the order of the catalogue, and is named by its singular.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from mailer.domain.locales import widening

Words = str | list[str]
Phrases = Mapping[str, Mapping[str, Words]]
"""Language → phrase → own words."""

_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase as the catalogues know it."""

    text: str
    plural: str = ""
    """Of a phrase that counts something."""
    ends_in_slot: bool = False
    """Its placeholder is filled for each reader and padded with blanks, which show unless it stands last."""


def own_words(phrases: Phrases, language: str) -> Mapping[str, Words]:
    """Those for a language, or for the nearest wider tag of it."""
    return next((phrases[tag] for tag in widening(language) if tag in phrases), {})


def misfit(phrase: Phrase, words: Words, plurals: int) -> str:
    """Why these words cannot stand in for the phrase, for a coordinator; empty when they can.

    ``plurals``: how many forms the language has.
    """
    if phrase.plural and (isinstance(words, str) or len(words) != plurals):
        return (
            f"it counts something, so give it a list of {plurals}: one for each plural form of the language"
        )
    if not phrase.plural and not isinstance(words, str):
        return "it has one form, so give it one text, not a list"
    needed = set(_PLACEHOLDER.findall(phrase.text + phrase.plural))
    for form in [words] if isinstance(words, str) else words:
        if not form.strip():
            return "own words must not be empty"
        if set(_PLACEHOLDER.findall(form)) != needed:
            return f"own words must hold {', '.join(sorted(needed)) or 'no placeholder'}, spelt exactly so"
        if "%" in _PLACEHOLDER.sub("", form).replace("%%", ""):
            return "a percent sign that is no placeholder must be doubled: %%"
        if phrase.ends_in_slot and not form.endswith(f" {next(iter(needed))}"):
            return f"own words must end with {next(iter(needed))}, after a blank and with nothing behind it"
    return ""


def misfits(phrases: Phrases, known: Mapping[str, Phrase], plurals: Callable[[str], int]) -> Iterator[str]:
    """One line for each phrase that cannot be used; ``plurals`` counts the forms of a language."""
    for language, own in phrases.items():
        for text, words in own.items():
            if phrase := known.get(text):
                problem = misfit(phrase, words, plurals(language))
            else:
                near = get_close_matches(text, known, 1)
                problem = "there is no such phrase." + (f" Did you mean “{near[0]}”?" if near else "")
            if problem:
                yield f"phrases.{language}: “{text}”: {problem}"
