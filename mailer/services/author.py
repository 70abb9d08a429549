"""Author: an issue's stories from a document."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from mailer.domain.document import Document
from mailer.domain.document import Section as ReadSection
from mailer.domain.document import Story as ReadStory
from mailer.domain.languages import canonical, match
from mailer.domain.newsletter import Refused
from mailer.domain.pairing import Traits, pair
from mailer.domain.ports import FitPicture, Pictures
from mailer.domain.states import EDITABLE, IssueState, WrongState
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
class Imported:
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
    by_order: list[str] = field(default_factory=list)
    """Headlines paired with a story of the issue only by their place."""
    unpaired: list[str] = field(default_factory=list)
    """Headlines that found no partner among the stories there were: added as stories of their own."""
    not_in_file: list[str] = field(default_factory=list)
    """Stories that had this language before and are not in the file: kept."""
    still_missing: list[str] = field(default_factory=list)
    """Stories of the issue that have no text in this language yet, by a headline that they have."""


def import_document(
    database: Database,
    document: Document,
    slug: str,
    language: str,
    *,
    number: str,
    today: date,
    pictures: Pictures,
    actor: str,
) -> Imported:
    """Write a document into an issue, in one transaction. Raises Refused, WrongState or NotALanguage.

    ``number`` names the issue where the document's front matter does not. The issue is made when it is not there.
    """
    tag = canonical(language)
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        if newsletter is None:
            known = (
                ", ".join(newsletters.slugs(session))
                or "none yet; make one with: mailer newsletter apply FILE"
            )
            raise Refused(f"There is no newsletter “{slug}”. There is: {known}.")
        if tag not in newsletter.languages:
            near = match(tag, newsletter.languages)
            hint = f" Did you mean {near}?" if near else ""
            raise Refused(f"{slug} has no language {tag}; it has {', '.join(newsletter.languages)}.{hint}")
        _refuse_control(document)
        number = document.front.get("number", "").strip() or number
        newsletters.locked(session, newsletter.id)  # imports of one newsletter wait for each other
        issue = issues.by_number(session, newsletter.id, number)
        new = issue is None
        if issue is not None:
            issues.locked(session, issue.id)  # its state is read anew: it may just have been approved
        if issue is None:
            issue = Issue(
                newsletter_id=newsletter.id, number=number, issue_date=_issue_date(document) or today
            )
            session.add(issue)
            session.flush()
            issues.log(session, issue.id, actor, "created")
        elif issue.state not in EDITABLE:
            raise WrongState(
                f"Issue {issue.id} ({number}) is {issue.state.value}, and its text stands fast."
                + _way_back(issue.id, issue.state)
            )
        done = Imported(issue.id, number, tag, new)
        done.changed += _front(session, issue, newsletter, document, tag)
        writer = _Writer(session, issue, newsletter, tag, pictures, done)
        writer.write(document)
        if writer.leads and (on := _issue_date(document)):
            done.changed += _update(issue, {"issue_date": on})
        if done.changed:
            issues.touch(session, issue.id)
            issues.log(session, issue.id, actor, "imported", f"{tag}: {done.changed} texts")
        return done


def _way_back(issue: int, state: IssueState) -> str:
    """How an issue that is not being written any more can be changed after all; empty where nothing does that."""
    reopen = f"take back the approval: mailer issue reopen {issue}."
    if state is IssueState.approved:
        return f" To change it, {reopen}"
    if state is IssueState.scheduled:
        return f" To change it, take back its time: mailer issue unschedule {issue}. Then {reopen}"
    if state in (IssueState.sending, IssueState.paused):
        return f" What has not gone out can only be stopped: mailer issue cancel {issue}."
    return ""


def _issue_date(document: Document) -> date | None:
    written = document.front.get("date")
    return date.fromisoformat(written) if written else None


def _refuse_control(document: Document) -> None:
    for name, value in [("title", document.title), *document.front.items()]:
        if found := next((c for c in value if unicodedata.category(c) in ("Cc", "Zl", "Zp")), None):
            raise Refused(f"The {name} holds the control character U+{ord(found):04X}. Take it out.")


def _front(session: Session, issue: Issue, newsletter: Newsletter, document: Document, tag: str) -> int:
    subject = document.front.get("subject", "").strip().strip("\"'“”")
    intro = document.intro
    if not subject:
        subject = document.title
    elif document.title:
        intro = f"#### {document.title}\n\n{intro}"
    if not subject:
        name = newsletter.names.get(tag) or next(iter(newsletter.names.values()))
        subject = f"{name} {issue.number}"
    preheader = document.front.get("preheader", "").strip().strip("\"'“”")
    row = issues.front_matter(session, issue.id).get(tag)
    if row is None:
        session.add(
            IssueTranslation(
                issue_id=issue.id, language=tag, subject=subject, preheader=preheader, intro=intro
            )
        )
        return 1
    return _update(row, {"subject": subject, "preheader": preheader, "intro": intro})


def _update(row: object, values: Mapping[str, Any]) -> int:
    """Set what differs; 1 when anything did."""
    changed = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in changed.items():
        setattr(row, name, value)
    return 1 if changed else 0


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:60]


def _plain(inline: str) -> str:
    return re.sub(r"</?su[bp]>|[*_`]", "", inline).strip()


def _title(section: ReadSection) -> str:
    return _plain(section.title) or "News"


def _shifted(stories: Sequence[ReadStory], by: int) -> list[ReadStory]:
    """The stories as they are counted with ``by`` others before them."""
    return [
        replace(
            story,
            contacts=tuple(
                replace(note, stories=tuple(at + by for at in note.stories)) for note in story.contacts
            ),
        )
        for story in stories
    ]


class _Writer:
    """Writes the sections of one document into one issue."""

    def __init__(
        self,
        session: Session,
        issue: Issue,
        newsletter: Newsletter,
        tag: str,
        pictures: Pictures,
        done: Imported,
    ) -> None:
        self.session, self.issue, self.newsletter, self.tag = session, issue, newsletter, tag
        self.pictures, self.done = pictures, done
        self.sections = newsletters.sections(session, newsletter.id)
        self.texts = issues.story_texts(session, issue.id)
        self.stories: dict[int, list[Story]] = {}
        for story, section in issues.stories(session, issue.id):
            self.stories.setdefault(section.id, []).append(story)
        self.hashes = {
            id: found[0]
            for id, found in issues.pictures(
                session, [s.picture_id for found in self.stories.values() for s in found if s.picture_id]
            ).items()
        }
        self.seen: set[int] = set()
        fronts = issues.front_matter(session, issue.id).keys() | {tag}
        rank = [newsletter.default_language, *newsletter.languages]
        self.leads = tag == next(language for language in rank if language in fronts)
        """This language decides what all have in common: the order of stories, and what notes speak for."""

    def write(self, document: Document) -> None:
        contacts = issues.contacts(self.session, self.issue.id)
        self.notes = {
            (note.story_id, note.position): (note, texts, covered) for note, texts, covered in contacts
        }
        for section, read in self._matched(document.sections):
            self._section(section, read)
        for found in self.stories.values():
            for story in found:
                if story.id in self.seen:
                    continue
                texts = self.texts.get(story.id, {})
                if text := texts.get(self.tag):
                    self.done.not_in_file.append(text.headline)
                elif texts:
                    rank = [self.newsletter.default_language, *texts]
                    other = next(texts[tag] for tag in rank if tag in texts)
                    self.done.still_missing.append(_plain(other.headline))

    def _matched(self, read: Sequence[ReadSection]) -> list[tuple[Section, list[ReadStory]]]:
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
        for part in read:
            parts.setdefault(_title(part).casefold(), []).append(part)
        found = {title: by_title[title] for title in parts if title in by_title}
        used = [section for section in self.sections if section.id in self.stories]
        told = [title for title, some in parts.items() if any(part.stories for part in some)]
        if len(used) == len(told):  # the same document in another language
            for section, key in zip(used, told, strict=True):
                if key not in found and section not in found.values() and self.tag not in section.titles:
                    title = _title(parts[key][0])
                    section.titles = section.titles | {self.tag: title}
                    self.done.by_order.append(title)
                    found[key] = section
        together: dict[int, tuple[Section, list[ReadStory]]] = {}
        for key, some in parts.items():
            section = found.get(key) or self._new_section(_title(some[0]))
            for part in some:
                _, stories = together.setdefault(section.id, (section, []))
                stories += _shifted(part.stories, len(stories))
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
        self.done.new_sections.append(title)
        return section

    def _section(self, section: Section, read: Sequence[ReadStory]) -> None:
        there = self.stories.setdefault(section.id, [])
        fits = [self.pictures(story.picture.path) if story.picture else None for story in read]
        pairing = pair(
            [self._read_traits(story, fit) for story, fit in zip(read, fits, strict=True)],
            [self._traits(story) for story in there],
        )
        had_stories = bool(there)
        written: list[Story] = []
        position = max((story.position for story in there), default=0)
        before = list(there)
        for at, (part, fit) in enumerate(zip(read, fits, strict=True)):
            if at in pairing.pairs:
                story = before[pairing.pairs[at]]
                if at in pairing.by_order:
                    self.done.by_order.append(_plain(part.headline))
            else:
                position += 1
                story = Story(issue_id=self.issue.id, section_id=section.id, position=position)
                self.session.add(story)
                self.session.flush()
                there.append(story)
                if had_stories:
                    self.done.unpaired.append(_plain(part.headline))
            self._story(story, part, fit)
            written.append(story)
        for at, part in enumerate(read):
            self._contacts(written[at], part, written)
        if self.leads:
            for story, place in zip(written, sorted(story.position for story in written), strict=True):
                self.done.changed += _update(story, {"position": place})
        self.done.sections += 1
        self.done.stories += len(written)

    def _read_traits(self, story: ReadStory, fit: FitPicture | None) -> Traits:
        dates = tuple(
            (span.start.isoformat(), span.end.isoformat()) for line in story.datelines for span in line.dates
        )
        return Traits(
            f"{self.tag} {story.headline}" if story.headline else "",
            fit.sha256 if fit else "",
            story.link.url if story.link else "",
            dates,
            f"{self.tag} {story.body}" if story.body else "",
        )

    def _traits(self, story: Story) -> Traits:
        texts = self.texts.get(story.id, {})
        own = texts.get(self.tag)
        some = own or next(iter(texts.values()), None)
        dates: tuple[tuple[str, str], ...] = ()
        if some:
            dates = tuple((span["start"], span["end"]) for line in some.datelines for span in line["dates"])
        return Traits(
            f"{self.tag} {own.headline}" if own and own.headline else "",
            self.hashes.get(story.picture_id or 0, ""),
            some.link if some else "",
            dates,
            f"{self.tag} {own.body}" if own and own.body else "",
        )

    def _story(self, story: Story, read: ReadStory, fit: FitPicture | None) -> None:
        self.seen.add(story.id)
        values = {
            "headline": read.headline,
            "datelines": [
                {
                    "text": line.text,
                    "place": line.place,
                    "dates": [
                        {"start": span.start.isoformat(), "end": span.end.isoformat()} for span in line.dates
                    ],
                }
                for line in read.datelines
            ],
            "body": read.body,
            "alt": read.picture.alt if read.picture else "",
            "link": read.link.url if read.link else "",
            "link_label": read.link.label if read.link else "",
        }
        texts = self.texts.setdefault(story.id, {})
        row = texts.get(self.tag)
        if fit is None and story.picture_id and row is not None and self.leads:
            # Another language may have brought the picture, and this one never had it.
            had_it = row.alt or not any(text.alt for text in texts.values())
            self.done.changed += _update(story, {"picture_id": None}) if had_it else 0
        if row is None:
            row = StoryTranslation(story_id=story.id, language=self.tag, **values)
            self.session.add(row)
            texts[self.tag] = row
            self.done.changed += 1
        else:
            self.done.changed += _update(row, values)
        if fit is not None and self.hashes.get(story.picture_id or 0) != fit.sha256:
            story.picture_id = store_picture(self.session, fit)
            self.hashes[story.picture_id] = fit.sha256
            self.done.changed += 1

    def _contacts(self, story: Story, read: ReadStory, section: Sequence[Story]) -> None:
        for position, note in enumerate(read.contacts):
            self.done.contacts += 1
            covered = [section[at].id for at in note.stories] or [story.id]
            found = self.notes.get((story.id, position))
            if found is None:
                contact = Contact(issue_id=self.issue.id, story_id=story.id, position=position)
                self.session.add(contact)
                self.session.flush()
                issues.set_contact_stories(self.session, contact.id, covered)
                self.session.add(ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text))
                self.done.changed += 1
                continue
            contact, texts, spoken_for = found
            if self.leads and set(spoken_for) != set(covered):
                issues.set_contact_stories(self.session, contact.id, covered)
                self.done.changed += 1
            if texts.get(self.tag) != note.text:
                self.session.merge(
                    ContactTranslation(contact_id=contact.id, language=self.tag, text=note.text)
                )
                self.done.changed += 1
        for (owner, position), (contact, texts, _) in self.notes.items():
            if owner == story.id and position >= len(read.contacts) and self.tag in texts:
                issues.remove_contact_text(self.session, contact.id, self.tag)
                self.done.changed += 1


def store_picture(session: Session, fit: FitPicture) -> int:
    """The id of a picture; the same bytes are stored once."""
    found = issues.picture_by_hash(session, fit.sha256)
    if found is None:
        found = Picture(
            sha256=fit.sha256, media_type=fit.media_type, width=fit.width, height=fit.height, data=fit.data
        )
        session.add(found)
        session.flush()
    return found.id


def set_masthead(database: Database, issue: int, picture: FitPicture, actor: str) -> None:
    """Give an issue the picture at its head. Raises Refused or WrongState."""
    with database.transaction() as session:
        row = issues.locked(session, issue)
        if row is None:
            raise Refused(f"There is no issue {issue}. See them with: mailer issue list.")
        if row.state not in EDITABLE:
            raise WrongState(f"Issue {issue} is {row.state.value}; its pictures stand fast.")
        id = store_picture(session, picture)
        if row.masthead_picture_id != id:
            row.masthead_picture_id = id
            issues.touch(session, issue)
            issues.log(session, issue, actor, "masthead")
