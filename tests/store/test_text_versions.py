"""Versions of texts: heads, saves that are squashed, and stale translations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from mailer.bootstrap import Container
from mailer.domain.permissions import Role
from mailer.domain.states import TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import StoryTranslation, TextVersion
from mailer.store import contacts, issues, text_versions
from mailer.store.database import Session
from tests.support.staff import add_account


@dataclass(frozen=True)
class Writer:
    account: int
    name: str
    roles: tuple[Role, ...] = ()
    network: str = ""


@pytest.fixture
def writers(app: Container) -> Callable[[str], Writer]:
    return lambda name: Writer(add_account(app, f"{name}@example.org", Role.author), name)


class Texts:
    """One story of the sample in English, its source language, and French."""

    def __init__(self, session: Session, issue: int) -> None:
        self.session = session
        story = issues.stories(session, issue)[0][0].id
        self.en, self.fr = (TextKey(issue, TextSubject.story, story, language) for language in ("en", "fr"))

    def save(self, key: TextKey, writer: Writer | str, headline: str, **options: object) -> TextVersion:
        row = self.session.get_one(StoryTranslation, (key.subject_id, key.language))
        row.headline = headline
        kind = options.pop("kind", VersionKind.saved)
        content = text_versions.content_of(row)
        return text_versions.record(self.session, key, content, writer, kind, **options)  # type: ignore[arg-type]

    def is_stale(self) -> bool:
        return self.fr in text_versions.stale(self.session, self.en.issue)


@pytest.fixture
def texts(app: Container, import_issue: Callable[..., int]) -> Iterator[Texts]:
    issue = import_issue("en", "fr")
    with app.database.transaction() as session:
        yield Texts(session, issue)


@pytest.fixture
def ada(texts: Texts, writers: Callable[[str], Writer]) -> Writer:
    return writers("ada")


def test_saves_of_one_writer_become_one_version(texts: Texts, ada: Writer, writers: Callable[[str], Writer]) -> None:
    first = texts.save(texts.en, ada, "One")
    assert text_versions.base_of(first) == f"{first.id}.1"
    again = texts.save(texts.en, ada, "Two")
    assert (again.id, again.revision, again.content["headline"]) == (first.id, 2, "Two")
    assert texts.save(texts.en, ada, "Two").revision == 2, "nothing was changed"
    for options in ({"minor": True}, {"kind": VersionKind.restored}, {"squashed_within": timedelta(0)}):
        assert texts.save(texts.en, ada, f"{options}", **options).id > first.id
    last = texts.save(texts.en, writers("ben"), "Ben's")
    assert text_versions.head(texts.session, texts.en) is last
    assert texts.save(texts.en, ada, "Ada's").id > last.id
    assert texts.save(texts.en, "command line", "A").id < texts.save(texts.en, "command line", "B").id


def test_what_a_translation_was_made_from_is_kept(texts: Texts, ada: Writer) -> None:
    source = texts.save(texts.en, ada, "One")
    assert texts.save(texts.fr, ada, "Un", source_version=source.id).source_version_id == source.id
    assert texts.save(texts.en, ada, "Two").id > source.id
    assert source.content["headline"] == "One"


def test_what_was_set_aside_is_not_the_text(texts: Texts, ada: Writer) -> None:
    head = texts.save(texts.en, ada, "One")
    kept = texts.save(texts.en, ada, "Mine", kind=VersionKind.set_aside)
    assert texts.save(texts.en, ada, "Mine", kind=VersionKind.set_aside) is kept, "the same is kept once"
    assert texts.save(texts.en, ada, "Mine too", kind=VersionKind.set_aside).id > kept.id
    assert text_versions.head(texts.session, texts.en) is head
    assert text_versions.heads(texts.session, texts.en.issue)[texts.en] is head
    assert [version.kind for version in text_versions.of_text(texts.session, texts.en, 3)] == [
        VersionKind.set_aside,
        VersionKind.set_aside,
        VersionKind.saved,
    ]


def test_a_translation_is_stale_once_its_source_has_changed(texts: Texts, ada: Writer) -> None:
    source = texts.save(texts.en, ada, "One")
    assert texts.save(texts.fr, ada, "Un", source_version=source.id)
    assert not texts.is_stale()
    texts.save(texts.en, ada, "One.", minor=True)
    texts.save(texts.en, ada, "Mine", kind=VersionKind.set_aside)
    assert not texts.is_stale(), "minor changes, and what was set aside, do not count"
    texts.save(texts.en, ada, "Two")
    texts.save(texts.en, ada, "Two.", minor=True)
    assert texts.is_stale()
    texts.save(texts.fr, ada, "Un seul")
    assert texts.is_stale(), "a change of the translation alone does not bring it up to date"
    texts.save(texts.en, ada, "One", kind=VersionKind.restored)
    assert not texts.is_stale(), "the source reads again as it did"
    later = texts.save(texts.en, ada, "Three", squashed_within=timedelta(0))
    assert texts.is_stale()
    texts.save(texts.fr, ada, "Trois", source_version=later.id)
    assert not texts.is_stale()


def test_a_story_can_have_another_source_language(texts: Texts) -> None:
    assert text_versions.source_language(texts.session, texts.en) == "en"
    issues.stories(texts.session, texts.en.issue)[0][0].source_language = "fr"
    assert text_versions.source_language(texts.session, texts.en) == "fr"


def test_translations_of_a_copied_note_know_their_source(texts: Texts, ada: Writer) -> None:
    session, issue = texts.session, texts.en.issue
    story = issues.stories(session, issue)[0][0]
    note = contacts.add(session, story, {"fr": "Contact : Ann", "en": "Contact: Ann"}, ada)
    fr, en = (text_versions.head(session, TextKey(issue, TextSubject.contact, note.id, tag)) for tag in ("fr", "en"))
    assert (fr and fr.source_version_id) == (en and en.id)
