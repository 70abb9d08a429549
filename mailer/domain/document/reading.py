"""Puts a newsletter's parts together: intro, sections, stories with their datelines and contact notes."""

import re
from dataclasses import dataclass, field

from mailer.domain.content import Dateline
from mailer.domain.document.blocks import cut, join_pages, lines_of, link, picture
from mailer.domain.document.contacts import ending, speaks_for_all
from mailer.domain.document.datelines import begins_with_date, read_datelines
from mailer.domain.document.front import read_front
from mailer.domain.document.letters import begins_small, ends_sentence, shortened
from mailer.domain.document.outline import Item, outline
from mailer.domain.document.parts import (
    Contact,
    Document,
    DocumentError,
    Link,
    Picture,
    Section,
    Story,
    Unsure,
)

_BLANKS = re.compile(r"[^\S\u00a0\u2007\u202f]+")
"""Runs of any blanks at which a line may end; a no-break space is none of them."""
MOST_NOTES = 20
"""Contact notes that are looked for at the end of one paragraph."""


def parse(source: str, language: str = "en") -> Document:
    """Reads a newsletter; ``language`` (BCP 47) is that of its dates and notes, unless its front matter
    names another.

    ``# Title``, then the intro, then ``## Section`` and ``### Headline``. A paragraph all in bold is a
    headline too, and a section title if it is in capitals and a headline follows. The bold run that a
    story begins with is its dateline. A contact note is a text in round brackets with a colon in it, in
    italics or with words that ask for information, at the end of a paragraph or by itself.

    A note speaks for the story it follows. One that says "on the above", or "on all of the above", speaks
    for every story of its section back to, and without, the story that the previous note followed.

    No word of the source is lost or doubled. Whatever could be read in two ways is listed in ``unsure``.
    Raises ``DocumentError`` if there is no story, or for front matter that cannot be read.
    """
    lines = lines_of(source)
    front, taken = read_front(lines)
    unsure: list[Unsure] = []
    language = front.get("language") or language
    blocks = join_pages(cut(lines[taken:], taken + 1, unsure), unsure)
    reader = _Reader(language, unsure)
    items = outline(blocks, language, unsure)
    for at, item in enumerate(items):
        reader.read(item, items[at + 1] if at + 1 < len(items) else None)
    sections = tuple(reader.section(draft) for draft in reader.sections)
    if not any(section.stories for section in sections):
        raise DocumentError(
            "The document has no story: a story begins with a heading such as “### Headline” "
            "or with a paragraph in bold."
        )
    unsure.sort(key=lambda doubt: doubt.line)
    return Document(reader.title, "\n\n".join(reader.intro), sections, tuple(unsure), front)


@dataclass(slots=True)
class _Draft:
    """A story while it is read. Paragraphs and notes keep the line they began in."""

    line: int
    headline: str
    datelines: list[Dateline] = field(default_factory=list)
    paragraphs: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, str]] = field(default_factory=list)
    picture: Picture | None = None
    link: Link | None = None


@dataclass(slots=True)
class _SectionDraft:
    line: int
    title: str
    stories: list[_Draft] = field(default_factory=list)


