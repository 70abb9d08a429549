"""Export and erasure of personal data, tested with a marker in every text column."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import NoResultFound

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.consents import ConsentChannel
from mailer.domain.personal_data import PersonalDataTable, RetentionCategory
from mailer.domain.states import SkipReason
from mailer.domain.subscriber_fields import read_address
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.suppressions import SuppressionReason
from mailer.models import Base
from mailer.services.feedback import bounces
from mailer.services.issues import report
from mailer.services.maintenance import retention
from mailer.services.maintenance.retention import RetentionPolicy
from mailer.services.subscribers import personal_data, preferences
from mailer.store import feedback, subscribers
from mailer.web.app import create_app
from mailer.web.public.personal_data import RowDescriber
from tests.support.locks import wait_for_lock
from tests.support.transactional import send_transactional

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADA, BOB = "ada@example.org", "bob@example.org"
MARKER = "zq7marker"
CHECKED = {
    ("delivery", "relay"),
    ("subscription", "frequency"),
    ("feedback", "kind"),
    ("transactional_email", "kind"),
    ("transactional_email", "language"),
    ("signup", "language"),
}
"""Columns with a fixed set of values, which are not personal."""
_OF_ONE = {
    "subscriber": "id = :id",
    "suppression": "address_hash = :hash",
    "signup": "address_hash = :hash",
    "issue_test": "address_hash = :hash",
    "text_request": "address_hash = :hash",
    "rate_limit_window": "false",
    "transactional_email": "subscriber_id = :id OR signup_id IN (SELECT id FROM signup WHERE address_hash = :hash)"
    " OR change_id IN (SELECT id FROM address_change WHERE subscriber_id = :id)",
}
IMPERSONAL = {
    "address_key", "batch", "batch_refusal", "contact", "contact_card", "contact_story", "contact_translation",
    "edition", "issue", "issue_event", "issue_figures", "issue_lookup", "flow_sample", "issue_translation",
    "language_choice", "mail_domain", "network_lookup", "newsletter", "picture", "relay_daily_usage", "retention_run",
    "section", "story", "story_translation", "throttle",
}  # fmt: skip
"""Tables without personal data."""
OF_STAFF = {
    "account", "account_link", "account_role", "audit_event", "delivery_order", "document_upload", "drain_order",
    "issue_approval", "library_picture", "open_text", "recovery_code", "staff_session", "story_change", "text_version",
    "uploaded_picture",
}  # fmt: skip
"""Tables about those who work on newsletters, who are no subscribers."""
UPLOADED = {"import_job", "import_job_part"}
"""Lists as staff uploaded them. They are deleted within days, and no import adds an erased person again."""


def dump(app: Container) -> dict[str, list[str]]:
    """Every row of every table as text."""
    with app.database.transaction() as session:
        tables = session.execute(
            text("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace")
        ).scalars()
        return {name: list(session.execute(text(f'SELECT t::text FROM "{name}" t')).scalars()) for name in tables}


def personal_tables() -> dict[str, str]:
    """table → which of its rows are of one person."""
    found = {}
    for table in Base.metadata.sorted_tables:
        if table.name in _OF_ONE:
            found[table.name] = _OF_ONE[table.name]
        elif "subscriber_id" in table.columns:
            found[table.name] = "subscriber_id = :id"
    return found


def plant(app: Container, subscriber: int, address_hash: bytes) -> int:
    """Put the marker into every column with words of one person's rows; returns how many columns took it."""
    planted = 0
    values = {"id": subscriber, "hash": address_hash}
    with app.database.transaction() as session:
        for name, where in personal_tables().items():
            for column in Base.metadata.tables[name].columns:
                if (name, column.name) in CHECKED:
                    continue
                if isinstance(column.type, JSONB):
                    value = f"""'{{"said": "{MARKER}"}}'::jsonb"""
                elif isinstance(column.type, ARRAY):
                    value = f"ARRAY['{MARKER}']"
                elif isinstance(column.type, Text):
                    value = f"'550 5.1.1 <{MARKER}> unknown'"
                else:
                    continue
                done = session.connection().execute(
                    text(f"UPDATE {name} SET {column.name} = {value} WHERE {where}"), values
                )
                planted += bool(done.rowcount)
    return planted


