"""Finds for each section and story of a document the one of the issue that it is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from mailer.domain import story_matching
from mailer.domain.document import ParsedSection, ParsedStory
from mailer.domain.errors import UnknownSections
from mailer.domain.ports import PreparedPicture
from mailer.domain.story_matching import StoryFingerprint
from mailer.domain.text_tree import canonical, canonical_line, plain_line
from mailer.models import Issue, Newsletter, Section, Story, StoryTranslation
from mailer.store import approvals, issues, newsletters, pictures
from mailer.store.database import Session


@dataclass(frozen=True, slots=True)
class IssueContent:
    """What an issue has before a document is written into it."""

    session: Session
    newsletter: Newsletter
    tag: str
    """The language of the document."""
    sections: list[Section]
    """Those of the newsletter, in the issue's order."""
    texts: dict[int, dict[str, StoryTranslation]]
    """Story → language → text."""
    stories: dict[int, list[Story]]
    """Section → its stories in order."""
    picture_hashes: dict[int, str]
    shown_elsewhere: set[int]
    """Sections of which other issues that somebody approved have stories."""

    @classmethod
    def load(cls, session: Session, issue: Issue, newsletter: Newsletter, tag: str) -> "IssueContent":
        """Return the content of an issue, for a document in a language."""
        stories: dict[int, list[Story]] = {}
        for story, section in issues.stories(session, issue.id):
            stories.setdefault(section.id, []).append(story)
        picture_ids = [story.picture_id for group in stories.values() for story in group if story.picture_id]
        hashes = {id: picture.sha256 for id, picture in pictures.infos(session, picture_ids).items()}
        sections = issues.sections(session, issue)
        texts = issues.story_texts(session, issue.id)
        shown_elsewhere = approvals.approved_sections(session, newsletter.id, except_issue=issue.id)
        return cls(session, newsletter, tag, sections, texts, stories, hashes, shown_elsewhere)