class _Reader:
    """Reads the items of an outline one after the other."""

    def __init__(self, language: str, unsure: list[Unsure]) -> None:
        self.language = language
        self.title = ""
        self.intro: list[str] = []
        self.sections: list[_SectionDraft] = []
        self._unsure = unsure
        self._titles: set[str] = set()

    def read(self, item: Item, after: Item | None) -> None:
        if item.kind == "title":
            self.title = _one_line(item.text)
        elif item.kind == "section":
            self._begin_section(item)
        elif item.kind == "headline":
            self._begin_story(item, after)
        elif item.kind in ("dateline", "perhaps"):
            self._dateline(item)
        else:
            self._text(item.line, item.text, after)

    def section(self, draft: _SectionDraft) -> Section:
        """The section as it ends up: closing links and notes found, notes tied to their stories."""
        for story in draft.stories:
            self._finish(story)
        if not draft.stories:
            self._doubt(draft.line, f"The section “{shortened(draft.title)}” has no story.")
        stories = []
        covered = 0
        for index, story in enumerate(draft.stories):
            contacts = []
            for line, text in story.notes:
                contacts.append(
                    Contact(text, self._spoken_for(line, text, story, index, min(covered, index)))
                )
                covered = index + 1
            stories.append(
                Story(
                    headline=story.headline,
                    body="\n\n".join(text for _, text in story.paragraphs),
                    line=story.line,
                    datelines=tuple(story.datelines),
                    contacts=tuple(contacts),
                    picture=story.picture,
                    link=story.link,
                )
            )
        return Section(draft.title, tuple(stories), draft.line)

    def _spoken_for(self, line: int, text: str, story: _Draft, index: int, first: int) -> tuple[int, ...]:
        if not (story.headline or story.datelines or story.paragraphs):
            return ()
        for_all = speaks_for_all(text, self.language)
        if for_all is None:
            self._doubt(line, f"“{shortened(text)}” was taken to speak for the one story above it.")
        return tuple(range(first, index + 1)) if for_all else (index,)

    def _doubt(self, line: int, why: str) -> None:
        self._unsure.append(Unsure(line, why))

    def _begin_section(self, item: Item) -> None:
        name = item.text.casefold()
        if name in self._titles:
            self._doubt(item.line, f"The section “{shortened(item.text)}” comes a second time.")
        self._titles.add(name)
        self.sections.append(_SectionDraft(item.line, _one_line(item.text)))

    def _begin_story(self, item: Item, after: Item | None) -> None:
        if not self.sections:
            if item.source and not (after and after.kind == "dateline"):
                # Bold text in the intro; "Dear readers" is no story.
                self._doubt(
                    item.line, f"The bold text “{shortened(item.text)}” was kept in the introduction."
                )
                self.intro.append(f"**{item.text}**")
                return
            self._doubt(
                item.line, f"The story “{shortened(item.text)}” comes before the first section title."
            )
            self.sections.append(_SectionDraft(item.line, ""))
        self.sections[-1].stories.append(_Draft(item.line, _one_line(item.text)))

    def _without_headline(self, line: int, *, pointed_out: bool = False) -> _Draft:
        if not pointed_out:
            self._doubt(line, "This text stands in a section without a headline of its own.")
        draft = _Draft(line, "")
        self.sections[-1].stories.append(draft)
        return draft

    def _story(self, line: int, *, pointed_out: bool = False) -> _Draft:
        stories = self.sections[-1].stories
        return stories[-1] if stories else self._without_headline(line, pointed_out=pointed_out)

    def _dateline(self, item: Item) -> None:
        if not self.sections:
            self._doubt(
                item.line, f"“{shortened(item.text)}” comes before the first section; it was kept as text."
            )
            self.intro.append(item.source)
            return
        draft = self._story(item.line)
        if draft.notes and item.kind == "dateline":
            draft = self._without_headline(item.line)
        if draft.paragraphs or draft.notes or (draft.datelines and item.kind == "perhaps"):
            if item.kind == "dateline" or not item.rest:
                self._doubt(
                    item.line,
                    f"“{shortened(item.text)}” stands inside a story; it was kept as text of that story.",
                )
            self._text(item.line, item.source, None)
            return
        text = _one_line(item.text).rstrip(":：").strip()
        if (
            item.kind == "perhaps"
            and not item.text.rstrip().endswith((":", "："))
            and begins_with_date(text, self.language)
        ):
            self._doubt(item.line, f"“{shortened(text)}” was read as a dateline, though no colon follows it.")
        datelines, doubts = read_datelines(text, self.language)
        draft.datelines += datelines
        for why in doubts:
            self._doubt(item.line, why)
        if item.rest:
            self._text(item.line, item.rest, None)

    def _text(self, line: int, text: str, after: Item | None) -> None:
        if text.strip().isdecimal():
            self._doubt(line, f"“{text.strip()}” stands by itself; it may be a page number.")
        note = ending(text)
        alone = note is not None and not note.before and note.named
        if not self.sections:
            if note is not None and alone:
                self._doubt(
                    line, f"“{shortened(note.text)}” has no story above it; it was kept in the introduction."
                )
            self.intro.append(text)
            return
        draft = self._story(line, pointed_out=alone)
        fresh = not draft.paragraphs and not draft.notes
        if fresh and draft.picture is None and (found := picture(text)):
            draft.picture = found
            return
        if (
            fresh
            and not draft.datelines
            and after
            and after.kind == "dateline"
            and _headline_goes_on(draft, text)
        ):
            self._doubt(line, f"A page break inside a headline was closed before “{shortened(text)}”.")
            draft.headline = f"{draft.headline} {text.strip()}"
            return
        notes: list[tuple[int, str]] = []
        for _ in range(MOST_NOTES):
            note = ending(text)
            if note is None or not (note.named or (note.italic and not note.before)):
                break
            if not note.named:
                self._doubt(line, f"“{shortened(note.text)}” was read as a contact note, by its shape alone.")
            notes.append((line, note.text))
            text = note.before
        if text.strip():
            if draft.notes and not link(text):
                self._doubt(
                    line, f"“{shortened(text)}” follows a contact note; it was kept with the story above."
                )
            draft.paragraphs.append((line, text))
        elif notes and not (draft.headline or draft.datelines or draft.paragraphs):
            self._doubt(line, f"“{shortened(notes[-1][1])}” has no story above it.")
        draft.notes += reversed(notes)

    def _finish(self, draft: _Draft) -> None:
        if draft.paragraphs and (found := link(draft.paragraphs[-1][1])):
            draft.link = found
            draft.paragraphs.pop()
        if draft.paragraphs:
            line, text = draft.paragraphs[-1]
            note = ending(text)
            if note is not None and note.italic:
                self._doubt(line, f"“{shortened(note.text)}” was read as a contact note, by its shape alone.")
                draft.paragraphs[-1] = (line, note.before)
                draft.notes = sorted([(line, note.text), *draft.notes], key=lambda found: found[0])
        if not draft.headline:
            return
        name = shortened(draft.headline)
        if not draft.paragraphs:
            self._doubt(draft.line, f"The story “{name}” has no text.")
        elif not draft.datelines:
            dated = begins_with_date(draft.paragraphs[0][1][:200], self.language)
            hint = "; its text begins with a date, but not in bold" if dated else ""
            self._doubt(draft.line, f"The story “{name}” has no dateline{hint}.")


def _one_line(text: str) -> str:
    """A text without line ends and needless blanks. No-break spaces stay: French has one before a colon."""
    return _BLANKS.sub(" ", text).strip()


def _headline_goes_on(draft: _Draft, text: str) -> bool:
    return (
        len(text) < 160 and bool(draft.headline) and begins_small(text) and not ends_sentence(draft.headline)
    )
