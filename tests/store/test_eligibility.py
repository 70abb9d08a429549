"""Preview, expansion, the last check before sending, retry and explanation agree on who may be mailed."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text

from mailer.bootstrap import Container
from mailer.domain.states import DeliveryState, Frequency, SkipReason, SubscriptionState
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.models import Delivery, Subscriber, Subscription, Suppression
from mailer.services.delivery import dispatch, expand
from mailer.store import ledger, resolution
from mailer.store.batches import Claim
from tests.support.explained import explain_delivery

LANGUAGES = {"fr": True, "de": False}
"""Languages of subscribers, and whether the issue, which is only in French, is available to them."""
STORY_BIT, EMPTY_BIT = 0, 40
"""A section with a story, and one without."""
EDITION_REASONS = (SkipReason.no_language, SkipReason.nothing_in_sections)
"""Only decided at expansion: an existing delivery has an edition."""


@dataclass(frozen=True)
class Candidate:
    state: SubscriptionState
    suppressed: bool
    pause_days: int | None
    frequency: Frequency
    language: str
    sections: int
    awaiting: bool = True
    """Whether they have yet to get an issue in a digest."""

    def skip_reason(self, digest: bool) -> SkipReason | None:
        monthly = self.frequency is Frequency.monthly
        holds = {
            SkipReason.unsubscribed: self.state is SubscriptionState.unsubscribed,
            SkipReason.unconfirmed: self.state is SubscriptionState.pending,
            SkipReason.suppressed: self.suppressed,
            SkipReason.paused: (self.pause_days or 0) > 0 and not monthly and not digest,
            SkipReason.digest_only: monthly and not digest,
            SkipReason.no_language: not LANGUAGES[self.language],
            SkipReason.nothing_in_sections: not self.sections >> STORY_BIT & 1,
        }
        return next((reason for reason in SkipReason if holds.get(reason)), None)


CANDIDATES = st.builds(
    Candidate,
    st.sampled_from([SubscriptionState.active] * 3 + list(SubscriptionState)),
    st.sampled_from([False, False, True]),
    st.sampled_from([None, -1, 1]),
    st.sampled_from(Frequency),
    st.sampled_from(list(LANGUAGES)),
    st.sampled_from([0, 1 << STORY_BIT, 1 << EMPTY_BIT, 1 << STORY_BIT | 1 << EMPTY_BIT]),
    st.booleans(),
)


def address(subscriber: int) -> str:
    return f"reader{subscriber}@example.org"


def run(app: Container, *statements: str) -> None:
    with app.database.transaction() as session:
        for statement in statements:
            session.execute(text(statement))


SOURCE = 99
"""An issue that the digest holds."""


def set_up(app: Container, issue: int, candidates: list[Candidate], digest: bool) -> None:
    month = "DATE '2026-09-01'" if digest else "NULL"
    sources = f"ARRAY[{SOURCE}]" if digest else "ARRAY[]::int[]"
    run(
        app,
        *(f"DELETE FROM {table}" for table in ("delivery", "batch", "edition", "language_choice")),
        *(f"DELETE FROM {table}" for table in ("suppression", "subscriber")),
        "UPDATE section SET always_included = false",
        "UPDATE newsletter SET quiet_from = NULL, quiet_until = NULL,"
        " digest_time = (now() - interval '1 minute')::time",
        "UPDATE issue SET state = 'scheduled', frozen_at = NULL, scheduled_at = now() - interval '1 minute',"
        f" digest_month = {month}, digest_source_ids = {sources} WHERE id <> {SOURCE}",
        f"INSERT INTO issue (id, newsletter_id, number, issue_date, state, missing_translations, revision)"
        f" VALUES ({SOURCE}, 1, 'source', '2026-09-01', 'sent', 'fallback', 1) ON CONFLICT DO NOTHING",
        "INSERT INTO issue_translation (issue_id, language, status, subject, preheader, intro)"
        f" VALUES ({SOURCE}, 'fr', 'ready', 'Source', '', '') ON CONFLICT DO NOTHING",
        f"CREATE TABLE IF NOT EXISTS delivery_{SOURCE} PARTITION OF delivery FOR VALUES IN ({SOURCE})",
        f"UPDATE story SET source_issue_id = {SOURCE if digest else 'NULL'}",
    )
    now = datetime.now(UTC)
    with app.database.transaction() as session:
        for subscriber, one in enumerate(candidates, 1):
            hashed = app.tokens.address_hash(address(subscriber))
            session.execute(
                insert(Subscriber).values(
                    id=subscriber,
                    address=address(subscriber),
                    address_hash=hashed,
                    languages=[one.language],
                )
            )
            session.execute(
                insert(Subscription).values(
                    newsletter_id=1,
                    subscriber_id=subscriber,
                    state=one.state,
                    sections=one.sections,
                    frequency=one.frequency,
                    paused_until=None if one.pause_days is None else now + timedelta(days=one.pause_days),
                )
            )
            if one.awaiting:
                session.add(
                    Delivery(
                        issue_id=SOURCE,
                        subscriber_id=subscriber,
                        due_at=now,
                        state=DeliveryState.skipped,
                        skip_reason=SkipReason.digest_only,
                    )
                )
            if one.suppressed:
                session.add(
                    Suppression(
                        address_hash=hashed,
                        reason=SuppressionReason.hard_bounce,
                        source=SuppressionSource.system,
                    )
                )


Reasons = dict[int, SkipReason | None]


def explained(app: Container, issue: int, subscribers: Reasons) -> Reasons:
    return {subscriber: explain_delivery(app, issue, address(subscriber)).skip_reason for subscriber in subscribers}


def expanded(app: Container, issue: int) -> Reasons:
    now = datetime.now(UTC)
    assert dispatch.start_due(app.database, now, 5) == [issue]
    while expand.expand_next(app.database, issue, now):
        pass
    with app.database.transaction() as session:
        rows = session.execute(text(f"SELECT subscriber_id, skip_reason FROM delivery WHERE issue_id = {issue}"))
        return {row.subscriber_id: SkipReason(row.skip_reason) if row.skip_reason else None for row in rows}


def checked_last(app: Container, issue: int, subscribers: Reasons, digest: bool) -> Reasons:
    run(app, f"UPDATE delivery SET state = 'pending', skip_reason = NULL, edition_id = 1 WHERE issue_id = {issue}")
    claim = Claim(1, issue, 1, 1, 100, 1, False, digest, "")
    with app.database.transaction() as session:
        gone = ledger.no_longer_sendable(session, claim, list(subscribers))
        taken, _, _ = ledger.reserve(session, claim, 1, 1000)
        rows = session.execute(text(f"SELECT subscriber_id, skip_reason FROM delivery WHERE issue_id = {issue}"))
        found: Reasons = {row.subscriber_id: row.skip_reason for row in rows}
    assert gone == set(subscribers) - {delivery.subscriber for delivery in taken}
    assert gone == {subscriber for subscriber, reason in found.items() if reason}
    return found


def retried(app: Container, issue: int) -> Reasons:
    run(app, f"UPDATE delivery SET state = 'failed', skip_reason = NULL WHERE issue_id = {issue}")
    with app.database.transaction() as session:
        failed = resolution.failed(session, issue, None, datetime.now(UTC))
    assert failed.other_code == []
    found: Reasons = dict.fromkeys(failed.retryable)
    return found | {one: reason for reason, several in failed.ineligible.items() for one in several}


EACH_REASON = [
    Candidate(SubscriptionState.active, False, None, Frequency.each, "fr", 1),
    Candidate(SubscriptionState.unsubscribed, True, 1, Frequency.monthly, "de", 0),
    Candidate(SubscriptionState.pending, True, 1, Frequency.monthly, "de", 0),
    Candidate(SubscriptionState.active, True, 1, Frequency.monthly, "de", 0),
    Candidate(SubscriptionState.active, False, 1, Frequency.monthly, "de", 0),
    Candidate(SubscriptionState.active, False, -1, Frequency.monthly, "de", 0),
    Candidate(SubscriptionState.active, False, None, Frequency.each, "de", 0),
    Candidate(SubscriptionState.active, False, None, Frequency.each, "fr", 0),
]
"""Each reason, combined with every later one."""


@pytest.fixture
def issue(import_issue: Callable[..., int]) -> int:
    return import_issue("fr")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(candidates=st.lists(CANDIDATES, min_size=1, max_size=12), digest=st.booleans())
@example(candidates=EACH_REASON, digest=False)
@example(candidates=EACH_REASON, digest=True)
def test_every_use_of_eligibility_agrees(
    app: Container,
    issue: int,
    candidates: list[Candidate],
    digest: bool,
) -> None:
    set_up(app, issue, candidates, digest)
    right: Reasons = {
        subscriber: one.skip_reason(digest)
        for subscriber, one in enumerate(candidates, 1)
        if one.awaiting or not digest
    }
    previewed: Counter[SkipReason | None] = Counter()
    for group in expand.count_audience(app.database, issue):
        previewed[group.skip_reason] += group.subscribers
    assert previewed == Counter(right.values())
    assert explained(app, issue, right) == right
    if digest:  # it waits for the end of a pause, and so does the decision
        run(app, "UPDATE subscription SET paused_until = NULL")
    assert expanded(app, issue) == right
    assert explained(app, issue, right) == right

    # From here on they have a delivery, and with it an edition.
    right = {one: None if reason in EDITION_REASONS else reason for one, reason in right.items()}
    run(app, f"UPDATE delivery SET state = 'pending', skip_reason = NULL, due_at = now() WHERE issue_id = {issue}")
    assert explained(app, issue, right) == right
    assert checked_last(app, issue, right, digest) == right
    assert retried(app, issue) == right
    assert explained(app, issue, right) == right