class DocumentMatcher:
    """Matches the sections and stories of one document with those of one issue."""

    def __init__(self, content: IssueContent, prepared: Mapping[str, PreparedPicture]) -> None:
        self._content, self._pictures = content, prepared
        self.new_sections: list[str] = []
        """Titles of the sections that were made."""
        self.matched_by_position: list[str] = []
        """Titles and headlines that were matched by position only."""
        self.titles_not_kept: list[str] = []
        """Titles of sections matched by position that another issue shows as it was approved."""
        self.unmatched: list[str] = []
        """Headlines without a story in a section that has stories."""

    def match_sections(
        self, parsed: Sequence[ParsedSection], *, new_sections: bool
    ) -> list[tuple[Section, list[ParsedStory]]]:
        """Return the newsletter's section for each title of the document, with its stories.

        Sections are matched by title, then by position, which adds the title to the newsletter's section unless that
        would change another issue that is approved. Others are made if ``new_sections``, else UnknownSections is
        raised. Sections of the document that match the same section are merged.
        """
        by_title: dict[str, Section] = {}
        for same_language in (True, False):  # titles in the language of the document come first
            for section in self._content.sections:
                for tag, title in section.titles.items():
                    if (tag == self._content.tag) is same_language:
                        by_title.setdefault(title.casefold(), section)
        groups: dict[str, list[ParsedSection]] = {}
        for parsed_section in parsed:
            groups.setdefault(_section_title(parsed_section).casefold(), []).append(parsed_section)
        matches = {
            title: by_title[title]
            for title in groups
            if title in by_title
            and (by_title[title].offered or by_title[title].id in self._content.stories or new_sections)
        }
        used = [section for section in self._content.sections if section.id in self._content.stories]
        with_stories = [title for title, group in groups.items() if any(s.stories for s in group)]
        if len(used) == len(with_stories):  # the same document in another language
            for section, key in zip(used, with_stories, strict=True):
                if key not in matches and section not in matches.values() and self._content.tag not in section.titles:
                    title = _section_title(groups[key][0])
                    if section.id in self._content.shown_elsewhere:
                        self.titles_not_kept.append(title)
                    else:
                        section.titles = section.titles | {self._content.tag: title}
                    self.matched_by_position.append(title)
                    matches[key] = section
        if not new_sections and (unknown := [group[0] for key, group in groups.items() if key not in matches]):
            titles = [
                title for section in self._content.sections if section.offered for title in section.titles.values()
            ]
            raise UnknownSections(_unknown_sections_message(self._content.newsletter.slug, unknown, by_title, titles))
        merged: dict[int, tuple[Section, list[ParsedStory]]] = {}
        for key, group in groups.items():
            section = matches.get(key) or self._new_section(_section_title(group[0]))
            for parsed_section in group:
                _, stories = merged.setdefault(section.id, (section, []))
                stories += _with_story_offset(parsed_section.stories, len(stories))
        return list(merged.values())

    def _new_section(self, title: str) -> Section:
        key = _slug(title) or "section"
        used_keys = {section.key for section in self._content.sections}
        number = 2
        while key in used_keys:
            key = f"{_slug(title) or 'section'}-{number}"
            number += 1
        section = newsletters.add_section(
            self._content.session,
            self._content.newsletter.id,
            key=key,
            position=max((s.position for s in self._content.sections), default=0) + 1,
            titles={self._content.tag: title},
            descriptions={},
            offered=False,
        )
        self._content.sections.append(section)
        self.new_sections.append(title)
        return section

    def match_stories(self, sections: Sequence[tuple[Section, Sequence[ParsedStory]]]) -> dict[int, dict[int, Story]]:
        """Return section id → index of a parsed story → story of the issue.

        Stories are matched within their section first, the rest by strong evidence in the whole issue.
        """
        matched: dict[int, dict[int, Story]] = {}
        for section, parsed in sections:
            stored = self._content.stories.get(section.id, [])
            matches = story_matching.match_stories(
                [self._parsed_fingerprint(story) for story in parsed],
                [self._stored_fingerprint(story) for story in stored],
            )
            matched[section.id] = {index: stored[match] for index, match in matches.pairs.items()}
            self.matched_by_position += [plain_line(parsed[index].headline) for index in matches.by_position]
        taken = {story.id for stories in matched.values() for story in stories.values()}
        rest = [
            (section.id, index, story)
            for section, parsed in sections
            for index, story in enumerate(parsed)
            if index not in matched[section.id]
        ]
        free = [story for stories in self._content.stories.values() for story in stories if story.id not in taken]
        elsewhere = story_matching.match_stories(
            [self._parsed_fingerprint(story) for _, _, story in rest],
            [self._stored_fingerprint(story) for story in free],
            same_section=False,
        ).pairs
        for at, (section_id, index, parsed_story) in enumerate(rest):
            if at in elsewhere:
                matched[section_id][index] = free[elsewhere[at]]
            elif self._content.stories.get(section_id):
                self.unmatched.append(plain_line(parsed_story.headline))
        return matched

    def _picture(self, story: ParsedStory) -> PreparedPicture | None:
        return self._pictures[story.picture.path] if story.picture else None

    def _parsed_fingerprint(self, story: ParsedStory) -> StoryFingerprint:
        picture = self._picture(story)
        dates = tuple((span.start.isoformat(), span.end.isoformat()) for line in story.datelines for span in line.dates)
        return StoryFingerprint(
            f"{self._content.tag} {story.headline}" if story.headline else "",
            picture.sha256 if picture else "",
            story.link.url if story.link else "",
            dates,
            f"{self._content.tag} {story.body}" if story.body else "",
        )

    def _stored_fingerprint(self, story: Story) -> StoryFingerprint:
        texts = self._content.texts.get(story.id, {})
        text = texts.get(self._content.tag)
        any_text = text or next(iter(texts.values()), None)
        dates: tuple[tuple[str, str], ...] = ()
        if any_text:
            dates = tuple((span["start"], span["end"]) for line in any_text.datelines for span in line["dates"])
        return StoryFingerprint(
            f"{self._content.tag} {canonical_line(text.headline)}" if text and text.headline else "",
            self._content.picture_hashes.get(story.picture_id or 0, ""),
            any_text.link if any_text else "",
            dates,
            f"{self._content.tag} {canonical(text.body)}" if text and text.body else "",
        )


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:60]


def _section_title(section: ParsedSection) -> str:
    return plain_line(section.title) or "News"


def _with_story_offset(stories: Sequence[ParsedStory], offset: int) -> list[ParsedStory]:
    """Return the stories with ``offset`` added to the story indices of their contacts."""
    return [
        replace(
            story,
            contacts=tuple(
                replace(note, stories=tuple(index + offset for index in note.stories)) for note in story.contacts
            ),
        )
        for story in stories
    ]


def _unknown_sections_message(
    slug: str, unknown: Sequence[ParsedSection], known: Mapping[str, Section], offered_titles: Sequence[str]
) -> str:
    """Return which headings are no section, each with the nearest title of a section that readers can choose."""
    by_folded = {title.casefold(): title for title in offered_titles}
    lines = []
    for section in unknown:
        title = _section_title(section)
        similar = get_close_matches(title.casefold(), by_folded, n=1, cutoff=0.7)
        if not section.title:
            problem = "stories before the first section heading"
        elif title.casefold() in known:
            problem = f"“{title}” is not offered to readers"
        else:
            problem = f"“{title}”" + (f"; did you mean “{by_folded[similar[0]]}”?" if similar else "")
        lines.append(f"  line {section.line}: {problem}")
    headings = "a heading" if len(unknown) == 1 else f"{len(unknown)} headings"
    return "\n".join([f"The document has {headings} for which {slug} has no section:", *lines])
