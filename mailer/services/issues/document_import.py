"""Imports a document into an issue: front matter, sections, stories, pictures and contacts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from mailer.domain.document import ParsedDocument, ParsedSection, ParsedStory
from mailer.domain.errors import ChangeRefused
from mailer.domain.languages import canonical_tag, match_language
from mailer.domain.ports import PictureLoader, PreparedPicture
from mailer.domain.states import EDITABLE_STATES, InvalidIssueState, IssueAction, IssueEventKind, IssueState
from mailer.domain.story_matching import StoryFingerprint, match_stories
from mailer.models import (
    Contact,
    ContactTranslation,
    Issue,
    IssueTranslation,
    Newsletter,
    Section,
    Story,
    StoryTranslation,
)
from mailer.services.issues.issue_pictures import store_picture
from mailer.store import issues, newsletters
from mailer.store.database import Database, Session


@dataclass(slots=True)
class ImportResult:
    """The result of an import. ``changed`` counts the texts that were added or changed."""

    issue: int
    number: str
    language: str
    new_issue: bool
    sections: int = 0
    stories: int = 0
    contacts: int = 0
    changed: int = 0
    new_sections: list[str] = field(default_factory=list)
    matched_by_position: list[str] = field(default_factory=list)
    """Headlines that were matched with a story of the issue by position only."""
    unmatched: list[str] = field(default_factory=list)
    """Headlines that matched no existing story and were added as new stories."""
    not_in_file: list[str] = field(default_factory=list)
    """Headlines of stories that have a text in this language but are not in the file; kept."""
    untranslated: list[str] = field(default_factory=list)
    """Headlines, in another language, of stories without a text in this language."""


def import_document(
    database: Database,
    document: ParsedDocument,
    slug: str,
    language: str,
    *,
    number: str,
    today: date,
    picture_loader: PictureLoader,
    actor: str,
) -> ImportResult:
    """Import a document into an issue in one transaction. Return what was done.

    ``number`` is the issue's number unless the front matter has one. A missing issue is created. Raises
    NewsletterNotFound, ChangeRefused, InvalidIssueState once the issue is approved, or InvalidLanguageTag.
    """
    tag = canonical_tag(language)
    with database.transaction() as session:
        newsletter = newsletters.get(session, slug)
        if tag not in newsletter.languages:
            similar = match_language(tag, newsletter.languages)
            hint = f" Did you mean {similar}?" if similar else ""
            raise ChangeRefused(f"{slug} has no language {tag}; it has {', '.join(newsletter.languages)}.{hint}")
        number = document.front_matter.get("number", "").strip() or number
        newsletters.lock(session, newsletter.id)  # serializes the imports of a newsletter
        issue = issues.by_number(session, newsletter.id, number)
        is_new = issue is None
        if issue is not None:
            issues.lock(session, issue.id)  # reloads its state: it may just have been approved
        if issue is None:
            issue = Issue(newsletter_id=newsletter.id, number=number, issue_date=_issue_date(document) or today)
            session.add(issue)
            session.flush()
            issues.log(session, issue.id, actor, IssueEventKind.created)
        elif issue.state not in EDITABLE_STATES:
            raise InvalidIssueState(
                f"Issue {issue.id} ({number}) is {issue.state.value}; its text can no longer be changed.",
                issue.id,
                _REMEDIES.get(issue.state, ()),
            )
        result = ImportResult(issue.id, number, tag, is_new)
        result.changed += _write_front_matter(session, issue, newsletter, document, tag)
        writer = _DocumentWriter(session, issue, newsletter, tag, picture_loader, result)
        writer.write(document)
        if writer.is_leading_language and (issue_date := _issue_date(document)):
            result.changed += _set_changed(issue, {"issue_date": issue_date})
        if result.changed:
            issues.bump_revision(session, issue.id)
            detail = f"{tag}: {result.changed} texts"
            issues.log(session, issue.id, actor, IssueEventKind.imported, detail)
        return result


_REMEDIES = {
    IssueState.approved: (IssueAction.reopen,),
    IssueState.scheduled: (IssueAction.unschedule, IssueAction.reopen),
    IssueState.sending: (IssueAction.cancel,),
    IssueState.paused: (IssueAction.cancel,),
}
"""What to do about an issue in each state whose text is to be changed."""


def _issue_date(document: ParsedDocument) -> date | None:
    text = document.front_matter.get("date")
    return date.fromisoformat(text) if text else None


def _write_front_matter(
    session: Session, issue: Issue, newsletter: Newsletter, document: ParsedDocument, tag: str
) -> int:
    subject = document.front_matter.get("subject", "").strip()
    intro = document.intro
    if not subject:
        subject = document.title
    elif document.title:
        intro = f"#### {document.title}\n\n{intro}"
    if not subject:
        name = newsletter.names.get(tag) or next(iter(newsletter.names.values()))
        subject = f"{name} {issue.number}"
    preheader = document.front_matter.get("preheader", "").strip()
    row = issues.front_matter(session, issue.id).get(tag)
    if row is None:
        session.add(
            IssueTranslation(issue_id=issue.id, language=tag, subject=subject, preheader=preheader, intro=intro)
        )
        return 1
    return _set_changed(row, {"subject": subject, "preheader": preheader, "intro": intro})


def _set_changed(row: object, values: Mapping[str, Any]) -> int:
    """Set the attributes that differ. Return 1 if any did, else 0."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    return 1 if changed else 0


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:60]


