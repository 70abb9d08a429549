"""The pages behind mail links and magic links: preferences, confirmations and undo."""

import re
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update

from mailer.adapters.tokens import Purpose
from mailer.devtools.inbox import InboxServer
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.states import Frequency
from mailer.domain.subscription_ref import UNDO_WINDOW, LinkKind, SubscriptionRef
from mailer.language_data import languages
from mailer.models import Subscriber, Subscription
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import preferences
from mailer.services.subscribers.preferences import NOTICE_DELAY
from tests.conftest import SAMPLE
from tests.support.clock import clock_of
from tests.support.emails import text_body
from tests.support.mailing import Mailing
from tests.support.transactional import emails_to, link_path, send_transactional

ADA, LEILA, JOVAN = "ada@example.org", "leila@example.org", "jovan@example.org"


def both(mailing: Mailing, address: str) -> list[str]:
    return [mailing.unsubscribe_path(address), mailing.preferences_path(address)]


SAVE: dict[str, object] = {"action": "save", "section": ["1", "3"], "language": ["fr", "en"]}
"""What a form of these pages holds at least."""


def notices(mailing: Mailing, inbox: InboxServer, address: str, after: timedelta) -> list[EmailMessage]:
    """Send what is due by then; return the confirmations of changes that have come to an address so far."""
    send_transactional(mailing.app, mailing.app.clock.now() + after)
    subject = "Your settings have been changed"
    return [mail for mail in emails_to(inbox, address) if mail["Subject"].startswith(subject)]


@pytest.mark.parametrize("page", [0, 1])
def test_mail_link_changes_take_effect_at_once(mailing: Mailing, client: TestClient, page: int) -> None:
    path = both(mailing, ADA)[page]
    before = mailing.profile(ADA)
    answer = client.post(path + "?lang=en", data=SAVE | {"new": "yes", "frequency": "monthly", "text": "yes"})
    assert answer.status_code == 200
    assert "Your changes have been saved." in answer.text
    after = mailing.profile(ADA)
    assert mailing.followed_bits(ADA) == [0, 1, 3]  # the first goes to everybody
    assert after.languages == ("fr", "en")
    assert (after.preferences.frequency, after.preferences.text_only) == (Frequency.monthly, True)
    assert after.preferences.new_sections
    undone = client.post(path + "?lang=en", data={"action": "restore"})
    assert "Your previous settings have been restored." in undone.text
    assert mailing.profile(ADA) == before


def test_mail_link_form_shows_stored_preferences(mailing: Mailing, client: TestClient) -> None:
    for path in both(mailing, JOVAN):
        page = client.get(path + "?lang=en").text
        boxes = dict(re.findall(r'name="section" value="(\d+)"([^>]*)>', page))
        assert boxes == {"0": " checked disabled", "1": " checked"} | dict.fromkeys("2345", "")
        assert re.findall(r'<option value="([^"]+)" lang="[^"]+" selected>', page) == ["sr-Latn", "en"]


def test_mail_link_pages_show_only_what_the_email_shows(mailing: Mailing, client: TestClient) -> None:
    with mailing.app.database.transaction() as session:
        session.execute(text("UPDATE newsletter SET tracking = 'individual'"))
        session.execute(update(Subscriber).values(name="Leila Haddad", time_zone="Asia/Beirut"))
    more = {"zone": "Asia/Tokyo", "name": "Mallory", "tracking": "yes", "address": "mallory@example.org"}
    for path in both(mailing, LEILA):
        page = client.get(path + "?lang=en").text
        for private in (
            LEILA,
            "Leila Haddad",
            "Beirut",
            "/k/",
            'name="zone"',
            'name="name"',
            'name="tracking"',
        ):
            assert private not in page
        assert client.post(path, data=SAVE | more).status_code == 200
        stored = mailing.profile(LEILA)
        assert stored.languages == ("fr", "en")
        assert (stored.preferences.time_zone, stored.preferences.name) == ("Asia/Beirut", "Leila Haddad")
        assert not stored.preferences.tracking
        assert stored.email_address == LEILA
        for action in ("change-address", "erase"):  # neither is an action of these pages
            client.post(path, data=more | {"action": action, "sure": "yes"})
        assert mailing.profile(LEILA).email_address == LEILA


