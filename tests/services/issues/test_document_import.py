"""Importing documents: new issues, translations and corrections."""

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from itertools import count as count_up
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from mailer.adapters.pictures import PreparedPicture
from mailer.bootstrap import Container
from mailer.domain.document import DocumentError, parse
from mailer.domain.errors import ChangeRefused, NewsletterNotFound, UnknownSections
from mailer.domain.languages import InvalidLanguageTag
from mailer.domain.markdown import find_problems
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.states import InvalidIssueState, IssueAction, IssueState, TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import (
    Contact,
    ContactStory,
    ContactTranslation,
    Issue,
    IssueTranslation,
    Picture,
    Section,
    Story,
    StoryTranslation,
)
from mailer.services.issues import approve, compile, document_import, schedule
from mailer.services.issues.document_writing import ImportResult, UnconfirmedRemoval
from mailer.services.newsletters.apply import apply_newsletter
from mailer.settings import ROOT
from mailer.store import approvals, contacts, issues, newsletters, text_versions
from mailer.store.database import Session
from tests.support.real_newsletter import REAL_NEWSLETTER, requires_real_newsletter

SAMPLE = ROOT / "docs" / "sample"
FULL = ["en", "fr", "es", "de", "sr-Latn", "sr-Cyrl", "tr", "ru", "ar"]
PARTIAL = ["bs", "hr", "sl", "sq", "mk", "ro", "bg", "el", "uk"]

Import = Callable[..., ImportResult]

SETTINGS = """
slug = "lumen"
sender_name = "Lumen"
sender_address = "lumen@example.org"
postal_address = "1 Example Quay"
list_id = "lumen.example.org"
default_language = "en"
languages = ["en", "fr", "bs"]
names = {en = "Lumen"}
"""


LEAST = "## News\n\n### One\n\nText.\n"


def sample(language: str) -> str:
    return (SAMPLE / f"2026-3.{language}.md").read_text("utf-8")


@pytest.fixture
def write(app: Container, pictures: Callable[[str], PreparedPicture]) -> Import:
    """Import a text into issue 1 of the newsletter ``lumen-basin``."""
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    apply_newsletter(app.database, read_newsletter(SETTINGS))

    def run(
        source: str, language: str = "en", slug: str = "lumen-basin", folder: Path = SAMPLE, **options: Any
    ) -> ImportResult:
        return document_import.import_document(
            app.database,
            parse(source, language),
            slug,
            language,
            today=date(2026, 9, 30),
            picture_loader=pictures if folder == SAMPLE else app.picture_loader(folder),
            picture_store=app.picture_store,
            actor="tests",
            **{"number": "1", "new_sections": True, **options},
        )

    return run


def count(session: Session, model: type) -> int:
    return session.scalar(select(func.count()).select_from(model)) or 0


def headlines(app: Container, issue: int, language: str) -> list[str]:
    with app.database.transaction() as session:
        texts = issues.story_texts(session, issue)
        return [
            texts[story.id][language].headline
            for story, _ in issues.stories(session, issue)
            if language in texts[story.id]
        ]


def test_eighteen_languages_of_the_sample_are_one_issue(app: Container, write: Import) -> None:
    done = {language: write(sample(language), language) for language in FULL + PARTIAL}
    assert {one.issue for one in done.values()} == {done["en"].issue}
    assert done["en"].new_issue
    assert not done["fr"].new_issue
    for language, one in done.items():
        assert (one.unmatched, one.new_sections, one.not_in_file) == ([], [], []), language
        assert one.stories == sample(language).count("\n### "), language
        assert (one.sections, one.stories) == (6, 16) or language in PARTIAL
    with app.database.transaction() as session:
        assert count(session, Issue) == 1
        assert count(session, Story) == 16
        assert count(session, IssueTranslation) == 18
        assert count(session, StoryTranslation) == sum(one.stories for one in done.values())
        assert count(session, Picture) == 16 * 2  # each with its thumbnail
        assert count(session, Contact) == done["en"].contacts
        assert count(session, ContactTranslation) == sum(one.contacts for one in done.values())
        texts = issues.story_texts(session, done["en"].issue)
        for by_language in texts.values():
            assert set(FULL) <= set(by_language)
            # The same event on the same days, whatever the language.
            days = {
                language: [span for line in text.datelines for span in line["dates"]]
                for language, text in by_language.items()
            }
            assert all(found == days["en"] for found in days.values()), days


def test_importing_the_same_file_again_changes_nothing(app: Container, write: Import) -> None:
    for language in ("en", "fr", "bg"):
        write(sample(language), language)

    def everything() -> list[object]:
        with app.database.transaction() as session:
            rows: list[object] = []
            for model in (
                Issue,
                IssueTranslation,
                StoryTranslation,
                Story,
                Contact,
                ContactTranslation,
                Section,
            ):
                columns = list(model.__table__.columns)
                rows += map(tuple, session.execute(select(*columns).order_by(*model.__table__.primary_key)))
            return rows

    before = everything()
    for language in ("en", "fr", "bg"):
        again = write(sample(language), language)
        assert again.changed == 0
        assert not again.new_issue
        assert (again.unmatched, again.matched_by_position, again.not_in_file) == ([], [], [])
    assert everything() == before


