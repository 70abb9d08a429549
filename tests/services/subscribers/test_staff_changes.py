"""Preferences that staff change, for one reader or from a file, and lists of readers."""

import io
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from mailer.adapters.tokens import Tokens
from mailer.domain.consents import ConsentChannel
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.errors import NewsletterNotFound
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.preferences import Preferences
from mailer.domain.states import Frequency, ListedState
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers.csv_import import import_subscribers
from mailer.services.subscribers.listing import SubscriberFilter, list_subscribers, write_csv
from mailer.services.subscribers.preferences import profile, save_for, undo
from mailer.services.subscribers.staff_changes import (
    NotSubscribed,
    find_changes,
    section_parser,
    set_preferences,
    update_from_csv,
)
from mailer.services.subscribers.unsubscribe import unsubscribe
from mailer.store import newsletters, subscriber_lists, subscribers
from mailer.store.database import Database
from tests.support.query_plans import disable_plans

SAMPLE = Path(__file__).parents[3] / "docs" / "sample"
NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)
HEADER = "address,name,languages,sections,time_zone,consent_source,consent_date\n"
SLUG = "lumen-basin"
ANA, BO, CAT = "ana@example.org", "bo@example.org", "cat@example.org"
READERS = f"{ANA},Ana,hr,,Europe/Zagreb,form,2024-01-01\n{BO},,en,water-and-rivers,,form,2024-01-01\n"


class Lists:
    """A newsletter, and files for it."""

    def __init__(self, database: Database, tokens: Tokens, folder: Path) -> None:
        self.database, self.tokens, self._folder = database, tokens, folder
        apply_newsletter(database, read_newsletter((SAMPLE / "newsletter.toml").read_text(encoding="utf-8")))
        self.take(READERS)

    def file(self, lines: str) -> Path:
        path = self._folder / "readers.csv"
        path.write_text(HEADER + lines, "utf-8")
        return path

    def take(self, lines: str) -> None:
        import_subscribers(self.database, self.file(lines), SLUG, hmac_pads=self.tokens.hmac_pads(), now=NOW)

    def update(self, lines: str) -> tuple[list[str], int]:
        """Return the changes that a file would make, and the number of those made."""
        pads = self.tokens.hmac_pads()
        file = self.file(lines)
        found = [
            f"{change.address} {d.field}: {d.before} → {d.after}"
            for change in find_changes(self.database, file, SLUG, hmac_pads=pads, now=NOW)
            for d in change.differences
        ]
        return found, update_from_csv(self.database, file, SLUG, hmac_pads=pads, now=NOW)

    def set(self, address: str, **values: Any) -> list[str]:
        key = self.tokens.address_hash(address)
        differences = set_preferences(self.database, SLUG, key, values, NOW)
        return [f"{d.field}: {d.before} → {d.after}" for d in differences]

    def ref(self, address: str) -> SubscriptionRef:
        with self.database.transaction() as session:
            found = subscribers.by_hash(session, self.tokens.address_hash(address))
            assert found
            return SubscriptionRef(found.id, newsletter=newsletters.get(session, SLUG).id)

    def preferences(self, address: str) -> Preferences:
        found = profile(self.database, self.ref(address), NOW)
        assert found
        return found.preferences

    def listed(self, **only: Any) -> list[str]:
        found = list_subscribers(self.database, SLUG, SubscriberFilter(**only), NOW)
        return [row.address.partition("@")[0] for row in found]


@pytest.fixture
def lists(database: Database, tokens: Tokens, tmp_path: Path) -> Lists:
    return Lists(database, tokens, tmp_path)


def test_set_changes_what_is_given_and_the_reader_can_undo_it(lists: Lists) -> None:
    assert lists.set(ANA, name="Ana Uzorak", languages=("hr", "en"), sections=0b10, time_zone="UTC") == [
        "name: Ana → Ana Uzorak",
        "languages: hr → hr, en",
        "sections: all → water-and-rivers",
        "time_zone: Europe/Zagreb → UTC",
    ]
    wanted = Preferences(name="Ana Uzorak", languages=("hr", "en"), sections=0b10, time_zone="UTC")
    assert lists.preferences(ANA) == wanted
    assert lists.set(ANA, name="Ana Uzorak") == []
    by_mail = undo(lists.database, lists.ref(ANA), LinkKind.mail, NOW)
    assert by_mail and not by_mail[0], "the link of an email must not undo what its reader did not do by one"
    own = undo(lists.database, lists.ref(ANA), LinkKind.magic, NOW)
    assert own and own[0]
    assert lists.preferences(ANA) == Preferences(name="Ana", languages=("hr",), time_zone="Europe/Zagreb")


