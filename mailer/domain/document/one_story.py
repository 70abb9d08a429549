"""Reads a document that is one text: a headline and what follows, as somebody sends who was asked for a story."""

import re
from dataclasses import dataclass

from mailer.domain.document.blocks import PICTURE, parsed_picture, picture_paths
from mailer.domain.document.model import ParsedLink, ParsedStory
from mailer.domain.document.parser import parse

_MAX_HEADLINE_CHARS = 300
_MAX_UNMARKED_CHARS = 150
"""Of a headline that nothing marks as one."""
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
    headline, rest = _split_headline(source)
    document = parse(_FRAME.format(headline=headline or _NO_HEADLINE) + _HEADING.sub("####", rest), language)
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


def _split_headline(source: str) -> tuple[str, str]:
    """Return the headline, empty if there is none, and the text without it.

    It is the first line with words: a heading, bold or underlined, or short, no sentence and a paragraph of its own.
    """
    first, _, rest = source.lstrip().partition("\n")
    line = first.rstrip()
    if not line or len(line) > _MAX_HEADLINE_CHARS:
        return "", source
    if heading := _HEADING.match(first):
        return first[heading.end() :].strip().rstrip("#").rstrip(), rest
    if line.startswith("**") and line.endswith("**") and (bold := line[2:-2].strip()) and "*" not in bold:
        return bold, rest
    second, line_end, after = rest.partition("\n")
    underline = second.rstrip(" ")
    if underline and not (underline.strip("=") and underline.strip("-")):
        return line, after
    if 1 < len(line) <= _MAX_UNMARKED_CHARS and line[-1] not in ".:" and line_end and not underline:
        return line, rest
    return "", source


def _parts(story: ParsedStory, *, is_first: bool) -> list[str]:
    """Return what goes into the body: all that a story has, but for what the first one has in fields of its own."""
    contacts = [contact.text for contact in story.contacts]
    if is_first:
        return [story.body, *contacts]
    link = f"[{story.link.label or story.link.url}]({story.link.url})" if story.link else ""
    datelines = [dateline.text for dateline in story.datelines]
    return [f"#### {story.headline}" if story.headline else "", *datelines, story.body, link, *contacts]
