"""What a document says, once read. Headlines, titles, datelines and contact notes are inline Markdown
(emphasis, links, ``<sup>``, ``<sub>``); intro and body are Markdown. Lines are counted from 1."""

from dataclasses import dataclass, field
from typing import Any

from mailer.domain.content import Dateline


class DocumentError(ValueError):
    """Why a document cannot be read, in one sentence for the person who sent it."""


@dataclass(frozen=True, slots=True)
class ParseWarning:
    """A place where the document could be read in more than one way, and how it was read."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class ParsedPicture:
    """A story's picture: the path or address as written, and its alt text."""

    path: str
    alt: str


@dataclass(frozen=True, slots=True)
class ParsedLink:
    """A story's closing link."""

    url: str
    label: str


@dataclass(frozen=True, slots=True)
class ParsedContact:
    """A contact note, its emphasis taken off and its words and brackets kept. ``stories`` are the indices,
    within the section, of the stories it speaks for; empty when there is none above it."""

    text: str
    stories: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ParsedStory:
    """One story. ``headline`` is empty where text stood in a section without one."""

    headline: str
    body: str
    line: int
    datelines: tuple[Dateline, ...] = ()
    contacts: tuple[ParsedContact, ...] = ()
    """The notes that follow this story, though they may speak for stories above it as well."""
    picture: ParsedPicture | None = None
    link: ParsedLink | None = None


@dataclass(frozen=True, slots=True)
class ParsedSection:
    """A section; ``title`` is empty where stories came before the first section title."""

    title: str
    stories: tuple[ParsedStory, ...]
    line: int


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A whole newsletter, with no word of its source lost or doubled."""

    title: str
    intro: str
    sections: tuple[ParsedSection, ...]
    warnings: tuple[ParseWarning, ...] = ()
    front_matter: dict[str, str] = field(default_factory=dict)
    """The front matter as written; keys among subject, preheader, number, date, language."""

    def as_dict(self) -> dict[str, Any]:
        """The JSON that ``mailer issue import --dry-run --json`` prints: dates are ISO 8601, indices count
        from 0 within the section."""
        return {
            "title": self.title,
            "front": dict(self.front_matter),
            "intro": self.intro,
            "sections": [
                {"title": section.title, "stories": [_story_as_dict(story) for story in section.stories]}
                for section in self.sections
            ],
            "unsure": [{"line": doubt.line, "why": doubt.message} for doubt in self.warnings],
        }


def _story_as_dict(story: ParsedStory) -> dict[str, Any]:
    picture, link = story.picture, story.link
    return {
        "headline": story.headline,
        "datelines": [_dateline_as_dict(dateline) for dateline in story.datelines],
        "body": story.body,
        "contacts": [{"text": note.text, "stories": list(note.stories)} for note in story.contacts],
        "picture": {"path": picture.path, "alt": picture.alt} if picture else None,
        "link": {"url": link.url, "label": link.label} if link else None,
    }


def _dateline_as_dict(dateline: Dateline) -> dict[str, Any]:
    spans = [{"start": span.start.isoformat(), "end": span.end.isoformat()} for span in dateline.dates]
    return {"text": dateline.text, "dates": spans, "place": dateline.place}
