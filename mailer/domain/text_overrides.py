"""A newsletter's replacements for catalogue messages in mails and pages, and their validation.

A message is identified by its English text, or its English singular. A message with a plural needs one text
for each plural form of the language (CLDR, for integers), in the order of the catalogue.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from mailer.domain.locales import tag_and_parents
from mailer.domain.plurals import format_count

OverrideText = str | list[str]
TextOverrides = Mapping[str, Mapping[str, OverrideText]]
"""Language → message → replacement."""

_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


@dataclass(frozen=True, slots=True)
class CatalogueMessage:
    """A message of the catalogues."""

    text: str
    plural: str = ""
    """The English plural. Empty if the message has none."""
    ends_in_slot: bool = False
    """Whether the placeholder must come last: it is padded with spaces for each reader."""


def overrides_for(overrides: TextOverrides, language: str) -> Mapping[str, OverrideText]:
    """Return the replacements for a language, or for its nearest parent tag."""
    return next((overrides[tag] for tag in tag_and_parents(language) if tag in overrides), {})


def override_error(message: CatalogueMessage, override: OverrideText, plural_count: int) -> str:
    """Return why a replacement is invalid, for a coordinator, or an empty string.

    ``plural_count`` is the number of plural forms of the language.
    """
    if message.plural and (isinstance(override, str) or len(override) != plural_count):
        texts = format_count(plural_count, "text")
        return f"it has a plural: give a list of {texts}, one for each plural form of the language"
    if not message.plural and not isinstance(override, str):
        return "it has no plural: give one text, not a list"
    required = set(_PLACEHOLDER.findall(message.text + message.plural))
    for form in [override] if isinstance(override, str) else override:
        if not form.strip():
            return "the text must not be empty"
        if set(_PLACEHOLDER.findall(form)) != required:
            return f"the text must contain {', '.join(sorted(required)) or 'no placeholder'}, spelled exactly so"
        if "%" in _PLACEHOLDER.sub("", form).replace("%%", ""):
            return "write a percent sign as %%"
        if message.ends_in_slot and not form.endswith(f" {next(iter(required))}"):
            return f"the text must end with a space and {next(iter(required))}"
    return ""


def override_errors(
    overrides: TextOverrides, catalogue: Mapping[str, CatalogueMessage], plural_count: Callable[[str], int]
) -> Iterator[tuple[str, str, str]]:
    """Yield (language, text, what is wrong) for each invalid replacement. ``plural_count`` takes a language."""
    for language, replacements in overrides.items():
        for text, replacement in replacements.items():
            if message := catalogue.get(text):
                problem = override_error(message, replacement, plural_count(language))
            else:
                similar = get_close_matches(text, catalogue, 1)
                problem = "there is no such text." + (f" Did you mean “{similar[0]}”?" if similar else "")
            if problem:
                yield language, text, problem
