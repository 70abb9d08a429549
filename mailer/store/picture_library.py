"""The picture libraries of newsletters."""

from collections.abc import Mapping

from sqlalchemy import Select, Text, cast, func, select
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor, account_of, name_of
from mailer.models import LibraryPicture, Picture
from mailer.store import pictures

MAX_NAME_CHARS = 120
MAX_WORDS = 8
"""Of a search."""


def find(session: Session, newsletter: int, id: int, *, lock: bool = False) -> LibraryPicture | None:
    """Return an entry of a newsletter's library, a deleted one too.

    ``lock`` it, so that nobody deletes it while somebody begins to use it.
    """
    row = session.get(LibraryPicture, id, with_for_update=lock or None, populate_existing=lock)
    return row if row is not None and row.newsletter_id == newsletter else None


def exact_entry(session: Session, newsletter: int, picture: int) -> LibraryPicture | None:
    """Return the entry that a picture itself has, not another crop of it; a deleted one too."""
    query = select(LibraryPicture).where(LibraryPicture.newsletter_id == newsletter)
    return session.scalar(query.where(LibraryPicture.picture_id == picture))


def count_made_from(session: Session, newsletter: int, root: int) -> int:
    """Return how many entries of the library are made from a picture, deleted ones left out."""
    query = select(func.count()).select_from(LibraryPicture).join(Picture, Picture.id == LibraryPicture.picture_id)
    query = query.where(LibraryPicture.newsletter_id == newsletter, LibraryPicture.removed_at.is_(None))
    return session.scalar(query.where(func.coalesce(Picture.original_id, Picture.id) == root)) or 0


def add(
    session: Session,
    newsletter: int,
    picture: int,
    name: str,
    actor: Actor,
    alt: Mapping[str, str] | None = None,
) -> LibraryPicture:
    """Return the entry of a picture in a newsletter's library, a new one if it or a crop of it has none.

    A deleted one is put back. Alternative texts are added where there is none.
    """
    row = session.get_one(Picture, picture)
    query = select(LibraryPicture).join(Picture, Picture.id == LibraryPicture.picture_id)
    query = query.where(LibraryPicture.newsletter_id == newsletter, pictures.family(row))
    found = session.scalars(query.order_by(LibraryPicture.picture_id != picture, LibraryPicture.id).limit(1)).first()
    if found is None:
        found = LibraryPicture(
            newsletter_id=newsletter,
            picture_id=picture,
            name=name[:MAX_NAME_CHARS],
            alt={},
            credit="",
            added_by_id=account_of(actor),
            added_by=name_of(actor),
        )
        session.add(found)
    found.removed_at = None
    found.alt = {tag: words for tag, words in (alt or {}).items() if words} | found.alt
    session.flush()
    return found


def copy_entry(session: Session, entry: LibraryPicture, picture: int, actor: Actor) -> LibraryPicture:
    """Return an entry for another crop, with the texts of this one; the one that it has already, if any."""
    found = exact_entry(session, entry.newsletter_id, picture)
    if found is None:
        found = LibraryPicture(
            newsletter_id=entry.newsletter_id,
            picture_id=picture,
            name=entry.name,
            alt=entry.alt,
            credit=entry.credit,
            added_by_id=account_of(actor),
            added_by=name_of(actor),
        )
        session.add(found)
    found.removed_at = None
    session.flush()
    return found


def page(
    session: Session, newsletter: int, words: str, limit: int, offset: int
) -> list[tuple[LibraryPicture, Picture]]:
    """Return entries of a newsletter's library that have these words in their texts, the latest first."""
    query = _matching(newsletter, words).order_by(LibraryPicture.at.desc(), LibraryPicture.id.desc())
    return [(entry, picture) for entry, picture in session.execute(query.limit(limit).offset(offset))]


def count(session: Session, newsletter: int, words: str) -> int:
    return session.scalar(select(func.count()).select_from(_matching(newsletter, words).subquery())) or 0


def _matching(newsletter: int, words: str) -> Select[LibraryPicture, Picture]:
    query = select(LibraryPicture, Picture).join(Picture, Picture.id == LibraryPicture.picture_id)
    query = query.where(LibraryPicture.newsletter_id == newsletter, LibraryPicture.removed_at.is_(None))
    said = LibraryPicture.name + " " + LibraryPicture.credit + " " + cast(LibraryPicture.alt, Text)
    for word in words.split()[:MAX_WORDS]:
        query = query.where(said.icontains(word, autoescape=True))
    return query
