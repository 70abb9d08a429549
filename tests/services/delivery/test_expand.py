"""Expansion compared with an oracle: each reader has the right edition or skip reason."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select, text, update

from mailer.bootstrap import Container
from mailer.domain.composition import IssueSource
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.errors import IssueNotFound
from mailer.domain.languages import choose_language
from mailer.domain.states import MissingTranslationPolicy, SubscriptionState
from mailer.models import (
    Delivery,
    Edition,
    Issue,
    IssueTranslation,
    Newsletter,
    Section,
    StoryTranslation,
    Subscriber,
    Subscription,
    Suppression,
)
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import approve, compile, report
from mailer.store import audience, newsletters, personal_data
from tests.conftest import NOW

Import = Callable[..., int]
LANGUAGES = ["en", "fr", "bs", "sl", "sr-Latn", "bg"]
ASKED = [
    "en",
    "en-GB",
    "fr-CA",
    "bs",
    "hr",
    "sl",
    "sr",
    "sr-Latn-BA",
    "sr-Cyrl",
    "mk",
    "bg",
    "de",
    "zh-Hant",
    "ja",
]


@dataclass(frozen=True)
class Reader:
    id: int
    languages: list[str]
    sections: int
    state: SubscriptionState
    suppressed: bool


def invite(app: Container, chance: random.Random, count: int) -> list[Reader]:
    """Readers with every kind of preference, of two newsletters, in no order of ids."""
    made, subscribers, suppressions = [], [], []
    with app.database.transaction() as session:
        newsletter = newsletters.by_slug(session, "lumen-basin")
        assert newsletter is not None
        ids = list(range(1, 3 * count))
        chance.shuffle(ids)
        for id in ids[:count]:
            address = f"reader{id}@example.org"
            reader = Reader(
                id,
                chance.sample(ASKED, chance.choice([0, 1, 1, 1, 2, 3])),
                chance.choice([0, ALL_SECTIONS, 1 << 61, chance.getrandbits(6), chance.getrandbits(62)]),
                chance.choice([SubscriptionState.active] * 6 + list(SubscriptionState)),
                chance.random() < 0.1,
            )
            key = app.tokens.address_hash(address)
            subscribers.append({"id": id, "address": address, "address_hash": key, "languages": reader.languages})
            if chance.random() < 0.9:
                made.append(reader)
            if reader.suppressed:
                suppressions.append({"address_hash": key, "reason": "complaint", "source": "system"})
        subscriptions = [
            {"newsletter_id": newsletter.id, "subscriber_id": one.id, "state": one.state, "sections": one.sections}
            for one in made
        ]
        for table, rows in ((Subscriber, subscribers), (Subscription, subscriptions), (Suppression, suppressions)):
            if rows:
                session.execute(insert(table), rows)
    return made


def unsettle(app: Container, issue: int, chance: random.Random) -> None:
    """Make some of the issue's texts drafts, and a section one for everybody."""
    with app.database.transaction() as session:
        drafts = [
            key
            for key in session.execute(select(StoryTranslation.story_id, StoryTranslation.language))
            if chance.random() < 0.3
        ]
        for story, language in drafts:
            session.execute(
                update(StoryTranslation)
                .where(StoryTranslation.story_id == story, StoryTranslation.language == language)
                .values(status="draft")
            )
        front = IssueTranslation.language.in_(chance.sample(LANGUAGES, chance.choice([0, 1, 2])))
        session.execute(update(IssueTranslation).where(front).values(status="draft"))
        policy = chance.choice([MissingTranslationPolicy.fallback, MissingTranslationPolicy.omit])
        session.execute(update(Issue).values(missing_translations=policy))
        if chance.random() < 0.5:
            always = Section.bit == chance.randrange(6)
            session.execute(update(Section).where(always).values(always_included=True))
        if chance.random() < 0.3:
            session.execute(update(Newsletter).values(default_language="mk"))


