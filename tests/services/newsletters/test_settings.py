"""Settings that staff change: the rules of the file, nobody's change lost, and files that are older."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mailer.domain.accounts import AuditAction
from mailer.domain.errors import ChangeRefused
from mailer.domain.newsletter_check import NewsletterError, read_newsletter
from mailer.domain.newsletter_file import to_toml
from mailer.domain.text_overrides import TextOverrides
from mailer.services.newsletters.apply import ApplyResult, apply_newsletter
from mailer.services.newsletters.settings import (
    SettingsChanged,
    Values,
    fingerprint,
    load_settings,
    retired_sections,
    save_settings,
)
from mailer.store import audit_log
from mailer.store.database import Database
from tests.conftest import SAMPLE

SLUG = "lumen-basin"
FILE = (SAMPLE / "newsletter.toml").read_text("utf-8")


@pytest.fixture
def stored(database: Database) -> Database:
    apply_newsletter(database, read_newsletter(FILE))
    return database


def no_errors(_: TextOverrides) -> Iterator[tuple[str, str, str]]:
    return iter(())


def save(database: Database, edit: Callable[[Values], Any], name: str, shown: str = "") -> list[tuple[str, str, str]]:
    def part(values: Values) -> object:
        return values[name]

    shown = shown or fingerprint(load_settings(database, SLUG).model_dump(mode="json")[name])
    saved = save_settings(database, SLUG, lambda values: edit(values), no_errors, "amina", shown=shown, part=part)
    return [(difference.path, difference.before, difference.after) for difference in saved]


def test_a_change_is_stored_and_says_what_it_was(stored: Database) -> None:
    assert save(stored, lambda v: v["names"].update(en="Lumen"), "names") == [
        ("names.en", "The Lumen Basin Quarterly", "Lumen")
    ]
    assert load_settings(stored, SLUG).names["en"] == "Lumen"
    assert save(stored, lambda v: v.update(quiet_from="21:00", quiet_until="07:00"), "quiet_from") == [
        ("quiet_from", "", "21:00:00"),
        ("quiet_until", "", "07:00:00"),
    ]
    assert save(stored, lambda v: None, "names") == []
    with stored.transaction() as session:
        later, earlier = audit_log.search(session, action=AuditAction.newsletter_changed)
    assert earlier.detail == {"names.en": "The Lumen Basin Quarterly → Lumen"}
    assert later.detail == {"quiet_from": "– → 21:00:00", "quiet_until": "– → 07:00:00"}


def test_the_rules_are_those_of_the_file(stored: Database) -> None:
    with pytest.raises(NewsletterError) as refused:
        save(stored, lambda v: v.update(sender_address="lumen", time_zone="Nowhere"), "sender_address")
    assert [problem.path for problem in refused.value.problems] == [("sender_address",), ("time_zone",)]


def test_of_two_people_the_second_is_told_what_would_be_overwritten(stored: Database) -> None:
    shown = fingerprint(load_settings(stored, SLUG).model_dump(mode="json")["names"])
    save(stored, lambda v: v["names"].update(en="First"), "names", shown)
    with pytest.raises(SettingsChanged) as told:
        save(stored, lambda v: v["names"].update(en="Second"), "names", shown)
    assert [(d.path, d.before, d.after) for d in told.value.differences] == [("names.en", "First", "Second")]
    assert load_settings(stored, SLUG).names["en"] == "First"
    save(stored, lambda v: v.update(sender_name="Other"), "sender_name")  # another form is not concerned
    assert load_settings(stored, SLUG).names["en"] == "First"


def test_a_file_does_not_undo_a_later_change_of_the_desk(stored: Database) -> None:
    save(stored, lambda v: v.update(sender_name="Desk"), "sender_name")
    changed = FILE.replace('list_id = "', 'max_late_hours = 9\nlist_id = "', 1)
    with pytest.raises(ChangeRefused, match=r"changed at the desk by amina on 2.* after this"):
        apply_newsletter(stored, read_newsletter(changed))
    now = load_settings(stored, SLUG)
    assert (now.sender_name, now.max_late_hours) == ("Desk", 3)
    written = to_toml(now)
    assert apply_newsletter(stored, read_newsletter(written)) is ApplyResult.unchanged
    later = written.replace('sender_name = "Desk"', 'sender_name = "File"')
    assert apply_newsletter(stored, read_newsletter(later)) is ApplyResult.changed
    assert apply_newsletter(stored, read_newsletter(later.replace('"File"', '"Again"'))) is ApplyResult.changed
    assert apply_newsletter(stored, read_newsletter(changed), force=True) is ApplyResult.changed
    assert load_settings(stored, SLUG).max_late_hours == 9


def test_sections_are_added_renamed_moved_retired_and_offered_again(stored: Database) -> None:
    def add(values: Values) -> None:
        values["sections"].append({"key": "sport", "titles": {"en": "Sport"}})

    assert ("sections.sport.titles.en", "", "Sport") in save(stored, add, "sections")

    def rename(values: Values) -> None:
        values["sections"][-1]["titles"] = {"fr": "Sports"}

    assert save(stored, rename, "sections") == [
        ("sections.sport.titles.fr", "", "Sports"),
        ("sections.sport.titles.en", "Sport", ""),
    ]
    save(stored, lambda v: v["sections"].insert(0, v["sections"].pop()), "sections")
    assert load_settings(stored, SLUG).sections[0].key == "sport"
    save(stored, lambda v: v["sections"].pop(0), "sections")
    (retired,) = retired_sections(stored, SLUG)
    assert (retired.key, retired.titles) == ("sport", {"fr": "Sports"})
    save(stored, lambda v: v["sections"].append(retired.model_dump()), "sections")
    assert load_settings(stored, SLUG).sections[-1] == retired


def test_a_text_that_left_the_catalogue_hinders_no_other_change(stored: Database) -> None:
    save(stored, lambda v: v["text_overrides"].update(fr={"Gone": "Parti"}), "text_overrides")

    def errors(overrides: TextOverrides) -> Iterator[tuple[str, str, str]]:
        return (("fr", text, "no such text") for text in overrides.get("fr", {}))

    def change(edit: Callable[[Values], None]) -> None:
        shown = fingerprint(load_settings(stored, SLUG).text_overrides)
        save_settings(stored, SLUG, edit, errors, "amina", shown=shown, part=lambda v: v["text_overrides"])

    change(lambda v: v.update(sender_name="Other"))
    with pytest.raises(NewsletterError) as refused:
        change(lambda v: v["text_overrides"]["fr"].update(More="Plus"))
    assert [problem.path for problem in refused.value.problems] == [("text_overrides", "fr", "More")]
