"""The versions of a text: they are listed and compared, and one is put back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailer.domain.accounts import Actor
from mailer.domain.errors import ChangeRefused
from mailer.domain.staff_texts import gettext
from mailer.domain.states import (
    BESIDE_THE_TEXT,
    IssueEventKind,
    TextSubject,
    TranslationStatus,
    VersionKind,
)
from mailer.domain.text_difference import FieldDifference, differences
from mailer.domain.text_tree import plain_line
from mailer.domain.versions import TextKey
from mailer.models import IssueTranslation, StoryTranslation, TextVersion
from mailer.store import approvals, issues, stories, text_versions
from mailer.store.database import Database, Session

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class VersionItem:
    """A version as it is listed."""

    id: int
    at: datetime
    """When it was last saved."""
    by: str
    """Empty for the service itself, or if it is not known."""
    kind: VersionKind
    minor: bool
    is_head: bool
    """Whether it is the text as it is now."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two versions, and what differs."""

    old: VersionItem | None
    """None if there is none before."""
    new: VersionItem
    fields: Sequence[FieldDifference]


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What a stale translation was made from, and what its source is now."""

    language: str
    old: int
    new: int


@dataclass(frozen=True, slots=True)
class VersionList:
    """The versions of a text, the latest first."""

    versions: Sequence[VersionItem]
    more_before: int | None
    """The id before which there are more."""
    source_change: SourceChange | None
    """Only of a stale translation."""


def list_versions(database: Database, key: TextKey, before: int | None = None) -> VersionList:
    """Return versions of a text with ids below ``before``, the latest first."""
    with database.transaction() as session:
        found = text_versions.of_text(session, key, PAGE_SIZE + 1, before)
        head = text_versions.head(session, key)
        items = [_item(session, version, head) for version in found[:PAGE_SIZE]]
        more = found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None
        change = None
        if head and key in text_versions.stale(session, key.issue):
            source = session.get_one(TextVersion, head.source_version_id)
            now = text_versions.head(session, text_versions.key_of(source))
            change = SourceChange(source.language, source.id, now.id if now else source.id)
        return VersionList(items, more, change)


def compare(database: Database, key: TextKey, new: int | None = None, old: int | None = None) -> Comparison | None:
    """Return what differs between two versions of a text: by default the text as it is now and the one before.

    None if there is no such version.
    """
    with database.transaction() as session:
        head = text_versions.head(session, key)
        after = _find(session, key, new) if new else head
        if after is None:
            return None
        before = _find(session, key, old) if old else _before(session, key, after)
        if old and before is None:
            return None
        old_content: Mapping[str, Any] = before.content if before else {}
        new_content: Mapping[str, Any] = after.content
        if after.kind is VersionKind.contributed:  # it has only some columns
            new_content = {**old_content, **new_content}
        return Comparison(
            _item(session, before, head) if before else None,
            _item(session, after, head),
            differences(old_content, new_content),
        )


def restore(database: Database, key: TextKey, version: int, actor: Actor) -> None:
    """Write an earlier version as the text, which is a new version. A text that was removed comes back as a draft.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if there is no such version or its story is gone.
    """
    with database.transaction() as session:
        issues.lock_draft(session, key.issue, "its text can no longer be changed")
        found = _find(session, key, version)
        if found is None or found.kind is VersionKind.removed:
            raise ChangeRefused(gettext("There is no such version."))
        row = _row(session, key)
        for name in text_versions.COLUMNS[key.subject]:
            if name in found.content or found.kind is not VersionKind.contributed:
                setattr(row, name, found.content.get(name, [] if name == "datelines" else ""))
        session.flush()
        last = text_versions.head(session, key)
        content = text_versions.content_of(row)
        restored = text_versions.record(
            session, key, content, actor, VersionKind.restored, source_version=found.source_version_id
        )
        if restored is last:
            return
        approvals.content_changed(session, key.issue, actor)
        headline = plain_line(content["headline"]) if isinstance(row, StoryTranslation) else content["subject"]
        detail = f"{key.language}: {headline}"
        kind = IssueEventKind.written
        issues.log(session, key.issue, actor, kind, detail, language=key.language, headline=headline)


def _row(session: Session, key: TextKey) -> StoryTranslation | IssueTranslation:
    """Return the stored text, a new draft if there is none."""
    is_story = key.subject is TextSubject.story
    if is_story and stories.find(session, key.issue, key.subject_id) is None:
        raise ChangeRefused(gettext("The story was removed from the issue. Put it back first."))
    if (row := text_versions.stored(session, key)) is not None:
        return row
    status = TranslationStatus.draft
    if is_story:
        row = StoryTranslation(story_id=key.subject_id, language=key.language, status=status)
    else:
        row = IssueTranslation(issue_id=key.issue, language=key.language, status=status)
    session.add(row)
    return row


def _find(session: Session, key: TextKey, version: int) -> TextVersion | None:
    found = session.get(TextVersion, version)
    return found if found and text_versions.key_of(found) == key else None


def _before(session: Session, key: TextKey, version: TextVersion) -> TextVersion | None:
    """Return what was the text before a version."""
    earlier = text_versions.of_text(session, key, PAGE_SIZE, version.id)
    return next((other for other in earlier if other.kind not in BESIDE_THE_TEXT), None)


def _item(session: Session, version: TextVersion, head: TextVersion | None) -> VersionItem:
    by = issues.actor_name(session, version)
    return VersionItem(version.id, version.at, by, version.kind, version.minor, version is head)
