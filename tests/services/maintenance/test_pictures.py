"""Pictures outside the database: written first, moved, checked, and swept when nothing refers to them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain
from pathlib import Path

import pytest
from sqlalchemy import text

from mailer.adapters.picture_store import ObjectStore
from mailer.bootstrap import Container
from mailer.domain.document import parse
from mailer.domain.errors import PictureMissing
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.ports import PictureStore
from mailer.services.archive import mail_files
from mailer.services.issues import edit
from mailer.services.issues.document_import import import_document
from mailer.services.maintenance import pictures
from mailer.services.newsletters.apply import apply_newsletter
from mailer.store import pictures as stored_pictures
from tests.conftest import SAMPLE
from tests.support.pictures import jpeg

Import = Callable[..., int]
LATER = datetime.now(UTC) + timedelta(days=31)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(f"{tmp_path.as_uri()}/pictures")


def names(store: ObjectStore) -> set[str]:
    return set(chain.from_iterable(store.names()))


def stored(app: Container) -> dict[str, bool]:
    """Return SHA-256 → whether the database has the bytes."""
    with app.database.transaction() as session:
        rows = session.execute(text("SELECT sha256, data IS NOT NULL AS here FROM picture"))
        return {row.sha256: row.here for row in rows}


def served(app: Container, store: PictureStore | None) -> bool:
    """Return whether every picture is served with its own bytes."""
    files = {name: mail_files.picture(app.database, store, name[:32]) for name in stored(app)}
    return all(file and sha256(file.data).hexdigest() == name for name, file in files.items())


def test_an_import_writes_to_the_store_and_its_preview_does_not(app: Container, store: ObjectStore) -> None:
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    document = parse((SAMPLE / "2026-3.en.md").read_text("utf-8"), "en")
    for dry_run in (True, False):
        assert names(store) == set()
        import_document(
            app.database,
            document,
            "lumen-basin",
            "en",
            number="2026/3",
            today=datetime.now(UTC).date(),
            picture_loader=app.picture_loader(SAMPLE),
            picture_store=store,
            actor="tests",
            dry_run=dry_run,
        )
    assert not any(stored(app).values())
    assert names(store) == set(stored(app))
    assert served(app, store)
    with pytest.raises(PictureMissing, match="MAILER_PICTURE_STORE does not say where"):
        served(app, None)


def test_pictures_move_out_of_the_database_and_back(app: Container, import_issue: Import, store: ObjectStore) -> None:
    import_issue("en")
    count = len(stored(app))
    first = next(pictures.move(app.database, None, store))
    assert names(store) == {first}, "stopped: what is moved is moved, and the rest is where it was"
    assert served(app, store)
    assert len(list(pictures.move(app.database, None, store))) == count - 1
    assert not any(stored(app).values()) and served(app, store)
    assert pictures.find_damage(app.database, store, lambda _: None) == []
    assert len(list(pictures.copy(app.database, store, None))) == count
    assert served(app, None)
    assert list(pictures.copy(app.database, store, None)) == []
    assert len(list(pictures.move(app.database, store, None))) == count
    assert names(store) == set()
    assert all(stored(app).values()) and served(app, None)


def test_pictures_move_between_stores(app: Container, import_issue: Import, store: ObjectStore, tmp_path: Path) -> None:
    import_issue("en")
    list(pictures.move(app.database, None, store))
    store.put("0" * 64, b"an orphan is not moved")
    other = ObjectStore(f"{tmp_path.as_uri()}/other")
    assert set(pictures.copy(app.database, store, other)) == set(stored(app))
    assert set(pictures.move(app.database, store, other)) == set(stored(app))
    assert names(other) == set(stored(app))
    assert names(store) == {"0" * 64}
    assert served(app, other)


def test_missing_and_damaged_pictures_are_found(app: Container, import_issue: Import, store: ObjectStore) -> None:
    import_issue("en")
    list(pictures.move(app.database, None, store))
    missing, damaged, *_ = sorted(names(store))
    store.delete([missing])
    store.put(damaged, b"other bytes")
    checked: list[str] = []
    problems = pictures.find_damage(app.database, store, checked.append)
    assert len(problems) == 2
    assert all(any(name in problem for problem in problems) for name in (missing, damaged))
    assert len(checked) == len(stored(app))
    with pytest.raises(PictureMissing, match=f"{missing}|{damaged}"):
        list(pictures.copy(app.database, store, None))


def test_only_what_nothing_refers_to_is_swept(app: Container, import_issue: Import, store: ObjectStore) -> None:
    issue = import_issue("en")
    list(pictures.move(app.database, None, store))
    all_names = names(store)
    assert pictures.delete_unused(app.database, store, LATER) == (0, 0)
    store.put("0" * 64, b"left by a transaction that was rolled back")
    assert pictures.delete_unused(app.database, store, datetime.now(UTC)) == (0, 1)
    stories = [story.story for story in edit.list_stories(app.database, issue)]
    for story in stories[:3]:
        edit.remove_story(app.database, issue, story, "", "tests")
    assert pictures.delete_unused(app.database, store, LATER) == (0, 0), "the library has them, and undo needs them"
    with app.database.transaction() as session:
        session.execute(text("UPDATE library_picture SET removed_at = now()"))
    assert pictures.delete_unused(app.database, store, LATER) == (0, 0), "undo needs them"
    with app.database.transaction() as session:
        session.execute(text("DELETE FROM story_change"))
    rows, objects = pictures.delete_unused(app.database, store, LATER)
    assert rows == objects == 6, "three pictures and their thumbnails"
    assert names(store) == set(stored(app)) < all_names
    assert served(app, store)


def test_a_picture_that_is_stored_again_is_kept_until_it_is_used(app: Container) -> None:
    prepared = app.prepare_picture(jpeg(), "a.jpg")
    with app.database.transaction() as session:
        stored_pictures.save(session, prepared, None)
        session.execute(text("UPDATE picture SET at = now() - interval '31 days'"))
    with app.database.transaction() as session:
        stored_pictures.save(session, prepared, None)
    assert pictures.delete_unused(app.database, None, datetime.now(UTC)) == (0, 0)
    with app.database.transaction() as session:
        session.execute(text("UPDATE picture SET at = now() - interval '31 days'"))
    assert pictures.delete_unused(app.database, None, datetime.now(UTC)) == (2, 0)


def test_a_picture_in_a_text_or_an_old_version_is_kept(app: Container, import_issue: Import) -> None:
    import_issue("en")
    with app.database.transaction() as session:
        ids = session.execute(text("SELECT id, sha256 FROM picture WHERE thumbnail_id IS NOT NULL LIMIT 2")).all()
        (one, _), (other, _) = ids
        session.execute(text("UPDATE story SET picture_id = NULL"))
        session.execute(text("DELETE FROM library_picture"))
        body, content = (f"![x](picture:{name})" for _, name in ids)
        session.execute(text("UPDATE story_translation SET body = :body"), {"body": body})
        session.execute(
            text("""
                INSERT INTO text_version (issue_id, subject, subject_id, language, begun_at, at, actor, kind, minor,
                    content, revision)
                SELECT id, 'front_matter', id, 'en', now(), now(), '', 'saved', false,
                    jsonb_build_object('intro', :intro ::text), 1 FROM issue
            """),
            {"intro": content},
        )
    rows, _ = pictures.delete_unused(app.database, None, LATER)
    assert rows == 28
    with app.database.transaction() as session:
        left = session.scalars(text("SELECT id FROM picture WHERE thumbnail_id IS NOT NULL ORDER BY id")).all()
    assert left == sorted((one, other))
