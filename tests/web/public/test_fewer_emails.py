"""What a link of any mail shows and may change: less, a pause, and the way to a page of one's own."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update

from mailer.adapters.tokens import Purpose
from mailer.devtools.inbox import InboxServer
from mailer.domain.newsletter import read_newsletter
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.models import Edition, Subscription
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import preferences
from tests.conftest import SAMPLE
from tests.support.mailing import Mailing
from tests.support.transactional import emails_to, link_path, send_transactional

ADA, LEILA = "ada@example.org", "leila@example.org"


def both(mailing: Mailing, address: str) -> list[str]:
    return [mailing.unsubscribe_path(address), mailing.preferences_path(address)]


def test_a_mailed_link_shows_no_more_than_the_mail(mailing: Mailing, client: TestClient) -> None:
    for path in both(mailing, LEILA):
        client.post(
            mailing.manage_path(LEILA), data={"action": "save", "section": ["1", "4"], "language": "en"}
        )
        page = client.get(path + "?lang=en").text
        assert LEILA not in page
        # The edition had the first two sections, of which everybody gets the first.
        assert re.findall(r'name="section" value="(\d+)"([^>]*)', page) == [("1", "")]
        assert "/k/" not in page
        assert 'name="language"' not in page


@pytest.mark.parametrize("page", [0, 1])
def test_sections_are_dropped_and_taken_back(mailing: Mailing, client: TestClient, page: int) -> None:
    path = both(mailing, ADA)[page]
    before = mailing.profile(ADA)
    answer = client.post(path, data={"action": "drop", "section": ["1", "3"]})
    assert answer.status_code == 200
    assert "From the next issue on, you will no longer receive: Water and rivers" in answer.text
    assert mailing.followed_bits(ADA) == [0, 2, 4, 5]
    assert mailing.profile(ADA).new_sections
    assert "Your previous settings have been restored." in client.post(path, data={"action": "restore"}).text
    assert mailing.profile(ADA) == before


def test_dropping_nothing_or_everything_says_what_to_do(mailing: Mailing, client: TestClient) -> None:
    before = mailing.profile(LEILA)
    for path in both(mailing, LEILA):
        answer = client.post(path + "?lang=en", data={"action": "drop"})
        assert answer.status_code == 422
        assert "Select some of the sections" in answer.text
        for wrong in (["5"], ["0"], ["99"], ["x"]):  # not in this mail, for everybody, none, no number
            data = {"action": "drop", "section": wrong}
            assert client.post(path + "?lang=en", data=data).status_code == 422
    assert mailing.profile(LEILA) == before


def test_a_choice_that_leaves_nothing_is_not_offered(mailing: Mailing, client: TestClient) -> None:
    mailing.make_all_sections_optional()
    own = {"action": "save", "language": "en", "section": "1"}
    assert client.post(mailing.manage_path(LEILA), data=own).status_code == 200
    for path in both(mailing, LEILA):
        # The mail had another one.
        assert ">Unsubscribe from some sections<" in client.get(path + "?lang=en").text
        answer = client.post(path + "?lang=en", data={"action": "drop", "section": ["0", "1"]}).text
        assert len(re.findall(r'name="section" value="\d" checked', answer)) == 2
        client.post(mailing.manage_path(LEILA), data=own | {"section": "0"})
    with mailing.app.database.transaction() as session:
        session.execute(update(Edition).where(Edition.language == "ar").values(sections=1))
    for path in both(mailing, LEILA):
        assert ">Unsubscribe from some sections<" not in client.get(path + "?lang=en").text


def test_a_mailed_link_offers_the_undo_as_long_as_there_is_one(mailing: Mailing, client: TestClient) -> None:
    for path in both(mailing, ADA):
        assert "Undo this change" not in client.get(path).text
        client.post(path, data={"action": "pause", "weeks": "4"})
        assert "Undo this change" in client.get(path).text
        client.post(path, data={"action": "restore"})
    client.post(mailing.manage_path(ADA), data={"action": "pause", "weeks": "4"})
    for path in both(mailing, ADA):  # what was done on one's own page is undone there
        assert "Undo this change" not in client.get(path).text


def test_monthly_and_pause_hold_for_queued_mail(
    mailing: Mailing, client: TestClient, inbox: InboxServer, send: Callable[[], int]
) -> None:
    assert "One email a month" in client.post(mailing.unsubscribe_path(ADA), data={"action": "monthly"}).text
    assert (
        client.post(mailing.unsubscribe_path(LEILA), data={"action": "pause", "weeks": "4"}).status_code
        == 200
    )
    paused = mailing.profile(LEILA).paused_until
    assert paused
    assert timedelta(days=27) < paused - datetime.now(UTC) <= timedelta(days=28)
    assert mailing.profile(ADA).monthly
    send()
    assert {mail.recipients[0] for mail in inbox.messages()} == {"jovan@example.org"}


def test_a_mailed_link_shortens_no_pause(mailing: Mailing, client: TestClient) -> None:
    client.post(mailing.manage_path(ADA), data={"action": "pause", "weeks": "8"})
    chosen = mailing.profile(ADA)
    for path in both(mailing, ADA):
        answer = client.post(path, data={"action": "pause", "weeks": "1"})
        assert answer.status_code == 200
        assert 'value="restore"' not in answer.text  # nothing was changed
    assert mailing.profile(ADA) == chosen
    for action in ("pause", "restore"):
        client.post(mailing.unsubscribe_path(ADA), data={"action": action, "weeks": "12"})
        assert (mailing.profile(ADA) == chosen) is (action == "restore")


def test_a_mailed_link_takes_back_only_what_such_a_link_did(mailing: Mailing, client: TestClient) -> None:
    client.post(mailing.manage_path(ADA), data={"action": "save", "section": "2", "language": "en"})
    chosen = mailing.profile(ADA)
    client.post(mailing.unsubscribe_path(ADA), data={"action": "restore"})
    assert mailing.profile(ADA) == chosen
    client.post(mailing.preferences_path(ADA), data={"action": "pause", "weeks": "1"})
    client.post(mailing.manage_path(ADA), data={"action": "restore"})
    assert mailing.profile(ADA) == chosen


def test_a_change_can_be_taken_back_for_a_day(mailing: Mailing) -> None:
    database, tie = mailing.app.database, SubscriptionRef(mailing.subscriber_id(ADA), issue=mailing.issue)
    now = datetime.now(UTC)
    preferences.set_monthly(database, tie, now)
    late = preferences.undo(database, tie, "mail", now + timedelta(hours=24, seconds=1))
    assert late
    assert not late[0]
    done = preferences.undo(database, tie, "mail", now + timedelta(hours=24))
    assert done
    assert done[0]
    assert not done[1].monthly


def test_why_is_asked_after_leaving_and_kept_short(mailing: Mailing, client: TestClient) -> None:
    path = mailing.unsubscribe_path(ADA)
    assert 'name="why"' not in client.get(path).text
    assert 'name="why"' in client.post(path, data={"action": "leave"}).text
    data = {"action": "why", "why": "often", "words": "<b>So</b> much.\n" + "x" * 600 + "\x00"}
    answer = client.post(path, data=data)
    assert "Thank you for telling us." in answer.text
    with mailing.app.database.transaction() as session:
        (detail,) = session.execute(text("SELECT detail FROM feedback WHERE kind = 'unsubscribe'")).scalars()
    assert detail["channel"] == "unsubscribe page"
    assert detail["why"] == "often"
    assert detail["words"].startswith("<b>So</b> much.\nxxx")
    assert len(detail["words"]) == 500
    assert not mailing.profile(ADA).subscribed


def test_all_newsletters_are_left_and_come_back_together(mailing: Mailing, client: TestClient) -> None:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    only = client.get(mailing.unsubscribe_path(ADA)).text
    assert "leave-all" not in only
    for slug in ("lumen-culture", "lumen-ports", "lumen-private"):
        settings.slug, settings.list_id = slug, f"{slug}.example.org"
        settings.public = slug != "lumen-private"
        apply_newsletter(mailing.app.database, settings)
    # The offer is the same for Leila, who has nothing else, so that it tells whoever holds the mail nothing.
    for address in (ADA, LEILA):
        for page in (
            mailing.unsubscribe_path(address),
            mailing.preferences_path(address),
            mailing.manage_path(address),
        ):
            assert 'value="leave-all"' in client.get(page).text
    query = (
        "INSERT INTO subscription (newsletter_id, subscriber_id, state, sections) VALUES (:n, :s, :state, 1)"
    )
    ada = mailing.subscriber_id(ADA)
    with mailing.app.database.transaction() as session:
        for newsletter, state in ((2, "active"), (3, "unsubscribed"), (4, "active")):
            session.execute(text(query), {"n": newsletter, "s": ada, "state": state})

    def has() -> list[str]:
        with mailing.app.database.transaction() as session:
            states = "SELECT state FROM subscription WHERE subscriber_id = :s ORDER BY newsletter_id"
            return list(session.execute(text(states), {"s": ada}).scalars())

    left = client.post(mailing.unsubscribe_path(ADA) + "?lang=en", data={"action": "leave-all"})
    assert "We no longer send any of our newsletters to" in left.text
    assert has() == ["unsubscribed"] * 4
    assert mailing.profile(LEILA).subscribed
    assert (
        "You are subscribed again" in client.post(mailing.unsubscribe_path(ADA), data={"action": "undo"}).text
    )
    assert has() == ["active", "active", "unsubscribed", "active"]
    # First this one, then the rest: together they come back.
    client.post(mailing.manage_path(ADA), data={"action": "leave"})
    client.post(mailing.preferences_path(ADA), data={"action": "leave-all"})
    assert has() == ["unsubscribed"] * 4
    client.post(mailing.manage_path(ADA), data={"action": "undo"})
    assert has() == ["active", "active", "unsubscribed", "active"]


def test_saying_why_unsubscribes_nobody(mailing: Mailing, client: TestClient) -> None:
    for path in both(mailing, ADA):
        client.post(path, data={"action": "why", "why": "often"})
    assert mailing.profile(ADA).subscribed


def test_the_link_to_ones_own_page_comes_by_mail(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    answer = client.post(mailing.preferences_path(LEILA) + "?lang=en", data={"action": "send"})
    assert "We have sent you the link." in answer.text
    assert send_transactional(mailing.app) == 1
    (mail,) = emails_to(inbox, LEILA)
    own = client.get(link_path(mail, "/k/"))
    assert own.status_code == 200
    assert LEILA in own.text
    assert own.headers["Cache-Control"] == "no-store"
    for _ in range(5):
        client.post(mailing.preferences_path(LEILA), data={"action": "send"})
    assert send_transactional(mailing.app) == 2  # three an hour
    assert len({mail["Message-ID"] for mail in emails_to(inbox, LEILA)}) == 3


def test_such_a_link_grows_old_and_offers_a_new_one(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    now, tokens, ada = int(datetime.now(UTC).timestamp()), mailing.app.tokens, mailing.subscriber_id(ADA)
    before = mailing.profile(ADA)
    for made, status in ((now - 7190, 200), (now - 7210, 410), (now + 3600, 404), (0, 410)):
        path = f"/k/{tokens.make_link_token(Purpose.magic_link, made, ada)}/lumen-basin"
        assert client.get(path).status_code == status, made
        if status != 200:
            for action in ("save", "move", "leave", "pause", "restore", "why"):
                data = {"action": action, "section": "1", "language": "en", "weeks": "1"}
                assert client.post(path, data=data).status_code == status
            for more in ("/data", "/data.json"):
                assert client.get(path + more).status_code == status
            assert client.post(path + "/data", data={"action": "erase", "sure": "yes"}).status_code == status
    assert mailing.profile(ADA) == before
    old = f"/k/{tokens.make_link_token(Purpose.magic_link, now - 90_000, ada)}/lumen-basin"
    page = client.get(old).text
    assert ADA not in page
    assert "a…@</span>example.org" in page
    assert client.post(old, data={"action": "send"}).status_code == 200
    assert send_transactional(mailing.app) == 1
    assert client.get(link_path(emails_to(inbox, ADA)[0], "/k/")).status_code == 200


def test_a_key_opens_nothing_of_a_stranger(mailing: Mailing, client: TestClient) -> None:
    token = mailing.manage_path(ADA).split("/")[2]
    assert client.get(f"/k/{token}/nowhere").status_code == 404
    for room in ("u", "p", "e", "c", "a"):
        assert client.get(f"/{room}/{token}").status_code == 404
    for path in (mailing.unsubscribe_path(ADA), mailing.preferences_path(ADA)):
        assert client.get(f"/k/{path[3:]}/lumen-basin").status_code == 404


def test_everything_on_ones_own_page_is_stored(mailing: Mailing, client: TestClient) -> None:
    path = mailing.manage_path(ADA)
    before = mailing.profile(ADA)
    data = {
        "action": "save",
        "section": ["1", "2", "3", "4", "5"],
        "new": "yes",
        "language": ["en", "fr"],
        "text": "yes",
        "zone": "Europe/Belgrade",
        "frequency": "monthly",
        "tracking": "yes",
    }
    answer = client.post(path, data=data)
    assert answer.status_code == 200
    after = mailing.profile(ADA)
    assert (after.text_only, after.time_zone, after.monthly) == (True, "Europe/Belgrade", True)
    assert not after.tracking  # this newsletter does not ask for it
    again = client.get(path).text
    assert 'value="Europe/Belgrade" selected' in again
    assert 'name="text" value="yes" checked' in again
    assert 'value="monthly" checked' in again
    client.post(path, data={"action": "restore"})
    assert mailing.profile(ADA) == before


def test_a_pause_is_shown_and_ended(mailing: Mailing, client: TestClient) -> None:
    path = mailing.manage_path(ADA)
    paused = client.post(path, data={"action": "pause", "weeks": "2"}).text
    assert "You will receive no emails until" in paused
    assert "End the pause now" in client.get(path).text
    client.post(path, data={"action": "pause", "weeks": "0"})
    assert mailing.profile(ADA).paused_until is None


def test_agreeing_to_be_counted_leaves_the_words(mailing: Mailing, client: TestClient) -> None:
    with mailing.app.database.transaction() as session:
        session.execute(text("UPDATE newsletter SET tracking = 'individual'"))
    path = mailing.manage_path(ADA)
    assert re.search(r'name="tracking" value="yes">', client.get(path).text)
    save = {"action": "save", "section": "1", "language": "en"}
    for _ in range(2):
        client.post(path, data=save | {"tracking": "yes"})
    assert mailing.profile(ADA).tracking
    client.post(path, data=save)
    with mailing.app.database.transaction() as session:
        rows = session.execute(
            text("SELECT given, wording, language, channel FROM consent WHERE kind = 'tracking' ORDER BY id")
        ).all()
    words = "I agree that you record which emails I open and which links I click."
    assert [tuple(row) for row in rows] == [(True, words, "en", "own page"), (False, words, "en", "own page")]


def test_former_holds_no_tracking_of_others(mailing: Mailing, client: TestClient) -> None:
    """A link of any mail brings back nothing that only the reader's own page may change."""
    client.post(mailing.unsubscribe_path(ADA), data={"action": "pause", "weeks": "1"})
    with mailing.app.database.transaction() as session:
        session.execute(update(Subscription).values(tracking=True))
    client.post(mailing.unsubscribe_path(ADA), data={"action": "restore"})
    assert mailing.profile(ADA).tracking
