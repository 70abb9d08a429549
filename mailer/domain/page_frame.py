"""What every page of a newsletter shows around its content."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailer.domain.languages import FallbackChains
from mailer.domain.localized import LocalizedText, localize
from mailer.domain.text_overrides import OverrideText


@dataclass(frozen=True, slots=True)
class PageFrame:
    """A newsletter as its web pages present it in one language."""

    slug: str
    name: LocalizedText
    language: str
    """Of the page's own texts; there is a catalogue for it."""
    ui_languages: tuple[str, ...]
    """In which the page is available."""
    archive_slug: str
    """The slug where the archive is public, else empty."""
    postal_address: str
    theme: Mapping[str, str]
    text_overrides: Mapping[str, OverrideText]
    """The newsletter's, for the page's language."""
    content_language: str
    """Of the newsletter's texts, as far as there are any; mostly that of the page."""
    fallbacks: FallbackChains
    default_language: str

    def localize(self, texts: Mapping[str, str]) -> LocalizedText:
        """Return the newsletter's text for this page, by language."""
        return localize(texts, self.content_language, self.fallbacks, self.default_language)
