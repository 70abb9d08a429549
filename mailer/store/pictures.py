"""Pictures: their bytes, their crops, and where they are shown."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased, undefer

from mailer.domain.crops import Crop
from mailer.domain.errors import PictureMissing
from mailer.domain.ports import PictureStore, PreparedPicture
from mailer.models import LibraryPicture, Picture


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """A picture without its bytes."""

    id: int
    sha256: str
    media_type: str
    width: int
    height: int


def save(session: Session, picture: PreparedPicture, store: PictureStore | None) -> int:
    """Store a picture, its thumbnail and its original unless their bytes are stored already. Return its id.

    The bytes go to ``store``, before the row is committed, or if that is None into the row. A store can be slow: commit
    this before anything else is locked. ``delete_unused`` leaves the picture alone for long enough to be used.
    """
    session.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
    return _save(session, picture, store)


_LOCK = func.hashtext("picture")
"""Shared by who stores pictures, until their transaction ends; held by who looks for those that nothing refers to."""


def _save(session: Session, picture: PreparedPicture, store: PictureStore | None) -> int:
    thumbnail_id = _save(session, picture.thumbnail, store) if picture.thumbnail else None
    original_id = _save(session, picture.original, store) if picture.original else None
    row = by_hash(session, picture.sha256)
    if row is None:
        if store is not None:
            store.put(picture.sha256, picture.data)
        statement = insert(Picture).values(
            sha256=picture.sha256,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            data=picture.data if store is None else None,
        )
        session.execute(statement.on_conflict_do_nothing(index_elements=["sha256"]))
        row = by_hash(session, picture.sha256)
        assert row is not None
    row.at = func.now()
    row.thumbnail_id = row.thumbnail_id or thumbnail_id
    if row.original_id is None and original_id != row.id:
        row.original_id = original_id
    session.flush()
    return row.id


def lock_all(session: Session) -> None:
    """Keep everybody else from storing pictures until the transaction ends, and wait for those who do."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))


def read(sha256: str, data: bytes | None, store: PictureStore | None) -> bytes:
    """Return the bytes of a picture: those of its row, or from the store. Raises PictureMissing, PictureStoreDown."""
    if data is not None:
        return data
    if store is None:
        raise PictureMissing(
            f"The picture {sha256} is outside the database, and MAILER_PICTURE_STORE does not say where."
        )
    return store.get(sha256)


def by_hash(session: Session, sha256: str) -> Picture | None:
    return session.scalar(select(Picture).where(Picture.sha256 == sha256))


def by_prefix(session: Session, prefix: str) -> Picture | None:
    """Return the picture whose hash starts with these lower-case hexadecimal digits, with the bytes of its row."""
    # A range can use the index under any collation; LIKE would need a special index.
    query = select(Picture).where(Picture.sha256 >= prefix, Picture.sha256 < prefix + "g")
    return session.scalar(query.options(undefer(Picture.data)))


def infos(session: Session, ids: Iterable[int]) -> dict[int, PictureInfo]:
    """Return id → picture, without the bytes."""
    query = select(Picture.id, Picture.sha256, Picture.media_type, Picture.width, Picture.height)
    return {row.id: PictureInfo(*row) for row in session.execute(query.where(Picture.id.in_(list(ids))))}


def thumbnails(session: Session, ids: Iterable[int]) -> dict[int, PictureInfo]:
    """Return id of a picture → its thumbnail, for pictures that have one."""
    thumbnail = aliased(Picture)
    columns = (thumbnail.id, thumbnail.sha256, thumbnail.media_type, thumbnail.width, thumbnail.height)
    query = select(Picture.id, *columns).join(thumbnail, Picture.thumbnail_id == thumbnail.id)
    rows = session.execute(query.where(Picture.id.in_(list(ids))))
    return {row[0]: PictureInfo(*row[1:]) for row in rows}


def infos_by_hash(session: Session, hashes: Iterable[str]) -> dict[str, PictureInfo]:
    """Return SHA-256 → picture, without the bytes."""
    query = select(Picture.id, Picture.sha256, Picture.media_type, Picture.width, Picture.height)
    rows = session.execute(query.where(Picture.sha256.in_(list(hashes))))
    return {row.sha256: PictureInfo(*row) for row in rows}


def root_of(picture: Picture) -> int:
    """Return the id of the picture that this one and its crops are made from: its own if it is no crop."""
    return picture.original_id or picture.id


def same_root(session: Session, one: int | None, other: int) -> bool:
    """Return whether two pictures are made from the same one: whether one is a crop of the other."""
    first = session.get(Picture, one) if one else None
    return first is not None and root_of(first) == root_of(session.get_one(Picture, other))


def family(picture: Picture) -> ColumnElement[bool]:
    """Return an SQL condition: a picture is made from the same one as this."""
    return or_(Picture.id == root_of(picture), Picture.original_id == root_of(picture))


def original(session: Session, picture: Picture) -> Picture:
    """Return the picture that this one is made from, with the bytes of its row."""
    query = select(Picture).where(Picture.id == root_of(picture)).options(undefer(Picture.data))
    return session.scalars(query, execution_options={"populate_existing": True}).one()