def test_the_source_of_a_change_is_kept_and_no_mail_is_sent_for_it(lists: Lists) -> None:
    lists.set(ANA, name="Ana Uzorak")
    with lists.database.transaction() as session:
        kept = session.execute(text("SELECT previous_preferences FROM subscription")).scalars().all()
        assert [(row["link_kind"], row["name"]) for row in kept if row] == [("staff", "Ana")]
        assert session.scalar(text("SELECT count(*) FROM transactional_email")) == 0


def test_only_an_active_subscription_can_be_changed(lists: Lists) -> None:
    unsubscribe(lists.database, lists.ref(ANA), ConsentChannel.by_hand, NOW)
    for address in (ANA, "nobody@example.org"):
        with pytest.raises(NotSubscribed, match="not subscribed to lumen-basin"):
            lists.set(address, name="Ana Uzorak")
    with pytest.raises(NewsletterNotFound):
        save_for(lists.database, "none", lists.tokens.address_hash(ANA), {"name": "A"}, NOW)


def test_update_lists_each_difference_and_then_makes_it(lists: Lists) -> None:
    changed = (
        f"ANA@example.org,Ana Uzorak,hr en,water-and-rivers,Europe/Paris,form,2024-01-01\n"
        f"{BO},#N/A,,,,letter,2025-01-01\n"
        f"{CAT},Cat,en,,,form,2024-01-01\n"
        "not an address,,,,,form,2024-01-01\n"
    )
    found, made = lists.update(changed)
    assert found == [
        "ANA@example.org name: Ana → Ana Uzorak",
        "ANA@example.org languages: hr → hr, en",
        "ANA@example.org sections: all → water-and-rivers",
        "ANA@example.org time_zone: Europe/Zagreb → Europe/Paris",
    ]
    assert made == 1
    wanted = Preferences(name="Ana Uzorak", languages=("hr", "en"), sections=0b10, time_zone="Europe/Paris")
    assert lists.preferences(ANA) == wanted
    assert lists.preferences(BO) == Preferences(languages=("en",), sections=0b10)
    assert lists.update(changed) == ([], 0)


def test_update_passes_over_those_who_left_or_are_suppressed(lists: Lists) -> None:
    unsubscribe(lists.database, lists.ref(ANA), ConsentChannel.by_hand, NOW)
    with lists.database.transaction() as session:
        key = lists.tokens.address_hash(BO)
        subscribers.suppress(session, key, SuppressionReason.manual, SuppressionSource.staff)
    assert lists.update(READERS.replace(",Ana,", ",Anna,").replace(",en,", ",fr,")) == ([], 0)


def test_update_of_a_reader_of_another_newsletter_leaves_sections_to_the_import(lists: Lists) -> None:
    made = read_newsletter((SAMPLE / "newsletter.toml").read_text(encoding="utf-8"))
    apply_newsletter(lists.database, made.model_copy(update={"slug": "second"}))
    pads = lists.tokens.hmac_pads()
    file = lists.file(f"{ANA},Anna,,none,,form,2024-01-01\n")
    (change,) = find_changes(lists.database, file, "second", hmac_pads=pads, now=NOW)
    assert [d.field for d in change.differences] == ["name"]


@pytest.fixture
def five(lists: Lists) -> Lists:
    """Ana and Bo, and one who has left, one who is suppressed, one who pauses."""
    lists.take(
        "left@example.org,,pt-BR,,,form,2024-01-01\n"
        "suppressed@example.org,Eva,sr-Latn,none,,form,2024-01-01\n"
        "paused@example.org,Émile,fr en,water-and-rivers future,Europe/Paris,form,2024-01-01\n"
    )
    unsubscribe(lists.database, lists.ref("left@example.org"), ConsentChannel.by_hand, NOW)
    with lists.database.transaction() as session:
        key = lists.tokens.address_hash("suppressed@example.org")
        subscribers.suppress(session, key, SuppressionReason.manual, SuppressionSource.staff)
    values = {"paused_until": NOW + timedelta(days=9), "frequency": Frequency.monthly}
    save_for(lists.database, SLUG, lists.tokens.address_hash("paused@example.org"), values, NOW)
    return lists