def test_a_corrected_headline_changes_one_text(app: Container, write: Import) -> None:
    issue = write(sample("en")).issue
    write(sample("fr"), "fr")
    with app.database.transaction() as session:
        revision = issues.by_id(session, issue).revision
    done = write(sample("en").replace("### The ferry at Port Selin goes electric", "### An electric ferry"))
    assert done.changed == 1
    assert (done.unmatched, done.not_in_file) == ([], [])
    assert "An electric ferry" in headlines(app, issue, "en")
    assert len(headlines(app, issue, "en")) == len(headlines(app, issue, "fr")) == 16
    with app.database.transaction() as session:
        assert issues.by_id(session, issue).revision == revision + 1


def without_ferry(language: str, headline: str, next_section: str) -> str:
    text = sample(language)
    return text[: text.index(headline)] + text[text.index(next_section) :]


def test_document_in_the_leading_language_is_the_whole_issue(app: Container, write: Import) -> None:
    issue = write(sample("en")).issue
    write(sample("fr"), "fr")
    shorter = without_ferry("en", "### The ferry at Port Selin", "## Schools and skills")
    with pytest.raises(UnconfirmedRemoval) as asked:
        write(shorter, confirmed_removals=())
    assert asked.value.result.removed == ["The ferry at Port Selin goes electric"]
    assert len(headlines(app, issue, "en")) == 16, "nothing is imported before somebody agrees"
    done = write(shorter, confirmed_removals=asked.value.stories)
    assert (done.removed, done.not_in_file) == (["The ferry at Port Selin goes electric"], [])
    assert len(headlines(app, issue, "en")) == len(headlines(app, issue, "fr")) == 15
    assert not any("ferry" in headline for headline in headlines(app, issue, "fr"))
    assert write(shorter).changed == 0
    with app.database.transaction() as session:
        assert "removed: The ferry at Port Selin goes electric" in issues.events(session, issue)[-1].detail


def test_story_missing_from_a_translation_is_kept_and_listed(app: Container, write: Import) -> None:
    issue = write(sample("en")).issue
    write(sample("fr"), "fr")
    french = headlines(app, issue, "fr")
    lines = sample("fr").splitlines()
    at = lines.index(f"### {french[-1]}")
    done = write("\n".join(lines[:at]), "fr")
    assert (done.not_in_file, done.removed) == ([french[-1]], [])
    assert headlines(app, issue, "fr") == french


def test_story_that_only_a_translation_has_is_kept(app: Container, write: Import) -> None:
    french = "## News\n\n### Un\n\n**1 mai 2026, Aldeva :** A.\n\n### Deux\n\n**2 mai 2026, Aldeva :** B.\n"
    issue = write(french, "fr", slug="lumen").issue
    done = write("## News\n\n### One\n\n**1 May 2026, Aldeva:** A.\n", slug="lumen")
    assert (done.removed, done.untranslated) == ([], ["Deux"])
    assert headlines(app, issue, "fr") == ["Un", "Deux"]


def test_story_moves_to_another_section_with_its_translations(app: Container, write: Import) -> None:
    one, two = "### One\n\nFirst text.\n\n", "### Two\n\nSecond text.\n\n"
    issue = write(f"## News\n\n{one}{two}## Calls\n\n### Three\n\nThird text.\n", slug="lumen").issue
    french = "## News\n\n### Un\n\nA.\n\n### Deux\n\nB.\n\n## Calls\n\n### Trois\n\nC.\n"
    write(french, "fr", slug="lumen")
    moved = f"## News\n\n{one}## Calls\n\n{two}### Three\n\nThird text.\n"
    done = write(moved, slug="lumen")
    assert (done.moved, done.removed, done.unmatched) == (["Two"], [], [])
    assert (headlines(app, issue, "en"), headlines(app, issue, "fr")) == (
        ["One", "Two", "Three"],
        ["Un", "Deux", "Trois"],
    )
    assert write(moved, slug="lumen").changed == 0


def test_story_replaced_by_another_takes_no_translation_of_it(app: Container, write: Import) -> None:
    issue = write("## News\n\n### A bridge opens\n\nThe mayor of Velt cut the ribbon.\n", slug="lumen").issue
    write("## News\n\n### Un pont ouvre\n\nLe maire a coupé le ruban.\n", "fr", slug="lumen")
    done = write("## News\n\n### Otters return\n\nTwo young ones swam past Mirova.\n", slug="lumen")
    assert (done.removed, done.unmatched) == (["A bridge opens"], ["Otters return"])
    assert (headlines(app, issue, "en"), headlines(app, issue, "fr")) == (["Otters return"], [])


def test_untranslated_stories_are_listed(app: Container, write: Import) -> None:
    assert write(sample("en")).untranslated == []
    done = write(sample("bg"), "bg")
    assert len(done.untranslated) == 16 - done.stories
    assert "The ferry at Port Selin goes electric" in done.untranslated


def test_leading_language_decides_the_issue_date(app: Container, write: Import) -> None:
    def date_of(issue: int) -> str:
        with app.database.transaction() as session:
            return str(issues.by_id(session, issue).issue_date)

    issue = write(sample("en")).issue
    assert date_of(issue) == "2026-09-30"
    assert write(sample("en").replace("date: 2026-09-30", "date: 2026-10-02")).changed == 1
    write(sample("fr"), "fr")
    assert date_of(issue) == "2026-10-02"


