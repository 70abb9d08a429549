"""The pictures of an issue: its header image, and the picture of each story."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailer.domain.accounts import Actor
from mailer.domain.errors import ChangeRefused, UserError
from mailer.domain.ports import PictureStore, PreparedPicture
from mailer.domain.staff_texts import gettext
from mailer.domain.states import IssueEventKind, StoryChangeKind, TextSubject, VersionKind
from mailer.domain.text_fields import MAX_ALT_CHARS, MAX_CREDIT_CHARS
from mailer.domain.versions import TextKey
from mailer.models import LibraryPicture, Story
from mailer.services.issues.edit import find_story, headline_of
from mailer.store import approvals, issues, open_texts, picture_library, pictures, story_changes, text_versions
from mailer.store.database import Database, Session
from mailer.store.pictures import PictureInfo


class NoAltText(UserError, ValueError):
    """A picture was to be shown without saying what it shows."""


@dataclass(frozen=True, slots=True)
class NewPicture:
    """A picture that somebody uploads."""

    prepared: PreparedPicture
    name: str


@dataclass(frozen=True, slots=True)
class _StoredPicture:
    """A picture that somebody uploads, once it is stored."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class StoryPicture:
    """The picture of a story, or the header image, and its texts in one language."""

    picture: PictureInfo | None
    headline: str = ""
    alt: str = ""
    credit: str = ""
    base: str = ""
    """The version of the story's text, which somebody who is writing goes on from."""
    change: int | None = None
    """The latest change of the picture, which can be undone."""


def set_header_image(
    database: Database,
    issue: int,
    picture: NewPicture | int | None,
    actor: Actor,
    store: PictureStore | None,
) -> None:
    """Set the header image of an issue to a new picture or one of the library; None removes it.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused if the library has no such picture.
    """
    chosen = _store_new(database, picture, store)
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "its header image can no longer be changed")
        entry = _entry(session, row.newsletter_id, chosen, actor)
        id = entry.picture_id if entry else None
        if row.header_image_id != id:
            row.header_image_id = id
            approvals.content_changed(session, issue, actor)
            issues.log(session, issue, actor, IssueEventKind.header_image)


def set_story_picture(
    database: Database,
    issue: int,
    story: int,
    picture: NewPicture | int | None,
    language: str,
    alt: str,
    credit: str,
    actor: Actor,
    store: PictureStore | None,
) -> StoryPicture:
    """Give a story a new picture or one of the library, with its texts in a language; None takes it away.

    In other languages the texts are those of the library, or empty: they were about another picture. The issue's
    editor finds the missing ones in its check. Raises IssueNotFound, InvalidIssueState, NoAltText, or ChangeRefused if
    there is no such story or picture.
    """
    if picture is not None and not alt.strip():
        raise NoAltText(gettext("Say what the picture shows: its alternative text is missing."))
    texts = {"alt": alt.strip()[:MAX_ALT_CHARS], "picture_credit": credit.strip()[:MAX_CREDIT_CHARS]}
    chosen = _store_new(database, picture, store)
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "the pictures of its stories can no longer be changed")
        found = find_story(session, issue, story)
        entry = _entry(session, row.newsletter_id, chosen, actor)
        if entry is not None:
            entry.alt = {language: texts["alt"]} | entry.alt
            entry.credit = entry.credit or texts["picture_credit"]
        headline = headline_of(session, row, found)
        change = story_changes.remember(session, found, headline, StoryChangeKind.picture, actor)
        changed = _show(session, found, entry, {language: texts} if entry else {}, actor)
        if changed:
            approvals.content_changed(session, issue, actor)
            issues.log(session, issue, actor, IssueEventKind.story_picture, headline, headline=headline)
        else:
            session.delete(change)
        return _load(session, found, language)


def load_shown(database: Database, issue: int, story: int | None, language: str) -> StoryPicture:
    """Return the picture of a story; of None, the header image. Raises IssueNotFound and ChangeRefused."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if story is not None:
            return _load(session, find_story(session, issue, story), language)
        header = row.header_image_id
        return StoryPicture(pictures.infos(session, [header])[header] if header else None)


def _store_new(
    database: Database, picture: NewPicture | int | None, store: PictureStore | None
) -> _StoredPicture | int | None:
    """Store a new picture, before the issue is locked. Return what was chosen."""
    if not isinstance(picture, NewPicture):
        return picture
    with database.transaction() as session:
        return _StoredPicture(pictures.save(session, picture.prepared, store), picture.name)


def _entry(
    session: Session, newsletter: int, chosen: _StoredPicture | int | None, actor: Actor
) -> LibraryPicture | None:
    """Return the picture's entry in the library of the newsletter, which a new one gets, and lock it."""
    if chosen is None:
        return None
    if isinstance(chosen, _StoredPicture):
        chosen = picture_library.add(session, newsletter, chosen.id, chosen.name, actor).id
    entry = picture_library.find(session, newsletter, chosen, lock=True)
    if entry is None or entry.removed_at is not None:
        raise ChangeRefused(gettext("The library has no such picture any more."))
    return entry


def _show(
    session: Session, story: Story, entry: LibraryPicture | None, texts: Mapping[str, Mapping[str, str]], actor: Actor
) -> bool:
    """Show a picture in a story, with its texts by language. Return whether anything changed."""
    after = entry.picture_id if entry else None
    same = after is not None and pictures.same_root(session, story.picture_id, after)
    changed = story.picture_id != after
    story.picture_id = after
    for language, text in issues.story_texts(session, story.issue_id).get(story.id, {}).items():
        wanted = texts.get(language)
        if wanted is None and same:
            continue
        if wanted is None:
            wanted = {"alt": entry.alt.get(language, ""), "picture_credit": entry.credit} if entry else {}
        new = {"alt": "", "picture_credit": ""} | dict(wanted)
        if (text.alt, text.picture_credit) != (new["alt"], new["picture_credit"]):
            text.alt, text.picture_credit = new["alt"], new["picture_credit"]
            changed = True
            key = TextKey(story.issue_id, TextSubject.story, story.id, language)
            content, minor = text_versions.content_of(text), language not in texts
            open_texts.record_elsewhere(session, key, content, actor, VersionKind.saved, minor=minor)
    return changed


def _load(session: Session, story: Story, language: str) -> StoryPicture:
    info = pictures.infos(session, [story.picture_id] if story.picture_id else [])
    text = issues.story_texts(session, story.issue_id).get(story.id, {}).get(language)
    head = text_versions.head(session, TextKey(story.issue_id, TextSubject.story, story.id, language))
    return StoryPicture(
        info.get(story.picture_id or 0),
        text.headline if text else "",
        text.alt if text else "",
        text.picture_credit if text else "",
        text_versions.base_of(head),
        story_changes.last_picture(session, story.id),
    )