def test_mail_link_change_is_confirmed_by_email_with_undo(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    with mailing.app.database.transaction() as session:
        session.execute(update(Subscriber).values(languages=["en", "ar"]))
    before = mailing.profile(LEILA)
    answer = client.post(mailing.preferences_path(LEILA) + "?lang=en", data=SAVE | {"frequency": "monthly"})
    assert "We will confirm this change in an email to" in answer.text
    client.post(mailing.preferences_path(LEILA) + "?lang=en", data={"action": "pause", "weeks": "4"})
    assert notices(mailing, inbox, LEILA, timedelta(0)) == []
    (notice,) = notices(mailing, inbox, LEILA, NOTICE_DELAY + timedelta(seconds=1))
    words = text_body(notice)
    assert "Someone, probably you, has used the link in an email" in words
    assert "Water and rivers" in words
    assert "Français and English" in words
    assert "You will receive no emails until" in words
    assert "One email a month" in words
    assert notice["List-Unsubscribe"]
    path = link_path(notice, "/p/")
    assert mailing.profile(LEILA) != before
    page = client.get(path + "?lang=en").text
    assert "Your settings have been changed" in page
    assert 'value="restore"' in page
    assert mailing.profile(LEILA) != before  # GET changes nothing
    client.post(path, data={"action": "restore"})
    assert mailing.profile(LEILA) == before  # both changes, since one email told of both


def test_manage_page_change_is_not_confirmed_by_email(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    client.post(mailing.manage_path(ADA), data=SAVE)
    client.post(mailing.manage_path(ADA), data={"action": "pause", "weeks": "4"})
    client.post(mailing.preferences_path(LEILA), data={"action": "restore"})  # nothing to undo
    assert send_transactional(mailing.app, mailing.app.clock.now() + timedelta(hours=2)) == 0


def test_undone_change_is_not_confirmed_by_email(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    for link in (mailing.preferences_path(ADA), mailing.manage_path(ADA)):
        client.post(mailing.preferences_path(ADA), data=SAVE)
        client.post(link, data={"action": "restore"})
        assert notices(mailing, inbox, ADA, timedelta(hours=2)) == []


def test_mail_link_undo_is_confirmed_if_the_change_was(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    client.post(mailing.preferences_path(ADA), data=SAVE)
    assert len(notices(mailing, inbox, ADA, timedelta(minutes=3))) == 1
    client.post(mailing.preferences_path(ADA), data={"action": "restore"})
    _, undone = notices(mailing, inbox, ADA, timedelta(hours=1))
    assert "Undo this change" not in text_body(undone)
    assert "Choose sections and language" in text_body(undone)


def test_confirmations_are_rate_limited_and_cover_every_change(
    mailing: Mailing, client: TestClient, inbox: InboxServer
) -> None:
    clock = clock_of(mailing.app)
    for change in range(12):
        data = SAVE | {"section": str(1 + change % 2), "language": "en"}
        client.post(mailing.preferences_path(ADA), data=data)
        send_transactional(mailing.app, clock.now())
        clock.advance(minutes=5)
    assert 2 <= len(notices(mailing, inbox, ADA, timedelta(hours=-1))) <= 3
    last = notices(mailing, inbox, ADA, timedelta(hours=1))[-1]
    assert "Water and rivers" not in text_body(last)  # the state after the last change, section 2


def test_no_confirmation_after_unsubscribing(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    client.post(mailing.preferences_path(ADA), data=SAVE)
    client.post(mailing.unsubscribe_path(ADA), data={"List-Unsubscribe": "One-Click"})
    assert notices(mailing, inbox, ADA, timedelta(hours=1)) == []


@pytest.mark.parametrize("language", list(languages()))
def test_confirmation_uses_the_previous_language(
    mailing: Mailing, client: TestClient, inbox: InboxServer, language: str
) -> None:
    with mailing.app.database.transaction() as session:
        session.execute(update(Subscriber).values(languages=[language]))
    client.post(mailing.preferences_path(ADA) + "?lang=sq", data=SAVE)
    send_transactional(mailing.app, mailing.app.clock.now() + timedelta(hours=1))
    (notice,) = emails_to(inbox, ADA)
    assert notice["Content-Language"] == language
    assert ("Your settings have been changed" in notice["Subject"]) is (language == "en")
    assert "%(" not in text_body(notice)


def test_form_without_sections_shows_advice_and_keeps_other_values(mailing: Mailing, client: TestClient) -> None:
    mailing.make_all_sections_optional()
    before = mailing.profile(LEILA)
    for path in both(mailing, LEILA):
        answer = client.post(path + "?lang=en", data={"action": "save", "language": "fr", "frequency": "monthly"})
        assert answer.status_code == 422
        assert "Choose at least one section" in answer.text
        assert 'value="monthly" checked' in answer.text
        assert client.post(path, data={"action": "save", "language": "fr", "frequency": "x"}).status_code == 422
    assert mailing.profile(LEILA) == before


def test_mail_link_offers_undo_while_possible(mailing: Mailing, client: TestClient) -> None:
    for path in both(mailing, ADA):
        assert "Undo this change" not in client.get(path).text
        client.post(path, data={"action": "pause", "weeks": "4"})
        assert "Undo this change" in client.get(path).text
        client.post(path, data={"action": "restore"})
    client.post(mailing.manage_path(ADA), data={"action": "pause", "weeks": "4"})
    for path in both(mailing, ADA):  # what was done on one's own page is undone there
        assert "Undo this change" not in client.get(path).text


def test_monthly_and_pause_apply_to_queued_mail(
    mailing: Mailing, client: TestClient, inbox: InboxServer, send: Callable[[], int]
) -> None:
    monthly = client.post(mailing.unsubscribe_path(ADA) + "?lang=en", data=SAVE | {"frequency": "monthly"})
    assert "One email a month" in monthly.text
    paused = client.post(mailing.unsubscribe_path(LEILA), data={"action": "pause", "weeks": "4"})
    assert paused.status_code == 200
    until = mailing.profile(LEILA).preferences.paused_until
    assert until
    assert timedelta(days=27) < until - mailing.app.clock.now() <= timedelta(days=28)
    assert mailing.profile(ADA).preferences.frequency is Frequency.monthly
    send()
    assert {mail.recipients[0] for mail in inbox.messages()} == {"jovan@example.org"}


def test_mail_link_ends_a_pause(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    client.post(mailing.manage_path(ADA), data={"action": "pause", "weeks": "8"})
    path = mailing.preferences_path(ADA)
    assert "End the pause now" in client.get(path).text
    client.post(path, data={"action": "pause", "weeks": "0"})
    assert mailing.profile(ADA).preferences.paused_until is None
    assert len(notices(mailing, inbox, ADA, timedelta(hours=1))) == 1


def test_mail_link_undoes_only_mail_link_changes(mailing: Mailing, client: TestClient) -> None:
    client.post(mailing.manage_path(ADA), data={"action": "save", "section": "2", "language": "en"})
    chosen = mailing.profile(ADA)
    client.post(mailing.unsubscribe_path(ADA), data={"action": "restore"})
    assert mailing.profile(ADA) == chosen
    client.post(mailing.preferences_path(ADA), data={"action": "pause", "weeks": "1"})
    client.post(mailing.manage_path(ADA), data={"action": "restore"})
    assert mailing.profile(ADA) == chosen


def test_change_can_be_undone_for_a_day(mailing: Mailing) -> None:
    database, ref = mailing.app.database, SubscriptionRef(mailing.subscriber_id(ADA), issue=mailing.issue)
    now = mailing.app.clock.now()
    preferences.pause(database, ref, 1, LinkKind.mail, now)
    late = preferences.undo(database, ref, LinkKind.mail, now + UNDO_WINDOW + timedelta(seconds=1))
    assert late
    assert not late[0]
    done = preferences.undo(database, ref, LinkKind.mail, now + UNDO_WINDOW)
    assert done
    assert done[0]
    assert done[1].preferences.paused_until is None


def test_reason_is_asked_after_unsubscribing_and_truncated(mailing: Mailing, client: TestClient) -> None:
    path = mailing.unsubscribe_path(ADA)
    assert 'name="reason"' not in client.get(path).text
    assert 'name="reason"' in client.post(path, data={"action": "unsubscribe"}).text
    data = {"action": "reason", "reason": "often", "comment": "<b>So</b> much.\n" + "x" * 600 + "\x00"}
    answer = client.post(path, data=data)
    assert "Thank you for telling us." in answer.text
    with mailing.app.database.transaction() as session:
        (detail,) = session.execute(text("SELECT detail FROM feedback WHERE kind = 'unsubscribe'")).scalars()
    assert detail["channel"] == "unsubscribe_page"
    assert detail["reason"] == "often"
    assert detail["comment"].startswith("<b>So</b> much.\nxxx")
    assert len(detail["comment"]) == 500
    assert not mailing.profile(ADA).subscribed


def test_unsubscribing_from_all_is_undone_for_all(mailing: Mailing, client: TestClient) -> None:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    only = client.get(mailing.unsubscribe_path(ADA)).text
    assert "unsubscribe-all" not in only
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
            assert 'value="unsubscribe-all"' in client.get(page).text
    query = "INSERT INTO subscription (newsletter_id, subscriber_id, state, sections) VALUES (:n, :s, :state, 1)"
    ada = mailing.subscriber_id(ADA)
    with mailing.app.database.transaction() as session:
        for newsletter, state in ((2, "active"), (3, "unsubscribed"), (4, "active")):
            session.execute(text(query), {"n": newsletter, "s": ada, "state": state})

    def has() -> list[str]:
        with mailing.app.database.transaction() as session:
            states = "SELECT state FROM subscription WHERE subscriber_id = :s ORDER BY newsletter_id"
            return list(session.execute(text(states), {"s": ada}).scalars())

    left = client.post(mailing.unsubscribe_path(ADA) + "?lang=en", data={"action": "unsubscribe-all"})
    assert "We no longer send any of our newsletters to" in left.text
    assert has() == ["unsubscribed"] * 4
    assert mailing.profile(LEILA).subscribed
    assert "You are subscribed again" in client.post(mailing.unsubscribe_path(ADA), data={"action": "undo"}).text
    assert has() == ["active", "active", "unsubscribed", "active"]
    # First this one, then the rest: together they come back.
    client.post(mailing.manage_path(ADA), data={"action": "unsubscribe"})
    client.post(mailing.preferences_path(ADA), data={"action": "unsubscribe-all"})
    assert has() == ["unsubscribed"] * 4
    client.post(mailing.manage_path(ADA), data={"action": "undo"})
    assert has() == ["active", "active", "unsubscribed", "active"]


def test_giving_a_reason_does_not_unsubscribe(mailing: Mailing, client: TestClient) -> None:
    for path in both(mailing, ADA):
        client.post(path, data={"action": "reason", "reason": "often"})
    assert mailing.profile(ADA).subscribed


def test_magic_link_is_sent_by_email(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
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


def test_expired_magic_link_offers_a_new_one(mailing: Mailing, client: TestClient, inbox: InboxServer) -> None:
    now, tokens, ada = int(mailing.app.clock.now().timestamp()), mailing.app.tokens, mailing.subscriber_id(ADA)
    before = mailing.profile(ADA)
    for made, status in ((now - 7190, 200), (now - 7210, 410), (now + 3600, 404), (0, 410)):
        path = f"/k/{tokens.make_link_token(Purpose.magic_link, made, ada)}/lumen-basin"
        assert client.get(path).status_code == status, made
        if status != 200:
            for action in ("save", "change-address", "unsubscribe", "pause", "restore", "reason"):
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


def test_magic_link_gives_no_access_to_other_subscribers(mailing: Mailing, client: TestClient) -> None:
    token = mailing.manage_path(ADA).split("/")[2]
    assert client.get(f"/k/{token}/nowhere").status_code == 404
    for room in ("u", "p", "e", "c", "a"):
        assert client.get(f"/{room}/{token}").status_code == 404
    for path in (mailing.unsubscribe_path(ADA), mailing.preferences_path(ADA)):
        assert client.get(f"/k/{path[3:]}/lumen-basin").status_code == 404


def test_manage_page_saves_every_field(mailing: Mailing, client: TestClient) -> None:
    path = mailing.manage_path(ADA)
    before = mailing.profile(ADA)
    data = {
        "action": "save",
        "section": ["1", "2", "3", "4", "5"],
        "new": "yes",
        "language": ["en", "fr"],
        "text": "yes",
        "zone": "Europe/Belgrade",
        "name": "Ada L.",
        "frequency": "monthly",
        "tracking": "yes",
    }
    answer = client.post(path, data=data)
    assert answer.status_code == 200
    after = mailing.profile(ADA)
    assert (after.preferences.text_only, after.preferences.time_zone, after.preferences.name) == (
        True,
        "Europe/Belgrade",
        "Ada L.",
    )
    assert after.preferences.frequency is Frequency.monthly
    assert not after.preferences.tracking  # this newsletter does not ask for it
    again = client.get(path).text
    assert 'value="Europe/Belgrade" selected' in again
    assert 'name="text" value="yes" checked' in again
    assert 'value="monthly" checked' in again
    client.post(path, data={"action": "restore"})
    assert mailing.profile(ADA) == before


def test_pause_is_shown_and_ended(mailing: Mailing, client: TestClient) -> None:
    path = mailing.manage_path(ADA)
    paused = client.post(path, data={"action": "pause", "weeks": "2"}).text
    assert "You will receive no emails until" in paused
    assert "End the pause now" in client.get(path).text
    client.post(path, data={"action": "pause", "weeks": "0"})
    assert mailing.profile(ADA).preferences.paused_until is None


def test_tracking_consent_is_stored_with_its_wording(mailing: Mailing, client: TestClient) -> None:
    with mailing.app.database.transaction() as session:
        session.execute(text("UPDATE newsletter SET tracking = 'individual'"))
    path = mailing.manage_path(ADA)
    assert re.search(r'name="tracking" value="yes">', client.get(path).text)
    save = {"action": "save", "section": "1", "language": "en"}
    for _ in range(2):
        client.post(path, data=save | {"tracking": "yes"})
    assert mailing.profile(ADA).preferences.tracking
    client.post(path, data=save)
    with mailing.app.database.transaction() as session:
        rows = session.execute(
            text("SELECT given, wording, language, channel FROM consent WHERE kind = 'tracking' ORDER BY id")
        ).all()
    words = "I agree that you record which emails I open and which links I click."
    assert [tuple(row) for row in rows] == [
        (True, words, "en", "manage_page"),
        (False, words, "en", "manage_page"),
    ]


def test_mail_link_undo_does_not_change_tracking(mailing: Mailing, client: TestClient) -> None:
    """A link of any mail brings back nothing that only the reader's own page may change."""
    client.post(mailing.unsubscribe_path(ADA), data={"action": "pause", "weeks": "1"})
    with mailing.app.database.transaction() as session:
        session.execute(update(Subscription).values(tracking=True))
    client.post(mailing.unsubscribe_path(ADA), data={"action": "restore"})
    assert mailing.profile(ADA).preferences.tracking
