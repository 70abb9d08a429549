"""Parses a newsletter document into intro, sections, and stories with their datelines and contact notes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailer.domain.content import Dateline
from mailer.domain.document.blocks import (
    PICTURE,
    join_pages,
    split_blocks,
    standalone_link,
    standalone_picture,
)
from mailer.domain.document.contacts import applies_to_all, split_contact
from mailer.domain.document.datelines import begins_with_date, read_datelines
from mailer.domain.document.definitions import Definitions
from mailer.domain.document.front_matter import read_front_matter
from mailer.domain.document.model import (
    DocumentError,
    ParsedContact,
    ParsedDocument,
    ParsedLink,
    ParsedPicture,
    ParsedSection,
    ParsedStory,
    ParseWarning,
)
from mailer.domain.document.outline import OutlineItem, outline
from mailer.domain.document.sentences import ends_sentence, excerpt, one_line, starts_lowercase
from mailer.domain.document.source import mark_code, split_lines, without_comments
from mailer.domain.markdown import find_problems

MAX_CONTACT_NOTES = 20
"""Maximum number of contact notes at the end of one paragraph."""


def parse(source: str, language: str = "en") -> ParsedDocument:
    """Parse a newsletter document.

    ``language`` (BCP 47) is the language of its dates and notes, unless the front matter names another.

    A document has ``# Title``, the intro, then ``## Section`` and ``### Headline``. A paragraph entirely in bold is
    also a headline, or a section title if it is in capitals and a headline follows. A bold run at the start of a story
    is its dateline. A contact note is a text in round brackets with a colon, at the end of a paragraph or alone, that
    is in italics or asks to get information.

    A note covers the story it follows. A note that says "on the above" or "on all of the above" covers every story of
    its section after the one that the previous note followed.

    Links by reference are written inline, footnotes become numbers and notes at the end of their story.

    No word of the source is lost or duplicated, except for comments, unused definitions and unknown front matter.
    These, every ambiguity, and what cannot be shown are reported in ``warnings``. Raises DocumentError if there is no
    story, the front matter is invalid, or a comment has no end.
    """
    warnings: list[ParseWarning] = []
    lines = split_lines(source, warnings)
    front, front_line_count = read_front_matter(lines, language, warnings)
    language = front.get("language") or language
    text_lines = mark_code(without_comments(lines[front_line_count:], front_line_count + 1, warnings), warnings)
    definitions = Definitions()
    blocks = split_blocks(definitions.collect(text_lines, warnings), warnings)
    for block in blocks:
        block.pieces[0] = definitions.resolve(block.pieces[0])
    blocks = join_pages(blocks, warnings)
    parser = _Parser(language, definitions, warnings)
    items = outline(blocks, language, warnings)
    for at, item in enumerate(items):
        parser.feed(item, items[at + 1] if at + 1 < len(items) else None)
    intro = parser.build_intro()
    sections = tuple(parser.build_section(draft) for draft in parser.sections)
    if not any(section.stories for section in sections):
        raise DocumentError(
            "The document has no story: a story begins with a heading such as “### Headline” "
            "or with a paragraph in bold."
        )
    warnings += definitions.unused_footnotes()
    warnings.sort(key=lambda warning: warning.line)
    return ParsedDocument(parser.title, intro, sections, tuple(warnings), front)


@dataclass(slots=True)
class _StoryDraft:
    """A story being parsed. Paragraphs and notes are stored with their first line."""

    line: int
    headline: str
    datelines: list[Dateline] = field(default_factory=list)
    paragraphs: list[tuple[int, str]] = field(default_factory=list)
    contact_notes: list[tuple[int, str]] = field(default_factory=list)
    picture: ParsedPicture | None = None
    link: ParsedLink | None = None


@dataclass(slots=True)
class _SectionDraft:
    line: int
    title: str
    stories: list[_StoryDraft] = field(default_factory=list)


class _Parser:
    """Builds sections and stories from the items of an outline."""

    def __init__(self, language: str, definitions: Definitions, warnings: list[ParseWarning]) -> None:
        self.language = language
        self.title = ""
        self.intro: list[tuple[int, str]] = []
        """Paragraphs with their first line."""
        self.sections: list[_SectionDraft] = []
        self._definitions = definitions
        self._warnings = warnings
        self._section_titles: set[str] = set()

    def feed(self, item: OutlineItem, next_item: OutlineItem | None) -> None:
        """Add the next item."""
        if item.kind == "title":
            self.title = one_line(item.text)
        elif item.kind == "section":
            self._begin_section(item)
        elif item.kind == "headline":
            self._begin_story(item, next_item)
        elif item.kind in ("dateline", "perhaps"):
            self._add_dateline(item)
        else:
            self._add_text(item.line, item.text, next_item)

    def build_intro(self) -> str:
        """Return the finished introduction."""
        footnotes = self._definitions.footnotes()
        paragraphs = [(line, footnotes.number(line, text)) for line, text in self.intro]
        return self._checked([*paragraphs, *footnotes.paragraphs])

    def build_section(self, draft: _SectionDraft) -> ParsedSection:
        """Return a finished section, with closing links extracted and contact notes assigned to stories."""
        for story in draft.stories:
            self._finish_story(story)
        if not draft.stories:
            self._warn(draft.line, f"The section “{excerpt(draft.title)}” has no story.")
        stories = []
        covered = 0
        for index, story in enumerate(draft.stories):
            contacts = []
            for line, text in story.contact_notes:
                contacts.append(
                    ParsedContact(text, self._covered_stories(line, text, story, index, min(covered, index)))
                )
                covered = index + 1
            stories.append(
                ParsedStory(
                    headline=story.headline,
                    body=self._checked(story.paragraphs),
                    line=story.line,
                    datelines=tuple(story.datelines),
                    contacts=tuple(contacts),
                    picture=story.picture,
                    link=story.link,
                )
            )
        return ParsedSection(draft.title, tuple(stories), draft.line)

    def _covered_stories(
        self, line: int, text: str, story: _StoryDraft, index: int, first_uncovered: int
    ) -> tuple[int, ...]:
        if not (story.headline or story.datelines or story.paragraphs):
            return ()
        for_all = applies_to_all(text, self.language)
        if for_all is None:
            self._warn(line, f"“{excerpt(text)}” was taken to apply only to the story above it.")
        return tuple(range(first_uncovered, index + 1)) if for_all else (index,)

    def _checked(self, paragraphs: Sequence[tuple[int, str]]) -> str:
        """Return paragraphs as one text, after a warning for each part of them that cannot be shown."""
        for line, text in paragraphs:
            without_pictures = PICTURE.sub(lambda found: "\n" * found[0].count("\n"), text)
            for problem in find_problems(without_pictures):
                self._warn(line + problem.line - 1, problem.message)
        return "\n\n".join(text for _, text in paragraphs)

    def _warn(self, line: int, message: str) -> None:
        self._warnings.append(ParseWarning(line, message))

    def _begin_section(self, item: OutlineItem) -> None:
        name = item.text.casefold()
        if name in self._section_titles:
            self._warn(item.line, f"The section “{excerpt(item.text)}” appears a second time.")
        self._section_titles.add(name)
        self.sections.append(_SectionDraft(item.line, one_line(item.text)))

    def _begin_story(self, item: OutlineItem, next_item: OutlineItem | None) -> None:
        if not self.sections:
            if item.source and not (next_item and next_item.kind == "dateline"):
                # Bold text in the intro, such as "Dear readers", is not a story.
                self._warn(item.line, f"The bold text “{excerpt(item.text)}” was kept in the introduction.")
                self.intro.append((item.line, f"**{item.text}**"))
                return
            self._warn(item.line, f"The story “{excerpt(item.text)}” comes before the first section title.")
            self.sections.append(_SectionDraft(item.line, ""))
        self.sections[-1].stories.append(_StoryDraft(item.line, one_line(item.text)))

    def _add_story_without_headline(self, line: int, *, already_warned: bool = False) -> _StoryDraft:
        if not already_warned:
            self._warn(line, "This text has no headline.")
        draft = _StoryDraft(line, "")
        self.sections[-1].stories.append(draft)
        return draft

    def _current_story(self, line: int, *, already_warned: bool = False) -> _StoryDraft:
        stories = self.sections[-1].stories
        return stories[-1] if stories else self._add_story_without_headline(line, already_warned=already_warned)

    def _add_dateline(self, item: OutlineItem) -> None:
        if not self.sections:
            self._warn(item.line, f"“{excerpt(item.text)}” comes before the first section; it was kept as text.")
            self.intro.append((item.line, item.source))
            return
        draft = self._current_story(item.line)
        if draft.contact_notes and item.kind == "dateline":
            draft = self._add_story_without_headline(item.line)
        if draft.paragraphs or draft.contact_notes or (draft.datelines and item.kind == "perhaps"):
            if item.kind == "dateline" or not item.rest:
                self._warn(
                    item.line,
                    f"“{excerpt(item.text)}” is inside a story; it was kept as text of that story.",
                )
            self._add_text(item.line, item.source, None)
            return
        text = one_line(item.text).rstrip(":：").strip()
        if (
            item.kind == "perhaps"
            and not item.text.rstrip().endswith((":", "："))
            and begins_with_date(text, self.language)
        ):
            self._warn(item.line, f"“{excerpt(text)}” was read as a dateline, though no colon follows it.")
        datelines, messages = read_datelines(text, self.language)
        draft.datelines += datelines
        for message in messages:
            self._warn(item.line, message)
        if item.rest:
            self._add_text(item.line, item.rest, None)

    def _add_text(self, line: int, text: str, next_item: OutlineItem | None) -> None:
        if text.strip().isdecimal():
            self._warn(line, f"“{text.strip()}” is a paragraph of its own; it may be a page number.")
        note = split_contact(text)
        alone = note is not None and not note.preceding_text and note.asks_for_contact
        if not self.sections:
            if note is not None and alone:
                self._warn(line, f"“{excerpt(note.text)}” has no story above it; it was kept in the introduction.")
            self.intro.append((line, text))
            return
        draft = self._current_story(line, already_warned=alone)
        at_start = not draft.paragraphs and not draft.contact_notes
        if draft.picture is None and (picture := standalone_picture(text)):
            draft.picture = picture
            if draft.paragraphs:
                self._warn(line, f"The picture “{excerpt(picture.alt or picture.path)}” is shown above its story.")
            return
        if (
            at_start
            and not draft.datelines
            and next_item
            and next_item.kind == "dateline"
            and _continues_headline(draft, text)
        ):
            self._warn(line, f"A headline broken by a page break was joined before “{excerpt(text)}”.")
            draft.headline = f"{draft.headline} {text.strip()}"
            return
        notes: list[tuple[int, str]] = []
        for _ in range(MAX_CONTACT_NOTES):
            note = split_contact(text)
            if note is None or not (note.asks_for_contact or (note.is_italic and not note.preceding_text)):
                break
            if not note.asks_for_contact:
                self._warn(line, f"“{excerpt(note.text)}” was read as a contact note because of its form.")
            notes.append((line, note.text))
            text = note.preceding_text
        if text.strip():
            if draft.contact_notes and not standalone_link(text):
                self._warn(line, f"“{excerpt(text)}” follows a contact note; it was kept with the story above.")
            draft.paragraphs.append((line, text))
        elif notes and not (draft.headline or draft.datelines or draft.paragraphs):
            self._warn(line, f"“{excerpt(notes[-1][1])}” has no story above it.")
        draft.contact_notes += reversed(notes)

    def _finish_story(self, draft: _StoryDraft) -> None:
        if draft.paragraphs and (link := standalone_link(draft.paragraphs[-1][1])):
            draft.link = link
            draft.paragraphs.pop()
        if draft.paragraphs:
            line, text = draft.paragraphs[-1]
            note = split_contact(text)
            if note is not None and note.is_italic:
                self._warn(line, f"“{excerpt(note.text)}” was read as a contact note because of its form.")
                draft.paragraphs[-1] = (line, note.preceding_text)
                draft.contact_notes = sorted([(line, note.text), *draft.contact_notes], key=lambda entry: entry[0])
        footnotes = self._definitions.footnotes()
        draft.headline = footnotes.number(draft.line, draft.headline)
        draft.paragraphs = [(line, footnotes.number(line, text)) for line, text in draft.paragraphs]
        draft.contact_notes = [(line, footnotes.number(line, text)) for line, text in draft.contact_notes]
        draft.paragraphs += footnotes.paragraphs
        self._checked([(draft.line, draft.headline), *draft.contact_notes])
        if not draft.headline:
            return
        name = excerpt(draft.headline)
        if not draft.paragraphs:
            self._warn(draft.line, f"The story “{name}” has no text.")
        elif not draft.datelines:
            dated = begins_with_date(draft.paragraphs[0][1][:200], self.language)
            hint = "; its text begins with a date, but not in bold" if dated else ""
            self._warn(draft.line, f"The story “{name}” has no dateline{hint}.")


def _continues_headline(draft: _StoryDraft, text: str) -> bool:
    return len(text) < 160 and bool(draft.headline) and starts_lowercase(text) and not ends_sentence(draft.headline)
