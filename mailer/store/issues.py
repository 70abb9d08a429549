"""Issues, stories, translations, contacts, pictures and the log of what was done to them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from mailer.domain.errors import IssueNotFound
from mailer.domain.states import IssueEventKind, IssueState, PauseReason, TranslationStatus
from mailer.models import (
    Contact,
    ContactStory,
    ContactTranslation,
    Issue,
    IssueEvent,
    IssueTranslation,
    Newsletter,
    Picture,
    Section,
    Story,
    StoryTranslation,
)


def find(session: Session, issue: int) -> Issue | None:
    return session.get(Issue, issue)


def by_id(session: Session, issue: int) -> Issue:
    """Return the issue. Raises IssueNotFound."""
    if (found := find(session, issue)) is None:
        raise IssueNotFound(issue)
    return found


def lock(session: Session, issue: int) -> Issue:
    """Return the issue, held against other changes until the transaction ends. Raises IssueNotFound.

    Take it before any of its batches. Rows that refer to the issue can still be written: a worker does that with
    a batch in hand.
    """
    found = session.get(Issue, issue, with_for_update={"key_share": True}, populate_existing=True)
    if found is None:
        raise IssueNotFound(issue)
    return found


def state(session: Session, issue: int) -> IssueState:
    """The issue's state as it is committed now."""
    return session.scalars(select(Issue.state).where(Issue.id == issue)).one()


def max_rates(session: Session) -> dict[int, float]:
    """Messages a second for the issues that are going out with a limit of their own."""
    query = select(Issue.id, Issue.max_rate).where(Issue.max_rate.is_not(None), Issue.state == IssueState.sending)
    return {id: float(rate) for id, rate in session.execute(query) if rate}


def pause(session: Session, issue: Issue, reason: PauseReason, actor: str, detail: str = "") -> None:
    """Pause an issue that is locked, and log it."""
    issue.state, issue.pause_reason = IssueState.paused, reason
    log(session, issue.id, actor, IssueEventKind.paused, detail)


def last_pause(session: Session, issue: int) -> IssueEvent | None:
    """Return the log's last entry of a pause: who paused the issue, and in detail why."""
    query = select(IssueEvent).where(IssueEvent.issue_id == issue, IssueEvent.kind == IssueEventKind.paused)
    return session.scalars(query.order_by(IssueEvent.id.desc()).limit(1)).first()


def by_number(session: Session, newsletter: int, number: str) -> Issue | None:
    return session.scalar(select(Issue).where(Issue.newsletter_id == newsletter, Issue.number == number))


def list_all(session: Session) -> list[tuple[Issue, str]]:
    """Every issue with its newsletter's slug, newest first."""
    query = select(Issue, Newsletter.slug).join(Newsletter, Newsletter.id == Issue.newsletter_id)
    return [(issue, slug) for issue, slug in session.execute(query.order_by(Issue.id.desc()))]


def in_state(session: Session, states: Iterable[IssueState]) -> list[Issue]:
    return list(session.scalars(select(Issue).where(Issue.state.in_(list(states))).order_by(Issue.id)))


def lock_unfinished(session: Session, newsletter: int) -> list[Issue]:
    """A newsletter's issues that are not sent or cancelled, held against other changes until the transaction
    ends."""
    over = (IssueState.sent, IssueState.cancelled)
    query = select(Issue).where(Issue.newsletter_id == newsletter, Issue.state.not_in(over))
    return list(
        session.scalars(
            query.order_by(Issue.id).with_for_update(key_share=True),
            execution_options={"populate_existing": True},
        )
    )


def due(session: Session, now: datetime) -> list[int]:
    """Scheduled issues whose time has come."""
    query = select(Issue.id).where(Issue.state == IssueState.scheduled, Issue.scheduled_at <= now)
    return list(session.scalars(query.order_by(Issue.scheduled_at)))


def bump_revision(session: Session, issue: int) -> None:
    """Say that the content changed: editions rendered before are stale."""
    session.execute(update(Issue).where(Issue.id == issue).values(revision=Issue.revision + 1))