def expected(material: IssueSource, reader: Reader) -> tuple[str, int] | str:
    """The edition that a reader should get, or the reason why none."""
    if reader.state is SubscriptionState.unsubscribed:
        return "unsubscribed"
    if reader.state is SubscriptionState.pending:
        return "unconfirmed"
    if reader.suppressed:
        return "suppressed"
    rules = material.language_rules
    choice = choose_language(reader.languages, rules.languages, rules.fallback_chains, rules.default_language)
    if choice is None:
        return "no_language"
    mask = (reader.sections | material.always_included) & material.sections_shown(choice.language)
    return (choice.language, mask) if mask else "nothing_in_sections"


def freeze(app: Container, issue: int, batch_size: int = 10) -> None:
    with app.database.transaction() as session:
        session.execute(update(Issue).where(Issue.id == issue).values(state="scheduled", scheduled_at=NOW))
    assert dispatch.start_due(app.database, NOW, batch_size) == [issue]


def ledger(app: Container, issue: int) -> dict[int, tuple[str, int] | str]:
    with app.database.transaction() as session:
        rows = session.execute(
            select(
                Delivery.subscriber_id,
                Delivery.state,
                Delivery.skip_reason,
                Edition.language,
                Edition.sections,
            )
            .outerjoin(Edition, Edition.id == Delivery.edition_id)
            .where(Delivery.issue_id == issue)
        ).all()
    assert len({row.subscriber_id for row in rows}) == len(rows)
    for row in rows:
        assert (row.state == "pending") == (row.skip_reason is None) == (row.language is not None)
    return {row.subscriber_id: row.skip_reason or (row.language, row.sections) for row in rows}


@pytest.mark.parametrize("seed", range(6))
def test_each_reader_gets_exactly_the_right_edition_or_reason(app: Container, import_issue: Import, seed: int) -> None:
    chance = random.Random(seed)
    issue = import_issue(*LANGUAGES)
    unsettle(app, issue, chance)
    readers = invite(app, chance, 400)
    material = compile.load_issue(app.database, app.urls, issue)
    right = {reader.id: expected(material, reader) for reader in readers}
    counted = expand.count_audience(app.database, issue)

    freeze(app, issue)
    while expand.expand_next(app.database, issue, NOW):
        pass
    found = ledger(app, issue)
    assert found == right
    assert len({outcome for outcome in right.values() if isinstance(outcome, str)}) >= 4, "a lively audience"

    # What was counted beforehand, and what the report counts, is the same.
    tally = Counter(outcome if isinstance(outcome, str) else "" for outcome in right.values())
    assert Counter({reason: n for reason, n in tally.items() if reason}) == report.skipped_by_reason(
        app.database, issue
    )
    before: Counter[tuple[str, int] | str] = Counter()
    for group in counted:
        before[group.skip_reason or (group.language or "", group.sections)] += group.subscribers
    assert before == Counter(right.values())
    counts = report.status(app.database, issue, NOW).counts
    assert (counts.candidates, counts.skipped, counts.pending) == (
        len(readers),
        sum(tally.values()) - tally[""],
        tally[""],
    )
    assert report.audit(app.database, issue) == []

    # Editions: exactly those that some reader gets.
    with app.database.transaction() as session:
        made = session.execute(select(Edition.language, Edition.sections)).all()
    assert sorted(map(tuple, made)) == sorted({outcome for outcome in right.values() if not isinstance(outcome, str)})


