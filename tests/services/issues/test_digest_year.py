"""A year of issues and digests under a moved clock, with readers who change their minds and a scheduler that stops."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.preferences import Preferences
from mailer.domain.states import DeliveryState, Frequency, IssueState, SkipReason, SubscriptionState
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.models import Delivery, Edition, Issue, IssueTranslation, Story, StoryTranslation, Subscriber, Subscription
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import digest, report, schedule
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import preferences
from mailer.store import batches, ledger
from mailer.store.database import Database, Session
from mailer.store.ledger import DeliveryUpdate

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAYS = 365
ZONES = ("Pacific/Honolulu", "America/New_York", "Europe/Belgrade", "Pacific/Auckland")
NEWSLETTER = """
slug = "news"
sender_name = "News"
sender_address = "news@example.org"
postal_address = "1 Street"
list_id = "news.example.org"
default_language = "en"
languages = ["en"]
names = { en = "News" }
[[sections]]
key = "all"
titles = { en = "All" }
"""


class MovedDatabase(Database):
    """A database that believes it is the time ``at``."""

    at = START

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with super().transaction() as session:
            session.execute(text("SET LOCAL search_path = moved, public, pg_catalog"))
            session.execute(text("SELECT set_config('moved.at', :at, true)"), {"at": self.at.isoformat()})
            yield session


@dataclass(frozen=True)
class Action:
    """Something that a reader or a coordinator does, or that happens to the scheduler."""

    minute: int
    """Since the start of the year."""
    what: str
    who: int
    """A reader, or for an issue how late in the day it is sent."""
    value: int


def make_actions(chance: random.Random) -> list[Action]:
    """Return the actions of a year, half of them around the end of a month."""

    def minute() -> int:
        if chance.random() < 0.5:
            return chance.randrange(DAYS * 24 * 60)
        month = START.replace(day=1, hour=0) + timedelta(days=31 * chance.randrange(1, 12))
        return (month.replace(day=1) - START) // timedelta(minutes=1) + chance.randrange(-4 * 1440, 4 * 1440)

    numbers = {
        "issue": 10,
        "issue in local time": 6,
        "hold": 3,
        "frequency": 12,
        "pause": 6,
        "zone": 6,
        "standstill": 3,
    }
    actions = [
        Action(minute(), what, chance.randrange(len(ZONES)), chance.randrange(10))
        for what, number in numbers.items()
        for _ in range(number)
    ]
    return sorted(actions, key=lambda action: action.minute)


@dataclass(frozen=True)
class Choice:
    """What a reader had chosen from a time on."""

    since: datetime
    frequency: Frequency
    paused_until: datetime | None
    zone: str

    def is_paused(self, at: datetime) -> bool:
        return self.paused_until is not None and self.paused_until > at


@dataclass(frozen=True)
class Mail:
    at: datetime
    reader: int
    issue: int
    holds: list[int]
    """The issue itself, or what a digest holds."""


class Year:
    """The newsletter in this year."""

    def __init__(self, database: MovedDatabase) -> None:
        self.database = database
        self.now = START
        self.mails: list[Mail] = []
        self.choices: dict[int, list[Choice]] = {}
        self.holds: list[int] = []
        """For how many days each of the next issues is paused as soon as it starts."""
        self.resumptions: list[tuple[datetime, int]] = []
        self.stands_still_until = self.maintained = START
        apply_newsletter(database, read_newsletter(NEWSLETTER))
        with database.transaction() as session:  # otherwise what is late would wait for somebody to send it
            session.execute(text("UPDATE newsletter SET max_late_hours = 10000"))
        for reader, zone in enumerate(ZONES, 1):
            with database.transaction() as session:
                session.add(
                    Subscriber(
                        id=reader,
                        address=f"reader{reader}@example.org",
                        address_hash=bytes([reader]) * 16,
                        languages=["en"],
                        time_zone=zone,
                    )
                )
                session.add(
                    Subscription(
                        newsletter_id=1, subscriber_id=reader, state=SubscriptionState.active, sections=ALL_SECTIONS
                    )
                )
            self.choices[reader] = [Choice(START, Frequency.each, None, zone)]

    def live(self, actions: list[Action]) -> None:
        for number, action in enumerate(actions):
            self.run_until(START + timedelta(minutes=action.minute, seconds=number))
            self.act(action)
            self.work()
        self.run_until(START + timedelta(days=DAYS + 84 + 70))

    def run_until(self, until: datetime) -> None:
        """Let the scheduler and the workers do what is due until then."""
        while (at := max(self.next_event(), self.stands_still_until)) < until:
            self.now = max(self.now, at)
            self.work()
        self.now = until

    def next_event(self) -> datetime:
        query = """
            SELECT min(at) FROM (
                SELECT scheduled_at AS at FROM issue WHERE state = 'scheduled'
                UNION ALL
                SELECT b.due_at FROM batch b JOIN issue i ON i.id = b.issue_id
                WHERE b.state = 'ready' AND i.state = 'sending'
            ) events WHERE at > :now
        """
        with self.database.transaction() as session:
            due = session.scalar(text(query), {"now": self.now})
        first = self.now.replace(day=1, hour=0, minute=10)
        turns = [(first + timedelta(days=31 * n)).replace(day=day) for n in (0, 1) for day in (1, 2)]
        times = [due, *turns, *(at for at, _ in self.resumptions)]
        return min(at for at in times if at and at > self.now)

    def work(self) -> None:
        self.database.at = self.now
        for at, issue in [resumption for resumption in self.resumptions if resumption[0] <= self.now]:
            schedule.resume(self.database, issue, "ann")
            self.resumptions.remove((at, issue))
        if self.now < self.stands_still_until:
            return
        if self.now.day <= 2 or self.now - self.maintained > timedelta(days=1):
            digest.create_due_digests(self.database, self.now, lambda language, month, overrides: (f"{month:%B}", ""))
            self.maintained = self.now
        for issue in dispatch.start_due(self.database, self.now, 2):
            if self.holds:
                schedule.pause(self.database, issue, "ann")
                self.resumptions.append((self.now + timedelta(days=self.holds.pop(), hours=1), issue))
        for issue in dispatch.list_preparing(self.database):
            while expand.expand_next(self.database, issue, self.now):
                pass
            with self.database.transaction() as session:
                session.execute(text("UPDATE edition SET revision = 1"))
            dispatch.open_for_sending(self.database, issue, self.now, str.encode)
        while due := dispatch.enqueue_due(self.database, self.now, timedelta(0), 100):
            for batch, _ in due:
                self.send(batch)
        dispatch.finish_done(self.database, self.now)

    def send(self, batch: int) -> None:
        lease = timedelta(minutes=1)
        with self.database.transaction() as session:
            claim = batches.claim(session, batch, "worker", lease)
            assert claim
            reserved, _, _ = ledger.reserve(session, claim, claim.first_subscriber_id, 100)
            ledger.record(
                session,
                claim,
                [DeliveryUpdate(one.subscriber, DeliveryState.sent, "250 Ok") for one in reserved],
                claim.epoch,
                self.now,
            )
            batches.release(session, claim)
            row = session.get_one(Issue, claim.issue)
            for one in reserved:
                edition = session.get_one(Edition, one.edition)
                held = [id for bit, id in enumerate(row.digest_source_ids) if edition.sources >> bit & 1]
                self.mails.append(Mail(self.now, one.subscriber, row.id, held or [row.id]))

    def act(self, action: Action) -> None:
        self.database.at = self.now
        reader = action.who + 1
        before = self.choices[reader][-1]
        ref = SubscriptionRef(reader, newsletter=1)
        match action.what:
            case "issue":
                schedule.schedule(self.database, self.write_issue(), self.now, "ann")
            case "issue in local time":
                local = self.now.replace(hour=7 + action.who, minute=0, tzinfo=None) + timedelta(days=1)
                schedule.schedule_local_time(self.database, self.write_issue(), local, "ann")
            case "hold":
                self.holds.append(action.value)
            case "standstill":
                self.stands_still_until = self.now + timedelta(hours=12 * (action.value + 1))
            case "pause":
                weeks = (*preferences.PAUSE_WEEKS, 1, 1, 0, 0, 0)[action.value]
                preferences.pause(self.database, ref, weeks, LinkKind.magic, self.now)
                until = self.now + timedelta(weeks=weeks) if weeks else None
                self.choices[reader].append(replace(before, since=self.now, paused_until=until))
            case _:
                frequency, zone = before.frequency, before.zone
                if action.what == "frequency":
                    frequency = Frequency.each if frequency is Frequency.monthly else Frequency.monthly
                else:
                    zone = ZONES[action.value % len(ZONES)]
                wanted = Preferences(
                    languages=("en",), frequency=frequency, paused_until=before.paused_until, time_zone=zone
                )
                preferences.save(self.database, ref, wanted, LinkKind.magic, self.now)
                self.choices[reader].append(replace(before, since=self.now, frequency=frequency, zone=zone))

    def write_issue(self) -> int:
        with self.database.transaction() as session:
            count = session.scalar(text("SELECT count(*) FROM issue"))
            issue = Issue(newsletter_id=1, number=f"{count}", issue_date=self.now.date(), state=IssueState.approved)
            session.add(issue)
            session.flush()
            session.add(IssueTranslation(issue_id=issue.id, language="en", subject="News", preheader="", intro=""))
            story = Story(issue_id=issue.id, section_id=1, position=1)
            session.add(story)
            session.flush()
            session.add(StoryTranslation(story_id=story.id, language="en", headline="News", datelines=[], body="News"))
            return issue.id

    def choice(self, reader: int, at: datetime) -> Choice:
        return next(choice for choice in reversed(self.choices[reader]) if choice.since <= at)

    def check(self) -> None:
        with self.database.transaction() as session:
            issues = {row.id: row for row in session.scalars(select(Issue))}
            deliveries = session.scalars(select(Delivery)).all()
        assert {row.state for row in issues.values()} <= {IssueState.sent}
        received = Counter((mail.reader, issue) for mail in self.mails for issue in mail.holds)
        assert set(received.values()) <= {1}, "nobody gets an issue twice"
        for delivery in deliveries:
            if issues[delivery.issue_id].digest_month or received[delivery.subscriber_id, delivery.issue_id]:
                continue
            # Only somebody who wants each issue, and had paused when its time came, does not get it.
            assert delivery.skip_reason is SkipReason.paused and delivery.finished_at
            choice = self.choice(delivery.subscriber_id, delivery.finished_at)
            assert choice.frequency is Frequency.each and choice.is_paused(delivery.finished_at)
            self.check_time(delivery.finished_at, choice, issues[delivery.issue_id])
        for mail in self.mails:
            choice = self.choice(mail.reader, mail.at)
            assert not choice.is_paused(mail.at)
            for issue in mail.holds:
                self.check_time(mail.at, choice, issues[issue])
            if mail.holds == [mail.issue]:
                assert choice.frequency is Frequency.each

    def check_time(self, at: datetime, choice: Choice, issue: Issue) -> None:
        """No issue is sent, and nobody is left out, before its time has come for the reader."""
        if issue.local_time:
            assert at >= issue.local_time.replace(tzinfo=ZoneInfo(choice.zone))


@pytest.fixture
def moved(database: Database) -> Iterator[MovedDatabase]:
    moved = MovedDatabase(database.url)
    with database.transaction() as session:
        session.execute(text("CREATE SCHEMA moved"))
        session.execute(
            text(
                "CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE"
                " AS $$ SELECT current_setting('moved.at')::timestamptz $$"
            )
        )
    yield moved
    moved.close()
    with database.transaction() as session:
        session.execute(text("DROP SCHEMA moved CASCADE"))


# Without shrinking, which would live through hundreds of years.
@settings(
    max_examples=2,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32))
def test_everybody_gets_each_issue_exactly_once(moved: MovedDatabase, database: Database, seed: int) -> None:
    moved.delete_all_rows()
    moved.at = START
    year = Year(moved)
    year.live(make_actions(random.Random(seed)))
    year.check()
    for mail in year.mails:
        assert report.audit(database, mail.issue) == []
