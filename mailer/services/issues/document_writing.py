"""Writes an imported document into an issue."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailer.domain.accounts import Actor
from mailer.domain.document import ParsedDocument, ParsedStory
from mailer.domain.document.front_matter import PARTIAL_KEYS
from mailer.domain.ports import PreparedPicture
from mailer.domain.states import StoryChangeKind, TextSubject, TranslationStatus, VersionKind
from mailer.domain.text_tree import canonical, canonical_line, plain_line
from mailer.domain.versions import TextKey
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
from mailer.services.issues import text_requests
from mailer.services.issues.document_matching import DocumentMatcher, IssueContent
from mailer.store import contacts, issues, pictures, stories, story_changes, text_versions
from mailer.store.database import Session

_CANONICAL = {
    "intro": canonical,
    "partial_intro": canonical,
    "body": canonical,
    "headline": canonical_line,
    "link_label": canonical_line,
    "text": canonical,
}


@dataclass(slots=True)
class ImportResult:
    """The result of an import. ``changed`` counts the texts that were added or changed."""

    issue: int
    number: str
    language: str
    previous_revision: int
    """Of the issue before the import; 0 for a new one."""
    sections: int = 0
    stories: int = 0
    contacts: int = 0
    changed: int = 0
    new_sections: list[str] = field(default_factory=list)
    matched_by_position: list[str] = field(default_factory=list)
    """Headlines that were matched with a story of the issue by position only."""
    titles_not_kept: list[str] = field(default_factory=list)
    """Titles that are not kept with their sections, because another issue shows these as it was approved."""
    unmatched: list[str] = field(default_factory=list)
    """Headlines that matched no existing story and were added as new stories."""
    moved: list[str] = field(default_factory=list)
    """Headlines of stories that are in another section than before."""
    removed: list[str] = field(default_factory=list)
    """Headlines of stories that were removed, in every language, because the file no longer has them."""
    removed_contacts: list[str] = field(default_factory=list)
    """Contact notes that were removed likewise."""
    not_in_file: list[str] = field(default_factory=list)
    """Headlines of stories that have a text in this language but are not in the file; kept."""
    untranslated: list[str] = field(default_factory=list)
    """Headlines, in another language, of stories without a text in this language."""

    @property
    def new_issue(self) -> bool:
        return not self.previous_revision


class UnconfirmedRemoval(Exception):
    """An import would remove stories, and nothing was imported. ``stories`` are the ids to confirm."""

    def __init__(self, result: ImportResult, stories: frozenset[int]) -> None:
        super().__init__(", ".join(result.removed))
        self.result = result
        self.stories = stories


def write_front_matter(
    session: Session, issue: Issue, newsletter: Newsletter, document: ParsedDocument, tag: str, actor: Actor
) -> int:
    """Write the front matter of a document in a language. Return 1 if anything differs, else 0."""
    subject = document.front_matter.get("subject", "").strip()
    intro = document.intro
    if not subject:
        subject = document.title
    elif document.title:
        intro = f"#### {document.title}\n\n{intro}"
    if not subject:
        subject = f"{newsletter.localize(newsletter.names, tag).text} {issue.number}"
    preheader = document.front_matter.get("preheader", "").strip()
    values: dict[str, Any] = {"status": TranslationStatus.ready, "subject": subject, "preheader": preheader}
    values["intro"] = canonical(intro)
    values |= {key: document.front_matter.get(key, "").strip() for key in PARTIAL_KEYS}
    values["partial_intro"] = canonical(values["partial_intro"])
    row = issues.front_matter(session, issue.id).get(tag)
    if row is None:
        row = IssueTranslation(issue_id=issue.id, language=tag, **values)
        session.add(row)
    elif not set_changed(row, values):
        return 0
    session.flush()
    key = TextKey(issue.id, TextSubject.front_matter, issue.id, tag)
    _record(session, key, text_versions.content_of(row), actor)
    return 1


class DocumentWriter:
    """Writes the sections of one document into one issue."""

    def __init__(
        self,
        session: Session,
        issue: Issue,
        newsletter: Newsletter,
        tag: str,
        prepared: Mapping[str, PreparedPicture],
        picture_ids: Mapping[str, int],
        result: ImportResult,
        actor: Actor,
    ) -> None:
        self.session, self.issue, self.newsletter, self.tag = session, issue, newsletter, tag
        self.actor = actor
        self.pictures, self.picture_ids, self.result = prepared, picture_ids, result
        content = IssueContent.load(session, issue, newsletter, tag)
        self.matcher = DocumentMatcher(content, prepared)
        self.texts, self.stories = content.texts, content.stories
        self.is_leading_language = tag == issues.leading_language(session, newsletter, issue.id)
        """Whether this language decides the order of stories and which stories a contact is for."""

    def write(
        self, document: ParsedDocument, *, new_sections: bool, confirmed_removals: Collection[int] | None
    ) -> None:
        """Write all sections, and add to the result what the document lacks."""
        sections = self.matcher.match_sections(document.sections, new_sections=new_sections)
        matches = self.matcher.match_stories(sections)
        self.result.new_sections += self.matcher.new_sections
        self.result.matched_by_position += self.matcher.matched_by_position
        self.result.titles_not_kept += self.matcher.titles_not_kept
        self.result.unmatched += self.matcher.unmatched
        self._account_for_missing({story.id for group in matches.values() for story in group.values()})
        if confirmed_removals is not None and not self.removals.keys() <= set(confirmed_removals):
            raise UnconfirmedRemoval(self.result, frozenset(self.removals))
        for story in self.removals.values():
            headline = plain_line(self.texts[story.id][self.tag].headline)
            story_changes.remember(self.session, story, headline, StoryChangeKind.removed, self.actor)
            stories.delete_story(self.session, story)
            self.stories[story.section_id].remove(story)
            self.result.changed += 1
        self.contacts = {
            (contact.story_id, contact.position): (contact, texts, story_ids)
            for contact, texts, story_ids in contacts.of_issue(self.session, self.issue.id)
        }
        for section, parsed_stories in sections:
            self._write_section(section, parsed_stories, matches[section.id])

    def _account_for_missing(self, found: set[int]) -> None:
        """List the stories of the issue that the document does not have, and collect those to remove."""
        self.removals: dict[int, Story] = {}
        for group in self.stories.values():
            for story in group:
                texts = self.texts.get(story.id, {})
                if story.id in found:
                    continue
                if (text := texts.get(self.tag)) and self.is_leading_language:
                    self.removals[story.id] = story
                    self.result.removed.append(plain_line(text.headline))
                elif text:
                    self.result.not_in_file.append(plain_line(text.headline))
                elif texts:
                    rank = [self.newsletter.default_language, *texts]
                    other = next(texts[tag] for tag in rank if tag in texts)
                    self.result.untranslated.append(plain_line(other.headline))

    def _write_section(self, section: Section, parsed: Sequence[ParsedStory], matches: Mapping[int, Story]) -> None:
        stored = self.stories.setdefault(section.id, [])
        written: list[Story] = []
        position = max((story.position for story in stored), default=0)
        for index, parsed_story in enumerate(parsed):
            story = matches.get(index)
            moves = story is not None and story.section_id != section.id and self.is_leading_language
            if story is None or moves:
                position += 1
            if story is None:
                story = Story(issue_id=self.issue.id, section_id=section.id, position=position)
                self.session.add(story)
                self.session.flush()
                stored.append(story)
            elif moves:
                story.section_id, story.position = section.id, position
                self.result.moved.append(plain_line(parsed_story.headline))
                self.result.changed += 1
            self._write_story(story, parsed_story)
            written.append(story)
        for story, parsed_story in zip(written, parsed, strict=True):
            self._write_contacts(story, parsed_story, written)
        if self.is_leading_language:
            positions = sorted(story.position for story in written)
            for story, position in zip(written, positions, strict=True):
                self.result.changed += set_changed(story, {"position": position})
        self.result.sections += 1
        self.result.stories += len(written)

    def _write_story(self, story: Story, parsed: ParsedStory) -> None:
        path = parsed.picture.path if parsed.picture else ""
        picture = self.pictures[path] if path else None
        values = {
            "status": TranslationStatus.ready,
            "headline": parsed.headline,
            "datelines": [line.to_json() for line in parsed.datelines],
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
            if had_picture:
                self.result.changed += self._set_picture(story, None)
        if row is None:
            row = StoryTranslation(story_id=story.id, language=self.tag, **values)
            self.session.add(row)
            texts[self.tag] = row
            changed = 1
        else:
            changed = set_changed(row, values)
        self.result.changed += changed
        if picture is not None and not pictures.same_root(self.session, story.picture_id, self.picture_ids[path]):
            self.result.changed += self._set_picture(story, self.picture_ids[path])
        if changed:
            self.session.flush()
            self._record(TextSubject.story, story.id, text_versions.content_of(row))

    def _record(self, subject: TextSubject, id: int, content: Mapping[str, Any]) -> None:
        _record(self.session, TextKey(self.issue.id, subject, id, self.tag), content, self.actor)

    def _set_picture(self, story: Story, picture: int | None) -> int:
        """Give a story another picture or none. The credit of the old one goes. Return 1 if it is another."""
        changed = set_changed(story, {"picture_id": picture})
        if changed:
            for tag, text in self.texts[story.id].items():
                if text.picture_credit:
                    text.picture_credit = ""
                    key = TextKey(self.issue.id, TextSubject.story, story.id, tag)
                    content = text_versions.content_of(text)
                    text_versions.record(self.session, key, content, self.actor, VersionKind.imported, minor=True)
        return changed

    def _write_contacts(self, story: Story, parsed: ParsedStory, section_stories: Sequence[Story]) -> None:
        self._remove_missing_contacts(story, parsed)
        for position, note in enumerate(parsed.contacts):
            self.result.contacts += 1
            story_ids = [section_stories[index].id for index in note.stories] or [story.id]
            stored = self.contacts.get((story.id, position))
            if stored is None:
                contact = Contact(issue_id=self.issue.id, story_id=story.id, position=position)
                self.session.add(contact)
                self.session.flush()
                contacts.set_stories(self.session, contact.id, story_ids)
                self.session.add(ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text))
                self._record(TextSubject.contact, contact.id, {"text": note.text})
                self.result.changed += 1
                continue
            contact, texts, stored_story_ids = stored
            if self.is_leading_language and set(stored_story_ids) != set(story_ids):
                contacts.set_stories(self.session, contact.id, story_ids)
                self.result.changed += 1
            if not _reads_as("text", texts.get(self.tag, ""), note.text):
                self.session.merge(ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text))
                self._record(TextSubject.contact, contact.id, {"text": note.text})
                self.result.changed += 1

    def _remove_missing_contacts(self, story: Story, parsed: ParsedStory) -> None:
        """Remove the notes after a story that the document no longer has.

        In the leading language they go with their translations: those whose text is not in the document, if that
        explains the number of notes, else the last ones. In another language only the texts go.
        """
        stored = [(key, self.contacts[key]) for key in sorted(self.contacts) if key[0] == story.id]
        notes = [(key, note) for key, note in stored if self.tag in note[1]]
        if not self.is_leading_language:
            for (_, position), (contact, _, _) in notes:
                if position >= len(parsed.contacts):
                    contacts.remove_text(self.session, contact.id, self.tag)
                    text = TextKey(self.issue.id, TextSubject.contact, contact.id, self.tag)
                    text_versions.record(self.session, text, {}, self.actor, VersionKind.removed)
                    self.result.changed += 1
            return
        surplus = max(0, len(notes) - len(parsed.contacts))
        written = {note.text for note in parsed.contacts}
        gone = [(key, note) for key, note in notes if canonical(note[1][self.tag]) not in written]
        if len(gone) != surplus:
            gone = notes[len(notes) - surplus :]
        if not gone:
            return
        for _, (contact, texts, _) in gone:
            contacts.delete_contact(self.session, contact.id)
            self.result.removed_contacts.append(texts[self.tag])
            self.result.changed += 1
        for key, _ in stored:
            del self.contacts[key]
        kept = [note for key, note in stored if key not in dict(gone)]
        for position, note in enumerate(kept):
            note[0].position = position
            self.session.flush()  # one after the other: no two notes of a story have the same position
            self.contacts[story.id, position] = note


def set_changed(row: object, values: Mapping[str, Any]) -> int:
    """Set the attributes that differ. Return 1 if any did, else 0.

    A text that was written differently and reads the same stays, so that no approval of it is withdrawn.
    """
    changed = {name: value for name, value in values.items() if not _reads_as(name, getattr(row, name), value)}
    for name, value in changed.items():
        setattr(row, name, value)
    return 1 if changed else 0


def _reads_as(name: str, stored: Any, value: Any) -> bool:
    """Return whether a stored value of this column reads as another one does."""
    return stored == value or (name in _CANONICAL and _CANONICAL[name](stored) == value)


def _record(session: Session, key: TextKey, content: Mapping[str, Any], actor: Actor) -> None:
    """Record an imported text. A translation is one of its source as it is now."""
    source = text_versions.source_head(session, key)
    text_versions.record(
        session, key, content, actor, VersionKind.imported, source_version=source.id if source else None
    )
    text_requests.text_is_ready(session, key, actor, issues.database_time(session))
