"""Compare the pages for staff with a million subscribers and ten million deliveries with a hundredth of that.

Two services on embedded servers hold the same ten issues, nine sent and one half sent, with outcomes in the same
proportions. Each page is asked for in turn on both, and its median time counts. ``ratio`` is that of the worst page.
Figures that are kept for a second are measured anew for each request.

    .venv/bin/python bench/pages.py [--most 1000000] [--least 10000] [--rounds 15] [--json FILE]
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median

import harness
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.adapters.clock import SystemClock
from mailer.bootstrap import Container
from mailer.domain.permissions import Role, RoleGrant
from mailer.services.accounts import people
from mailer.services.delivery import dispatch
from mailer.store import audience, refusals
from mailer.web.app import create_app

PAST_ISSUES = 9
LANGUAGES = ["en", "fr"]
PASSWORD = "a password for the benchmark"
PAGES = {
    "home": "/desk",
    "plan": "/desk/issues/1",
    "report_sending": "/desk/issues/1/report",
    "report_sent": "/desk/issues/2/report",
    "subscribers": "/desk/newsletters/lumen-basin/subscribers",
    "subscribers_search": "/desk/newsletters/lumen-basin/subscribers?q=reader77",
    "subscribers_by_name": "/desk/newsletters/lumen-basin/subscribers?q=petrov",
    "subscribers_by_domain": "/desk/newsletters/lumen-basin/subscribers?q=%40d7.example.org",
    "subscribers_not_found": "/desk/newsletters/lumen-basin/subscribers?q=nobody.here",
    "tonight": "/control",
    "flow": "/control/flow",
    "relay": "/control/flow/relay/relay",
    "domain": "/control/flow/provider/d7.example.org",
    "deliveries_failed": "/control/deliveries?issue=1&state=failed",
    "deliveries_uncertain": "/control/deliveries",
    "suppressions": "/control/suppressions",
}

_NAMES = "UPDATE subscriber SET name = 'Ana Petrović ' || id WHERE id % 5000 = 7"
# The same outcomes for each hundred readers: 93 sent, 2 failed, 2 deferred (while sending), 3 skipped.
_OUTCOMES = """
UPDATE delivery_1 d SET
    state = o.state::delivery_state, skip_reason = o.skip_reason::skip_reason,
    edition_id = CASE WHEN o.skip_reason IS NULL THEN d.edition_id END,
    attempts = (o.skip_reason IS NULL)::int, relay = CASE WHEN o.skip_reason IS NULL THEN 'relay' END,
    last_reply = o.reply, due_at = CASE o.state WHEN 'pending' THEN now() + interval '9 minutes' ELSE d.due_at END,
    finished_at = CASE WHEN o.state <> 'pending' THEN now() END
FROM (
    SELECT n, CASE WHEN n < 93 THEN 'sent' WHEN n < 95 THEN 'failed' WHEN n < 97 THEN 'pending' ELSE 'skipped' END
            AS state,
        CASE WHEN n >= 97 THEN (ARRAY['unsubscribed', 'suppressed', 'paused'])[n - 96] END AS skip_reason,
        CASE WHEN n < 93 THEN '250 2.0.0 Ok: queued as 4fX0bq2V1Kz' WHEN n < 94 THEN '550 5.1.1 no such user'
            WHEN n < 95 THEN '554 5.7.1 refused by policy' WHEN n < 97 THEN '450 4.2.1 busy, try again' END AS reply
    FROM generate_series(0, 99) n
) o WHERE d.subscriber_id <= :sent_up_to AND o.n = d.subscriber_id % 100
"""
_UNCERTAIN = """
UPDATE delivery_1 SET state = 'uncertain', last_reply = NULL
WHERE subscriber_id <= :sent_up_to AND subscriber_id % :every = 5
"""
_COUNT_BATCHES = """
UPDATE batch b SET sent = c.sent, failed = c.failed, skipped = c.skipped, uncertain = c.uncertain, epoch = 1,
    is_retry = c.pending > 0, state = (CASE WHEN c.pending > 0 THEN 'ready' ELSE 'done' END)::batch_state,
    worker = 'bench', due_at = now() + interval '9 minutes', progressed_at = now()
