"""Author: an issue's stories from a document."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from mailer.domain.document import ParsedDocument
from mailer.domain.document import ParsedSection as ReadSection
from mailer.domain.document import ParsedStory as ReadStory
from mailer.domain.languages import canonical_tag, match_language
from mailer.domain.newsletter import ChangeRefused
from mailer.domain.ports import PictureLoader, PreparedPicture
from mailer.domain.states import EDITABLE_STATES, InvalidIssueState, IssueState
from mailer.domain.story_matching import StoryFingerprint, match_stories
from mailer.models import (
    Contact,
    ContactTranslation,
    Issue,
    IssueTranslation,
    Newsletter,
    Picture,
    Section,
    Story,
    StoryTranslation,
)
from mailer.store import issues, newsletters
from mailer.store.database import Database, Session


@dataclass(slots=True)
class ImportResult:
    """What an import did. ``changed`` counts texts written; 0 when the issue says all this already."""

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
    """Headlines paired with a story of the issue only by their place."""
    unmatched: list[str] = field(default_factory=list)
    """Headlines that found no partner among the stories there were: added as stories of their own."""
    not_in_file: list[str] = field(default_factory=list)
    """Stories that had this language before and are not in the file: kept."""
    untranslated: list[str] = field(default_factory=list)
    """Stories of the issue that have no text in this language yet, by a headline that they have."""


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
    """Write a document into an issue, in one transaction. Raises Refused, WrongState or NotALanguage.

    ``number`` names the issue where the document's front matter does not. The issue is made when it is not there.
    """
    tag = canonical_tag(language)
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None:
            known = (
                ", ".join(newsletters.slugs(session))
                or "none yet; make one with: mailer newsletter apply FILE"
            )
            raise ChangeRefused(f"There is no newsletter “{slug}”. There is: {known}.")
        if tag not in newsletter.languages:
            near = match_language(tag, newsletter.languages)
            hint = f" Did you mean {near}?" if near else ""
            raise ChangeRefused(
                f"{slug} has no language {tag}; it has {', '.join(newsletter.languages)}.{hint}"
            )
        _reject_control_characters(document)
        number = document.front_matter.get("number", "").strip() or number
        newsletters.lock(session, newsletter.id)  # imports of one newsletter wait for each other
        issue = issues.by_number(session, newsletter.id, number)
        new = issue is None
        if issue is not None:
            issues.lock(session, issue.id)  # its state is read anew: it may just have been approved
        if issue is None:
            issue = Issue(
                newsletter_id=newsletter.id, number=number, issue_date=_issue_date(document) or today
            )
            session.add(issue)
            session.flush()
            issues.log(session, issue.id, actor, "created")
        elif issue.state not in EDITABLE_STATES:
            raise InvalidIssueState(
                f"Issue {issue.id} ({number}) is {issue.state.value}, and its text stands fast."
                + _restore_advice(issue.id, issue.state)
            )
        done = ImportResult(issue.id, number, tag, new)
        done.changed += _write_front_matter(session, issue, newsletter, document, tag)
        writer = _DocumentWriter(session, issue, newsletter, tag, picture_loader, done)
        writer.write(document)
        if writer.is_leading_language and (on := _issue_date(document)):
            done.changed += _set_changed(issue, {"issue_date": on})
        if done.changed:
            issues.bump_revision(session, issue.id)
            issues.log(session, issue.id, actor, "imported", f"{tag}: {done.changed} texts")
        return done


def _restore_advice(issue: int, state: IssueState) -> str:
    """How an issue that is not being written any more can be changed after all; empty where nothing does that."""
    reopen = f"take back the approval: mailer issue reopen {issue}."
    if state is IssueState.approved:
        return f" To change it, {reopen}"
    if state is IssueState.scheduled:
        return f" To change it, take back its time: mailer issue unschedule {issue}. Then {reopen}"
    if state in (IssueState.sending, IssueState.paused):
        return f" What has not gone out can only be stopped: mailer issue cancel {issue}."
    return ""


def _issue_date(document: ParsedDocument) -> date | None:
    written = document.front_matter.get("date")
    return date.fromisoformat(written) if written else None


def _reject_control_characters(document: ParsedDocument) -> None:
    for name, value in [("title", document.title), *document.front_matter.items()]:
        if found := next((c for c in value if unicodedata.category(c) in ("Cc", "Zl", "Zp")), None):
            raise ChangeRefused(f"The {name} holds the control character U+{ord(found):04X}. Take it out.")


def _write_front_matter(
    session: Session, issue: Issue, newsletter: Newsletter, document: ParsedDocument, tag: str
) -> int:
    subject = document.front_matter.get("subject", "").strip().strip("\"'“”")
    intro = document.intro
    if not subject:
        subject = document.title
    elif document.title:
        intro = f"#### {document.title}\n\n{intro}"
    if not subject:
        name = newsletter.names.get(tag) or next(iter(newsletter.names.values()))
        subject = f"{name} {issue.number}"
    preheader = document.front_matter.get("preheader", "").strip().strip("\"'“”")
    row = issues.front_matter(session, issue.id).get(tag)
    if row is None:
        session.add(
            IssueTranslation(
                issue_id=issue.id, language=tag, subject=subject, preheader=preheader, intro=intro
            )
        )
        return 1
    return _set_changed(row, {"subject": subject, "preheader": preheader, "intro": intro})


def _set_changed(row: object, values: Mapping[str, Any]) -> int:
    """Set what differs; 1 when anything did."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    return 1 if changed else 0


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:60]


