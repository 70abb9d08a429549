"""Versions of texts: front matter, stories and contact notes, each in one language.

The head of a text is its latest version that was neither set aside nor contributed. It has what is stored: every change
of a stored text records a version in the same transaction, with the issue locked. The texts of digests, which are
copies, have none.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from mailer.domain.accounts import Actor, account_of, name_of
from mailer.domain.states import BESIDE_THE_TEXT, TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import (
    ContactTranslation,
    IssueTranslation,
    Newsletter,
    OpenText,
    Story,
    StoryTranslation,
    TextRequest,
    TextVersion,
)
from mailer.store import issues

SQUASHED_WITHIN = timedelta(minutes=10)
"""How long after a version was begun the saves of the same writer are added to it."""
COLUMNS = {
    TextSubject.front_matter: (
        "subject",
        "preheader",
        "intro",
        "partial_subject",
        "partial_preheader",
        "partial_intro",
    ),
    TextSubject.story: ("headline", "datelines", "body", "alt", "picture_credit", "link", "link_label"),
    TextSubject.contact: ("text",),
}
"""The columns of a text that its versions hold."""


def content_of(row: IssueTranslation | StoryTranslation | ContactTranslation) -> dict[str, Any]:
    """Return the content of a stored text, as a version holds it."""
    subject = {
        IssueTranslation: TextSubject.front_matter,
        StoryTranslation: TextSubject.story,
        ContactTranslation: TextSubject.contact,
    }[type(row)]
    return {name: getattr(row, name) for name in COLUMNS[subject]}


def base_of(version: TextVersion | None) -> str:
    """Return what a writer sends back, so that it is known which state of the text they saw; empty for no text."""
    return f"{version.id}.{version.revision}" if version else ""


def record(
    session: Session,
    key: TextKey,
    content: Mapping[str, Any],
    actor: Actor,
    kind: VersionKind,
    *,
    minor: bool = False,
    source_version: int | None = None,
    squashed_within: timedelta = SQUASHED_WITHIN,
) -> TextVersion:
    """Record a state of a text, which the caller writes, and return its version. The issue is locked.

    ``content`` has the columns in COLUMNS, none for a removed text. The head is returned as it is if it has this
    content, and with a higher revision if the same writer saved it moments ago, unless somebody may be translating it:
    the first version stays if there is a tab with a translation. ``source_version``, for a translation,
    is the version that it was made from: that of the head unless given, the source's head if there is none.
    """
    account = account_of(actor)
    last = head(session, key)
    if source_version is None:
        source_version = (last and last.source_version_id) or _id(source_head(session, key))
    same_source = last is not None and last.source_version_id == source_version
    if kind is VersionKind.set_aside:
        kept = session.scalars(_of_text(key).where(TextVersion.kind == kind).limit(1)).first()
        if kept and kept.account_id == account and is_same(kept.content, content):
            return kept
    elif last and same_source and is_same(last.content, content):
        return last
    elif kind is not VersionKind.removed:
        issues.set_last_writer(session, key.issue, key.language, actor)
    now = issues.database_time(session)
    if (
        last
        and same_source
        and (last.kind, kind) == (VersionKind.saved, VersionKind.saved)
        and (last.account_id, last.minor) == (account, minor)
        and account is not None
        and now - last.begun_at < squashed_within
        and not session.scalar(select(exists().where(TextVersion.source_version_id == last.id)))
        and (head(session, key, before=last.id) or not _is_being_translated(session, key))
    ):
        last.content, last.at, last.revision = dict(content), now, last.revision + 1
        session.flush()
        return last
    version = TextVersion(
        **key.columns,
        begun_at=now,
        at=now,
        account_id=account,
        actor=name_of(actor),
        kind=kind,
        minor=minor,
        content=dict(content),
        source_version_id=source_version,
    )
    session.add(version)
    session.flush()
    return version


def _is_being_translated(session: Session, key: TextKey) -> bool:
    """Return whether somebody has the text open in another language."""
    columns = key.columns.items()
    same_text = [getattr(OpenText, name) == value for name, value in columns if name != "language"]
    return bool(session.scalar(select(exists().where(*same_text, OpenText.language != key.language))))


def contribute(
    session: Session, key: TextKey, content: Mapping[str, Any], name: str, version: int | None
) -> TextVersion:
    """Record what somebody without an account writes, and return its version.

    It takes the place of what ``version`` had; None for a new version.
    """
    now = issues.database_time(session)
    row = find(session, version)
    if row is None:
        row = TextVersion(
            **key.columns,
            begun_at=now,
            at=now,
            actor=name,
            kind=VersionKind.contributed,
            minor=False,
            content=dict(content),
            source_version_id=_id(source_head(session, key)),
        )
        session.add(row)
    elif not is_same(row.content, content):
        row.content, row.at, row.revision = dict(content), now, row.revision + 1
    session.flush()
    return row


def count_contributed(session: Session, key: TextKey) -> int:
    """Return how many versions of a text come from people without an account."""
    query = _of_text(key).where(TextVersion.kind == VersionKind.contributed).order_by(None)
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def find(session: Session, version: int | None) -> TextVersion | None:
    return session.get(TextVersion, version) if version is not None else None


def head(session: Session, key: TextKey, before: int | None = None) -> TextVersion | None:
    """Return the latest version of a text that was neither set aside nor contributed; with an id below ``before``."""
    query = _of_text(key).where(TextVersion.kind.not_in(BESIDE_THE_TEXT))
    if before is not None:
        query = query.where(TextVersion.id < before)
    return session.scalars(query.limit(1)).first()


def of_text(session: Session, key: TextKey, limit: int, before: int | None = None) -> list[TextVersion]:
    """Return versions of a text, those set aside too, the latest first, with ids below ``before``."""
    query = _of_text(key)
    if before is not None:
        query = query.where(TextVersion.id < before)
    return list(session.scalars(query.limit(limit)))


def heads(session: Session, issue: int) -> dict[TextKey, TextVersion]:
    """Return the heads of all texts of an issue, removed ones too."""
    return {key_of(version): version for version in session.scalars(_heads(issue))}


def stale(session: Session, issue: int) -> set[TextKey]:
    """Return the translations of an issue whose source has changed since, by more than minor changes.

    One is not stale once its source reads again as it did.
    """
    translation, present = (aliased(TextVersion, _heads(issue).subquery()) for _ in range(2))
    source, later = aliased(TextVersion), aliased(TextVersion)

    def same_text(one: Any, other: Any) -> Any:
        columns = ("issue_id", "subject", "subject_id", "language")
        return [getattr(one, name) == getattr(other, name) for name in columns]

    changed = exists().where(
        *same_text(later, source), later.id > source.id, later.kind.not_in(BESIDE_THE_TEXT), ~later.minor
    )
    query = (
        select(translation)
        .join(source, source.id == translation.source_version_id)
        .join(present, (present.content != source.content) & (present.language == source.language))
        .where(
            *same_text(present, source),
            translation.kind != VersionKind.removed,
            changed,
        )
    )
    return {key_of(version) for version in session.scalars(query)}


def source_language(session: Session, key: TextKey) -> str:
    """Return the language that a text is written in first."""
    if key.subject is TextSubject.story:
        story = session.get(Story, key.subject_id)
        if story and story.source_language:
            return story.source_language
    newsletter = session.get_one(Newsletter, issues.by_id(session, key.issue).newsletter_id)
    return issues.leading_language(session, newsletter, key.issue)


def stored(session: Session, key: TextKey) -> IssueTranslation | StoryTranslation | None:
    """Return the stored text of front matter or of a story."""
    if key.subject is TextSubject.story:
        return session.get(StoryTranslation, (key.subject_id, key.language))
    return session.get(IssueTranslation, (key.issue, key.language))


def stored_source(session: Session, key: TextKey) -> IssueTranslation | StoryTranslation | None:
    """Return the stored text that a translation is made from. None for the source itself, and if there is no source."""
    language = source_language(session, key)
    return None if language == key.language else stored(session, replace(key, language=language))


def source_head(session: Session, key: TextKey) -> TextVersion | None:
    """Return the head of what a translation is made from. None for the source itself, and if there is no source."""
    language = source_language(session, key)
    return None if language == key.language else head(session, replace(key, language=language))


def key_of(version: TextVersion) -> TextKey:
    """Return which text a version is of."""
    return TextKey(version.issue_id, version.subject, version.subject_id, version.language)


def is_of(model: type[TextVersion | OpenText | TextRequest], key: TextKey) -> ColumnElement[bool]:
    """Return an SQL condition: a row is about this text."""
    return and_(*(getattr(model, name) == value for name, value in key.columns.items()))


def is_same(one: Mapping[str, Any], other: Mapping[str, Any], names: Collection[str] | None = None) -> bool:
    """Return whether two contents read the same, in some columns. One that is newer than a version is as if empty."""
    names = one.keys() | other.keys() if names is None else names
    return all((one.get(name) or None) == (other.get(name) or None) for name in names)


def _of_text(key: TextKey) -> Select[TextVersion]:
    return select(TextVersion).where(is_of(TextVersion, key)).order_by(TextVersion.id.desc())


def _heads(issue: int) -> Select[TextVersion]:
    text = (TextVersion.subject, TextVersion.subject_id, TextVersion.language)
    query = select(TextVersion).where(TextVersion.issue_id == issue, TextVersion.kind.not_in(BESIDE_THE_TEXT))
    return query.ext(distinct_on(*text)).order_by(*text, TextVersion.id.desc())


def _id(version: TextVersion | None) -> int | None:
    return version.id if version else None