FROM (
    SELECT b.id, count(*) FILTER (WHERE d.state = 'sent') AS sent, count(*) FILTER (WHERE d.state = 'failed') AS failed,
        count(*) FILTER (WHERE d.state = 'skipped') AS skipped,
        count(*) FILTER (WHERE d.state = 'uncertain') AS uncertain,
        count(*) FILTER (WHERE d.state = 'pending') AS pending
    FROM batch b JOIN delivery d ON d.issue_id = b.issue_id
        AND d.subscriber_id BETWEEN b.first_subscriber_id AND b.last_subscriber_id
    WHERE b.issue_id = :issue AND b.last_subscriber_id <= :sent_up_to GROUP BY 1
) c WHERE c.id = b.id
"""
# A sent issue is the one in flight, copied as it would have ended.
_COPY_ISSUE = """
INSERT INTO issue (newsletter_id, number, issue_date, state, missing_translations, revision, created_at, scheduled_at,
    frozen_at, ready_at, finished_at)
SELECT newsletter_id, 'bench ' || CAST(:n AS text), issue_date - 7 * CAST(:n AS int), 'sent', missing_translations,
    revision, created_at, scheduled_at - CAST(:n AS int) * interval '7 days',
    frozen_at - CAST(:n AS int) * interval '7 days', ready_at - CAST(:n AS int) * interval '7 days',
    now() - CAST(:n AS int) * interval '7 days'
FROM issue WHERE id = 1 RETURNING id
"""
_COPY_EDITIONS = """
INSERT INTO edition (issue_id, language, sections, sources, revision, subject, story_count, fallback_count, html,
    message, slots)
SELECT :issue, language, sections, sources, revision, subject, story_count, fallback_count, html, message, slots
FROM edition WHERE issue_id = 1
"""
_COPY_DELIVERIES = """
INSERT INTO delivery_{issue} (issue_id, subscriber_id, due_at, finished_at, edition_id, epoch, state, skip_reason,
    attempts, last_reply, relay)
SELECT {issue}, n, now(), now(), CASE WHEN m < 97 THEN e.ids[1 + n % cardinality(e.ids)] END, 1,
    (CASE WHEN m < 95 THEN 'sent' WHEN m < 97 THEN 'failed' ELSE 'skipped' END)::delivery_state,
    (CASE WHEN m >= 97 THEN (ARRAY['unsubscribed', 'suppressed', 'paused'])[m - 96] END)::skip_reason,
    (m < 97)::int,
    CASE WHEN m < 95 THEN '250 2.0.0 Ok: queued as 4fX0bq2V1Kz' WHEN m < 97 THEN '550 5.1.1 no such user' END,
    CASE WHEN m < 97 THEN 'relay' END
FROM (SELECT n, n % 100 AS m FROM generate_series(1, :readers) n) n,
    (SELECT array_agg(id ORDER BY id) AS ids FROM edition WHERE issue_id = {issue}) e
"""
_BOUNCES = """
INSERT INTO feedback (kind, at, newsletter_id, issue_id, subscriber_id, detail)
SELECT 'bounce', now(), 1, :issue, n, '{"reply": "552 5.2.2 mailbox full"}'
FROM generate_series(1, :readers, 500) n
"""
_SUPPRESSIONS = """
INSERT INTO suppression (address_hash, reason, source, note)
SELECT address_hash, 'hard_bounce', 'system', '550 5.1.1 no such user' FROM subscriber WHERE id % 100 = 13
"""
_SAMPLES = """
INSERT INTO flow_sample (kind, name, minute, waiting, rate, deferral_rate, rate_limit)
SELECT k.kind, k.name, date_trunc('minute', now()) - n * interval '1 minute', n % 50, n % 97, n % 7, 100
FROM generate_series(0, 7 * 24 * 60) n, (VALUES ('relay', 'relay'), ('provider', 'd7.example.org')) k(kind, name)
"""


class SteppedClock(SystemClock):
    """The time of day, which a measurement can set forward."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.ahead


def run(app: Container, query: str, **values: object) -> int:
    """Run a statement; return the number in its first row, if it has one."""
    with app.database.transaction() as session:
        result = session.connection().execute(text(query), values)
        return int(result.scalar() or 0) if result.returns_rows else 0