def _plain_text(inline: str) -> str:
    return re.sub(r"</?su[bp]>|[*_`]", "", inline).strip()


def _section_title(section: ReadSection) -> str:
    return _plain_text(section.title) or "News"


def _with_story_offset(stories: Sequence[ReadStory], offset: int) -> list[ReadStory]:
    """The stories as they are counted with ``by`` others before them."""
    return [
        replace(
            story,
            contacts=tuple(
                replace(note, stories=tuple(at + offset for at in note.stories)) for note in story.contacts
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
        self.picture_hashes = {
            id: found[0]
            for id, found in issues.pictures(
                session, [s.picture_id for found in self.stories.values() for s in found if s.picture_id]
            ).items()
        }
        self.written_story_ids: set[int] = set()
        fronts = issues.front_matter(session, issue.id).keys() | {tag}
        rank = [newsletter.default_language, *newsletter.languages]
        self.is_leading_language = tag == next(language for language in rank if language in fronts)
        """This language decides what all have in common: the order of stories, and what notes speak for."""

    def write(self, document: ParsedDocument) -> None:
        contacts = issues.contacts(self.session, self.issue.id)
        self.contacts = {
            (note.story_id, note.position): (note, texts, covered) for note, texts, covered in contacts
        }
        for section, read in self._match_sections(document.sections):
            self._write_section(section, read)
        for found in self.stories.values():
            for story in found:
                if story.id in self.written_story_ids:
                    continue
                texts = self.texts.get(story.id, {})
                if text := texts.get(self.tag):
                    self.result.not_in_file.append(text.headline)
                elif texts:
                    rank = [self.newsletter.default_language, *texts]
                    other = next(texts[tag] for tag in rank if tag in texts)
                    self.result.untranslated.append(_plain_text(other.headline))

    def _match_sections(self, parsed: Sequence[ReadSection]) -> list[tuple[Section, list[ReadStory]]]:
        """The newsletter's section for each title of the document: by title, else by place, else a new one.

        Parts of the document that belong to the same section are put together.
        """
        by_title: dict[str, Section] = {}
        for own in (True, False):
            for section in self.sections:
                for tag, title in section.titles.items():
                    if (tag == self.tag) is own:
                        by_title.setdefault(title.casefold(), section)
        parts: dict[str, list[ReadSection]] = {}
        for part in parsed:
            parts.setdefault(_section_title(part).casefold(), []).append(part)
        found = {title: by_title[title] for title in parts if title in by_title}
        used = [section for section in self.sections if section.id in self.stories]
        told = [title for title, some in parts.items() if any(part.stories for part in some)]
        if len(used) == len(told):  # the same document in another language
            for section, key in zip(used, told, strict=True):
                if key not in found and section not in found.values() and self.tag not in section.titles:
                    title = _section_title(parts[key][0])
                    section.titles = section.titles | {self.tag: title}
                    self.result.matched_by_position.append(title)
                    found[key] = section
        together: dict[int, tuple[Section, list[ReadStory]]] = {}
        for key, some in parts.items():
            section = found.get(key) or self._new_section(_section_title(some[0]))
            for part in some:
                _, stories = together.setdefault(section.id, (section, []))
                stories += _with_story_offset(part.stories, len(stories))
        return list(together.values())

    def _new_section(self, title: str) -> Section:
        key = _slug(title) or "section"
        taken = {section.key for section in self.sections}
        number = 2
        while key in taken:
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

    def _write_section(self, section: Section, parsed: Sequence[ReadStory]) -> None:
        there = self.stories.setdefault(section.id, [])
        fits = [self.picture_loader(story.picture.path) if story.picture else None for story in parsed]
        pairing = match_stories(
            [self._parsed_traits(story, fit) for story, fit in zip(parsed, fits, strict=True)],
            [self._stored_traits(story) for story in there],
        )
        had_stories = bool(there)
        written: list[Story] = []
        position = max((story.position for story in there), default=0)
        before = list(there)
        for at, (part, fit) in enumerate(zip(parsed, fits, strict=True)):
            if at in pairing.pairs:
                story = before[pairing.pairs[at]]
                if at in pairing.by_position:
                    self.result.matched_by_position.append(_plain_text(part.headline))
            else:
                position += 1
                story = Story(issue_id=self.issue.id, section_id=section.id, position=position)
                self.session.add(story)
                self.session.flush()
                there.append(story)
                if had_stories:
                    self.result.unmatched.append(_plain_text(part.headline))
            self._write_story(story, part, fit)
            written.append(story)
        for at, part in enumerate(parsed):
            self._write_contacts(written[at], part, written)
        if self.is_leading_language:
            for story, place in zip(written, sorted(story.position for story in written), strict=True):
                self.result.changed += _set_changed(story, {"position": place})
        self.result.sections += 1
        self.result.stories += len(written)

    def _parsed_traits(self, story: ReadStory, picture: PreparedPicture | None) -> StoryFingerprint:
        dates = tuple(
            (span.start.isoformat(), span.end.isoformat()) for line in story.datelines for span in line.dates
        )
        return StoryFingerprint(
            f"{self.tag} {story.headline}" if story.headline else "",
            picture.sha256 if picture else "",
            story.link.url if story.link else "",
            dates,
            f"{self.tag} {story.body}" if story.body else "",
        )

    def _stored_traits(self, story: Story) -> StoryFingerprint:
        texts = self.texts.get(story.id, {})
        own = texts.get(self.tag)
        some = own or next(iter(texts.values()), None)
        dates: tuple[tuple[str, str], ...] = ()
        if some:
            dates = tuple((span["start"], span["end"]) for line in some.datelines for span in line["dates"])
        return StoryFingerprint(
            f"{self.tag} {own.headline}" if own and own.headline else "",
            self.picture_hashes.get(story.picture_id or 0, ""),
            some.link if some else "",
            dates,
            f"{self.tag} {own.body}" if own and own.body else "",
        )

    def _write_story(self, story: Story, parsed: ReadStory, picture: PreparedPicture | None) -> None:
        self.written_story_ids.add(story.id)
        values = {
            "headline": parsed.headline,
            "datelines": [
                {
                    "text": line.text,
                    "place": line.place,
                    "dates": [
                        {"start": span.start.isoformat(), "end": span.end.isoformat()} for span in line.dates
                    ],
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
            # Another language may have brought the picture, and this one never had it.
            had_it = row.alt or not any(text.alt for text in texts.values())
            self.result.changed += _set_changed(story, {"picture_id": None}) if had_it else 0
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

    def _write_contacts(self, story: Story, parsed: ReadStory, section_stories: Sequence[Story]) -> None:
        for position, note in enumerate(parsed.contacts):
            self.result.contacts += 1
            covered = [section_stories[at].id for at in note.stories] or [story.id]
            found = self.contacts.get((story.id, position))
            if found is None:
                contact = Contact(issue_id=self.issue.id, story_id=story.id, position=position)
                self.session.add(contact)
                self.session.flush()
                issues.set_contact_stories(self.session, contact.id, covered)
                self.session.add(ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text))
                self.result.changed += 1
                continue
            contact, texts, spoken_for = found
            if self.is_leading_language and set(spoken_for) != set(covered):
                issues.set_contact_stories(self.session, contact.id, covered)
                self.result.changed += 1
            if texts.get(self.tag) != note.text:
                self.session.merge(
                    ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text)
                )
                self.result.changed += 1
        for (owner, position), (contact, texts, _) in self.contacts.items():
            if owner == story.id and position >= len(parsed.contacts) and self.tag in texts:
                issues.remove_contact_text(self.session, contact.id, self.tag)
                self.result.changed += 1


def store_picture(session: Session, picture: PreparedPicture) -> int:
    """The id of a picture; the same bytes are stored once."""
    found = issues.picture_by_hash(session, picture.sha256)
    if found is None:
        found = Picture(
            sha256=picture.sha256,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            data=picture.data,
        )
        session.add(found)
        session.flush()
    return found.id


def set_masthead(database: Database, issue: int, picture: PreparedPicture, actor: str) -> None:
    """Give an issue the picture at its head. Raises IssueNotFound or InvalidIssueState."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state not in EDITABLE_STATES:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}; its pictures stand fast.")
        id = store_picture(session, picture)
        if row.masthead_picture_id != id:
            row.masthead_picture_id = id
            issues.bump_revision(session, issue)
            issues.log(session, issue, actor, "masthead")