@pytest.fixture
def person(app: Container, prepared_issue: Callable[..., int], send: Callable[[], int]) -> tuple[int, int, bytes]:
    """Somebody with a row in every table that has rows of people: issue, subscriber, hash."""
    issue = prepared_issue(f"{ADA};en;\n{BOB};en;", "en")
    send()
    address_hash = app.tokens.address_hash(read_address(ADA)[1])
    with app.database.transaction() as session:
        subscriber = session.scalar(
            text("SELECT id FROM subscriber WHERE address_hash = :hash"), {"hash": address_hash}
        )
    assert subscriber
    with TestClient(create_app(app)) as client:
        token = app.tokens.make_link_token(Purpose.magic_link, int(datetime.now(UTC).timestamp()), subscriber)
        own = f"/k/{token}/lumen-basin"
        client.post("/subscribe/lumen-basin", data={"address": ADA})
        client.post(own, data={"action": "pause", "weeks": "1"})
        client.post(own, data={"action": "change-address", "address": "ada@new.example.org"})
        client.post(own, data={"action": "send"})
        leave = app.tokens.make_link_token(Purpose.unsubscribe, issue, subscriber)
        client.post(f"/u/{leave}", data={"action": "unsubscribe"})
        client.post(f"/u/{leave}", data={"action": "reason", "comment": "enough"})
    bounces.suppress(app.database, [address_hash], SuppressionReason.hard_bounce)
    with app.database.transaction() as session:
        feedback.keep_unrecognized(session, issue, subscriber, f"Subject: {MARKER}".encode(), datetime.now(UTC))
    return issue, subscriber, address_hash


def test_every_table_is_classified_as_personal_or_not() -> None:
    assert {table.name for table in Base.metadata.sorted_tables} == (
        IMPERSONAL | OF_STAFF | UPLOADED | set(personal_tables())
    )


def test_erasure_keeps_only_a_keyed_hash(app: Container, person: tuple[int, int, bytes]) -> None:
    issue, subscriber, address_hash = person
    counts = report.status(app.database, issue, NOW).counts
    assert plant(app, subscriber, address_hash) >= 20
    held = {name for name, rows in dump(app).items() if any(MARKER in row for row in rows)}
    assert held >= {
        "subscriber",
        "subscription",
        "consent",
        "delivery",
        "feedback",
        "signup",
        "transactional_email",
        "suppression",
    }
    assert held >= {"address_change"}

    done = personal_data.erase(app.database, address_hash, NOW)
    assert (done.known, done.subscriptions, done.requests) == (True, 1, 1)

    after = dump(app)
    for name, rows in after.items():
        assert not [row for row in rows if MARKER in row or ADA in row or "ada@" in row], name
    with app.database.transaction() as session:
        for name, where in personal_tables().items():
            left = session.scalar(
                text(f"SELECT count(*) FROM {name} WHERE {where}"), {"id": subscriber, "hash": address_hash}
            )
            # The ledger's row keeps its number, which leads to nobody.
            assert left == (1 if name in ("suppression", "delivery") else 0), name
        hashes = [row for rows in after.values() for row in rows if address_hash.hex() in row]
        assert len(hashes) == 1
    assert any(BOB in row for row in after["subscriber"])
    assert report.status(app.database, issue, NOW).counts == counts
    assert report.audit(app.database, issue) == []
    assert not any(
        personal_data.export(app.database, address_hash)[PersonalDataTable(t)]
        for t in ("subscriber", "consents", "deliveries")
    )
    assert send_transactional(app) == 0