@pytest.mark.parametrize(
    ("only", "names"),
    [
        ({}, ["ana", "bo", "left", "suppressed", "paused"]),
        ({"state": ListedState.active}, ["ana", "bo"]),
        ({"state": ListedState.unsubscribed}, ["left"]),
        ({"state": ListedState.suppressed}, ["suppressed"]),
        ({"state": ListedState.paused}, ["paused"]),
        ({"language": "en"}, ["bo", "paused"]),
        ({"language": "PT"}, ["left"]),
        ({"language": "s"}, []),
        ({"sections": 0b10}, ["ana", "bo", "left", "paused"]),
        ({"sections": 0b11}, ["ana", "left"]),
        ({"time_zone": "Europe/Paris"}, ["paused"]),
        ({"frequency": Frequency.monthly}, ["paused"]),
        ({"text": "éMIL"}, ["paused"]),
        ({"text": "ANA@exam"}, ["ana"]),
        ({"text": "na@example"}, []),
        ({"text": "@exam", "language": "en"}, ["bo", "paused"]),
        ({"text": "%"}, []),
        ({"language": "en", "text": "bo"}, ["bo"]),
    ],
)
def test_a_list_holds_those_who_meet_all_conditions(five: Lists, only: dict[str, Any], names: list[str]) -> None:
    assert five.listed(**only) == names


def test_an_exported_list_can_be_imported_and_changes_nothing(five: Lists, tmp_path: Path) -> None:
    five.set(ANA, name="=cmd()", sections=ALL_SECTIONS & ~0b1)
    file = io.StringIO()
    found = list_subscribers(five.database, SLUG, SubscriberFilter(), NOW)
    assert write_csv(found, section_parser(five.database, SLUG), file) == 5
    lines = file.getvalue().splitlines()
    assert lines[0] == HEADER.strip()
    assert lines[2] == f"{BO},,en,water-and-rivers,UTC,form,2024-01-01T00:00:00+00:00"
    assert lines[5].split(",")[3] == "water-and-rivers future"
    exported = tmp_path / "exported.csv"
    exported.write_text(file.getvalue(), "utf-8")
    pads = five.tokens.hmac_pads()
    report = import_subscribers(five.database, exported, SLUG, hmac_pads=pads, now=NOW)
    assert (report.known, report.suppressed, report.rejected) == (4, 1, 0)
    assert list(find_changes(five.database, exported, SLUG, hmac_pads=pads, now=NOW)) == []


def test_a_list_of_several_pages_holds_no_transaction_while_it_is_taken(lists: Lists) -> None:
    lists.take("".join(f"r{n}@example.org,,,,,form,2024-01-01\n" for n in range(30)))
    found = list_subscribers(lists.database, SLUG, SubscriberFilter(), NOW, page_rows=8)
    addresses = []
    for row in found:
        addresses.append(row.address)
        assert lists.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert addresses == [ANA, BO, *(f"r{n}@example.org" for n in range(30))]


def test_a_later_page_reads_no_rows_of_earlier_ones(lists: Lists) -> None:
    lists.take("".join(f"r{n}@example.org,,,,,form,2024-01-01\n" for n in range(200)))
    values = {field.name: None for field in fields(SubscriberFilter)} | {"now": NOW, "limit": 10}
    with lists.database.transaction() as session:
        disable_plans(session, ("hashjoin", "nestloop", "seqscan", "bitmapscan"))
        newsletter = newsletters.get(session, SLUG).id
        after = session.scalar(text("SELECT max(id) - 50 FROM subscriber"))
        explain = text("EXPLAIN (ANALYZE, FORMAT JSON) " + subscriber_lists._LIST.format(matching="true"))
        (plan,) = session.scalar(explain, values | {"newsletter": newsletter, "after": after})

    def scans(node: dict[str, Any]) -> Iterator[tuple[str, float]]:
        if "Relation Name" in node:
            yield node["Relation Name"], node["Actual Rows"]
        for inner in node.get("Plans", ()):
            yield from scans(inner)

    read = dict(scans(plan["Plan"]))
    assert 0 < read["subscriber"] <= 50 and 0 < read["subscription"] <= 50
