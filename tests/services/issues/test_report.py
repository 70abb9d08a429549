"""Explanations, counts and audits of deliveries."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.consents import ConsentChannel
from mailer.domain.errors import IssueNotFound
from mailer.domain.labels import SKIP_REASON_CAUSES
from mailer.domain.states import IssueState, SkipReason
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.suppressions import SuppressionReason
from mailer.domain.throttling import ThrottleScope, ThrottleState
from mailer.models import Issue
from mailer.services.delivery import dispatch, expand
from mailer.services.delivery.explain import Explanation
from mailer.services.feedback import bounces
from mailer.services.issues import approve, compile, report, schedule
from mailer.services.issues.report import LanguageRow
from mailer.services.subscribers import unsubscribe
from mailer.store import audit as ledger_audit
from mailer.store import throttles
from tests.conftest import NOW
from tests.support.emails import emails_by_recipient
from tests.support.explained import explain_delivery

Import = Callable[..., int]
AddReaders = Callable[[str], None]
Prepare = Callable[[int], None]
Send = Callable[[], int]

READERS = """
    ann@example.org;en;
    bea@example.org;fr-CA|en;water-and-rivers
    cil@example.org;hr;schools-and-skills
    dan@example.org;ja;health-and-care
    eve@example.org;en;none
    fay@example.org;en;
    gil@example.org;bs;schools-and-skills