def count_refusals(app: Container, issue: int) -> None:
    """Count what was refused of the batches that were released, as releasing them does."""
    query = "SELECT id FROM batch WHERE issue_id = :issue AND epoch > 0"
    with app.database.transaction() as session:
        refusals.count(session, session.scalars(text(query), {"issue": issue}).all())


def fill(app: Container, readers: int) -> None:
    """Make the subscribers, an issue that has reached half of them, and the issues before it."""
    harness.make_issue(app, *LANGUAGES)
    harness.make_subscribers(app, readers, LANGUAGES)
    harness.expand_all(app, 1)
    assert dispatch.open_for_sending(app.database, 1, datetime.now(UTC), app.tokens.address_hash)
    run(app, _NAMES)
    half = run(app, "SELECT max(last_subscriber_id) FROM batch WHERE last_subscriber_id <= :half", half=readers // 2)
    run(app, _OUTCOMES, sent_up_to=half)
    run(app, _UNCERTAIN, sent_up_to=half, every=readers // 40)
    run(app, _COUNT_BATCHES, issue=1, sent_up_to=half)
    count_refusals(app, 1)
    for n in range(1, PAST_ISSUES + 1):
        issue = run(app, _COPY_ISSUE, n=n)
        run(app, _COPY_EDITIONS, issue=issue)
        with app.database.transaction() as session:
            audience.freeze(session, issue, 1, app.settings.batch_size)
        run(app, _COPY_DELIVERIES.format(issue=issue), readers=readers)
        run(app, _COUNT_BATCHES, issue=issue, sent_up_to=readers)
        count_refusals(app, issue)
        run(app, _BOUNCES, issue=issue, readers=readers)
    run(app, _SUPPRESSIONS)
    run(app, _SAMPLES)
    with app.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE)"))
        connection.execute(text("CHECKPOINT"))


@contextmanager
def site(clock: SteppedClock, readers: int) -> Iterator[TestClient]:
    """Run a filled service and yield a browser of an administrator, who may see everything."""
    with harness.service(clock=clock, public_url="https://bench.example.org") as app:
        fill(app, readers)
        grants = [RoleGrant(Role.administrator)]
        now = datetime.now(UTC)
        people.create_account(app.database, app.passwords, "ann@example.org", "Ann", PASSWORD, grants, now, "bench")
        with TestClient(create_app(app), base_url="https://bench.example.org") as client:
            signed_in = {"address": "ann@example.org", "password": PASSWORD}
            client.post("/sign-in", data=signed_in, headers={"Sec-Fetch-Site": "same-origin"}).raise_for_status()
            yield client


def seconds(client: TestClient, path: str) -> float:
    began = time.perf_counter()
    answer = client.get(path, follow_redirects=False)
    elapsed = time.perf_counter() - began
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code}")
    return elapsed


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=1_000_000, help="subscribers of the larger service")
    parser.add_argument("--least", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    clock = SteppedClock()
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    sizes = (arguments.least, arguments.most)
    with ExitStack() as stack:
        began = time.perf_counter()
        clients = {size: stack.enter_context(site(clock, size)) for size in sizes}
        filling = time.perf_counter() - began
        for number in range(arguments.rounds + 2):
            for name, path in PAGES.items():
                for size in sizes if number % 2 else reversed(sizes):
                    clock.ahead += timedelta(seconds=1.5)  # figures kept for a second are measured anew
                    elapsed = seconds(clients[size], path)
                    if number > 1:  # the first rounds fill caches
                        times[name, size].append(elapsed)
    pages = {}
    for name in PAGES:
        small, large = (median(times[name, size]) for size in sizes)
        pages[name] = {
            "ratio": round(large / small, 2),
            "milliseconds": round(large * 1000, 1),
            "milliseconds_of_the_smaller": round(small * 1000, 1),
        }
    figures = {
        "ratio": max(page["ratio"] for page in pages.values()),
        "pages": pages,
        "subscribers": arguments.most,
        "deliveries": arguments.most * (PAST_ISSUES + 1),
        "subscribers_of_the_smaller": arguments.least,
        "deliveries_of_the_smaller": arguments.least * (PAST_ISSUES + 1),
        "rounds": arguments.rounds,
        "seconds_to_fill": round(filling),
    }
    harness.report(figures, "Pages for staff by the size of the service", arguments.json)


if __name__ == "__main__":
    main()
