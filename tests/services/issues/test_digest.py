"""Monthly digests."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.services.delivery import dispatch, expand, resolve
from mailer.services.issues import compile, digest, report, schedule
from tests.support.emails import html_body
from tests.support.transactional import emails_to

FIRST = datetime(2026, 10, 1, 6, tzinfo=UTC)
ADA, BOB = "ada@example.org", "bob@example.org"


@pytest.fixture
def september(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> int:
    """An issue that went out in September, to one of two readers."""
    issue = import_issue("en", "bs")
    add_subscribers(f"{ADA};bs;\n{BOB};en;water-and-rivers")
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'monthly' WHERE subscriber_id = 1"))
    prepare(issue)
    send()
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-09-14 10:00+00'"))
    return issue


def make(app: Container, now: datetime = FIRST) -> list[int]:
    return digest.create_due_digests(app.database, now, app.transactional_renderer.digest_texts)


def test_digest_contains_the_month_in_one_email(
    app: Container, inbox: InboxServer, september: int, send: Callable[[], int]
) -> None:
    assert [mail.recipients[0] for mail in inbox.messages()] == [BOB]
    assert report.skipped_by_reason(app.database, september) == {"digest_only": 1}
    (issue,) = make(app)
    assert make(app) == []
    now = datetime.now(UTC)
    assert dispatch.start_due(app.database, now, 10) == [issue]
    while expand.expand_next(app.database, issue, now):
        pass
    while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
        pass
    assert dispatch.open_for_sending(app.database, issue, now)
    assert send() == 1
    (mail,) = emails_to(inbox, ADA)
    assert mail["Content-Language"] == "bs"
    assert mail["Subject"] == "Tromjesečni bilten sliva Lumena: septembar 2026."
    assert "Devet" in html_body(mail)
    assert report.status(app.database, issue, now).counts.candidates == 1
    assert report.audit(app.database, issue) == []


def test_digest_contains_all_stories(app: Container, september: int) -> None:
    (issue,) = make(app)
    query = """
        SELECT c.key, t.language, t.headline, t.body, t.alt, t.link, s.picture_id, count(k.contact_id)
        FROM story s JOIN section c ON c.id = s.section_id JOIN story_translation t ON t.story_id = s.id
        LEFT JOIN contact_story k ON k.story_id = s.id
        WHERE s.issue_id = :issue GROUP BY 1, 2, 3, 4, 5, 6, 7, s.position ORDER BY s.position, 2
    """
    with app.database.transaction() as session:
        copies, originals = (session.execute(text(query), {"issue": n}).all() for n in (issue, september))
    assert sorted(map(str, copies)) == sorted(map(str, originals))
    assert len(copies) > 10


def test_no_digest_without_readers_or_issues_or_before_the_month_ends(app: Container, september: int) -> None:
    assert september
    assert make(app, datetime(2026, 11, 1, tzinfo=UTC)) == []
    assert make(app, datetime(2026, 10, 3, tzinfo=UTC)) == []
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'each'"))
    assert make(app) == []


def test_digest_is_not_a_source_of_the_next_digest(app: Container, september: int) -> None:
    assert september
    (issue,) = make(app)
    with app.database.transaction() as session:
        session.execute(
            text("UPDATE issue SET state = 'sent', frozen_at = '2026-10-01 06:00+00' WHERE id = :id"),
            {"id": issue},
        )
    assert make(app, datetime(2026, 11, 1, tzinfo=UTC)) == []


@pytest.mark.parametrize("end", [schedule.pause, schedule.cancel])
def test_issue_stays_in_its_month_after_a_retry(app: Container, september: int, end: Callable[..., object]) -> None:
    with app.database.transaction() as session:
        session.execute(text("UPDATE delivery SET state = 'failed' WHERE state = 'sent'"))
        session.execute(text("UPDATE batch SET sent = 0, failed = 1"))
    assert resolve.retry(app.database, september, [], "ann", FIRST).retried == 1
    end(app.database, september, "ann", *([FIRST] if end is schedule.cancel else []))
    assert make(app)


def test_digest_waits_a_day_for_a_paused_issue(app: Container, september: int) -> None:
    next_day = FIRST + timedelta(days=1)
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'paused', finished_at = NULL"))
        session.execute(text("DELETE FROM issue_event"))
        session.execute(text("UPDATE batch SET sent = 0"))
    assert make(app) == make(app, next_day) == [], "nobody has got it, and perhaps nobody will"
    with app.database.transaction() as session:
        session.execute(text("UPDATE batch SET sent = 1"))
    assert make(app) == []
    assert make(app, next_day), "some have got it"


def test_previous_month_of_january(app: Container, september: int) -> None:
    assert september
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET frozen_at = '2026-12-31 23:59+00'"))
    (issue,) = make(app, datetime(2027, 1, 1, tzinfo=UTC))
    with app.database.transaction() as session:
        assert str(session.scalar(text("SELECT digest_month FROM issue WHERE id = :id"), {"id": issue})) == "2026-12-01"
