"""The picture library of a newsletter: crops, uses, and what happens to issues."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from threading import Event

import pytest
from PIL import Image
from sqlalchemy import text

from mailer.adapters.picture_store import ObjectStore
from mailer.bootstrap import Container
from mailer.domain.crops import Crop, CropFormat
from mailer.domain.document import parse
from mailer.domain.errors import ChangeRefused
from mailer.domain.states import IssueState, TextSubject, VersionKind
from mailer.models import Story
from mailer.services.archive import mail_files
from mailer.services.issues import approve, compile, edit, issue_pictures, new_issue, plan, report
from mailer.services.issues.document_import import import_document
from mailer.services.issues.issue_pictures import NewPicture, NoAltText
from mailer.services.issues.new_issue import NewIssue
from mailer.services.newsletters import picture_library
from mailer.services.newsletters.picture_library import LibraryItem, PictureInUse
from mailer.store import issues, newsletters, pictures, text_versions
from mailer.store import picture_library as stored_library
from tests.conftest import SAMPLE
from tests.support.locks import wait_for_lock

NOW = datetime(2026, 10, 1, 9, tzinfo=UTC)


def photograph(app: Container, colour: str = "red", width: int = 1600, height: int = 1200) -> NewPicture:
    out = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, "JPEG", comment=colour.encode())
    return NewPicture(app.prepare_picture(out.getvalue(), f"{colour}.jpg"), f"{colour}.jpg")


def newsletter_of(app: Container, issue: int) -> int:
    return report.newsletter_of(app.database, issue)


def items(app: Container, issue: int, words: str = "") -> list[LibraryItem]:
    return list(picture_library.load_library(app.database, newsletter_of(app, issue), words).items)


def first_stories(app: Container, issue: int) -> list[int]:
    return [story.id for story in plan.load_plan(app.database, app.urls, issue).sections[0].stories]


def give(app: Container, issue: int, story: int, picture: NewPicture | int | None, alt: str = "A gradient") -> None:
    issue_pictures.set_story_picture(
        app.database, issue, story, picture, "en", alt, "Photo: Ann", "tests", app.picture_store
    )


def test_pictures_of_documents_are_in_the_library(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en", "fr")
    found = items(app, issue)
    assert len(found) == 16
    charter = next(item for item in found if item.name == "01-charter.jpg")
    assert set(charter.alt) == {"en", "fr"}
    assert [(use.use.number, use.use.in_text) for use in charter.uses] == [("2026/3", False)]
    assert charter.uses[0].headline == "Nine countries sign the Lumen river charter"
    assert [item.name for item in items(app, issue, "CHARTER.jpg")] == ["01-charter.jpg"]
    assert items(app, issue, "100%") == []


def test_a_story_gets_a_picture_with_its_texts(app: Container, import_issue: Callable[..., int]) -> None:
    """In other languages they are those of the library, and empty where it has none: they were of another picture."""
    issue = import_issue("en", "fr")
    story = first_stories(app, issue)[0]
    with pytest.raises(NoAltText):
        give(app, issue, story, photograph(app), alt=" ")
    before = plan.load_head(app.database, issue).revision
    give(app, issue, story, photograph(app))
    assert plan.load_head(app.database, issue).revision == before + 1
    source = compile.load_issue(app.database, app.urls, issue)
    shown = next(one for one in source.stories if one.story == story)
    assert shown.picture is not None and shown.picture[1:] == (1280, 960)
    assert {tag: (words.alt, words.picture_credit) for tag, words in shown.texts.items()} == {
        "en": ("A gradient", "Photo: Ann"),
        "fr": ("", "Photo: Ann"),
    }
    item = items(app, issue, "gradient")[0]
    assert (item.name, item.alt, item.credit) == ("red.jpg", {"en": "A gradient"}, "Photo: Ann")
    with app.database.transaction() as session:
        heads = text_versions.heads(session, issue)
        versions = {
            key.language: head
            for key, head in heads.items()
            if (key.subject, key.subject_id) == (TextSubject.story, story)
        }
        assert {tag: (head.kind, head.minor, head.content["alt"]) for tag, head in versions.items()} == {
            "en": (VersionKind.saved, False, "A gradient"),
            "fr": (VersionKind.saved, True, ""),
        }
    give(app, issue, story, None)
    shown = next(one for one in compile.load_issue(app.database, app.urls, issue).stories if one.story == story)
    assert shown.picture is None
    assert {words.alt for words in shown.texts.values()} == {""}


def test_a_changed_picture_withdraws_approvals_and_is_refused_later(
    app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    story = first_stories(app, issue)[0]
    source = compile.load_issue(app.database, app.urls, issue)
    approve.approve(app.database, source, "tests")
    with pytest.raises(ValueError, match="can no longer be changed"):
        give(app, issue, story, photograph(app))


def test_a_crop_shows_in_drafts_only_and_can_be_changed(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter, (first, second, *_) = newsletter_of(app, issue), first_stories(app, issue)
    give(app, issue, first, photograph(app))
    item = items(app, issue, "gradient")[0]
    assert (item.picture.width, item.original.width) == (1280, 1600)

    def crop(format: CropFormat, id: int = item.id, as_new: bool = False) -> int:
        how = Crop(format, 50, 0)
        arguments = (app.database, newsletter, id, how, app.crop_picture, "tests", app.picture_store)
        return picture_library.crop_picture(*arguments, as_new=as_new)

    def shown(story: int) -> tuple[int, int]:
        source = compile.load_issue(app.database, app.urls, issue)
        picture = next(one.picture for one in source.stories if one.story == story)
        assert picture is not None
        return picture[1:]

    assert crop(CropFormat.header) == item.id
    assert shown(first) == (1280, 400)
    copy = crop(CropFormat.square, as_new=True)
    assert copy != item.id
    assert shown(first) == (1280, 400)
    give(app, issue, second, copy)
    assert shown(second) == (1200, 1200)
    with pytest.raises(ChangeRefused, match="Another picture"):
        crop(CropFormat.square)
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'sent'"))
    crop(CropFormat.whole)
    assert shown(first) == (1280, 400), "an issue that was sent stays as it is"
    after = picture_library.load_picture(app.database, newsletter, item.id)
    assert (after.picture.width, after.picture.height, after.crop.format) == (1280, 960, CropFormat.whole)
    assert {use.use.story for use in after.uses} == {first, second}
    file = mail_files.picture(app.database, app.picture_store, after.picture.sha256[:32])
    assert file is not None and Image.open(BytesIO(file.data)).size == (1280, 960)


def test_only_unused_pictures_are_deleted_and_come_back(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter, story = newsletter_of(app, issue), first_stories(app, issue)[0]
    give(app, issue, story, photograph(app))
    item = items(app, issue, "gradient")[0]
    with pytest.raises(PictureInUse):
        picture_library.delete_picture(app.database, newsletter, item.id, "tests", NOW)
    give(app, issue, story, None)
    picture_library.delete_picture(app.database, newsletter, item.id, "tests", NOW)
    assert items(app, issue, "gradient") == []
    with pytest.raises(ChangeRefused, match="no such picture"):
        give(app, issue, story, item.id)
    picture_library.put_back(app.database, newsletter, item.id)
    give(app, issue, story, item.id)
    assert len(items(app, issue, "gradient")) == 1


def test_what_a_crop_can_be_changed_back_into_is_kept(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter, story = newsletter_of(app, issue), first_stories(app, issue)[0]
    give(app, issue, story, photograph(app, width=3000, height=2000))
    item = items(app, issue, "gradient")[0]

    def crop(format: CropFormat) -> int:
        order = (app.database, newsletter, item.id, Crop(format), app.crop_picture, "tests", app.picture_store)
        picture_library.crop_picture(*order)
        return picture_library.load_picture(app.database, newsletter, item.id).picture.width

    def sweep() -> int:
        with app.database.transaction() as session:
            session.execute(text("DELETE FROM story_change"))
            return pictures.delete_unused(session, datetime.now(UTC) + timedelta(days=31))

    sweep()
    before = picture_count(app)
    crop(CropFormat.square)
    sweep()
    assert crop(CropFormat.whole) == item.picture.width == 1280
    sweep()
    assert picture_count(app) == before
    give(app, issue, story, None)
    picture_library.delete_picture(app.database, newsletter, item.id, "tests", NOW)
    sweep()
    assert picture_count(app) == before - 3  # with its thumbnail and its original


def picture_count(app: Container) -> int:
    with app.database.transaction() as session:
        return int(session.scalar(text("SELECT count(*) FROM picture")) or 0)


def test_a_picture_is_stored_while_the_newsletter_is_locked(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter, story = newsletter_of(app, issue), first_stories(app, issue)[0]
    with ThreadPoolExecutor() as pool, app.database.transaction() as session:
        newsletters.lock(session, newsletter)
        given = pool.submit(give, app, issue, story, photograph(app))
        given.result(timeout=30)  # who holds the newsletter may wait for the issue: see hold_over
    assert len(items(app, issue, "gradient")) == 1


class SlowStore(ObjectStore):
    """A store that answers when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.as_uri())
        self.asked, self.answers = Event(), Event()

    def put(self, sha256: str, data: bytes) -> None:
        self.asked.set()
        assert self.answers.wait(60)
        super().put(sha256, data)