def was_sent() -> ColumnElement[bool]:
    """Of an issue: whether it went out to all its readers, whatever became of a second try for some of them."""
    return Issue.id.in_(select(IssueEvent.issue_id).where(IssueEvent.kind == IssueEventKind.sent))


def log(session: Session, issue: int, actor: str, kind: IssueEventKind, detail: str = "") -> None:
    session.add(IssueEvent(issue_id=issue, actor=actor, kind=kind, detail=detail))


def events(session: Session, issue: int) -> list[IssueEvent]:
    return list(session.scalars(select(IssueEvent).where(IssueEvent.issue_id == issue).order_by(IssueEvent.id)))


def front_matter(session: Session, issue: int) -> dict[str, IssueTranslation]:
    query = select(IssueTranslation).where(IssueTranslation.issue_id == issue)
    return {row.language: row for row in session.scalars(query)}


def stories(session: Session, issue: int) -> list[tuple[Story, Section]]:
    """In the order in which they are printed: by section, then by position."""
    query = (
        select(Story, Section)
        .join(Section, Section.id == Story.section_id)
        .where(Story.issue_id == issue)
        .order_by(Section.position, Section.id, Story.position, Story.id)
    )
    return [(story, section) for story, section in session.execute(query)]


def story_texts(session: Session, issue: int) -> dict[int, dict[str, StoryTranslation]]:
    """Return story → language → translation."""
    query = select(StoryTranslation).join(Story, Story.id == StoryTranslation.story_id)
    found: dict[int, dict[str, StoryTranslation]] = defaultdict(dict)
    for row in session.scalars(query.where(Story.issue_id == issue)):
        found[row.story_id][row.language] = row
    return found


def ready_languages(texts: dict[str, StoryTranslation]) -> frozenset[str]:
    return frozenset(language for language, text in texts.items() if text.status is TranslationStatus.ready)


def contacts(session: Session, issue: int) -> list[tuple[Contact, dict[str, str], list[int]]]:
    """Each note with its texts by language and the stories it speaks for, in the order of printing."""
    notes = session.scalars(
        select(Contact).where(Contact.issue_id == issue).order_by(Contact.story_id, Contact.position)
    ).all()
    texts: dict[int, dict[str, str]] = defaultdict(dict)
    for row in session.scalars(
        select(ContactTranslation)
        .join(Contact, Contact.id == ContactTranslation.contact_id)
        .where(Contact.issue_id == issue)
    ):
        texts[row.contact_id][row.language] = row.text
    covered: dict[int, list[int]] = defaultdict(list)
    for tie in session.scalars(
        select(ContactStory)
        .join(Contact, Contact.id == ContactStory.contact_id)
        .where(Contact.issue_id == issue)
        .order_by(ContactStory.story_id)
    ):
        covered[tie.contact_id].append(tie.story_id)
    return [(note, texts[note.id], covered[note.id]) for note in notes]


def set_contact_stories(session: Session, contact: int, stories: Iterable[int]) -> None:
    session.execute(delete(ContactStory).where(ContactStory.contact_id == contact))
    session.add_all(ContactStory(contact_id=contact, story_id=story) for story in stories)


def remove_contact_text(session: Session, contact: int, language: str) -> None:
    session.execute(
        delete(ContactTranslation).where(
            ContactTranslation.contact_id == contact, ContactTranslation.language == language
        )
    )


def pictures(session: Session, ids: Iterable[int]) -> dict[int, tuple[str, str, int, int]]:
    """Return id → (sha256, media type, width, height), without the bytes."""
    query = select(Picture.id, Picture.sha256, Picture.media_type, Picture.width, Picture.height)
    rows = session.execute(query.where(Picture.id.in_(list(ids))))
    return {row.id: (row.sha256, row.media_type, row.width, row.height) for row in rows}


def picture_by_hash(session: Session, sha256: str) -> Picture | None:
    return session.scalar(select(Picture).where(Picture.sha256 == sha256))


def picture_by_prefix(session: Session, prefix: str) -> Picture | None:
    """The picture whose hash begins with these lower-case hexadecimal digits."""
    # A range, which the index on the hash serves under any collation; LIKE needs a special one.
    return session.scalar(select(Picture).where(Picture.sha256 >= prefix, Picture.sha256 < prefix + "g"))
