"""Writing a text of an issue in the browser: it is loaded, and saved so that nothing written is ever lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mailer.domain.accounts import ActingStaff, Actor, account_of
from mailer.domain.begun_translation import ComposeDateline, begun_translation, is_begun
from mailer.domain.states import (
    EDITABLE_STATES,
    IssueEventKind,
    TextSubject,
    TranslationStatus,
    VersionKind,
)
from mailer.domain.text_fields import TypedText, merge
from mailer.domain.text_tree import plain_line
from mailer.domain.versions import TextKey
from mailer.models import Issue, IssueTranslation, Story, StoryTranslation, TextVersion
from mailer.services.issues import text_requests
from mailer.store import approvals, issues, newsletters, open_texts, pictures, rate_limits, stories, text_versions
from mailer.store.database import Database, Session
from mailer.store.open_texts import OpenTab
from mailer.store.pictures import PictureInfo

MAX_SAVES_PER_MINUTE = 120
"""For one account, in all its tabs. A tab saves at most once a second, so nobody is refused who writes in two of them.
A tab that is refused keeps what was written, and saves it a few seconds later.
"""
MAX_HEARTBEATS_PER_MINUTE = 300
"""For one account, in all its tabs. A tab sends one in ten seconds, or in three while others have the text open."""
_MINUTE = timedelta(minutes=1)


class TextNotFound(LookupError):
    """The issue has no such text, and cannot have it."""


class TextMoved(TextNotFound):
    """The story was held over: its texts are in another issue now."""


class TooManySaves(RuntimeError):
    """An account saves more often than anybody writes."""


class SaveOutcome(StrEnum):
    """What became of what was sent. Unless it is saved, it is kept as a version that was set aside."""

    saved = "saved"
    changed = "changed"
    """Somebody else has changed the text since it was loaded."""
    taken_over = "taken_over"
    """Somebody else writes."""
    closed = "closed"
    """The issue is approved or sent: its text cannot be changed any more."""
    removed = "removed"
    """The story is no longer in the issue."""
    moved = "moved"
    """The story was held over: it is in another issue now, where what was sent is kept."""


@dataclass(frozen=True, slots=True)
class TextState:
    """A text as it is stored."""

    content: Mapping[str, Any]
    """Its columns, empty ones if there is no text yet."""
    base: str
    """What a writer sends back: see ``text_versions.base_of``."""
    status: TranslationStatus
    by: str
    """Who wrote it last; empty if nobody did."""
    at: datetime | None
    picture: PictureInfo | None = None
    """The picture of a story."""

    @property
    def is_unwritten(self) -> bool:
        """Return whether it has at most what it takes from its source."""
        return is_begun(self.content)


@dataclass(frozen=True, slots=True)
class SaveOrder:
    """What somebody saves."""

    base: str
    """Of the text that they saw."""
    typed: TypedText
    status: TranslationStatus | None = None
    """None to leave it: a page that was loaded long ago does not know what it is now."""
    minor: bool = False
    tab: str = ""
    """Which tab of a browser sends it; empty for a form without script."""
    previous_tab: str = ""
    """The tab in which it was written, if that was closed or killed before it was saved."""
    take_over: bool = False
    """Whether this tab writes from now on, whoever does so now."""
    translated_from: str = ""
    """The base of the source that the translation is up to date with; empty to leave it."""
    shown_source: str = ""
    """The base of the source that was shown, which the first version of a translation is made from."""
    source_language: str = ""
    """The language that the story is written in first; empty to leave it."""


@dataclass(frozen=True, slots=True)
class SaveResult:
    """What became of it, and the text as it is now."""

    outcome: SaveOutcome
    text: TextState
    kept: int | None = None
    """The version that was set aside."""
    moved_to: int | None = None
    """The issue in which the story is now, if that is another one."""


@dataclass(frozen=True, slots=True)
class OpenState:
    """Who else has a text open."""

    others: Sequence[OpenTab]
    base: str
    status: TranslationStatus
    editable: bool


def key_of(database: Database, issue: int, story: int | None, language: str) -> TextKey:
    """Return the key of a story's text, or without a story that of the front matter.

    Raises TextNotFound; TextMoved if the story is in another issue of the newsletter.

    A story that was removed, and whose texts have versions, has keys still: somebody may be writing.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if language not in newsletters.by_id(session, row.newsletter_id).languages:
            raise TextNotFound(TextNotFound.__doc__)
        if story is None:
            return TextKey(issue, TextSubject.front_matter, issue, language)
        key = TextKey(issue, TextSubject.story, story, language)
        found = session.get(Story, story)
        if found and found.issue_id != issue:
            is_own = issues.by_id(session, found.issue_id).newsletter_id == row.newsletter_id
            raise TextMoved(TextMoved.__doc__) if is_own else TextNotFound(TextNotFound.__doc__)
        if found is None and text_versions.head(session, key) is None:
            raise TextNotFound(TextNotFound.__doc__)
        return key


