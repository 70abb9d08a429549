"""Words that a newsletter has in several languages, and the ones that a page shows."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mailer.domain.languages import FallbackChains, choose_language, match_language
from mailer.language_data import languages as known_languages


def N_(message: str) -> str:
    """Mark a message for the catalogues; it is translated where it is shown."""
    return message


class LocalizedText(NamedTuple):
    text: str
    language: str
    """Of the text, which may be another one than the page's."""


def localize(texts: Mapping[str, str], language: str, chains: FallbackChains, default: str) -> LocalizedText:
    """The text for a page in ``language``, else the nearest there is; empty for no texts at all."""
    found = choose_language([language], list(texts), chains, default)
    tag = found.language if found else next(iter(texts), "")
    return LocalizedText(texts[tag], tag) if tag else LocalizedText("", language)


def sender_display_name(sender: str, names: Mapping[str, str], name: str) -> str:
    """By whom a mail is signed. A sender who goes by the newsletter's name in some language goes by ``name``,
    which is the one in the language of the mail."""
    return name if sender in names.values() else sender


def ui_languages(languages: Sequence[str]) -> tuple[str, ...]:
    """The catalogues that serve readers of these languages, in the same order."""
    catalogues = list(known_languages())
    return tuple(dict.fromkeys(found for tag in languages if (found := match_language(tag, catalogues))))


def ui_language(wanted: Sequence[str], languages: Sequence[str], chains: FallbackChains, default: str) -> str:
    """The catalogue in which a page speaks to someone who wants ``wanted``; English when nothing fits."""
    found = choose_language(wanted, ui_languages(languages), chains, default)
    return found.language if found else "en"