@pytest.mark.parametrize("order", ["story", "header image", "import", "crop"])
def test_nobody_waits_for_a_slow_store(
    app: Container, import_issue: Callable[..., int], tmp_path: Path, order: str
) -> None:
    issue, store = import_issue("en"), SlowStore(tmp_path)
    newsletter, (story, other, *_) = newsletter_of(app, issue), first_stories(app, issue)
    new, item = photograph(app), items(app, issue)[0]
    document = parse((SAMPLE / "2026-3.en.md").read_text("utf-8"), "en")
    orders: dict[str, Callable[[], object]] = {
        "story": lambda: issue_pictures.set_story_picture(
            app.database, issue, story, new, "en", "A gradient", "", "tests", store
        ),
        "header image": lambda: issue_pictures.set_header_image(app.database, issue, new, "tests", store),
        "import": lambda: import_document(
            app.database,
            document,
            "lumen-basin",
            "en",
            number="2026/3",
            today=NOW.date(),
            picture_loader=lambda _: new.prepared,
            picture_store=store,
            actor="tests",
        ),
        "crop": lambda: picture_library.crop_picture(
            app.database, newsletter, item.id, Crop(CropFormat.square), app.crop_picture, "tests", store
        ),
    }
    with ThreadPoolExecutor() as pool:
        ordered = pool.submit(orders[order])
        try:
            assert store.asked.wait(60)
            pool.submit(edit.remove_story, app.database, issue, other, "", "tests").result(timeout=60)
            pool.submit(picture_library.put_back, app.database, newsletter, item.id).result(timeout=60)
            begun = pool.submit(new_issue.begin, app.database, newsletter, NewIssue("9", NOW.date()), "tests")
            begun.result(timeout=60)
        finally:
            store.answers.set()
        ordered.result(timeout=60)


