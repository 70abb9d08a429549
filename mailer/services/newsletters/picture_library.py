"""The picture library of a newsletter: what it has, what is said about it, crops, and where each picture is used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.accounts import Actor, AuditAction
from mailer.domain.crops import Crop, CropFormat
from mailer.domain.errors import ChangeRefused
from mailer.domain.ports import PictureStore, PreparedPicture
from mailer.domain.staff_texts import gettext
from mailer.domain.states import EDITABLE_STATES, IssueEventKind
from mailer.domain.text_fields import MAX_ALT_CHARS, MAX_CREDIT_CHARS
from mailer.models import LibraryPicture, Picture
from mailer.store import approvals, audit_log, issues, newsletters, picture_library, pictures, stories
from mailer.store.database import Database, Session
from mailer.store.pictures import PictureInfo, PictureUse, root_of

PAGE = 48
CropPicture = Callable[[bytes, str, Crop], PreparedPicture]


class PictureInUse(ChangeRefused):
    """A picture that is shown somewhere was to be deleted."""


class PictureNotInLibrary(ChangeRefused):
    """The library has no such picture."""


@dataclass(frozen=True, slots=True)
class ShownIn:
    """A place where a picture is used."""

    use: PictureUse
    headline: str
    """Of the story, without formatting; empty for the header image and the introduction."""

    @property
    def editable(self) -> bool:
        return self.use.state in EDITABLE_STATES


@dataclass(frozen=True, slots=True)
class LibraryItem:
    """A picture of the library."""

    id: int
    name: str
    alt: Mapping[str, str]
    credit: str
    picture: PictureInfo
    small: PictureInfo
    """Its thumbnail, or the picture itself if it has none."""
    original: PictureInfo
    crop: Crop
    uses: Sequence[ShownIn]
    added_by: str
    at: datetime
    removed: bool

    def alt_near(self, language: str) -> str:
        """Return the alternative text in a language, or in any other; empty if there is none."""
        return self.alt.get(language) or next(iter(self.alt.values()), "")


@dataclass(frozen=True, slots=True)
class LibraryPage:
    """Some pictures of the library, the latest first."""

    items: Sequence[LibraryItem]
    total: int
    pages: int


def load_library(database: Database, newsletter: int, words: str = "", page: int = 1) -> LibraryPage:
    """Return a page of the library, or of its pictures that have these words in their texts."""
    with database.transaction() as session:
        total = picture_library.count(session, newsletter, words)
        found = picture_library.page(session, newsletter, words, PAGE, PAGE * (page - 1))
        return LibraryPage(_items(session, newsletter, found), total, -(-total // PAGE))


def load_picture(database: Database, newsletter: int, id: int) -> LibraryItem:
    """Return a picture of the library, a deleted one too. Raises PictureNotInLibrary."""
    with database.transaction() as session:
        entry = _entry(session, newsletter, id)
        return _items(session, newsletter, [(entry, session.get_one(Picture, entry.picture_id))])[0]


def add_pictures(
    database: Database,
    newsletter: int,
    added: Sequence[tuple[PreparedPicture, str]],
    actor: Actor,
    store: PictureStore | None,
) -> list[int]:
    """Add pictures with their names. Return the ids of their entries; one that was there keeps its own."""
    entries = []
    for picture, name in added:
        with database.transaction() as session:
            id = pictures.save(session, picture, store)
        with database.transaction() as session:
            entries.append(picture_library.add(session, newsletter, id, name, actor).id)
    return entries


def save_texts(database: Database, newsletter: int, id: int, name: str, alt: Mapping[str, str], credit: str) -> None:
    """Set what is said of a picture where it is used from now on. Raises PictureNotInLibrary."""
    with database.transaction() as session:
        entry = _entry(session, newsletter, id)
        entry.name = " ".join(name.split())[: picture_library.MAX_NAME_CHARS] or entry.name
        entry.alt = {tag: words.strip()[:MAX_ALT_CHARS] for tag, words in alt.items() if words.strip()}
        entry.credit = credit.strip()[:MAX_CREDIT_CHARS]


def crop_picture(
    database: Database,
    newsletter: int,
    id: int,
    how: Crop,
    crop: CropPicture,
    actor: Actor,
    store: PictureStore | None,
    *,
    as_new: bool = False,
) -> int:
    """Crop a picture from its original, and show the crop wherever drafts use it. Return the id of the entry.

    With ``as_new`` the crop is another picture of the library, and nothing else changes. Raises PictureNotInLibrary,
    PictureMissing, PictureStoreDown, and InvalidPicture for an animation.
    """
    with database.transaction() as session:
        entry = _entry(session, newsletter, id)
        picture = session.get_one(Picture, entry.picture_id)
        original, whole = pictures.original(session, picture), pictures.whole(session, picture)
        sha256, data, name = original.sha256, original.data, entry.name
    is_whole = how.format is CropFormat.whole
    prepared = None if is_whole else crop(pictures.read(sha256, data, store), name, how)
    cropped = whole.id
    if prepared is not None:
        with database.transaction() as session:
            cropped = pictures.save_crop(session, prepared, original.id, how, store)
    with database.transaction() as session:
        newsletters.lock(session, newsletter)
        entry = _entry(session, newsletter, id)
        if as_new:
            return picture_library.copy_entry(session, entry, cropped, actor).id
        if picture_library.exact_entry(session, newsletter, cropped) not in (None, entry):
            raise ChangeRefused(gettext("Another picture of the library is cropped exactly so."))
        _replace_in_drafts(session, newsletter, entry.picture_id, cropped, actor)
        entry.picture_id = cropped  # after the issues are locked, as where a picture is chosen
        return entry.id


def delete_picture(database: Database, newsletter: int, id: int, actor: Actor, now: datetime) -> None:
    """Delete a picture that is used nowhere, for 30 days so that it can be put back.

    Raises PictureInUse and PictureNotInLibrary.
    """
    with database.transaction() as session:
        newsletters.lock(session, newsletter)
        entry = _entry(session, newsletter, id, lock=True)
        root = root_of(session.get_one(Picture, entry.picture_id))
        others = picture_library.count_made_from(session, newsletter, root) > 1
        if not others and pictures.uses(session, newsletter, [root])[root]:
            raise PictureInUse(gettext("This picture is used, so it stays. Take it out of the stories first."))
        entry.removed_at = now
        action, detail = AuditAction.picture_deleted, {"picture": entry.name}
        audit_log.record(session, None, actor, action, object_kind="newsletter", object_id=newsletter, detail=detail)


def put_back(database: Database, newsletter: int, id: int) -> None:
    """Put a deleted picture back. Raises PictureNotInLibrary."""
    with database.transaction() as session:
        _entry(session, newsletter, id).removed_at = None


def _entry(session: Session, newsletter: int, id: int, *, lock: bool = False) -> LibraryPicture:
    entry = picture_library.find(session, newsletter, id, lock=lock)
    if entry is None:
        raise PictureNotInLibrary(gettext("The library has no such picture any more."))
    return entry


def _replace_in_drafts(session: Session, newsletter: int, before: int, after: int, actor: Actor) -> None:
    """Show a crop in the stories and as the header image of issues that can be changed, in place of another."""
    root = root_of(session.get_one(Picture, after))
    if before == after:
        return
    shown = [use for use in pictures.uses(session, newsletter, [root])[root] if use.picture == before]
    for issue in sorted({use.issue for use in shown if not use.in_text}):
        row = issues.lock(session, issue)
        if row.state not in EDITABLE_STATES:
            continue
        if row.header_image_id == before:
            row.header_image_id = after
            issues.log(session, issue, actor, IssueEventKind.header_image)
        with_it = [story for story, _ in issues.stories(session, issue) if story.picture_id == before]
        headlines = stories.headlines(session, newsletters.by_id(session, newsletter), [story.id for story in with_it])
        for story in with_it:
            story.picture_id = after
            headline = headlines.get(story.id, "")
            issues.log(session, issue, actor, IssueEventKind.story_picture, headline, headline=headline)
        session.flush()
        approvals.content_changed(session, issue, actor)


def _items(session: Session, newsletter: int, found: Sequence[tuple[LibraryPicture, Picture]]) -> list[LibraryItem]:
    roots = {root_of(picture) for _, picture in found}
    infos = pictures.infos(session, {picture.id for _, picture in found} | roots)
    small = pictures.thumbnails(session, [picture.id for _, picture in found])
    uses = pictures.uses(session, newsletter, roots)
    shown_in = {use.story for all_ in uses.values() for use in all_ if use.story}
    headlines = stories.headlines(session, newsletters.by_id(session, newsletter), sorted(shown_in))
    return [
        LibraryItem(
            entry.id,
            entry.name,
            entry.alt,
            entry.credit,
            infos[picture.id],
            small.get(picture.id, infos[picture.id]),
            infos[root_of(picture)],
            Crop.from_json(picture.crop),
            [ShownIn(use, headlines.get(use.story or 0, "")) for use in uses[root_of(picture)]],
            entry.added_by,
            entry.at,
            entry.removed_at is not None,
        )
        for entry, picture in found
    ]