def test_contact_missing_from_the_file_is_removed(app: Container, write: Import) -> None:
    source = "## News\n\n### One\n\nText.\n\n*(For info: Ann Example)*\n\n### Two\n\nMore.\n"
    issue = write(source, slug="lumen").issue
    write(source.replace("One", "Un").replace("Two", "Deux").replace("News", "Nouvelles"), "fr", slug="lumen")
    without = source.replace("*(For info: Ann Example)*\n\n", "")
    assert write(without.replace("One", "Un").replace("Two", "Deux").replace("News", "Nouvelles"), "fr", slug="lumen")
    with app.database.transaction() as session:
        assert [texts for _, texts, _ in contacts.of_issue(session, issue)] == [{"en": "(For info: Ann Example)"}]
    write(source.replace("One", "Un").replace("Two", "Deux").replace("News", "Nouvelles"), "fr", slug="lumen")
    done = write(without, slug="lumen")
    assert (done.changed, done.removed_contacts) == (1, ["(For info: Ann Example)"])
    with app.database.transaction() as session:
        assert contacts.of_issue(session, issue) == [], "its translations go with it"


def test_first_of_two_contacts_is_removed_with_its_translation(app: Container, write: Import) -> None:
    notes = "*(For info: Ann Example)*\n\n*(For info: Bo Example)*\n"
    issue = write(f"## News\n\n### One\n\nText.\n\n{notes}", slug="lumen").issue
    french = notes.replace("For info", "Pour info")
    write(f"## News\n\n### Un\n\nTexte.\n\n{french}", "fr", slug="lumen")
    shorter = "## News\n\n### One\n\nText.\n\n*(For info: Bo Example)*\n"
    assert write(shorter, slug="lumen").removed_contacts == ["(For info: Ann Example)"]
    with app.database.transaction() as session:
        assert [texts for _, texts, _ in contacts.of_issue(session, issue)] == [
            {"en": "(For info: Bo Example)", "fr": "(Pour info : Bo Example)".replace(" :", ":")}
        ]
    assert write(shorter, slug="lumen").changed == 0


def test_note_for_several_stories_outlives_the_story_it_follows(app: Container, write: Import) -> None:
    note = "*(For info on all of the above: Ann Example)*\n"
    french = "*(Pour plus d’informations : Ann Exemple)*\n"
    one, two = "### One\n\nFirst text.\n\n", "### Two\n\nSecond text.\n\n"
    issue = write(f"## News\n\n{one}{two}{note}", slug="lumen").issue
    write(f"## News\n\n### Un\n\nA.\n\n### Deux\n\nB.\n\n{french}", "fr", slug="lumen")
    done = write(f"## News\n\n{one}{note}", slug="lumen")
    assert (done.removed, done.removed_contacts) == (["Two"], [])
    with app.database.transaction() as session:
        (contact,) = contacts.of_issue(session, issue)
        assert set(contact[1]) == {"en", "fr"}


def test_unknown_headings_are_refused_all_at_once(app: Container, write: Import) -> None:
    source = (
        "Hello.\n\n## News and event\n\n### One\n\nA.\n\n## Beekeeping\n\n### Two\n\nB.\n\n"
        "## Water and rivers\n\n### Three\n\nC.\n"
    )
    with pytest.raises(UnknownSections) as refused:
        write(source, new_sections=False)
    assert str(refused.value).splitlines() == [
        "The document has 2 headings for which lumen-basin has no section:",
        "  line 3: “News and event”; did you mean “News and events”?",
        "  line 9: “Beekeeping”",
    ]
    with pytest.raises(UnknownSections, match="line 1: stories before the first section heading"):
        write("**One**\n\n**1 May 2026, Aldeva:** Text.\n", slug="lumen", new_sections=False)
    with app.database.transaction() as session:
        assert count(session, Issue) == 0


def test_section_made_for_an_issue_is_not_offered_to_readers(app: Container, write: Import) -> None:
    source = LEAST.replace("News", "Beekeeping")
    assert write(source, new_sections=True).new_sections == ["Beekeeping"]
    assert write(source, new_sections=False).changed == 0, "the issue has it already"
    with app.database.transaction() as session:
        newsletter = newsletters.get(session, "lumen-basin")
        assert [s.key for s in newsletters.sections(session, newsletter.id) if not s.offered] == ["beekeeping"]
    other = f"---\nnumber: 2\n---\n\n{source}"
    with pytest.raises(UnknownSections, match="“Beekeeping” is not offered to readers"):
        write(other, new_sections=False)
    assert write(other, new_sections=True).new_sections == [], "a bit is not spent twice on one title"
    apply_newsletter(
        app.database,
        read_newsletter(
            (SAMPLE / "newsletter.toml").read_text("utf-8")
            + '\n[[sections]]\nkey = "beekeeping"\ntitles = {en = "Beekeeping"}\n'
        ),
    )
    assert write(f"---\nnumber: 3\n---\n\n{source}", new_sections=False).new_issue


def test_all_missing_pictures_are_named(write: Import) -> None:
    source = "## News\n\n### One\n\n![A](no.jpg)\n\nText.\n\n### Two\n\n![B](../out.jpg)\n\nMore.\n"
    with pytest.raises(ChangeRefused) as refused:
        write(source, slug="lumen")
    assert str(refused.value).splitlines() == [
        "The picture no.jpg was not found in the document's folder.",
        "The picture ../out.jpg is outside the document's folder.",
    ]


def test_number_of_a_cancelled_issue_can_be_used_again(app: Container, write: Import) -> None:
    first = write(LEAST, slug="lumen")
    schedule.cancel(app.database, first.issue, "tests", datetime.now(UTC))
    second = write(LEAST, slug="lumen")
    assert second.new_issue and (second.issue, second.number) != (first.issue, "") and second.number == first.number
    assert not write(LEAST, slug="lumen").new_issue
    schedule.cancel(app.database, second.issue, "tests", datetime.now(UTC))
    assert write(LEAST, slug="lumen").new_issue


