"""One mail a month, for who wants it so."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.adapters.inbox import RunningInbox
from mailer.bootstrap import Mailer
from mailer.services import compose, digest, expand, report, schedule, settle
from tests.mails import html
from tests.notes import mails_to

FIRST = datetime(2026, 10, 1, 6, tzinfo=UTC)
ADA, BOB = "ada@example.org", "bob@example.org"


@pytest.fixture
def september(
    parts: Mailer,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> int:
    """An issue that went out in September, to one of two readers."""
    issue = import_issue("en", "bs")
    add_readers(f"{ADA};bs;\n{BOB};en;water-and-rivers")
    with parts.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'monthly' WHERE subscriber_id = 1"))
    prepare(issue)
    send()
    with parts.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-09-14 10:00+00'"))
    return issue


def make(parts: Mailer, now: datetime = FIRST) -> list[int]:
    return digest.make_due(parts.database, now, parts.note_renderer.month_words)


def test_the_month_comes_in_one_mail(
    parts: Mailer, inbox: RunningInbox, september: int, send: Callable[[], int]
) -> None:
    assert [mail.recipients[0] for mail in inbox.messages()] == [BOB]
    assert report.skipped(parts.database, september) == {"monthly": 1}
    (issue,) = make(parts)
    assert make(parts) == []
    now = datetime.now(UTC)
    assert schedule.begin_due(parts.database, now, 10) == [issue]
    while expand.expand_some(parts.database, issue, now):
        pass
    while compose.render_stale(parts.database, parts.renderer, parts.links, "", issue, 8):
        pass
    assert expand.settle(parts.database, issue, now)
    assert send() == 1
    (mail,) = mails_to(inbox, ADA)
    assert mail["Content-Language"] == "bs"
    assert mail["Subject"] == "Tromjesečni bilten sliva Lumena: septembar 2026."
    assert "Devet" in html(mail)
    assert report.status(parts.database, issue, now).counts.candidates == 1
    assert report.audit(parts.database, issue) == []


def test_the_stories_are_all_there(parts: Mailer, september: int) -> None:
    (issue,) = make(parts)
    query = """
        SELECT c.key, t.language, t.headline, t.body, t.alt, t.link, s.picture_id, count(k.contact_id)
        FROM story s JOIN section c ON c.id = s.section_id JOIN story_translation t ON t.story_id = s.id
        LEFT JOIN contact_story k ON k.story_id = s.id
        WHERE s.issue_id = :issue GROUP BY 1, 2, 3, 4, 5, 6, 7, s.position ORDER BY s.position, 2
    """
    with parts.database.transaction() as session:
        copies, originals = (session.execute(text(query), {"issue": n}).all() for n in (issue, september))
    assert sorted(map(str, copies)) == sorted(map(str, originals))
    assert len(copies) > 10


def test_no_digest_without_readers_or_issues_or_in_mid_month(parts: Mailer, september: int) -> None:
    assert september
    assert make(parts, datetime(2026, 11, 1, tzinfo=UTC)) == []
    assert make(parts, datetime(2026, 10, 3, tzinfo=UTC)) == []
    with parts.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'each'"))
    assert make(parts) == []


def test_a_digest_is_no_issue_of_the_next_month(parts: Mailer, september: int) -> None:
    assert september
    (issue,) = make(parts)
    with parts.database.transaction() as session:
        session.execute(
            text("UPDATE issue SET state = 'sent', frozen_at = '2026-10-01 06:00+00' WHERE id = :id"),
            {"id": issue},
        )
    assert make(parts, datetime(2026, 11, 1, tzinfo=UTC)) == []


@pytest.mark.parametrize("end", [schedule.pause, schedule.cancel])
def test_an_issue_belongs_to_its_month_whatever_becomes_of_a_second_try(
    parts: Mailer, september: int, end: Callable[..., object]
) -> None:
    with parts.database.transaction() as session:
        session.execute(text("UPDATE delivery SET state = 'failed' WHERE state = 'sent'"))
        session.execute(text("UPDATE batch SET sent = 0, failed = 1"))
    assert settle.retry(parts.database, september, [], "ann", FIRST).tried == 1
    end(parts.database, september, "ann", *([FIRST] if end is schedule.cancel else []))
    assert make(parts)


def test_the_digest_waits_a_day_for_an_issue_that_is_paused(parts: Mailer, september: int) -> None:
    next_day = FIRST + timedelta(days=1)
    with parts.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'paused', finished_at = NULL"))
        session.execute(text("DELETE FROM issue_event"))
        session.execute(text("UPDATE batch SET sent = 0"))
    assert make(parts) == make(parts, next_day) == [], "nobody has got it, and perhaps nobody will"
    with parts.database.transaction() as session:
        session.execute(text("UPDATE batch SET sent = 1"))
    assert make(parts) == []
    assert make(parts, next_day), "some have got it"


def test_the_month_before_january(parts: Mailer, september: int) -> None:
    assert september
    with parts.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-12-31 23:59+00'"))
    (issue,) = make(parts, datetime(2027, 1, 1, tzinfo=UTC))
    with parts.database.transaction() as session:
        assert (
            str(session.scalar(text("SELECT digest_month FROM issue WHERE id = :id"), {"id": issue}))
            == "2026-12-01"
        )
