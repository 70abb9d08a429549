"""Reads a document that is one text: a headline and what follows, as somebody sends who was asked for a story."""

import re
from dataclasses import dataclass

from mailer.domain.document.blocks import PICTURE, parsed_picture, picture_paths
from mailer.domain.document.model import ParsedLink, ParsedStory
from mailer.domain.document.parser import parse

_HEADLINE = re.compile(
    r"\s*(?:\#{1,6}[ ]+(?P<heading>.+?)[ ]*\#*[ ]*"
    r"|\*\*(?P<bold>[^*\n]+)\*\*[ ]*"
    r"|(?P<underlined>[^\n]+)\n(?:=+|-+)[ ]*"
    r"|(?P<short>[^\n]{1,150}?[^\n.:])(?=\n[ ]*\n))(?:\n|\Z)",
    re.VERBOSE,
)
"""A heading, a paragraph in bold, or a short first line that is no sentence."""
_HEADING = re.compile(r"^ {0,3}#{1,6}(?= )", re.MULTILINE)
_FRAME = "# -\n\n## -\n\n### {headline}\n\n"
"""What stands above a story in the document of an issue."""
_NO_HEADLINE = "…"


@dataclass(frozen=True, slots=True)
class OneStory:
    """A document as one story. Headline, datelines and the link's label are inline Markdown; the body is Markdown."""

    headline: str
    """Empty if the document has none."""
    datelines: tuple[str, ...]
    body: str
    link: ParsedLink | None
    warnings: tuple[str, ...]
    """Ambiguous places and what was left out, for who sent it."""
    pictures: int
    """Number of pictures in the document, which are not among the text."""


def parse_one(source: str, language: str) -> OneStory:
    """Read a document as one story, by the rules by which the document of an issue is read. Raises DocumentError.

    Headings below the first one become small headings. If it looks like several stories, they follow each other.
    """
    source = source.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    found = _HEADLINE.match(source)
    headline = next((text for text in found.groups() if text), "").strip() if found else ""
    rest = _HEADING.sub("####", source[found.end() :] if found else source)
    document = parse(_FRAME.format(headline=headline or _NO_HEADLINE) + rest, language)
    stories = [story for section in document.sections for story in section.stories]
    first = stories[0]
    body = "\n\n".join(part for story in stories for part in _parts(story, is_first=story is first) if part)
    pictures = len(picture_paths(body)) + sum(story.picture is not None for story in stories)
    return OneStory(
        headline=first.headline if headline else "",
        datelines=tuple(dateline.text for dateline in first.datelines),
        body=PICTURE.sub(lambda picture: parsed_picture(picture).alt, body),
        link=first.link,
        warnings=tuple(warning.message for warning in document.warnings),
        pictures=pictures,
    )


def _parts(story: ParsedStory, *, is_first: bool) -> list[str]:
    """Return what goes into the body: all that a story has, but for what the first one has in fields of its own."""
    contacts = [contact.text for contact in story.contacts]
    if is_first:
        return [story.body, *contacts]
    link = f"[{story.link.label or story.link.url}]({story.link.url})" if story.link else ""
    datelines = [dateline.text for dateline in story.datelines]
    return [f"#### {story.headline}" if story.headline else "", *datelines, story.body, link, *contacts]