def whole(session: Session, picture: Picture) -> Picture:
    """Return the picture that shows all of what this one is made from, in a size for emails."""
    query = select(Picture).where(family(picture), Picture.crop.is_(None))
    return session.scalars(query.order_by(Picture.id == root_of(picture), Picture.id).limit(1)).one()


def save_crop(session: Session, prepared: PreparedPicture, original: int, how: Crop, store: PictureStore | None) -> int:
    """Store a crop of a picture. Return its id."""
    id = save(session, prepared, store)
    row = session.get_one(Picture, id)
    if row.original_id is None and id != original:
        row.original_id, row.crop = original, how.to_json()
        session.flush()
    return id


@dataclass(frozen=True, slots=True)
class PictureUse:
    """Where a picture, or a crop of it, is shown."""

    issue: int
    number: str
    story: int | None
    """None for the header image, or a picture in the introduction."""
    picture: int
    state: str
    in_text: bool = False


_IN_TEXTS = """
    SELECT s.issue_id, s.id AS story_id, found[1] AS sha256
    FROM story_translation t JOIN story s ON s.id = t.story_id,
        regexp_matches(t.body, '\\]\\(picture:([0-9a-f]{64})\\)', 'g') AS found
    WHERE t.body LIKE '%](picture:%'
    UNION SELECT t.issue_id, NULL, found[1]
    FROM issue_translation t, regexp_matches(t.intro, '\\]\\(picture:([0-9a-f]{64})\\)', 'g') AS found
    WHERE t.intro LIKE '%](picture:%'
"""
"""The pictures inside stored texts: see mailer.domain.markdown.picture_reference."""


def uses(session: Session, newsletter: int, roots: Collection[int]) -> dict[int, list[PictureUse]]:
    """Return id of the picture that others are made from (see ``root_of``) → where it and they are shown."""
    query = f"""
        SELECT coalesce(p.original_id, p.id) AS root, i.id, i.number, used.story_id, p.id, i.state, used.in_text
        FROM (
            SELECT issue_id, id AS story_id, picture_id, false AS in_text FROM story
            UNION ALL SELECT id, NULL, header_image_id, false FROM issue
            UNION ALL SELECT issue_id, story_id, picture.id, true
            FROM ({_IN_TEXTS}) AS text JOIN picture USING (sha256)
        ) AS used JOIN picture p ON p.id = used.picture_id JOIN issue i ON i.id = used.issue_id
        WHERE i.newsletter_id = :newsletter AND coalesce(p.original_id, p.id) = ANY(:roots)
        ORDER BY i.id DESC, used.story_id, used.in_text
    """
    found: dict[int, list[PictureUse]] = {root: [] for root in roots}
    for root, *use in session.execute(text(query), {"newsletter": newsletter, "roots": list(roots)}):
        found[root].append(PictureUse(*use))
    return found


# What a crop can be changed back into is kept as long as the crop.
_UNUSED = f"""
    DELETE FROM picture p WHERE p.at < :before
        AND NOT EXISTS (SELECT FROM picture other WHERE other.thumbnail_id = p.id OR other.original_id = p.id)
        AND NOT (p.crop IS NULL AND EXISTS (
            SELECT FROM picture other WHERE other.original_id = p.original_id AND other.crop IS NOT NULL
        ))
        AND NOT EXISTS (SELECT FROM story WHERE picture_id = p.id)
        AND NOT EXISTS (SELECT FROM issue WHERE header_image_id = p.id)
        AND NOT EXISTS (SELECT FROM library_picture WHERE picture_id = p.id)
        AND NOT EXISTS (SELECT FROM story_change WHERE (before->>'picture')::int = p.id)
        AND p.sha256 NOT IN (SELECT sha256 FROM ({_IN_TEXTS}) AS text)
        AND p.sha256 NOT IN (
            SELECT found[1] FROM text_version,
                regexp_matches(content::text, '\\]\\(picture:([0-9a-f]{{64}})\\)', 'g') AS found
            WHERE content::text LIKE '%](picture:%'
        )
"""


def delete_unused(session: Session, before: datetime) -> int:
    """Forget entries that were deleted from libraries before a time, then delete pictures that nothing refers to.

    Return how many pictures. Nobody else stores pictures meanwhile: see ``lock_all``.
    """
    session.execute(delete(LibraryPicture).where(LibraryPicture.removed_at < before))
    count = 0
    for _ in range(4):  # crops, then what they can be changed back into, then what both were made from; thumbnails
        count += session.connection().execute(text(_UNUSED), {"before": before}).rowcount
    return count


def existing(session: Session, hashes: Collection[str]) -> set[str]:
    """Return those of these SHA-256 that pictures have."""
    return set(session.scalars(select(Picture.sha256).where(Picture.sha256.in_(list(hashes)))))


def next_picture(session: Session, after: int) -> tuple[int, str, bytes | None] | None:
    """Return id, SHA-256 and bytes of the picture that follows an id; None after the last."""
    query = select(Picture.id, Picture.sha256, Picture.data).where(Picture.id > after).order_by(Picture.id)
    row = session.execute(query.limit(1)).one_or_none()
    return (row.id, row.sha256, row.data) if row else None


def set_data(session: Session, sha256: str, data: bytes | None) -> None:
    """Put the bytes of a picture into its row, or take them out of it."""
    session.execute(update(Picture).where(Picture.sha256 == sha256).values(data=data))
