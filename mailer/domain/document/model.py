"""The parsed content of a document.

Headlines, titles, datelines and contact notes are inline Markdown (emphasis, links, ``<sup>``, ``<sub>``). Intro and
body are Markdown. Lines are counted from 1.
"""

from dataclasses import dataclass, field
from typing import Any

from mailer.domain.content import Dateline
from mailer.domain.errors import UserError


class DocumentError(UserError, ValueError):
    """A document that cannot be read. The message is one sentence for the person who uploaded it."""


@dataclass(frozen=True, slots=True)
class ParseWarning:
    """An ambiguous place in the document, and how it was interpreted."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class ParsedPicture:
    """A story's picture: its path or URL as written, and its alt text."""

    path: str
    alt: str


@dataclass(frozen=True, slots=True)
class ParsedLink:
    """A story's closing link."""

    url: str
    label: str


@dataclass(frozen=True, slots=True)
class ParsedContact:
    """A contact note."""

    text: str
    """The text with its brackets, without emphasis."""
    stories: tuple[int, ...]
    """Indices, within the section, of the stories that the note covers. Empty if there is no story above it."""


@dataclass(frozen=True, slots=True)
class ParsedStory:
    """One story."""

    headline: str
    """Empty for text in a section without a headline."""
    body: str
    line: int
    datelines: tuple[Dateline, ...] = ()
    contacts: tuple[ParsedContact, ...] = ()
    """The notes after this story. They may also cover stories above it."""
    picture: ParsedPicture | None = None
    link: ParsedLink | None = None


@dataclass(frozen=True, slots=True)
class ParsedSection:
    """A section. ``title`` is empty for stories before the first section title."""

    title: str
    stories: tuple[ParsedStory, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A complete document; no word of its source is lost or duplicated."""

    title: str
    intro: str
    sections: tuple[ParsedSection, ...]
    warnings: tuple[ParseWarning, ...] = ()
    front_matter: dict[str, str] = field(default_factory=dict)
    """The front matter as written. Possible keys: see ``front_matter.KEYS``."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that ``mailer issue import --dry-run --json`` prints.

        Dates are ISO 8601; indices count from 0 within the section.
        """
        return {
            "title": self.title,
            "front": dict(self.front_matter),
            "intro": self.intro,
            "sections": [
                {"title": section.title, "stories": [_story_as_dict(story) for story in section.stories]}
                for section in self.sections
            ],
            "unsure": [{"line": warning.line, "why": warning.message} for warning in self.warnings],
        }


def _story_as_dict(story: ParsedStory) -> dict[str, Any]:
    picture, link = story.picture, story.link
    return {
        "headline": story.headline,
        "datelines": [dateline.to_json() for dateline in story.datelines],
        "body": story.body,
        "contacts": [{"text": note.text, "stories": list(note.stories)} for note in story.contacts],
        "picture": {"path": picture.path, "alt": picture.alt} if picture else None,
        "link": {"url": link.url, "label": link.label} if link else None,
    }
