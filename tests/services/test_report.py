"""Explaining a delivery in plain words, counting, and finding contradictions."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from mailer.adapters.inbox import RunningInbox
from mailer.bootstrap import Mailer
from mailer.domain.states import IssueState
from mailer.domain.throttling import Kind, Throttle
from mailer.domain.ties import Tie
from mailer.services import approve, compose, expand, explain, feedback, leave, report, schedule
from mailer.services.explain import Explanation
from mailer.services.report import LanguageRow, NotFound
from mailer.store import audit as ledger_audit
from mailer.store import batches, ledger, throttles
from tests.conftest import NOW
from tests.mails import mails

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


def explained(parts: Mailer, issue: int, name: str) -> tuple[Explanation, str]:
    address = f"{name}@example.org"
    found = explain.explain(parts.database, issue, address, parts.tokens.address_hash(address))
    return found, "\n".join(found.sentences)


def run(parts: Mailer, statement: str) -> None:
    with parts.database.transaction() as session:
        assert session.connection().execute(text(statement)).rowcount


@pytest.fixture
def sent(import_issue: Import, add_readers: AddReaders, prepare: Prepare, send: Send) -> int:
    issue = import_issue("en", "fr", "bs", "sr-Latn")
    add_readers(READERS)
    prepare(issue)
    send()
    return issue


def test_why_a_reader_got_an_edition(parts: Mailer, sent: int) -> None:
    ann, said = explained(parts, sent, "ann")
    assert (ann.state, ann.language, len(ann.sections)) == ("sent", "en", 6)
    assert "ann@example.org reads en." in said
    assert "They follow every section." in said
    assert "Their edition is in en, because they read en, with: News and events; Water and rivers;" in said
    assert "Consent given on 2 January 2026 by way of “a form”." in said
    assert "at the first attempt; the relay said: 250" in said

    bea, said = explained(parts, sent, "bea")
    assert (bea.language, bea.sections) == ("fr", ["Water and rivers"])
    assert "They follow Water and rivers." in said
    assert "because they read fr-CA" in said

    cil, said = explained(parts, sent, "cil")
    assert cil.language == "bs"
    assert "because the newsletter falls back from hr to it" in said

    dan, said = explained(parts, sent, "dan")
    assert dan.language == "en"
    assert "because nothing they read is there, and it is the newsletter's default" in said

    _, said = explained(parts, sent, "gil")
    assert "3 of its stories had no bs text and were labelled." in said


def test_why_a_reader_got_nothing(parts: Mailer, sent: int) -> None:
    eve, said = explained(parts, sent, "eve")
    assert (eve.state, eve.reason, eve.language, eve.sections) == ("skipped", "nothing_in_sections", None, [])
    assert "None of the sections they follow has a story in this issue." in said
    assert "They follow no section of their own choice." in said

    nobody, said = explained(parts, sent, "nobody")
    assert nobody.state == "unknown"
    assert said == "Nobody with the address nobody@example.org is known here."

    feedback.suppress(parts.database, [parts.tokens.address_hash("nobody@example.org")], "complaint")
    assert "The address was suppressed on" in explained(parts, sent, "nobody")[1]

    run(
        parts,
        "DELETE FROM subscription s USING subscriber r WHERE r.id = s.subscriber_id AND address LIKE 'fay@%'",
    )
    assert "They have no subscription to lumen-basin" in explained(parts, sent, "fay")[1]


def test_every_reason_has_its_sentence(parts: Mailer, sent: int) -> None:
    for reason, sentence in {
        "unsubscribed": "They have unsubscribed, so nothing was sent.",
        "unconfirmed": "They never confirmed their subscription, so nothing was sent.",
        "suppressed": "Their address must not be mailed, so nothing was sent.",
        "no_language": "The issue has no language that they read, nor one that the newsletter falls back to.",
        "cancelled": "The issue was cancelled before their turn came.",
    }.items():
        run(parts, f"UPDATE delivery SET state = 'skipped', reason = '{reason}'")
        assert sentence in explained(parts, sent, "ann")[1]


def test_every_state_has_its_sentence(parts: Mailer, sent: int) -> None:
    for change, sentence in {
        "state = 'failed', reply = '550 5.1.1 no', attempts = 3": "after 3 attempts): 550 5.1.1 no.",
        "state = 'uncertain', reply = 'lost'": "no answer was seen: lost. It is not sent again by itself.",
        "state = 'sending'": "It is with a worker right now.",
        "state = 'pending', reply = '451 busy'": "The last attempt was deferred: 451 busy. The next is due ",
        "state = 'pending', attempts = 0": "It waits for its turn; it is due ",
    }.items():
        run(parts, f"UPDATE delivery SET {change}")
        assert sentence in explained(parts, sent, "ann")[1]


def test_what_waits_because_the_issue_is_paused(
    parts: Mailer, import_issue: Import, add_readers: AddReaders, prepare: Prepare
) -> None:
    issue = import_issue("en")
    add_readers(READERS)
    assert "Issue 1 is draft: its audience is not frozen yet." in explained(parts, issue, "ann")[1]
    prepare(issue)
    schedule.pause(parts.database, issue, "tests")
    assert "It waits: the issue is paused." in explained(parts, issue, "ann")[1]
    add_readers("late@example.org;en;")
    assert "They were not subscribed when the audience was frozen" in explained(parts, issue, "late")[1]


def test_what_holds_a_delivery_back_is_named(
    parts: Mailer, import_issue: Import, add_readers: AddReaders, prepare: Prepare
) -> None:
    issue = import_issue("en")
    add_readers("ann@example.org;en;\nbea@gmail.com;en;")
    prepare(issue)
    now = datetime.now(UTC)

    def said(address: str) -> str:
        around = explain.Around(now, parts.routes, parts.destinations, parts.links, "")
        hashed = parts.tokens.address_hash(address)
        return "\n".join(explain.explain(parts.database, issue, address, hashed, around).sentences)

    def throttle(kind: Kind, name: str, how: Callable[[Throttle], Throttle]) -> None:
        with parts.database.transaction() as session:
            throttles.change(session, kind, name, how)

    until = now + timedelta(hours=2)
    by_hand: dict[str, Any] = {"shut_until": until, "by_hand": True, "reason": "asked by their postmaster"}
    throttle(Kind.destination, "Gmail", lambda one: replace(one, **by_hand))
    throttle(Kind.destination, "example.org", lambda one: one.slowed(now, 20, 0, "450 4.2.1 slower"))
    held = f"Gmail is held until {until:%-d %B %Y at %H:%M} UTC: asked by their postmaster."
    assert held in said("bea@gmail.com")
    ann = said("ann@example.org")
    assert "It waits for its turn; it has been due since " in ann
    assert "example.org is slowed down to 10 a second: 450 4.2.1 slower." in ann
    assert "Gmail" not in ann
    throttle(Kind.relay, "relay", lambda one: one.opened(now, "refused the connection"))
    assert "The relay relay gets nothing until " in said("ann@example.org")
    schedule.limit(parts.database, issue, 5, "tests")
    assert "The issue sends at most 5 a second." in said("ann@example.org")


def test_a_message_is_found_in_the_relays_log(parts: Mailer, sent: int, inbox: RunningInbox) -> None:
    def found(address: str) -> Explanation:
        around = explain.Around(NOW, parts.routes, parts.destinations, parts.links, "")
        return explain.explain(parts.database, sent, address, parts.tokens.address_hash(address), around)

    ann = found("ann@example.org")
    assert (ann.message_id, ann.relay) == (mails(inbox)["ann@example.org"]["Message-ID"], "relay")
    assert f"Its Message-ID is {ann.message_id}; it went by the relay “relay”." in ann.sentences
    assert found("eve@example.org").message_id is None, "it was never handed over"


def test_leaving_shows_in_the_explanation(
    parts: Mailer, import_issue: Import, add_readers: AddReaders, prepare: Prepare, send: Send
) -> None:
    issue = import_issue("en")
    add_readers(READERS)
    prepare(issue)
    with parts.database.transaction() as session:
        reader = session.scalar(text("SELECT id FROM subscriber WHERE address = 'ann@example.org'"))
    assert leave.leave(parts.database, Tie(int(str(reader)), issue), "one click", NOW)
    send()
    _, said = explained(parts, issue, "ann")
    assert "Consent withdrawn on 30 September 2026 by way of “one click”." in said
    assert "They have unsubscribed, so nothing was sent." in said


def test_there_is_no_such_issue(parts: Mailer) -> None:
    asks: list[Callable[[], object]] = [
        lambda: report.status(parts.database, 9, NOW),
        lambda: report.audit(parts.database, 9),
        lambda: report.by_language(parts.database, 9),
        lambda: explain.explain(parts.database, 9, "ann@example.org", b""),
    ]
    for ask in asks:
        with pytest.raises(NotFound, match="There is no issue 9"):
            ask()


def test_readers_are_counted_by_the_language_that_serves_their_first_wish(parts: Mailer, sent: int) -> None:
    found = report.by_language(parts.database, sent)
    rows = {row.language: row for row in found}
    assert rows["en"] == LanguageRow("en", readers=3, editions=1, sent=2, fell_back=0, nothing=1)
    assert rows["fr"] == LanguageRow("fr", readers=1, editions=1, sent=1, fell_back=0)
    assert rows["hr"] == LanguageRow("hr", readers=1, editions=1, sent=1, fell_back=1)
    assert rows["bs"] == LanguageRow("bs", readers=1, editions=1, sent=1, fell_back=1)
    assert rows[""] == LanguageRow("", readers=1, editions=1, sent=1, fell_back=1)
    assert found[-1].language == "", "the rest of the world last"


def test_counts_add_up_at_every_moment(
    parts: Mailer, import_issue: Import, add_readers: AddReaders, send: Send
) -> None:
    issue = import_issue("en", "fr")
    lines = (f"r{n}@example.org;{'en' if n % 2 else 'fr'};{'' if n % 7 else 'none'}" for n in range(40))
    add_readers("\n".join(lines))
    seen = []

    def look() -> None:
        found = report.status(parts.database, issue, datetime.now(UTC))
        c = found.counts
        assert c.candidates == c.sent + c.failed + c.skipped + c.pending + c.uncertain
        assert report.audit(parts.database, issue) == []
        seen.append((found.state, c.candidates, c.pending, c.sent))

    look()
    approve.approve(parts.database, compose.load(parts.database, parts.links, issue), "tests")
    schedule.schedule(parts.database, issue, NOW, "tests")
    schedule.begin_due(parts.database, NOW, 10)
    look()
    while expand.expand_some(parts.database, issue, NOW):
        look()
    while compose.render_stale(parts.database, parts.renderer, parts.links, "", issue, 8):
        look()
    assert expand.settle(parts.database, issue, datetime.now(UTC))
    for batch, _ in schedule.hand_out(parts.database, datetime.now(UTC), timedelta(0), 100):
        parts.sender.send_batch(batch)
        look()
    send()
    look()
    assert seen[0] == (IssueState.draft, 0, 0, 0)
    assert seen[1] == (IssueState.sending, 40, 40, 0)
    assert seen[-1] == (IssueState.sent, 40, 0, 34)
    assert report.listing(parts.database)[0][4].sent == 34


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
        "UPDATE batch SET last = 6, candidates = candidates - 1, sent = sent - 1",
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
        "UPDATE delivery SET reply = '' WHERE subscriber_id = 1",
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
    "skipped without a reason": ("UPDATE delivery SET reason = NULL WHERE state = 'skipped'", {"reason"}),
    "sent, and a reason why not": (
        "UPDATE delivery SET reason = 'paused' WHERE subscriber_id = 1",
        {"reason"},
    ),
    "outside every batch, behind": ("UPDATE batch SET last = 6", {"outside"}),
    "outside every batch, before": ("UPDATE batch SET first = 2", {"candidates", "counts", "outside"}),
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
        "INSERT INTO batch (issue_id, first, last, state, candidates, epoch, worker, retry, sent, failed,"
        " skipped, uncertain) SELECT issue_id, last, last, 'done', 0, 0, '', false, 0, 0, 0, 0 FROM batch",
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
def test_a_planted_contradiction_is_found(parts: Mailer, sent: int, what: str) -> None:
    assert report.audit(parts.database, sent) == []
    change, broken = PLANTED[what]
    with pytest.raises(RollBack), parts.database.transaction() as session:
        for statement in change.split(";"):
            assert session.connection().execute(text(statement)).rowcount
        found = ledger_audit.findings(session, sent)
        assert {finding.rule for finding in found} == broken, found
        assert all(finding.batch or finding.subscriber for finding in found), "the offending rows are named"
        raise RollBack
    assert report.audit(parts.database, sent) == []


class RollBack(Exception):
    pass


def test_many_contradictions_are_counted_and_some_named(
    parts: Mailer, import_issue: Import, add_readers: AddReaders, prepare: Prepare, send: Send
) -> None:
    issue = import_issue("en")
    add_readers("\n".join(f"r{n}@example.org;en;" for n in range(30)))
    prepare(issue)
    send()
    run(parts, "UPDATE delivery SET reply = NULL")
    found = report.audit(parts.database, issue)
    assert found[0] == ("outcome", "The delivery to subscriber 1 is sent without an outcome.", None, 1)
    assert found[-1].what == "And 10 more like these."
    assert len(found) == 21


def test_who_came_or_moved_after_the_audience_was_frozen_is_not_missing(
    parts: Mailer, sent: int, add_readers: AddReaders
) -> None:
    run(parts, "UPDATE subscription SET changed_at = now() - interval '1 hour'")
    add_readers("late@example.org;en;")
    assert report.audit(parts.database, sent) == []
    run(parts, "UPDATE subscription SET changed_at = now() - interval '1 hour'")
    assert [one.subscriber for one in report.audit(parts.database, sent)] == [8]
    run(parts, "UPDATE subscriber SET keys_from = now() WHERE id = 8")
    assert report.audit(parts.database, sent) == [], "what they had at another address came with them"


def test_the_ledger_itself_refuses_a_second_row(parts: Mailer, sent: int) -> None:
    with pytest.raises(IntegrityError, match="duplicate key"):
        run(parts, "INSERT INTO delivery SELECT * FROM delivery WHERE subscriber_id = 1")


def test_what_is_with_a_worker_is_counted(
    parts: Mailer, import_issue: Import, add_readers: AddReaders, prepare: Prepare
) -> None:
    issue = import_issue("en")
    add_readers(READERS)
    prepare(issue)
    assert report.in_flight(parts.database, issue) == 0
    lease = timedelta(minutes=1)
    with parts.database.transaction() as session:
        claim = batches.claim(session, 1, "worker", lease)
        assert claim is not None
        batches.keep(session, claim, lease)
        assert len(ledger.take(session, claim, claim.first, 4)[0]) == 4
    assert report.in_flight(parts.database, issue) == 4