def load_state(database: Database, key: TextKey) -> TextState:
    """Return a text as it is stored."""
    with database.transaction() as session:
        return _state(session, key)


def load_begun_state(database: Database, key: TextKey, compose_dateline: ComposeDateline) -> TextState:
    """Return a text as its page shows it: as it is stored, or a new translation with what it takes from its source."""
    with database.transaction() as session:
        state, head = _state(session, key), text_versions.head(session, key)
        editable = issues.by_id(session, key.issue).state in EDITABLE_STATES
        is_new = not any(state.content.values()) and (head is None or head.kind is VersionKind.removed)
        if key.subject is not TextSubject.story or not is_new or not editable:
            return state
        if (source := text_versions.stored_source(session, key)) is None:
            return state
        taken = begun_translation(text_versions.content_of(source), key.language, compose_dateline)
        return replace(state, content={**state.content, **taken})


def source_language(database: Database, key: TextKey) -> str:
    """Return the language that a text is written in first."""
    with database.transaction() as session:
        return text_versions.source_language(session, key)


def save_text(database: Database, key: TextKey, order: SaveOrder, actor: Actor, now: datetime) -> SaveResult:
    """Save what somebody wrote, in one transaction.

    What cannot become the text is kept as a version that was set aside, and the result says why. A tab that never
    heard that its last save succeeded saves from an older base: that is no conflict.
    """
    with database.transaction() as session:
        return save_in(session, key, order, actor, now)


def save_in(session: Session, key: TextKey, order: SaveOrder, actor: Actor, now: datetime) -> SaveResult:
    """Save what somebody wrote in a transaction that does more. See ``save_text``."""
    issue = issues.lock(session, key.issue)
    row = text_versions.stored(session, key)
    before = stored_content(key, row)
    content = merge(before, order.typed)
    if (moved_to := _moved_to(session, key)) is not None:
        key = replace(key, issue=moved_to)
        kept = _set_aside(session, key, before, content, actor)
        return SaveResult(SaveOutcome.moved, _state(session, key), kept, moved_to)
    head = text_versions.head(session, key)
    if order.tab and not isinstance(actor, str):
        open_texts.see(session, key, actor.account, order.tab, now)
    outcome = _outcome(session, key, issue, order, text_versions.base_of(head), actor, now)
    conflict = outcome in (SaveOutcome.changed, SaveOutcome.taken_over)
    if conflict and content == before and not _changes_beside_content(session, key, row, order, head):
        return SaveResult(SaveOutcome.saved, _state(session, key))
    if outcome is not SaveOutcome.saved:
        return SaveResult(outcome, _state(session, key), _set_aside(session, key, before, content, actor))
    if order.tab:
        open_texts.set_writer(session, key, order.tab)
    was_ready = row is not None and row.status is TranslationStatus.ready
    _write(session, issue, key, row, content, order, actor)
    state = _state(session, key)
    if state.status is TranslationStatus.ready and not was_ready:
        text_requests.text_is_ready(session, key, actor, now)
    if order.tab:
        open_texts.set_saved(session, key, order.tab, state.base)
    return SaveResult(outcome, state)


def count_save(database: Database, account: int, now: datetime, *, heartbeat: bool = False) -> None:
    """Count a save, or a heartbeat, of an account. Raises TooManySaves."""
    limit = MAX_HEARTBEATS_PER_MINUTE if heartbeat else MAX_SAVES_PER_MINUTE
    key = f"{'heartbeat' if heartbeat else 'save'} {account}".encode()
    with database.transaction() as session:
        allowed = rate_limits.acquire(session, key, now, _MINUTE, limit)
    if not allowed:
        raise TooManySaves(TooManySaves.__doc__)