def test_contact_note_covers_the_stories_it_names(app: Container, write: Import) -> None:
    issue = write(sample("en")).issue
    with app.database.transaction() as session:
        notes = contacts.of_issue(session, issue)
        ina = next(note for note, texts, _ in notes if "Ina Sample" in texts["en"])
        covered = session.scalars(select(ContactStory.story_id).where(ContactStory.contact_id == ina.id)).all()
        texts = issues.story_texts(session, issue)
        assert {texts[story]["en"].headline for story in covered} == {
            "River ministers review ten years of shared water data",
            "Young delegates present their plan for the delta",
        }
        assert texts[ina.story_id]["en"].headline == "Young delegates present their plan for the delta"


def test_unmatched_stories_are_listed_and_added(app: Container, write: Import) -> None:
    english = (
        "## News\n\n### One\n\n**1 May 2026, Aldeva:** A.\n\n### Two\n\n**2 May 2026, Aldeva:** B.\n\n"
        "### Three\n\n**3 May 2026, Aldeva:** C.\n"
    )
    french = (
        "## News\n\n### Deux\n\n**2 mai 2026, Aldeva :** B.\n\n### Autre\n\n**9 mai 2026, Aldeva :** X.\n\n"
        "### Encore\n\n**10 mai 2026, Aldeva :** Y.\n\n### Un\n\n**1 mai 2026, Aldeva :** A.\n"
    )
    issue = write(english, slug="lumen").issue
    done = write(french, "fr", slug="lumen")
    assert sorted(done.unmatched) == ["Autre", "Encore"]
    assert done.matched_by_position == []
    with app.database.transaction() as session:
        texts = issues.story_texts(session, issue)
        together = {
            (found["en"].headline if "en" in found else "", found["fr"].headline if "fr" in found else "")
            for found in texts.values()
        }
    assert together == {("One", "Un"), ("Two", "Deux"), ("Three", ""), ("", "Autre"), ("", "Encore")}


def test_stories_matched_only_by_position_are_listed(write: Import) -> None:
    write("## News\n\n### One\n\nA.\n\n### Two\n\nB.\n", slug="lumen")
    done = write("## News\n\n### Un\n\nA.\n\n### Deux\n\nB.\n", "fr", slug="lumen")
    assert done.matched_by_position == ["Un", "Deux"]


def test_unknown_sections_are_created_and_listed(app: Container, write: Import) -> None:
    done = write(
        "## News\n\n### One\n\nA.\n\n## News & Views!\n\n### Two\n\nB.\n\n## Новости\n\n### X\n\nY.\n",
        slug="lumen",
    )
    assert done.new_sections == ["News", "News & Views!", "Новости"]
    translated = write(
        "## Nouvelles\n\n### Un\n\nA.\n\n## Avis\n\n### Deux\n\nB.\n\n## Новости\n\n### X\n\nY.\n",
        "fr",
        slug="lumen",
    )
    assert translated.new_sections == []
    assert {"Nouvelles", "Avis"} <= set(translated.matched_by_position)
    with app.database.transaction() as session:
        newsletter = newsletters.by_slug(session, "lumen")
        assert newsletter is not None
        found = newsletters.sections(session, newsletter.id)
        assert [(one.key, one.bit) for one in found] == [("news", 0), ("news-views", 1), ("section", 2)]
        assert found[0].titles == {"en": "News", "fr": "Nouvelles"}


@pytest.mark.parametrize("whole_issue", [False, True], ids=["one language", "the whole issue"])
def test_import_never_changes_what_another_approved_issue_shows(
    app: Container, write: Import, whole_issue: bool
) -> None:
    issue = write(LEAST, slug="lumen").issue
    if whole_issue:
        approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "ann")
    else:
        write("## News\n\n### Jedan\n\nTekst.\n", "bs", slug="lumen")
        with app.database.transaction() as session:
            seen = approvals.load_fingerprints(session, issues.by_id(session, issue))
        source = compile.load_issue(app.database, app.urls, issue)
        approve.approve(app.database, source, "ann", seen={"en": seen["en"]})
    write(LEAST, slug="lumen", number="2")
    translated = write("## Nouvelles\n\n### Un\n\nTexte.\n", "fr", slug="lumen", number="2")
    assert translated.titles_not_kept == ["Nouvelles"]
    assert translated.stories == 1 and translated.new_sections == []
    with app.database.transaction() as session:
        newsletter = newsletters.get(session, "lumen")
        assert [section.titles for section in newsletters.sections(session, newsletter.id)] == [{"en": "News"}]
    schedule.cancel(app.database, issue, "ann", datetime.now(UTC))
    again = write("## Nouvelles\n\n### Un\n\nTexte.\n", "fr", slug="lumen", number="2")
    assert again.titles_not_kept == []
    with app.database.transaction() as session:
        newsletter = newsletters.get(session, "lumen")
        assert newsletters.sections(session, newsletter.id)[0].titles == {"en": "News", "fr": "Nouvelles"}


def test_front_matter_sets_the_issue_number(app: Container, write: Import) -> None:
    done = write("---\nsubject: Hello\nnumber: 2026/9\ndate: 2026-12-24\n---\n\nIntro.\n\n## News\n\n### A\n\nB.\n")
    assert done.number == "2026/9"
    with app.database.transaction() as session:
        row = issues.by_id(session, done.issue)
        assert row is not None
        assert row.issue_date == date(2026, 12, 24)
        front = issues.front_matter(session, done.issue)["en"]
        assert (front.subject, front.intro) == ("Hello", "Intro.")