def test_a_picture_is_not_deleted_while_it_is_chosen(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter, story = newsletter_of(app, issue), first_stories(app, issue)[0]
    id = unused_picture(app, newsletter)
    with ThreadPoolExecutor() as pool:
        with app.database.transaction() as session:
            entry = stored_library.find(session, newsletter, id, lock=True)
            deleted = pool.submit(picture_library.delete_picture, app.database, newsletter, id, "tests", NOW)
            wait_for_lock(session, deleted)
            assert entry
            session.get_one(Story, story).picture_id = entry.picture_id
        with pytest.raises(PictureInUse):
            deleted.result()


def test_a_picture_is_not_chosen_while_it_is_deleted(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter, story = newsletter_of(app, issue), first_stories(app, issue)[0]
    id = unused_picture(app, newsletter)
    with ThreadPoolExecutor() as pool:
        with app.database.transaction() as session:
            entry = stored_library.find(session, newsletter, id, lock=True)
            chosen = pool.submit(give, app, issue, story, id)
            wait_for_lock(session, chosen)
            assert entry
            entry.removed_at = NOW
        with pytest.raises(ChangeRefused):
            chosen.result()


def unused_picture(app: Container, newsletter: int) -> int:
    new = photograph(app)
    return picture_library.add_pictures(app.database, newsletter, [(new.prepared, new.name)], "tests", None)[0]


def test_a_picture_in_a_text_is_in_use(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter = newsletter_of(app, issue)
    (id,) = picture_library.add_pictures(
        app.database, newsletter, [(photograph(app).prepared, "a.jpg")], "tests", app.picture_store
    )
    sha256 = picture_library.load_picture(app.database, newsletter, id).picture.sha256
    with app.database.transaction() as session:
        issues.front_matter(session, issue)["en"].intro = f"![Boats](picture:{sha256})"
    (use,) = picture_library.load_picture(app.database, newsletter, id).uses
    assert (use.use.story, use.use.in_text, use.use.state) == (None, True, IssueState.draft)
    with pytest.raises(PictureInUse):
        picture_library.delete_picture(app.database, newsletter, id, "tests", NOW)


def test_an_import_keeps_a_crop_of_the_same_picture(app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    newsletter = newsletter_of(app, issue)
    item = next(item for item in items(app, issue) if item.name == "01-charter.jpg")
    how = Crop(CropFormat.square)
    picture_library.crop_picture(app.database, newsletter, item.id, how, app.crop_picture, "tests", app.picture_store)
    import_issue("en")
    source = compile.load_issue(app.database, app.urls, issue)
    assert source.stories[0].picture is not None
    assert source.stories[0].picture[1:] == (500, 500)