def heartbeat(
    database: Database,
    key: TextKey,
    staff: ActingStaff,
    tab: str,
    now: datetime,
    *,
    writing: bool,
    take_over: bool,
    shown: str = "",
) -> OpenState:
    """Record that a tab has a text open, with the base of what it shows; return who else has, and what is stored.

    A tab that is ``writing`` becomes the one that writes unless somebody else's is, or it takes over.
    """
    with database.transaction() as session:
        row = issues.by_id(session, key.issue)
        open_texts.see(session, key, staff.account, tab, now)
        taken = open_texts.other_writes(open_texts.list_open(session, key, now), staff.account)
        if take_over or (writing and not taken):
            open_texts.set_writer(session, key, tab)
        elif not writing:
            open_texts.stop_writing(session, key, tab)
        others = [one for one in open_texts.list_open(session, key, now) if one.tab != tab]
        base = text_versions.base_of(text_versions.head(session, key))
        if shown == base:
            open_texts.set_saved(session, key, tab, base)
        text = text_versions.stored(session, key)
        status = text.status if text else TranslationStatus.draft
        return OpenState(others, base, status, row.state in EDITABLE_STATES)


def close(database: Database, key: TextKey, staff: ActingStaff, tab: str) -> None:
    """Record that a tab was closed."""
    with database.transaction() as session:
        open_texts.close(session, key, staff.account, tab)


def _moved_to(session: Session, key: TextKey) -> int | None:
    """Return the issue of a story whose texts are no longer in the issue of its key, which is locked."""
    story = session.get(Story, key.subject_id, populate_existing=True) if key.subject is TextSubject.story else None
    return story.issue_id if story and story.issue_id != key.issue else None


def _outcome(
    session: Session, key: TextKey, issue: Issue, order: SaveOrder, base: str, actor: Actor, now: datetime
) -> SaveOutcome:
    if issue.state not in EDITABLE_STATES:
        return SaveOutcome.closed
    if key.subject is TextSubject.story and session.get(Story, key.subject_id) is None:
        return SaveOutcome.removed
    account = account_of(actor)
    own = open_texts.saved_by(session, key, account, (order.tab, order.previous_tab))
    if base not in (order.base, *own) and _is_changed(session, key, order):
        return SaveOutcome.changed
    tabs = open_texts.list_open(session, key, now)
    if order.tab and not order.take_over and open_texts.other_writes(tabs, account):
        return SaveOutcome.taken_over
    return SaveOutcome.saved


def _is_changed(session: Session, key: TextKey, order: SaveOrder) -> bool:
    """Return whether any of the fields that somebody saves was changed since they saw the text.

    Who writes a story sends no texts of its picture: others may choose the picture meanwhile. A status is that of the
    whole text.
    """
    seen = text_versions.find(session, int(order.base.partition(".")[0])) if order.base else None
    if seen is None or text_versions.key_of(seen) != key or text_versions.base_of(seen) != order.base:
        return True
    present = stored_content(key, text_versions.stored(session, key))
    saved = present.keys() if order.status else order.typed.content.keys()
    return not text_versions.is_same(seen.content, present, saved)


def _set_aside(
    session: Session, key: TextKey, before: Mapping[str, Any], content: Mapping[str, Any], actor: Actor
) -> int | None:
    """Keep what cannot become the text, and return its version; None if it is no other text."""
    if content == before:
        return None
    return text_versions.record(session, key, content, actor, VersionKind.set_aside).id