@pytest.mark.parametrize(
    ("language", "slug", "source", "complaint"),
    [
        ("en", "nowhere", LEAST, "There is no newsletter “nowhere”. There is: lumen, lumen-basin."),
        ("bs-Cyrl", "lumen-basin", LEAST, "lumen-basin has no language bs-Cyrl; it has en, fr,"),
        ("sr-Latn-BA", "lumen-basin", LEAST, "Did you mean sr-Latn?"),
        ("en", "lumen", "---\ndate: soon\n---\n\nHello.\n\n## A\n\n### B\n\nC.\n", "the date “soon”"),
        ("en", "lumen", "## A\n\n### B\n\n![x](../../README.md)\n\nC.\n", "outside the document's folder"),
        ("en", "lumen", "## A\n\n### B\n\n![x](missing.png)\n\nC.\n", "missing.png was not found"),
    ],
)
def test_refused_import_changes_nothing(
    app: Container, write: Import, language: str, slug: str, source: str, complaint: str
) -> None:
    with pytest.raises((ValueError, NewsletterNotFound), match=re.escape(complaint)):
        write(source, language, slug)
    with app.database.transaction() as session:
        assert count(session, Issue) == count(session, Story) == 0


def test_invalid_language_tag_is_refused(write: Import) -> None:
    with pytest.raises(InvalidLanguageTag):
        write(LEAST, "klingonish")


def test_approved_issue_rejects_imports(app: Container, write: Import) -> None:
    issue = write(sample("en")).issue
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    with pytest.raises(InvalidIssueState) as refused:
        write(sample("en").replace("electric", "ELECTRIC"))
    assert (refused.value.issue, refused.value.remedies) == (issue, (IssueAction.reopen,))
    assert not any("ELECTRIC" in headline for headline in headlines(app, issue, "en"))
    with app.database.transaction() as session:
        assert issues.by_id(session, issue).state is IssueState.approved


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        (IssueState.approved, ["reopen"]),
        (IssueState.scheduled, ["unschedule", "reopen"]),
        (IssueState.sending, ["cancel"]),
        (IssueState.paused, ["cancel"]),
        (IssueState.sent, []),
    ],
)
def test_refusal_gives_advice_that_works(app: Container, write: Import, state: IssueState, advice: list[str]) -> None:
    issue = write(LEAST).issue
    with app.database.transaction() as session:
        row = issues.by_id(session, issue)
        assert row is not None
        row.state = state
    with pytest.raises(InvalidIssueState) as refused:
        write(LEAST)
    assert list(refused.value.remedies) == advice


def test_newsletter_settings_can_be_applied_again(app: Container) -> None:
    changed = SETTINGS + '[[sections]]\nkey = "a"\ntitles = {en = "A"}\n[[sections]]\nkey = "b"\ntitles = {en = "B"}\n'
    assert apply_newsletter(app.database, read_newsletter(SETTINGS)) == "created"
    assert apply_newsletter(app.database, read_newsletter(SETTINGS)) == "up to date"
    assert apply_newsletter(app.database, read_newsletter(changed)) == "changed"
    assert apply_newsletter(app.database, read_newsletter(changed)) == "up to date"
    fewer = (
        SETTINGS.replace('"Lumen"\nsender_a', '"River"\nsender_a') + '[[sections]]\nkey = "b"\ntitles = {en = "Be"}\n'
    )
    apply_newsletter(app.database, read_newsletter(fewer))
    with app.database.transaction() as session:
        newsletter = newsletters.by_slug(session, "lumen")
        assert newsletter is not None
        assert newsletter.sender_name == "River"
        bits = {one.key: (one.bit, one.titles["en"]) for one in newsletters.sections(session, newsletter.id)}
        assert bits == {"a": (0, "A"), "b": (1, "Be")}, "a section that readers may follow is kept"


def settled(app: Container, issue: int, state: IssueState) -> int:
    """Put an issue into a state; returns its revision."""
    with app.database.transaction() as session:
        row = issues.by_id(session, issue)
        assert row is not None
        row.state = state
        return row.revision


@pytest.mark.parametrize(
    "change", [('"1 Example Quay"', '"2 Example Quay"'), ('titles = {en = "A"}', 'titles = {en = "Alpha"}')]
)
def test_newsletter_change_withdraws_approvals(app: Container, write: Import, change: tuple[str, str]) -> None:
    before = SETTINGS + '[[sections]]\nkey = "a"\ntitles = {en = "A"}\n'
    apply_newsletter(app.database, read_newsletter(before))
    issue = write(LEAST, slug="lumen").issue
    write(LEAST.replace("News", "A"), slug="lumen")
    revision = settled(app, issue, IssueState.approved)

    def now() -> tuple[IssueState, int, str]:
        with app.database.transaction() as session:
            row = issues.by_id(session, issue)
            assert row is not None
            last = issues.events(session, issue)[-1]
            return row.state, row.revision, f"{last.kind}: {last.detail}"

    harmless = before.replace('slug = "lumen"', 'slug = "lumen"\npublic = false')
    assert apply_newsletter(app.database, read_newsletter(harmless)) == "changed"
    assert now()[:2] == (IssueState.approved, revision)
    after = harmless.replace(*change)
    for state in (IssueState.sending, IssueState.paused):
        settled(app, issue, state)
        with pytest.raises(InvalidIssueState, match=f"Issue {issue} .1. is {state}"):
            apply_newsletter(app.database, read_newsletter(after))
        assert apply_newsletter(app.database, read_newsletter(harmless)) == "up to date"
    settled(app, issue, IssueState.scheduled)
    assert apply_newsletter(app.database, read_newsletter(after)) == "changed"
    assert now() == (IssueState.draft, revision + 1, "reopened: the newsletter changed")
    assert apply_newsletter(app.database, read_newsletter(after)) == "up to date"
    assert apply_newsletter(app.database, read_newsletter(harmless)) == "changed"
    assert now()[:2] == (IssueState.draft, revision + 2), "an approval of what was seen before would fail"
    settled(app, issue, IssueState.sent)
    assert apply_newsletter(app.database, read_newsletter(after)) == "changed"
    assert now()[:2] == (IssueState.sent, revision + 2)


