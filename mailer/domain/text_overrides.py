"""A newsletter's own words for phrases of the mail and the pages, and which of them may stand in.

A phrase is named by its English text in the catalogues. One that counts something has as many forms as its
language has plurals (by CLDR, for whole numbers), in the order of the catalogue, and is named by its singular.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from mailer.domain.locales import tag_and_parents

OverrideText = str | list[str]
TextOverrides = Mapping[str, Mapping[str, OverrideText]]
"""Language → phrase → own words."""

_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


@dataclass(frozen=True, slots=True)
class CatalogueMessage:
    """A phrase as the catalogues know it."""

    text: str
    plural: str = ""
    """Of a phrase that counts something."""
    ends_in_slot: bool = False
    """Its placeholder is filled for each reader and padded with blanks, which show unless it stands last."""


def overrides_for(overrides: TextOverrides, language: str) -> Mapping[str, OverrideText]:
    """Those for a language, or for the nearest wider tag of it."""
    return next((overrides[tag] for tag in tag_and_parents(language) if tag in overrides), {})


def override_error(message: CatalogueMessage, override: OverrideText, plural_count: int) -> str:
    """Why these words cannot stand in for the phrase, for a coordinator; empty when they can.

    ``plurals``: how many forms the language has.
    """
    if message.plural and (isinstance(override, str) or len(override) != plural_count):
        return f"it counts something, so give it a list of {plural_count}: one for each plural form of the language"
    if not message.plural and not isinstance(override, str):
        return "it has one form, so give it one text, not a list"
    needed = set(_PLACEHOLDER.findall(message.text + message.plural))
    for form in [override] if isinstance(override, str) else override:
        if not form.strip():
            return "own words must not be empty"
        if set(_PLACEHOLDER.findall(form)) != needed:
            return f"own words must hold {', '.join(sorted(needed)) or 'no placeholder'}, spelt exactly so"
        if "%" in _PLACEHOLDER.sub("", form).replace("%%", ""):
            return "a percent sign that is no placeholder must be doubled: %%"
        if message.ends_in_slot and not form.endswith(f" {next(iter(needed))}"):
            return f"own words must end with {next(iter(needed))}, after a blank and with nothing behind it"
    return ""


def override_errors(
    overrides: TextOverrides, catalogue: Mapping[str, CatalogueMessage], plural_count: Callable[[str], int]
) -> Iterator[str]:
    """One line for each phrase that cannot be used; ``plurals`` counts the forms of a language."""
    for language, own in overrides.items():
        for text, words in own.items():
            if phrase := catalogue.get(text):
                problem = override_error(phrase, words, plural_count(language))
            else:
                near = get_close_matches(text, catalogue, 1)
                problem = "there is no such phrase." + (f" Did you mean “{near[0]}”?" if near else "")
            if problem:
                yield f"text_overrides.{language}: “{text}”: {problem}"
