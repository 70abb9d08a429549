"""Selects from a newsletter's texts, and from our catalogues, those in a reader's language."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mailer.domain.languages import FallbackChains, choose_language, match_language
from mailer.language_data import languages as known_languages


def N_(message: str) -> str:
    """Mark a message for the catalogues; it is translated where it is shown."""
    return message


class LocalizedText(NamedTuple):
    """A text and its language."""

    text: str
    language: str
    """May differ from the page's language."""


def localize(texts: Mapping[str, str], language: str, chains: FallbackChains, default: str) -> LocalizedText:
    """Return the text in the nearest language, or an empty text if there is none."""
    match = choose_language([language], list(texts), chains, default)
    tag = match.language if match else next(iter(texts), "")
    return LocalizedText(texts[tag], tag) if tag else LocalizedText("", language)


def sender_display_name(sender: str, names: Mapping[str, str], name: str) -> str:
    """Return the sender's display name for a mail.

    If the sender is the newsletter's name in any language, return ``name``, its name in the mail's language.
    """
    return name if sender in names.values() else sender


def ui_languages(languages: Sequence[str]) -> tuple[str, ...]:
    """Return the catalogues for readers of these languages, in the same order."""
    catalogues = list(known_languages())
    matches = (match_language(tag, catalogues) for tag in languages)
    return tuple(dict.fromkeys(filter(None, matches)))


def ui_language(preferred: Sequence[str], languages: Sequence[str], chains: FallbackChains, default: str) -> str:
    """Return the catalogue for a reader's preferred languages, ``en`` if none matches."""
    match = choose_language(preferred, ui_languages(languages), chains, default)
    return match.language if match else "en"