def test_imported_section_title_is_kept_when_settings_are_applied(app: Container, write: Import) -> None:
    known = SETTINGS + '[[sections]]\nkey = "news"\ntitles = {en = "News"}\n'
    apply_newsletter(app.database, read_newsletter(known))
    write(LEAST, slug="lumen")
    write(LEAST.replace("News", "Nouvelles"), "fr", slug="lumen")
    assert apply_newsletter(app.database, read_newsletter(known)) == "up to date"


def test_a_newsletter_has_no_more_sections_than_a_mask_has_bits(app: Container, write: Import) -> None:
    def many(first: int, last: int) -> str:
        return SETTINGS + "".join(
            f'[[sections]]\nkey = "s{at}"\ntitles = {{en = "S{at}"}}\n' for at in range(first, last)
        )

    apply_newsletter(app.database, read_newsletter(many(0, 62)))
    with pytest.raises(ChangeRefused, match="at most 62 sections, including removed ones"):
        apply_newsletter(app.database, read_newsletter(many(1, 63)))
    with pytest.raises(ChangeRefused, match="at most 62 sections"):
        write(LEAST, slug="lumen")


def test_repeated_section_of_a_document_is_merged(app: Container, write: Import) -> None:
    source = (
        "## A\n\n### One\n\nText.\n\n## B\n\n### Other\n\nText.\n\n*(For info: Bo Example)*\n\n"
        "## A\n\n### Two\n\nMore.\n\n*(For info: Ann Example)*\n"
    )
    done = write(source, slug="lumen")
    assert (done.new_sections, done.sections, done.stories) == (["A", "B"], 2, 3)
    assert headlines(app, done.issue, "en") == ["One", "Two", "Other"]
    with app.database.transaction() as session:
        texts = issues.story_texts(session, done.issue)
        spoken = {
            found["en"]: [texts[story]["en"].headline for story in covered]
            for _, found, covered in contacts.of_issue(session, done.issue)
        }
    assert spoken == {"(For info: Bo Example)": ["Other"], "(For info: Ann Example)": ["Two"]}
    again = write(source, slug="lumen")
    assert (again.changed, again.new_sections, again.matched_by_position) == (0, [], [])


def test_stories_before_the_first_title_keep_their_section(write: Import) -> None:
    source = "**One**\n\n**1 May 2026, Aldeva:** Text.\n"
    assert write(source, slug="lumen").new_sections == ["News"]
    again = write(source, slug="lumen")
    assert (again.changed, again.new_sections) == (0, [])


HEADLINES = st.sampled_from(["### One\n\n", "### Two\n\n", "### Three\n\n", ""])
BODIES = st.sampled_from(["Red.", "Green.", "Blue.", "**1 May 2026, Aldeva:** May.", "**2 May 2026, Aldeva:** June."])
NOTES = st.sampled_from(["", "*(For info: Ann Example)*"])
STORIES = st.lists(st.tuples(HEADLINES, BODIES, NOTES), min_size=1, max_size=3)
DOCUMENTS = st.lists(st.tuples(st.sampled_from(["A", "B", "a"]), STORIES), min_size=1, max_size=4)

NUMBERS = count_up(2)


def document(sections: list[tuple[str, list[tuple[str, str, str]]]]) -> str:
    lines = []
    for title, stories in sections:
        lines.append(f"## {title}")
        lines += [f"{headline}{body}\n\n{note}" for headline, body, note in stories]
    return "\n\n".join(lines) + "\n"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(first=DOCUMENTS, second=DOCUMENTS)
def test_every_word_is_imported_once_and_reimport_changes_nothing(
    app: Container, write: Import, first: list[Any], second: list[Any]
) -> None:
    number = next(NUMBERS)
    sources = [document(first), document(second)]
    for source in sources:
        try:
            done = write(f"---\nnumber: {number}\n---\n\n{source}", slug="lumen")
        except DocumentError:
            assume(False)
        again = write(f"---\nnumber: {number}\n---\n\n{source}", slug="lumen")
        assert again.changed == 0
        arrived, titles = said(app, done.issue)
        written = words(re.sub("^## .*", "", source, flags=re.MULTILINE))
        assert written == arrived
        assert {title.casefold() for title in re.findall("^## (.*)", source, re.MULTILINE)} <= titles


def said(app: Container, issue: int) -> tuple[Counter[str], set[str]]:
    """The words of an issue's stories and notes in English, and the titles of its newsletter's sections."""
    with app.database.transaction() as session:
        found = [texts["en"] for texts in issues.story_texts(session, issue).values()]
        lines = [text.headline + " " + text.body for text in found]
        lines += [line["text"] for text in found for line in text.datelines]
        lines += [texts["en"] for _, texts, _ in contacts.of_issue(session, issue) if texts]
        row = issues.by_id(session, issue)
        assert row is not None
        sections = newsletters.sections(session, row.newsletter_id)
        return words("\n".join(lines)), {section.titles["en"].casefold() for section in sections}