def test_no_subscription_remains_without_its_subscriber(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    """No foreign key sees to it: whoever makes a subscription holds the reader, and leaving takes it along."""
    import_issue("en")
    add_subscribers(f"{ADA};en;\n{BOB};en;")
    ada, bob = (app.tokens.address_hash(address) for address in (ADA, BOB))

    def leave(address_hash: bytes) -> None:
        with app.database.transaction() as session:
            session.execute(text("DELETE FROM subscriber WHERE address_hash = :hash"), {"hash": address_hash})

    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:
            reader = subscribers.by_hash(session, ada)
            assert reader
            subscribers.subscribe(session, 4711, reader.id, 1)
            leaving = pool.submit(leave, ada)
            wait_for_lock(session, leaving)
        leaving.result()
        with app.database.transaction() as session:
            assert session.execute(text("SELECT count(*) FROM subscription")).scalar_one() == 1
            reader = subscribers.by_hash(session, bob)
            assert reader
            session.execute(text("DELETE FROM subscriber"))
            joining = pool.submit(tie, app, reader.id)
            wait_for_lock(session, joining)
        with pytest.raises(NoResultFound):
            joining.result()
    assert dump(app)["subscription"] == []


def tie(app: Container, subscriber: int) -> None:
    with app.database.transaction() as session:
        subscribers.subscribe(session, 4711, subscriber, 1)


def test_export_contains_planted_data(app: Container, person: tuple[int, int, bytes]) -> None:
    _, subscriber, address_hash = person
    plant(app, subscriber, address_hash)
    held = json.loads(personal_data.to_json(personal_data.export(app.database, address_hash)))
    assert set(held) == {
        "subscriber", "subscriptions", "consents", "deliveries", "feedback", "unrecognized mails", "sign-ups",
        "changes of address",
        "mails about the subscription", "suppression",
    }  # fmt: skip
    for table, rows in held.items():
        assert any(MARKER in json.dumps(row) for row in rows), table
    mine = {"subscriber_id", "id", "address_hash"}
    tables = {
        "subscriber": "subscriber", "consent": "consents", "signup": "sign-ups", "suppression": "suppression",
    }  # fmt: skip
    for table, name in tables.items():
        columns = {column.name for column in Base.metadata.tables[table].columns} - mine
        shown = set(held[name][0]) | {"newsletter_id", "sections"}
        assert columns <= shown, table


def test_erasing_during_a_send_skips_pending_deliveries(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    issue = import_issue("en")
    add_subscribers(f"{ADA};en;\n{BOB};en;")
    prepare(issue)
    assert personal_data.erase(app.database, app.tokens.address_hash(ADA), NOW).known
    assert send() == 1
    assert [mail.recipients[0] for mail in inbox.messages()] == [BOB]
    status = report.status(app.database, issue, NOW)
    assert status.state == "sent"
    assert (status.counts.sent, status.counts.skipped) == (1, 1)
    assert report.audit(app.database, issue) == []


def test_import_does_not_restore_an_erased_address(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_subscribers(f"{ADA};en;")
    personal_data.erase(app.database, app.tokens.address_hash(ADA), NOW)
    add_subscribers(f"{ADA};en;\n{BOB};en;")
    assert not any(ADA in row for rows in dump(app).values() for row in rows)


def test_erasing_an_unknown_address_stores_nothing(app: Container) -> None:
    assert not personal_data.erase(app.database, app.tokens.address_hash("x@example.org"), NOW).known
    assert dump(app)["suppression"] == []


def test_page_shows_and_erases_data(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_subscribers(f"{ADA};en;water-and-rivers")
    with app.database.transaction() as session:
        subscriber = session.scalar(text("SELECT id FROM subscriber")) or 0
    with TestClient(create_app(app)) as client:
        token = app.tokens.make_link_token(Purpose.magic_link, int(datetime.now(UTC).timestamp()), subscriber)
        own = f"/k/{token}/lumen-basin"
        page = client.get(own + "/data")
        assert ADA in page.text
        assert "a form" in page.text  # the source of the consent
        french = client.get(own + "/data?lang=fr").text
        for label, value in (
            ("Langues", "English"),
            ("Rubriques", "Eau et rivières"),
            ("Depuis", r"\d+ \w+ 20\d\d, \d\d:\d\d"),
            ("Accord donné", "Oui"),
            ("Fréquence", "Chaque numéro"),
        ):
            assert re.search(rf"<dt>{label}</dt>\s*<dd><bdi>{value}</bdi>", french), label
        # Pages of ours, mails and bounces by their names in the reader's language; times on the reader's clock.
        with app.database.transaction() as session:
            session.execute(text("UPDATE subscriber SET time_zone = 'Asia/Tokyo', created_at = '2026-01-31 20:00Z'"))
            session.execute(text("UPDATE subscription SET consent_source = 'the telephone'"))
            session.execute(
                text("INSERT INTO feedback (kind, at, detail, subscriber_id) VALUES ('bounce', now(), '{}', :id)"),
                {"id": subscriber},
            )
        client.post(own, data={"action": "send"})
        french = client.get(own + "/data?lang=fr").text
        for label, value in (
            ("Depuis", "1er février 2026, 05:00"),
            ("Origine", "the telephone"),
            ("Objet", "Un courriel n’a pas pu être remis"),
            ("Objet", "Gérer mon abonnement"),
        ):
            assert re.search(rf"<dt>{label}</dt>\s*<dd><bdi>{value}</bdi>", french), label
        file = client.get(own + "/data.json")
        assert file.json()["subscriber"][0]["address"] == ADA
        assert file.headers["Cache-Control"] == "no-store"
        assert client.post(own + "/data", data={"action": "erase"}).status_code == 422
        assert client.get(own).status_code == 200
        erased = client.post(own + "/data", data={"action": "erase", "sure": "yes"}).text
        assert "Everything has been erased" in erased
        assert client.get(own).status_code == 404
        assert client.post(own, data={"action": "send"}).status_code == 404


KEEP = RetentionPolicy(request_days=7, transactional_days=30, feedback_days=100, delivery_days=100, inactive_days=1000)


def test_page_shows_reasons_in_the_readers_language(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_subscribers(f"{ADA};en;")
    with app.database.transaction() as session:
        subscriber = session.scalar(text("SELECT id FROM subscriber")) or 0
    told = {}
    with TestClient(create_app(app)) as client:
        token = app.tokens.make_link_token(Purpose.magic_link, int(datetime.now(UTC).timestamp()), subscriber)
        own = f"/k/{token}/lumen-basin/data?lang=fr"
        for reason in SuppressionReason:
            bounces.lift_suppressions(app.database, [app.tokens.address_hash(ADA)])
            bounces.suppress(app.database, [app.tokens.address_hash(ADA)], reason)
            found = re.search(r"<dt>Motif</dt>\s*<dd><bdi>([^<]+)</bdi>", client.get(own).text)
            assert found, reason
            told[reason] = found[1]
    assert told[SuppressionReason.hard_bounce] == "Les courriels n’ont pas pu être remis à votre adresse"
    assert len(set(told.values())) == len(SuppressionReason)
    profile = preferences.profile(app.database, SubscriptionRef(subscriber, newsletter=1), datetime.now(UTC))
    assert profile
    describer = RowDescriber(profile, str.upper, datetime.now(UTC).date())
    for skip_reason in SkipReason:
        ((_, words, _),) = describer.describe({"skip_reason": skip_reason}).labelled
        assert words.isupper(), skip_reason
    for channel in ConsentChannel:
        ((_, words, language),) = describer.describe({"channel": channel}).labelled
        assert words.isupper() or language == "en", channel


def test_retention_deletes_expired_data(app: Container, person: tuple[int, int, bytes]) -> None:
    issue, subscriber, address_hash = person
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET last_reply = '550 5.1.1 <ada@example.org> unknown'"))
    assert retention.run(app.database, KEEP, datetime.now(UTC)) == dict.fromkeys(
        (
            "requests",
            "changes of address",
            "transactional emails",
            "feedback",
            "replies",
            "unrecognized mails",
            "requests for texts",
            "versions of texts",
            "attempts",
            "readers",
        ),
        0,
    )
    removed = retention.run(app.database, KEEP, datetime.now(UTC) + timedelta(days=8))
    assert removed
    assert (
        removed[RetentionCategory.requests],
        removed[RetentionCategory.address_changes],
        removed[RetentionCategory.feedback],
    ) == (1, 1, 0)
    assert removed[RetentionCategory.attempts] > 0
    removed = retention.run(app.database, KEEP, datetime.now(UTC) + timedelta(days=101))
    assert removed
    assert (removed[RetentionCategory.feedback], removed[RetentionCategory.replies]) == (1, 2)
    with app.database.transaction() as session:
        assert set(session.execute(text("SELECT last_reply FROM delivery")).scalars()) == {"550 5.1.1"}
        assert session.execute(text("SELECT kind, subscriber_id, detail FROM feedback")).all() == [
            ("unsubscribe", None, {})
        ]
    removed = retention.run(app.database, KEEP, datetime.now(UTC) + timedelta(days=1001))
    assert removed
    assert removed[RetentionCategory.subscribers] == 1
    rows = dump(app)
    assert not any(ADA in row for found in rows.values() for row in found)
    assert any(BOB in row for row in rows["subscriber"])
    assert report.audit(app.database, issue) == []
    assert len(retention.list_runs(app.database)) == 4
    assert subscriber
    assert address_hash


def test_zero_retention_days_keep_data(app: Container, person: tuple[int, int, bytes]) -> None:
    keep = RetentionPolicy(request_days=7, transactional_days=30, feedback_days=0, delivery_days=0, inactive_days=0)
    removed = retention.run(app.database, keep, datetime.now(UTC) + timedelta(days=10_000))
    assert removed
    assert set(removed) == {
        "requests", "changes of address", "transactional emails", "unrecognized mails", "requests for texts",
        "versions of texts", "attempts",
    }  # fmt: skip
    assert person


def test_retention_runs_once_a_day(app: Container) -> None:
    assert retention.run_if_due(app.database, KEEP, NOW) is not None
    assert retention.run_if_due(app.database, KEEP, NOW + timedelta(hours=22)) is None
    assert retention.run_if_due(app.database, KEEP, NOW + timedelta(hours=24)) is not None


def test_logs_and_journals_contain_no_address(
    app: Container, person: tuple[int, int, bytes], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert person
    kept = [record.getMessage() for record in caplog.records]
    kept += [file.read_bytes().decode("utf-8", "replace") for file in (tmp_path / "state").rglob("*") if file.is_file()]
    assert not [words for words in kept if "ada@" in words]