"""


def explained(app: Container, issue: int, name: str) -> tuple[Explanation, str]:
    address = f"{name}@example.org"
    found = explain_delivery(app, issue, address)
    return found, "\n".join(found.sentences)


def run(app: Container, statement: str) -> None:
    with app.database.transaction() as session:
        assert session.connection().execute(text(statement)).rowcount


@pytest.fixture
def sent(prepared_issue: Callable[..., int], send: Send) -> int:
    issue = prepared_issue(READERS, "en", "fr", "bs", "sr-Latn")
    send()
    return issue


def test_why_a_reader_got_an_edition(app: Container, sent: int) -> None:
    ann, said = explained(app, sent, "ann")
    assert (ann.state, ann.language, len(ann.sections)) == ("sent", "en", 6)
    assert "ann@example.org reads en." in said
    assert "They follow every section." in said
    assert "Their edition is in en, because they read en, with: News and events; Water and rivers;" in said
    assert "Consent given on 2 January 2026 by way of an import (“a form”)." in said
    assert "at the first attempt; the relay said: 250" in said

    bea, said = explained(app, sent, "bea")
    assert (bea.language, bea.sections) == ("fr", ["Water and rivers"])
    assert "They follow Water and rivers." in said
    assert "because they read fr-CA" in said

    cil, said = explained(app, sent, "cil")
    assert cil.language == "bs"
    assert "because the newsletter falls back from hr to it" in said

    dan, said = explained(app, sent, "dan")
    assert dan.language == "en"
    assert "because it is the newsletter's default and there is no edition in their languages" in said

    _, said = explained(app, sent, "gil")
    assert "3 of its stories had no bs text and were included in another language, with a label." in said


def test_bounce_is_explained_and_counted(app: Container, sent: int) -> None:
    assert report.status(app.database, sent, datetime.now(UTC)).bounced == 0
    run(
        app,
        "INSERT INTO feedback (kind, at, newsletter_id, issue_id, subscriber_id, detail) "
        f"SELECT 'bounce', '2026-10-03 09:00Z', 1, {sent}, id, '{{\"reply\": \"5.1.1 no such user\"}}' "
        "FROM subscriber WHERE address LIKE 'ann@%'",
    )
    bounces.suppress(app.database, [app.tokens.address_hash("ann@example.org")], SuppressionReason.hard_bounce)
    ann, said = explained(app, sent, "ann")
    assert (ann.state, ann.bounce) == ("sent", "5.1.1 no such user")
    assert "It came back on 3 October 2026 at 09:00:00 UTC: 5.1.1 no such user." in said
    assert "The address was suppressed on" in said
    assert report.status(app.database, sent, datetime.now(UTC)).bounced == 1
    assert explained(app, sent, "bea")[0].bounced_at is None


def test_why_a_reader_got_nothing(app: Container, sent: int) -> None:
    eve, said = explained(app, sent, "eve")
    assert (eve.state, eve.skip_reason, eve.language, eve.sections) == (
        "skipped",
        "nothing_in_sections",
        None,
        [],
    )
    assert "Nothing was sent: the sections that they follow have no stories in it." in said
    assert "They follow no section." in said

    nobody, said = explained(app, sent, "nobody")
    assert nobody.state == "unknown"
    assert said == "The address nobody@example.org is unknown."

    bounces.suppress(app.database, [app.tokens.address_hash("nobody@example.org")], SuppressionReason.complaint)
    assert "The address was suppressed on" in explained(app, sent, "nobody")[1]

    run(
        app,
        "DELETE FROM subscription s USING subscriber r WHERE r.id = s.subscriber_id AND address LIKE 'fay@%'",
    )
    assert "They have no subscription to lumen-basin" in explained(app, sent, "fay")[1]


@pytest.mark.parametrize("state", ["sent", "failed", "uncertain", "pending", "skipped"])
def test_what_keeps_mail_from_a_reader_is_said_first(app: Container, sent: int, state: str) -> None:
    reason = "'nothing_in_sections'" if state == "skipped" else "NULL"
    run(app, f"UPDATE delivery SET state = '{state}', skip_reason = {reason}, last_reply = 'lost'")

    def first(change: str = "") -> str:
        if change:
            run(app, f"UPDATE subscription SET {change}")
        return explained(app, sent, "ann")[0].sentences[0]

    assert first().startswith("ann@example.org reads en.")
    assert (
        first("paused_until = '2126-12-24 09:00Z'")
        == "ann@example.org has paused the newsletter until 24 December 2126 at 09:00 UTC."
    )
    assert first("paused_until = '2020-12-24 09:00Z'").startswith("ann@example.org reads en."), "it is over"
    assert first("state = 'pending'") == "ann@example.org has not confirmed the subscription."
    assert (
        first("state = 'unsubscribed', changed_at = '2026-10-03 09:00Z'")
        == "ann@example.org unsubscribed on 3 October 2026 at 09:00 UTC."
    )
    bounces.suppress(app.database, [app.tokens.address_hash("ann@example.org")], SuppressionReason.manual)
    assert first().startswith("The address was suppressed on ")
    assert [line for line in explained(app, sent, "ann")[0].sentences if "suppressed on" in line] == [first()]


def test_every_reason_has_its_sentence(app: Container, sent: int) -> None:
    for reason in SkipReason:
        run(app, f"UPDATE delivery SET state = 'skipped', skip_reason = '{reason}'")
        assert f"Nothing was sent: {SKIP_REASON_CAUSES[reason]}." in explained(app, sent, "ann")[1]


def test_every_state_has_its_sentence(app: Container, sent: int) -> None:
    for change, sentence in {
        "state = 'failed', last_reply = '550 5.1.1 no', attempts = 3": "after 3 attempts): 550 5.1.1 no.",
        "state = 'failed', last_reply = '451 4.3.0 no', attempts = 9": "It was given up (",
        "state = 'uncertain', last_reply = 'lost'": "no reply was received: lost. It is not sent again automatically.",
        "state = 'sending'": "A worker is sending it right now.",
        "state = 'pending', last_reply = '451 busy', due_at = now() + interval '1 day'": "451 busy. The next is due ",
        "state = 'pending', attempts = 0": "It is queued; it is due ",
    }.items():
        run(app, f"UPDATE delivery SET {change}")
        assert sentence in explained(app, sent, "ann")[1]


def test_paused_issue_is_explained(
    app: Container, import_issue: Import, add_subscribers: AddReaders, prepare: Prepare
) -> None:
    issue = import_issue("en")
    add_subscribers(READERS)
    assert "Issue 1 is draft: its audience is not frozen yet." in explained(app, issue, "ann")[1]
    prepare(issue)
    schedule.pause(app.database, issue, "tests")
    assert "It is waiting, because the issue is paused." in explained(app, issue, "ann")[1]
    add_subscribers("late@example.org;en;")
    assert "They were not subscribed when the audience was frozen" in explained(app, issue, "late")[1]


def test_throttles_are_explained(
    app: Container, import_issue: Import, add_subscribers: AddReaders, prepare: Prepare
) -> None:
    issue = import_issue("en")
    add_subscribers("ann@example.org;en;\nbea@gmail.com;en;")
    prepare(issue)
    now = datetime.now(UTC)

    def said(address: str) -> str:
        return "\n".join(explain_delivery(app, issue, address, now).sentences)

    def throttle(kind: ThrottleScope, name: str, how: Callable[[ThrottleState], ThrottleState]) -> None:
        with app.database.transaction() as session:
            throttles.update(session, kind, name, how)

    until = now + timedelta(hours=2)
    by_hand: dict[str, Any] = {"open_until": until, "manual": True, "reason": "asked by their postmaster"}
    throttle(ThrottleScope.provider, "Gmail", lambda one: replace(one, **by_hand))
    throttle(ThrottleScope.provider, "example.org", lambda one: one.slow_down(now, 20, 0, "450 4.2.1 slower"))
    held = f"Gmail is suspended until {until:%-d %B %Y at %H:%M} UTC: asked by their postmaster."
    assert held in said("bea@gmail.com")
    ann = said("ann@example.org")
    assert "It is queued; it has been due since " in ann
    assert "example.org is slowed down to 10 a second: 450 4.2.1 slower." in ann
    assert "Gmail" not in ann
    throttle(ThrottleScope.relay, "relay", lambda one: one.trip(now, "refused the connection"))
    assert "The relay relay is blocked until " in said("ann@example.org")
    schedule.set_max_rate(app.database, issue, 5, "tests")
    assert "The issue is limited to 5 messages a second." in said("ann@example.org")


def test_message_id_matches_the_relays_log(app: Container, sent: int, inbox: InboxServer) -> None:
    def found(address: str) -> Explanation:
        return explain_delivery(app, sent, address, NOW)

    ann = found("ann@example.org")
    assert (ann.message_id, ann.relay) == (
        emails_by_recipient(inbox)["ann@example.org"]["Message-ID"],
        "relay",
    )
    assert f"Its Message-ID is {ann.message_id}; it was sent through the relay “relay”." in ann.sentences
    assert found("eve@example.org").message_id is None, "it was never handed over"


def test_unsubscription_is_explained(app: Container, prepared_issue: Callable[..., int], send: Send) -> None:
    issue = prepared_issue(READERS, "en")
    with app.database.transaction() as session:
        reader = session.scalar(text("SELECT id FROM subscriber WHERE address = 'ann@example.org'"))
    assert unsubscribe.unsubscribe(
        app.database, SubscriptionRef(int(str(reader)), issue), ConsentChannel.one_click, NOW
    )
    send()
    _, said = explained(app, issue, "ann")
    assert "Consent withdrawn on 30 September 2026 by way of one-click unsubscribe." in said
    assert "Nothing was sent: they have unsubscribed." in said


def test_unknown_issue_raises(app: Container) -> None:
    asks: list[Callable[[], object]] = [
        lambda: report.status(app.database, 9, NOW),
        lambda: report.audit(app.database, 9),
        lambda: report.by_language(app.database, 9),
        lambda: explain_delivery(app, 9, "ann@example.org"),
    ]
    for ask in asks:
        with pytest.raises(IssueNotFound, match="There is no issue 9"):
            ask()


def test_readers_are_counted_by_the_match_of_their_first_language(app: Container, sent: int) -> None:
    found = report.by_language(app.database, sent)
    rows = {row.language: row for row in found}
    assert rows["en"] == LanguageRow("en", subscribers=3, editions=1, sent=2, fell_back=0, not_sent=1)
    assert rows["fr"] == LanguageRow("fr", subscribers=1, editions=1, sent=1, fell_back=0)
    assert rows["hr"] == LanguageRow("hr", subscribers=1, editions=1, sent=1, fell_back=1)
    assert rows["bs"] == LanguageRow("bs", subscribers=1, editions=1, sent=1, fell_back=1)
    assert rows[""] == LanguageRow("", subscribers=1, editions=1, sent=1, fell_back=1)
    assert found[-1].language == "", "the rest of the world last"


def test_counts_add_up_at_every_moment(
    app: Container, import_issue: Import, add_subscribers: AddReaders, send: Send
) -> None:
    issue = import_issue("en", "fr")
    lines = (f"r{n}@example.org;{'en' if n % 2 else 'fr'};{'' if n % 7 else 'none'}" for n in range(40))
    add_subscribers("\n".join(lines))
    seen = []

    def look() -> None:
        found = report.status(app.database, issue, datetime.now(UTC))
        c = found.counts
        assert c.candidates == c.sent + c.failed + c.skipped + c.pending + c.uncertain
        assert report.audit(app.database, issue) == []
        seen.append((found.state, c.candidates, c.pending, c.sent))

    look()
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    schedule.schedule(app.database, issue, NOW, "tests")
    dispatch.start_due(app.database, NOW, 10)
    look()
    while expand.expand_next(app.database, issue, NOW):
        look()
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        look()
    assert dispatch.open_for_sending(app.database, issue, datetime.now(UTC), app.tokens.address_hash)
    for batch, _ in dispatch.enqueue_due(app.database, datetime.now(UTC), timedelta(0), 100):
        app.send_worker.send_batch(batch)
        look()
    send()
    look()
    assert seen[0] == (IssueState.draft, 0, 0, 0)
    assert seen[1] == (IssueState.sending, 40, 40, 0)
    assert seen[-1] == (IssueState.sent, 40, 0, 34)
    assert report.list_issues(app.database)[0][4].sent == 34


PLANTED = {
    "a row is gone": ("DELETE FROM delivery WHERE subscriber_id = 1", {"candidates", "counts"}),
    "a row is gone that was counted as pending": (
        "UPDATE batch SET sent = sent - 1; DELETE FROM delivery WHERE subscriber_id = 1",
        {"candidates", "sum"},
    ),
    "a row is gone, and was never counted": (
        "UPDATE subscription SET changed_at = now() - interval '1 hour';"
        "DELETE FROM delivery WHERE subscriber_id = 1;"
        "UPDATE batch SET candidates = candidates - 1, sent = sent - 1",
        {"missing"},
    ),
    "a reader whom no batch holds": (
        "UPDATE subscription SET changed_at = now() - interval '1 hour' WHERE subscriber_id = 7;"
        "DELETE FROM delivery WHERE subscriber_id = 7;"
        "UPDATE batch SET last_subscriber_id = 6, candidates = candidates - 1, sent = sent - 1",
        {"missing"},
    ),
    "a count is too high": ("UPDATE batch SET sent = sent + 1", {"counts", "sum"}),
    "two counts are wrong, and their sum is right": (
        "UPDATE batch SET sent = sent - 1, failed = failed + 1",
        {"counts"},
    ),
    "another outcome than was counted": (
        "UPDATE delivery SET state = 'failed' WHERE subscriber_id = 1",
        {"counts"},
    ),
    "uncertain, and not counted": (
        "UPDATE delivery SET state = 'uncertain' WHERE subscriber_id = 1",
        {"counts"},
    ),
    "more candidates than rows": ("UPDATE batch SET candidates = candidates + 1", {"candidates", "sum"}),
    "sent, and the relay said nothing": (
        "UPDATE delivery SET last_reply = '' WHERE subscriber_id = 1",
        {"outcome"},
    ),
    "sent at no time": ("UPDATE delivery SET finished_at = NULL WHERE subscriber_id = 2", {"outcome"}),
    "sent, and nobody knows what": (
        "UPDATE delivery SET edition_id = NULL WHERE subscriber_id = 3",
        {"edition"},
    ),
    "sent without being tried": ("UPDATE delivery SET attempts = 0 WHERE subscriber_id = 3", {"attempt"}),
    "failed at no time": (
        "UPDATE delivery SET state = 'failed', finished_at = NULL WHERE subscriber_id = 1;"
        "UPDATE batch SET sent = sent - 1, failed = failed + 1",
        {"failure"},
    ),
    "skipped without a reason": (
        "UPDATE delivery SET skip_reason = NULL WHERE state = 'skipped'",
        {"reason"},
    ),
    "sent, and a reason why not": (
        "UPDATE delivery SET skip_reason = 'paused' WHERE subscriber_id = 1",
        {"reason"},
    ),
    "outside every batch, behind": ("UPDATE batch SET last_subscriber_id = 6", {"outside"}),
    "outside every batch, before": (
        "UPDATE batch SET first_subscriber_id = 2",
        {"candidates", "counts", "outside"},
    ),
    "open in a batch that is done": (
        "UPDATE delivery SET state = 'pending' WHERE subscriber_id = 1; UPDATE batch SET sent = sent - 1",
        {"done"},
    ),
    "open in an issue that was sent": (
        "UPDATE delivery SET state = 'pending' WHERE subscriber_id = 1;"
        "UPDATE batch SET sent = sent - 1, state = 'ready'",
        {"ended"},
    ),
    "rows before the batch was expanded": (
        "UPDATE batch SET state = 'planned', sent = 0, skipped = 0",
        {"planned"},
    ),
    "two batches for one reader": (
        "INSERT INTO batch (issue_id, first_subscriber_id, last_subscriber_id, state, candidates, epoch, worker,"
        " is_retry, sent, failed, skipped, uncertain) SELECT issue_id, last_subscriber_id, last_subscriber_id,"
        " 'done', 0, 0, '', false, 0, 0, 0, 0 FROM batch",
        {"overlap", "candidates", "counts"},
    ),
    "two rows for one reader": (
        "ALTER TABLE delivery DROP CONSTRAINT pk_delivery;"
        "INSERT INTO delivery SELECT * FROM delivery WHERE subscriber_id = 1;"
        "UPDATE batch SET sent = sent + 1, candidates = candidates + 1",
        {"twice"},
    ),
}


@pytest.mark.parametrize("what", PLANTED)
def test_planted_inconsistency_is_found(app: Container, sent: int, what: str) -> None:
    assert report.audit(app.database, sent) == []
    change, broken = PLANTED[what]
    with pytest.raises(RollBack), app.database.transaction() as session:
        for statement in change.split(";"):
            assert session.connection().execute(text(statement)).rowcount
        found = ledger_audit.findings(session, sent)
        assert {finding.rule for finding in found} == broken, found
        assert all(finding.batch or finding.subscriber for finding in found), "the offending rows are named"
        raise RollBack
    assert report.audit(app.database, sent) == []


class RollBack(Exception):
    pass


def test_many_inconsistencies_are_counted_and_some_named(
    app: Container,
    prepared_issue: Callable[..., int],
    send: Send,
) -> None:
    issue = prepared_issue("\n".join(f"r{n}@example.org;en;" for n in range(30)), "en")
    send()
    run(app, "UPDATE delivery SET last_reply = NULL")
    found = report.audit(app.database, issue)
    assert found[0] == ("outcome", "The delivery to subscriber 1 is sent without an outcome.", None, 1)
    assert found[-1].message == "And 10 more like these."
    assert len(found) == 21


def test_later_subscribers_and_address_changes_are_no_findings(
    app: Container, sent: int, add_subscribers: AddReaders
) -> None:
    run(app, "UPDATE subscription SET changed_at = now() - interval '1 hour'")
    add_subscribers("late@example.org;en;")
    assert report.audit(app.database, sent) == []
    run(app, "UPDATE subscription SET changed_at = now() - interval '1 hour'")
    assert [one.subscriber for one in report.audit(app.database, sent)] == [8]
    run(app, "UPDATE subscriber SET address_changed_at = now() WHERE id = 8")
    assert report.audit(app.database, sent) == [], "what they had at another address came with them"


def test_ledger_rejects_a_second_row(app: Container, sent: int) -> None:
    with pytest.raises(IntegrityError, match="duplicate key"):
        run(app, "INSERT INTO delivery SELECT * FROM delivery WHERE subscriber_id = 1")


def test_outcomes_by_language_section_domain_and_against_previous_issues(
    app: Container,
    prepared_issue: Callable[..., int],
    send: Callable[[], int],
) -> None:
    add = [
        f"{name}@{domain};{language};{sections}"
        for name, domain, language, sections in (
            ("ada", "Example.org", "en", "water-and-rivers"),
            ("bo", "example.org", "en", ""),
            ("jeanne", "example.net", "fr", "water-and-rivers"),
        )
    ]
    issue = prepared_issue("\n".join(add), "en", "fr")
    send()
    with app.database.transaction() as session:
        ids = {
            row[0]: row[1] for row in session.execute(text("SELECT split_part(address, '@', 1), id FROM subscriber"))
        }
        session.execute(
            text(
                "INSERT INTO feedback (kind, at, issue_id, subscriber_id, detail) VALUES "
                "('bounce', now(), :issue, :ada, '{}'), ('bounce', now(), :issue, :ada, '{}'), "
                "('unsubscribe', now(), :issue, :jeanne, '{}')"
            ),
            {"issue": issue, **ids},
        )
        session.execute(text("UPDATE delivery SET state = 'failed' WHERE subscriber_id = :bo"), {"bo": ids["bo"]})
    found = report.outcomes(app.database, issue)
    assert {row.name: row.outcome for row in found.languages} == {"en": (1, 1, 1, 0), "fr": (1, 0, 0, 1)}
    assert {row.name: row.outcome for row in found.domains} == {
        "example.org": (1, 1, 1, 0),
        "example.net": (1, 0, 0, 1),
    }
    by_section = {row.name: row.outcome for row in found.sections}
    assert by_section["water-and-rivers"] == (2, 1, 1, 1), "Bo follows every section"
    assert by_section["news-and-events"] == (0, 1, 0, 0)
    with app.database.transaction() as session:
        newsletter, began = session.execute(select(Issue.newsletter_id, Issue.ready_at)).one()
        assert began
        for number, days in ("2026/1", -90), ("2026/2", -1), ("2026/4", 1):
            at = began + timedelta(days=days)
            session.add(Issue(newsletter_id=newsletter, number=number, issue_date=at.date(), ready_at=at))
    this, *before = report.with_previous(app.database, issue)
    assert (this.name, this.outcome, this.on) == ("2026/3", (2, 1, 1, 1), began.date())
    assert [(row.name, row.outcome) for row in before] == [("2026/2", (0, 0, 0, 0)), ("2026/1", (0, 0, 0, 0))]