def test_the_leading_language_decides_order_notes_and_pictures(app: Container, write: Import) -> None:
    picture = "![A boat](pictures/01-charter.jpg)\n\n"
    one, two = f"### One\n\n{picture}Text.\n\n", "### Two\n\nMore.\n\n"
    note = "*(For info on the above: Ann Example)*\n"
    issue = write(f"## News\n\n{one}{two}{note}", slug="lumen").issue
    french = "## Nouvelles\n\n### Un\n\nTexte.\n\n### Deux\n\nPlus.\n\n*(Pour plus d’informations : Ann Example)*\n"
    assert write(french, "fr", slug="lumen").changed == 4

    def shape() -> tuple[list[str], list[int], int]:
        with app.database.transaction() as session:
            covered = [len(stories) for _, _, stories in contacts.of_issue(session, issue)]
            shown = sum(story.picture_id is not None for story, _ in issues.stories(session, issue))
        return headlines(app, issue, "en"), covered, shown

    assert shape() == (["One", "Two"], [2], 1)
    assert write(french, "fr", slug="lumen").changed == 0
    assert shape() == (["One", "Two"], [2], 1)
    source = f"## News\n\n### Three\n\nNew.\n\n*(For info: Bo Example)*\n\n{two}{note}\n{one.replace(picture, '')}"
    write(source, slug="lumen")
    assert shape() == (["Three", "Two", "One"], [1, 1], 0)
    assert write(source, slug="lumen").changed == 0


def test_a_credit_stays_with_its_picture(app: Container, write: Import) -> None:
    def source(picture: str) -> str:
        return f"## News\n\n### One\n\n![A boat]({picture})\n\nText.\n"

    first, second = "pictures/01-charter.jpg", "pictures/02-water-data.jpg"
    issue = write(source(first), slug="lumen").issue

    def credit(value: str | None = None) -> str:
        with app.database.transaction() as session:
            ((row,),) = (texts.values() for texts in issues.story_texts(session, issue).values())
            row.picture_credit = row.picture_credit if value is None else value
            return row.picture_credit

    credit("Photo: Amina Demir")
    write(source(first).replace("Text", "Other text"), slug="lumen")
    assert credit() == "Photo: Amina Demir"
    write(source(second), slug="lumen")
    assert credit() == ""


def test_texts_for_partial_editions_follow_the_document(app: Container, write: Import) -> None:
    keys = ("partial_subject", "partial_preheader", "partial_intro")
    lines = 'Partial_Subject: "{headline} – 1"\npartial_preheader: "{headlines}"\npartial_intro: "Only *yours*."'
    for front, expected in ((lines, ("{headline} – 1", "{headlines}", "Only *yours*.")), ("", ("", "", ""))):
        issue = write(f"---\nsubject: Ours\n{front}\n---\n\n{LEAST}").issue
        with app.database.transaction() as session:
            row = issues.front_matter(session, issue)["en"]
            assert tuple(getattr(row, key) for key in keys) == expected


RICH = """Hello ![the charter](pictures/01-charter.jpg) all.

## News and events

### Everything

**12 July 2026, Mirova:** A <b>bold</b> word, ~~1 May~~, www.example.org/a, a [reference][r], a note[^1].<br>Next.

<img src="pictures/02-water-data.jpg" alt="Water">

<!-- secret -->

| month | fires |
|---|--:|
| July | 4 |

![A second picture](<pictures/03-young-delegates.jpg>)

- [x] done

[^1]: Not in winter.
[r]: https://example.org/ref
"""


def test_what_a_document_holds_reaches_html_and_text(app: Container, write: Import) -> None:
    issue = write(RICH).issue
    assert write(RICH).changed == 0
    content, mail = compile.preview(app.database, app.renderer, app.urls, issue, "en", None)
    story = content.sections[0].stories[0]
    assert story.picture is not None and story.picture.alt == "Water"
    (shown,) = re.findall(r'<img src="([^"]+)" alt="A second picture" width="592" style="[^"]+" ?/?>', mail.html)
    (in_intro,) = re.findall(r'<img src="([^"]+)" alt="the charter" width="592"', mail.html)
    assert shown.startswith(app.urls.origin) and in_intro.startswith(app.urls.origin) and shown != in_intro
    for html in (
        "A <strong>bold</strong> word, <s>1 May</s>, ",
        '<a href="https://www.example.org/a">www.example.org/a</a>',
        '<a href="https://example.org/ref">reference</a>',
        "a note<sup>1</sup>.<br",
        "<p><sup>1</sup> Not in winter.</p>",
        '<table class="d" border="1"',
        '<td align="right">4</td>',
        "<li>☑ done</li>",
    ):
        assert html in mail.html, html
    for words in (
        "A bold word, ~1 May~, https://www.example.org/a, a reference\n",
        "<https://example.org/ref>, a note¹.\nNext.",
        "month  fires\n-----  -----\nJuly   4\n",
        "[A second picture]",
        "- ☑ done",
        "\n¹ Not in winter.\n",
        "Hello [the charter] all.",
    ):
        assert words in mail.text, words
    for written in (mail.html, mail.text):
        assert not re.search(r"secret|\[r\]|\[\^1|~~|picture:|<img src=\"pictures|\|--", written)
    assert find_problems(story.body) == find_problems(content.intro) == []


def test_all_pictures_that_are_missing_are_named_at_once(write: Import) -> None:
    with pytest.raises(ChangeRefused, match=r"(?s)one\.jpg.*two\.jpg.*https://example\.org/3\.jpg"):
        write(
            "Hi ![a](two.jpg).\n\n## News and events\n\n### S\n\n![b](one.jpg)\n\nText ![c](https://example.org/3.jpg)."
        )


