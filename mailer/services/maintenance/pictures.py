"""Where the bytes of pictures are: moves them between stores, checks them, and deletes what nothing refers to."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256

from mailer.domain.errors import PictureMissing
from mailer.domain.ports import PictureStore
from mailer.store import pictures
from mailer.store.database import Database

UNUSED_FOR = timedelta(days=30)
"""How long a picture is kept that nothing refers to."""


def delete_unused(database: Database, store: PictureStore | None, now: datetime) -> tuple[int, int]:
    """Delete pictures that nothing refers to any more, then objects of the store without a picture. Return how many.

    An object without a picture is left when a transaction is rolled back after its bytes were stored.
    """
    with database.transaction() as session:
        pictures.lock_all(session)
        rows = pictures.delete_unused(session, now - UNUSED_FOR)
    objects = 0
    for names in store.names() if store is not None else ():
        with database.transaction() as session:
            pictures.lock_all(session)  # whoever has stored one of these bytes has committed its row, or has not begun
            orphans = sorted(set(names) - pictures.existing(session, names))
            assert store is not None
            store.delete(orphans)
        objects += len(orphans)
    return rows, objects


def move(database: Database, source: PictureStore | None, target: PictureStore | None) -> Iterator[str]:
    """Move the bytes of all pictures from one store to another, None for the database; yield the SHA-256 of each.

    Each is moved by itself, so that this can be stopped and run again. New pictures must already go to ``target``.
    Raises PictureMissing for bytes that are not those of the picture, and PictureStoreDown.
    """
    if source is not None:
        for names in source.names():
            with database.transaction() as session:
                known = pictures.existing(session, names)
            for name in sorted(known):
                _keep(database, name, _checked(name, source.get(name)), target)
                source.delete([name])
                yield name
    elif target is not None:
        for name, data in _all(database):
            if data is not None:
                target.put(name, _checked(name, data))
                with database.transaction() as session:
                    pictures.set_data(session, name, None)
                yield name


def copy(database: Database, source: PictureStore | None, target: PictureStore | None) -> Iterator[str]:
    """Copy the bytes of all pictures to another store, None for the database; yield the SHA-256 of each new one.

    ``source`` is where those are that the database does not have. Raises PictureMissing and PictureStoreDown.
    """
    there = {name for names in target.names() for name in names} if target is not None else set()
    for name, data in _all(database):
        if name in there or (target is None and data is not None):
            continue
        _keep(database, name, _checked(name, pictures.read(name, data, source)), target)
        yield name


def find_damage(database: Database, store: PictureStore | None, checked: Callable[[str], None]) -> list[str]:
    """Return a sentence for each picture whose bytes are missing or damaged. ``checked`` is called for each one."""
    problems = []
    for name, data in _all(database):
        try:
            _checked(name, pictures.read(name, data, store))
        except PictureMissing as error:
            problems.append(str(error))
        checked(name)
    return problems


def _all(database: Database) -> Iterator[tuple[str, bytes | None]]:
    """Yield the SHA-256 of each picture, and its bytes if the database has them."""
    last = 0
    while True:
        with database.transaction() as session:
            found = pictures.next_picture(session, last)
        if found is None:
            return
        last, name, data = found
        yield name, data


def _keep(database: Database, name: str, data: bytes, target: PictureStore | None) -> None:
    if target is not None:
        target.put(name, data)
        return
    with database.transaction() as session:
        pictures.set_data(session, name, data)


def _checked(name: str, data: bytes) -> bytes:
    if sha256(data).hexdigest() != name:
        raise PictureMissing(f"The bytes of the picture {name} are damaged.")
    return data