def _plain_text(inline: str) -> str:
    return re.sub(r"</?su[bp]>|[*_`]", "", inline).strip()


def _section_title(section: ParsedSection) -> str:
    return _plain_text(section.title) or "News"


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


class _DocumentWriter:
    """Writes the sections of one document into one issue."""

    def __init__(
        self,
        session: Session,
        issue: Issue,
        newsletter: Newsletter,
        tag: str,
        picture_loader: PictureLoader,
        result: ImportResult,
    ) -> None:
        self.session, self.issue, self.newsletter, self.tag = session, issue, newsletter, tag
        self.picture_loader, self.result = picture_loader, result
        self.sections = newsletters.sections(session, newsletter.id)
        self.texts = issues.story_texts(session, issue.id)
        self.stories: dict[int, list[Story]] = {}
        for story, section in issues.stories(session, issue.id):
            self.stories.setdefault(section.id, []).append(story)
        picture_ids = [story.picture_id for group in self.stories.values() for story in group if story.picture_id]
        self.picture_hashes = {id: picture[0] for id, picture in issues.pictures(session, picture_ids).items()}
        self.written_story_ids: set[int] = set()
        languages = issues.front_matter(session, issue.id).keys() | {tag}
        rank = [newsletter.default_language, *newsletter.languages]
        self.is_leading_language = tag == next(language for language in rank if language in languages)
        """Whether this language decides the order of stories and which stories a contact is for."""

    def write(self, document: ParsedDocument) -> None:
        """Write all sections, and add to the result what the document lacks."""
        contacts = issues.contacts(self.session, self.issue.id)
        self.contacts = {
            (contact.story_id, contact.position): (contact, texts, story_ids) for contact, texts, story_ids in contacts
        }
        for section, parsed_stories in self._match_sections(document.sections):
            self._write_section(section, parsed_stories)
        for stories in self.stories.values():
            for story in stories:
                if story.id in self.written_story_ids:
                    continue
                texts = self.texts.get(story.id, {})
                if text := texts.get(self.tag):
                    self.result.not_in_file.append(text.headline)
                elif texts:
                    rank = [self.newsletter.default_language, *texts]
                    other = next(texts[tag] for tag in rank if tag in texts)
                    self.result.untranslated.append(_plain_text(other.headline))

    def _match_sections(self, parsed: Sequence[ParsedSection]) -> list[tuple[Section, list[ParsedStory]]]:
        """Return the newsletter's section for each title of the document, with its stories.

        Sections are matched by title, then by position, else created. Sections of the document that match the same
        section are merged.
        """
        by_title: dict[str, Section] = {}
        for same_language in (True, False):  # titles in the language of the document come first
            for section in self.sections:
                for tag, title in section.titles.items():
                    if (tag == self.tag) is same_language:
                        by_title.setdefault(title.casefold(), section)
        groups: dict[str, list[ParsedSection]] = {}
        for parsed_section in parsed:
            groups.setdefault(_section_title(parsed_section).casefold(), []).append(parsed_section)
        matches = {title: by_title[title] for title in groups if title in by_title}
        used = [section for section in self.sections if section.id in self.stories]
        with_stories = [title for title, group in groups.items() if any(s.stories for s in group)]
        if len(used) == len(with_stories):  # the same document in another language
            for section, key in zip(used, with_stories, strict=True):
                if key not in matches and section not in matches.values() and self.tag not in section.titles:
                    title = _section_title(groups[key][0])
                    section.titles = section.titles | {self.tag: title}
                    self.result.matched_by_position.append(title)
                    matches[key] = section
        merged: dict[int, tuple[Section, list[ParsedStory]]] = {}
        for key, group in groups.items():
            section = matches.get(key) or self._new_section(_section_title(group[0]))
            for parsed_section in group:
                _, stories = merged.setdefault(section.id, (section, []))
                stories += _with_story_offset(parsed_section.stories, len(stories))
        return list(merged.values())

    def _new_section(self, title: str) -> Section:
        key = _slug(title) or "section"
        used_keys = {section.key for section in self.sections}
        number = 2
        while key in used_keys:
            key = f"{_slug(title) or 'section'}-{number}"
            number += 1
        section = newsletters.add_section(
            self.session,
            self.newsletter.id,
            key=key,
            position=max((s.position for s in self.sections), default=0) + 1,
            titles={self.tag: title},
            descriptions={},
        )
        self.sections.append(section)
        self.result.new_sections.append(title)
        return section

    def _write_section(self, section: Section, parsed: Sequence[ParsedStory]) -> None:
        stored = self.stories.setdefault(section.id, [])
        pictures = [self.picture_loader(story.picture.path) if story.picture else None for story in parsed]
        matches = match_stories(
            [self._parsed_fingerprint(*pair) for pair in zip(parsed, pictures, strict=True)],
            [self._stored_fingerprint(story) for story in stored],
        )
        had_stories = bool(stored)
        written: list[Story] = []
        position = max((story.position for story in stored), default=0)
        stored_before = list(stored)
        for index, (parsed_story, picture) in enumerate(zip(parsed, pictures, strict=True)):
            if index in matches.pairs:
                story = stored_before[matches.pairs[index]]
                if index in matches.by_position:
                    self.result.matched_by_position.append(_plain_text(parsed_story.headline))
            else:
                position += 1
                story = Story(issue_id=self.issue.id, section_id=section.id, position=position)
                self.session.add(story)
                self.session.flush()
                stored.append(story)
                if had_stories:
                    self.result.unmatched.append(_plain_text(parsed_story.headline))
            self._write_story(story, parsed_story, picture)
            written.append(story)
        for story, parsed_story in zip(written, parsed, strict=True):
            self._write_contacts(story, parsed_story, written)
        if self.is_leading_language:
            positions = sorted(story.position for story in written)
            for story, position in zip(written, positions, strict=True):
                self.result.changed += _set_changed(story, {"position": position})
        self.result.sections += 1
        self.result.stories += len(written)

    def _parsed_fingerprint(self, story: ParsedStory, picture: PreparedPicture | None) -> StoryFingerprint:
        dates = tuple((span.start.isoformat(), span.end.isoformat()) for line in story.datelines for span in line.dates)
        return StoryFingerprint(
            f"{self.tag} {story.headline}" if story.headline else "",
            picture.sha256 if picture else "",
            story.link.url if story.link else "",
            dates,
            f"{self.tag} {story.body}" if story.body else "",
        )

    def _stored_fingerprint(self, story: Story) -> StoryFingerprint:
        texts = self.texts.get(story.id, {})
        text = texts.get(self.tag)
        any_text = text or next(iter(texts.values()), None)
        dates: tuple[tuple[str, str], ...] = ()
        if any_text:
            dates = tuple((span["start"], span["end"]) for line in any_text.datelines for span in line["dates"])
        return StoryFingerprint(
            f"{self.tag} {text.headline}" if text and text.headline else "",
            self.picture_hashes.get(story.picture_id or 0, ""),
            any_text.link if any_text else "",
            dates,
            f"{self.tag} {text.body}" if text and text.body else "",
        )

    def _write_story(self, story: Story, parsed: ParsedStory, picture: PreparedPicture | None) -> None:
        self.written_story_ids.add(story.id)
        values = {
            "headline": parsed.headline,
            "datelines": [
                {
                    "text": line.text,
                    "place": line.place,
                    "dates": [{"start": span.start.isoformat(), "end": span.end.isoformat()} for span in line.dates],
                }
                for line in parsed.datelines
            ],
            "body": parsed.body,
            "alt": parsed.picture.alt if parsed.picture else "",
            "link": parsed.link.url if parsed.link else "",
            "link_label": parsed.link.label if parsed.link else "",
        }
        texts = self.texts.setdefault(story.id, {})
        row = texts.get(self.tag)
        if picture is None and story.picture_id and row is not None and self.is_leading_language:
            # Keep a picture that only the document in another language has.
            had_picture = row.alt or not any(text.alt for text in texts.values())
            self.result.changed += _set_changed(story, {"picture_id": None}) if had_picture else 0
        if row is None:
            row = StoryTranslation(story_id=story.id, language=self.tag, **values)
            self.session.add(row)
            texts[self.tag] = row
            self.result.changed += 1
        else:
            self.result.changed += _set_changed(row, values)
        if picture is not None and self.picture_hashes.get(story.picture_id or 0) != picture.sha256:
            story.picture_id = store_picture(self.session, picture)
            self.picture_hashes[story.picture_id] = picture.sha256
            self.result.changed += 1

    def _write_contacts(self, story: Story, parsed: ParsedStory, section_stories: Sequence[Story]) -> None:
        for position, note in enumerate(parsed.contacts):
            self.result.contacts += 1
            story_ids = [section_stories[index].id for index in note.stories] or [story.id]
            stored = self.contacts.get((story.id, position))
            if stored is None:
                contact = Contact(issue_id=self.issue.id, story_id=story.id, position=position)
                self.session.add(contact)
                self.session.flush()
                issues.set_contact_stories(self.session, contact.id, story_ids)
                self.session.add(ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text))
                self.result.changed += 1
                continue
            contact, texts, stored_story_ids = stored
            if self.is_leading_language and set(stored_story_ids) != set(story_ids):
                issues.set_contact_stories(self.session, contact.id, story_ids)
                self.result.changed += 1
            if texts.get(self.tag) != note.text:
                self.session.merge(ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text))
                self.result.changed += 1
        for (story_id, position), (contact, texts, _) in self.contacts.items():
            if story_id == story.id and position >= len(parsed.contacts) and self.tag in texts:
                issues.remove_contact_text(self.session, contact.id, self.tag)
                self.result.changed += 1