def test_a_subject_is_taken_as_its_front_matter_has_it(app: Container, write: Import) -> None:
    source = '---\nsubject: "The \\"river\\""\npreheader: He\x07llo "you"\n---\n\n# Ti\x7ftle\n\n'
    issue = write(source + LEAST, slug="lumen").issue
    with app.database.transaction() as session:
        front = issues.front_matter(session, issue)["en"]
        assert (front.subject, front.preheader, front.intro) == ('The "river"', 'Hello "you"', "#### Title")


def test_imports_at_the_same_time_wait_for_each_other(app: Container, write: Import) -> None:
    french = LEAST.replace("One", "Un").replace("News", "Nouvelles")
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(write, LEAST, "en", "lumen"), pool.submit(write, french, "fr", "lumen")]
        done = [one.result(30) for one in both]
    assert [one.new_issue for one in done].count(True) == 1
    assert len({one.issue for one in done}) == 1
    assert headlines(app, done[0].issue, "en") == ["One"]
    assert headlines(app, done[0].issue, "fr") == ["Un"]


def test_import_does_not_change_an_issue_approved_meanwhile(app: Container, write: Import) -> None:
    """Whichever commits first, what is approved is what was looked over."""
    issue = write(LEAST, slug="lumen").issue
    seen = compile.load_issue(app.database, app.urls, issue)
    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            row = issues.lock(session, issue)
            assert row is not None
            late = pool.submit(write, LEAST.replace("Text", "Other text"), "en", "lumen")
            while not waiting(app):
                assert not late.done()
            row.state = IssueState.approved
        with pytest.raises(InvalidIssueState):
            late.result(30)
    assert compile.load_issue(app.database, app.urls, issue).revision == seen.revision


def waiting(app: Container) -> int:
    """How many of our connections wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with app.database.transaction() as session:
        return session.scalar(text(query)) or 0


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[^\W_]+", text))


@requires_real_newsletter
def test_real_newsletter_is_imported_word_for_word(app: Container, write: Import) -> None:
    source = REAL_NEWSLETTER.read_text("utf-8")
    done = write(source, slug="lumen")
    assert (done.sections, done.stories, done.contacts) == (6, 18, 7)
    with app.database.transaction() as session:
        front = issues.front_matter(session, done.issue)["en"]
        newsletter = newsletters.by_slug(session, "lumen")
        assert newsletter is not None
        said = [front.intro]
        if front.subject not in ("Lumen 1",):
            said.append(front.subject)
        said += [one.titles["en"] for one in newsletters.sections(session, newsletter.id)]
        texts = issues.story_texts(session, done.issue)
        for story, _ in issues.stories(session, done.issue):
            text = texts[story.id]["en"]
            said += [text.headline, text.body, text.link, text.link_label, text.alt]
            said += [line["text"] for line in text.datelines]
        notes = contacts.of_issue(session, done.issue)
        said += [found["en"] for _, found, _ in notes]
        assert sorted(len(covered) for _, _, covered in notes) == [1, 1, 2, 3, 3, 3, 5]
    assert words("\n".join(said)) == words(source)
    assert write(source, slug="lumen").changed == 0


def test_a_text_that_reads_the_same_stays_as_it_was_written(app: Container, write: Import) -> None:
    source = "---\nsubject: S\n---\n\n## News\n\n### One *two*\n\n* a\n* __b__\n\n(For info: Ina, ina@example.org)\n"
    issue = write(source, slug="lumen").issue
    with app.database.transaction() as session:
        (story,) = [story.id for story, _ in issues.stories(session, issue)]
        row = session.get_one(StoryTranslation, (story, "en"))
        assert (row.headline, row.body) == ("One *two*", "- a\n- **b**"), "written as the editor writes it"
        row.headline, row.body = "One _two_", "* a\n* __b__"  # as it was stored before
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    schedule.reopen(app.database, issue, "tests")
    assert write(source, slug="lumen").changed == 0
    with app.database.transaction() as session:
        assert session.get_one(StoryTranslation, (story, "en")).body == "* a\n* __b__"
        assert approvals.standing(session, [issue])[issue] == {"en"}


def test_imported_texts_have_versions(app: Container, write: Import) -> None:
    front = "---\nsubject: S\n---\n\n"
    issue = write(front + LEAST, slug="lumen").issue
    write(front + LEAST.replace("Text.", "Texte."), "fr", slug="lumen")
    with app.database.transaction() as session:
        (story,) = [story.id for story, _ in issues.stories(session, issue)]
        heads = text_versions.heads(session, issue)
        en, fr = (heads[TextKey(issue, TextSubject.story, story, language)] for language in ("en", "fr"))
        assert (en.kind, en.actor, en.content["body"]) == (VersionKind.imported, "tests", "Text.")
        assert (fr.content["body"], fr.source_version_id) == ("Texte.", en.id)
        assert heads[TextKey(issue, TextSubject.front_matter, issue, "en")].content["subject"] == "S"
    write(front + LEAST.replace("Text.", "New text."), slug="lumen")
    with app.database.transaction() as session:
        assert text_versions.stale(session, issue) == {TextKey(issue, TextSubject.story, story, "fr")}
        assert len(text_versions.of_text(session, TextKey(issue, TextSubject.front_matter, issue, "en"), 9)) == 1
    write(front + LEAST.replace("Text.", "Nouveau texte."), "fr", slug="lumen")
    with app.database.transaction() as session:
        assert not text_versions.stale(session, issue)