def test_expanding_again_changes_nothing(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    invite(app, random.Random(1), 100)
    freeze(app, issue)
    while expand.expand_next(app.database, issue, NOW):
        pass
    first = ledger(app, issue)
    with app.database.transaction() as session:
        session.execute(text("UPDATE batch SET state = 'planned'"))
    while expand.expand_next(app.database, issue, NOW):
        pass
    assert ledger(app, issue) == first
    assert report.audit(app.database, issue) == []


def test_subscriber_added_between_batches_is_in_exactly_one(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    late = sorted(reader.id for reader in invite(app, random.Random(1), 40))[10]
    query = text("UPDATE subscription SET newsletter_id = newsletter_id + :by WHERE subscriber_id = :late")
    with app.database.transaction() as session:
        session.execute(query, {"by": 1, "late": late})
    freeze(app, issue)
    with app.database.transaction() as session:
        session.execute(query, {"by": -1, "late": late})
    while expand.expand_next(app.database, issue, NOW):
        pass
    assert late in ledger(app, issue)
    assert report.audit(app.database, issue) == []


def test_issue_ends_if_its_audience_was_erased(app: Container, import_issue: Import) -> None:
    """Between freezing and expanding everybody may have left: no language is chosen, nothing to wait for."""
    issue = import_issue("en")
    invite(app, random.Random(1), 3)
    freeze(app, issue)
    with app.database.transaction() as session:
        session.execute(text("DELETE FROM subscriber"))
    assert expand.expand_next(app.database, issue, NOW) == 1
    assert expand.expand_next(app.database, issue, NOW) == 0
    assert dispatch.open_for_sending(app.database, issue, NOW, app.tokens.address_hash)
    assert dispatch.finish_done(app.database, NOW) == [issue]
    assert report.audit(app.database, issue) == []


def test_workers_expand_one_audience_concurrently(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr", "bs")
    readers = invite(app, random.Random(2), 900)
    material = compile.load_issue(app.database, app.urls, issue)
    freeze(app, issue, 4)
    errors: list[BaseException] = []
    go = threading.Barrier(4)

    def work() -> None:
        try:
            go.wait()
            while expand.expand_next(app.database, issue, NOW):
                pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert ledger(app, issue) == {reader.id: expected(material, reader) for reader in readers}
    assert report.audit(app.database, issue) == []


def test_language_change_during_expansion_loses_nobody(app: Container, import_issue: Import) -> None:
    """The choice of a language is made before the statement that needs it; preferences may change between."""
    issue = import_issue("en", "fr")
    invite(app, random.Random(3), 20)
    freeze(app, issue)
    with app.database.transaction() as session:
        row = session.get_one(Issue, issue)
        held = audience.claim_planned(session, issue, 20)
        assert held is not None
        expansion = audience.Expansion(session, issue, row.newsletter_id, 0, held, audience.DueTimes(NOW))
        assert not expansion.insert_deliveries()
        expand.choose_languages(session, row, expansion.without_language_choice())
        expansion.add_editions()
        reader, erased = session.scalars(select(Subscription.subscriber_id).limit(2))
        with app.database.transaction() as other:
            changed = update(Subscriber).where(Subscriber.id == reader).values(languages=["pl", "fr"])
            other.execute(changed)
        assert not expansion.insert_deliveries(), "there is no choice for the new list"

        # One who goes must not make up for one who is missing: nobody goes while it is counted who is there.
        def erase() -> None:
            with app.database.transaction() as other:
                personal_data.erase(other, erased, NOW)

        with ThreadPoolExecutor(1) as pool:
            erasing = pool.submit(erase)
            with pytest.raises(FutureTimeout):
                erasing.result(0.5)
            assert not expansion.insert_deliveries()
            session.rollback()
            erasing.result(10)
    while expand.expand_next(app.database, issue, NOW):
        pass
    assert reader in ledger(app, issue)
    assert report.audit(app.database, issue) == []


def test_issue_opens_when_expanded_and_rendered(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    invite(app, random.Random(4), 40)
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    freeze(app, issue)
    now = datetime.now(UTC)
    assert not dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    while expand.expand_next(app.database, issue, now):
        assert not dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 1):
        pass
    assert dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)
    assert not dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash), "once"
    assert dispatch.list_preparing(app.database) == []


def test_nothing_is_expanded_before_the_start_time(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    invite(app, random.Random(5), 5)
    assert expand.expand_next(app.database, issue, NOW) == 0
    assert expand.expand_next(app.database, 99, NOW) == 0
    with pytest.raises(IssueNotFound):
        expand.count_audience(app.database, 99)
