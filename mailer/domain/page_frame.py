"""The frame of a newsletter's pages: everything around the content."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailer.domain.languages import FallbackChains
from mailer.domain.localized import LocalizedText, localize
from mailer.domain.text_overrides import OverrideText


@dataclass(frozen=True, slots=True)
class PageFrame:
    """A newsletter as shown on its web pages in one language."""

    slug: str
    name: LocalizedText
    language: str
    """Language of the page's own texts; it has a catalogue."""
    ui_languages: tuple[str, ...]
    """Languages in which the page is available."""
    archive_slug: str
    """The slug if the archive is public, else empty."""
    postal_address: str
    theme: Mapping[str, str]
    text_overrides: Mapping[str, OverrideText]
    """The newsletter's replacements for catalogue messages, in the page's language."""
    content_language: str
    """Preferred language of the newsletter's texts; usually that of the page."""
    fallbacks: FallbackChains
    default_language: str

    def localize(self, texts: Mapping[str, str]) -> LocalizedText:
        """Return the text for this page from texts by language."""
        return localize(texts, self.content_language, self.fallbacks, self.default_language)