def _write(
    session: Session,
    issue: Issue,
    key: TextKey,
    row: IssueTranslation | StoryTranslation | None,
    content: Mapping[str, Any],
    order: SaveOrder,
    actor: Actor,
) -> None:
    """Write the text and all that follows from it, if anything differs."""
    story = session.get(Story, key.subject_id) if key.subject is TextSubject.story else None
    shown_before = row is not None and row.status is TranslationStatus.ready
    changed = row is None or text_versions.content_of(row) != content
    if row is None:
        if not any(content.values()) and order.status is not TranslationStatus.ready:
            return
        status = order.status or TranslationStatus.draft
        if story:
            row = StoryTranslation(story_id=story.id, language=key.language, status=status, **content)
        else:
            row = IssueTranslation(issue_id=key.issue, language=key.language, status=status, **content)
        session.add(row)
    else:
        for name, value in content.items():
            setattr(row, name, value)
        if order.status and row.status is not order.status:
            row.status, changed = order.status, True
    if story and order.source_language and order.source_language != text_versions.source_language(session, key):
        story.source_language, changed = order.source_language, True
    session.flush()
    last = text_versions.head(session, key)
    source = _source(session, key, order, last)
    if source is None and last is not None and is_begun(last.content) and not is_begun(content):
        # It is translated from what the source says now, not from what it said when the language was begun.
        present = text_versions.source_head(session, key)
        source = present.id if present else None
    version = text_versions.record(
        session, key, content, actor, VersionKind.saved, minor=order.minor, source_version=source
    )
    if not changed:
        return
    issues.set_last_writer(session, key.issue, key.language, actor)
    if shown_before or row.status is TranslationStatus.ready:
        approvals.content_changed(session, key.issue, actor, languages=_shown_in(session, issue, key))
    else:
        issues.bump_revision(session, key.issue, only_text=True)
    if last is None or version.id != last.id:
        headline = plain_line(content["headline"] if story else content["subject"])
        issues.log(
            session,
            key.issue,
            actor,
            IssueEventKind.written,
            f"{key.language}: {headline}",
            language=key.language,
            headline=headline,
        )


def _shown_in(session: Session, issue: Issue, key: TextKey) -> set[str]:
    """Return the languages whose editions may show a text: its own, and for a story those that lack a text."""
    if key.subject is TextSubject.front_matter:
        return {key.language}
    languages = newsletters.by_id(session, issue.newsletter_id).languages
    return {*languages} - stories.ready_languages(session, key.subject_id) | {key.language}


def _changes_beside_content(
    session: Session,
    key: TextKey,
    row: IssueTranslation | StoryTranslation | None,
    order: SaveOrder,
    head: TextVersion | None,
) -> bool:
    """Return whether an order would change the status, the source language or what the translation is made from."""
    status = row.status if row else TranslationStatus.draft
    source = _source(session, key, order, head)
    return (
        order.status not in (None, status)
        or order.source_language not in ("", text_versions.source_language(session, key))
        or (source is not None and head is not None and source != head.source_version_id)
    )


def _source(session: Session, key: TextKey, order: SaveOrder, head: TextVersion | None) -> int | None:
    """Return the version of the source that the translation is made from, None to leave it as it is.

    If the source was saved again since it was shown, what was shown is nearer to the version before.
    """
    shown = order.translated_from or ("" if head else order.shown_source)
    source = text_versions.find(session, int(shown.partition(".")[0])) if shown else None
    language = text_versions.source_language(session, key)
    if source is None or text_versions.key_of(source) != replace(key, language=language):
        return None
    if text_versions.base_of(source) == shown:
        return source.id
    before = None if head else text_versions.head(session, text_versions.key_of(source), before=source.id)
    return before.id if before else None


def stored_content(key: TextKey, row: IssueTranslation | StoryTranslation | None) -> dict[str, Any]:
    if row is not None:
        return text_versions.content_of(row)
    return {name: [] if name == "datelines" else "" for name in text_versions.COLUMNS[key.subject]}


def _state(session: Session, key: TextKey) -> TextState:
    row, head = text_versions.stored(session, key), text_versions.head(session, key)
    return TextState(
        stored_content(key, row),
        text_versions.base_of(head),
        row.status if row else TranslationStatus.draft,
        issues.actor_name(session, head) if head else "",
        head.at if head else None,
        picture_of(session, key),
    )


def picture_of(session: Session, key: TextKey) -> PictureInfo | None:
    """Return the picture of the story that a text is of."""
    story = session.get(Story, key.subject_id) if key.subject is TextSubject.story else None
    picture = story.picture_id if story else None
    return pictures.infos(session, [picture]).get(picture) if picture else None
