"""Unsubscribing and preferences over HTTP, as mail clients, scanners and browsers use them."""

import email
import email.policy
import re
from collections.abc import Callable
from itertools import product
from urllib.parse import quote, urlsplit

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from mailer.devtools.inbox import InboxServer
from mailer.domain.consents import ConsentChannel
from mailer.language_data import languages
from mailer.models import Feedback
from mailer.services.feedback import bounces
from mailer.store import subscribers
from tests.support.mailing import Mailing

ONE_CLICK = {"List-Unsubscribe": "One-Click"}
ADA, LEILA, JOVAN = "ada@example.org", "leila@example.org", "jovan@example.org"
PRIVATE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
}


def sent_to(inbox: InboxServer) -> set[str]:
    return {mail.recipients[0] for mail in inbox.messages()}


def evidence(mailing: Mailing, address: str) -> tuple[list[str], list[tuple[bool, str]]]:
    """The kinds of feedback, and the consents after the first, that are stored of a reader."""
    reader = mailing.subscriber_id(address)
    with mailing.app.database.transaction() as session:
        kinds = session.scalars(select(Feedback.kind).where(Feedback.subscriber_id == reader)).all()
        consents = subscribers.consents(session, reader)
        return list(kinds), [(consent.given, consent.channel) for consent in consents[1:]]


@pytest.mark.parametrize(
    "body",
    [{"data": ONE_CLICK}, {"files": {"List-Unsubscribe": (None, "One-Click")}}],
    ids=["form", "multipart"],
)
def test_one_click_stops_queued_mail(
    mailing: Mailing,
    client: TestClient,
    inbox: InboxServer,
    send: Callable[[], int],
    body: dict[str, object],
) -> None:
    answer = client.post(mailing.unsubscribe_path(ADA), **body)
    assert answer.status_code == 200
    assert "You are unsubscribed" in answer.text
    assert "set-cookie" not in answer.headers
    send()
    assert sent_to(inbox) == {LEILA, JOVAN}
    assert evidence(mailing, ADA) == (["unsubscribe"], [(False, ConsentChannel.one_click)])


def test_the_links_in_a_mail_lead_to_these_pages(
    mailing: Mailing, client: TestClient, inbox: InboxServer, send: Callable[[], int]
) -> None:
    send()
    caught = next(mail for mail in inbox.messages() if mail.recipients[0] == LEILA)
    mail = email.message_from_bytes(inbox.inbox.read(caught), policy=email.policy.default)
    html = str(mail.get_body(("html",)).get_content())  # type: ignore[union-attr]
    paths = {urlsplit(link).path for link in re.findall(r'"http://news\.example\.org(/[upe]/[^"]+)"', html)}
    assert {path[:3] for path in paths} == {"/u/", "/p/", "/e/"}
    assert {client.get(path).status_code for path in paths} == {200}
    pictures = set(re.findall(r'src="http://news\.example\.org(/pictures/[^"]+)"', html))
    assert pictures
    assert {client.get(path).status_code for path in pictures} == {200}
    one_click = urlsplit(re.findall(r"<(http[^>]+)>", str(mail["List-Unsubscribe"]))[0]).path
    assert client.post(one_click, data=ONE_CLICK).status_code == 200
    assert not mailing.profile(LEILA).subscribed


def test_unsubscribing_is_idempotent(mailing: Mailing, client: TestClient) -> None:
    answers = [client.post(mailing.unsubscribe_path(ADA), data=ONE_CLICK) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert evidence(mailing, ADA) == (["unsubscribe"], [(False, ConsentChannel.one_click)])


def test_only_post_changes_anything(mailing: Mailing, client: TestClient) -> None:
    before = [mailing.profile(address) for address in (ADA, LEILA, JOVAN)]
    paths = [mailing.unsubscribe_path(ADA), mailing.manage_path(LEILA), mailing.unsubscribe_path(JOVAN)]
    queries = ["", "?List-Unsubscribe=One-Click", "?action=unsubscribe", "?action=save&section=1"]
    for method, path, query in product(("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"), paths, queries):
        answer = client.request(method, path + query)
        assert answer.status_code == (200 if method in ("GET", "HEAD") else 405), method
    assert [mailing.profile(address) for address in (ADA, LEILA, JOVAN)] == before


def test_unsubscribing_can_be_undone(
    mailing: Mailing, client: TestClient, inbox: InboxServer, send: Callable[[], int]
) -> None:
    path = mailing.unsubscribe_path(ADA)
    client.post(path, data={"action": "unsubscribe"})
    assert 'value="undo"' in client.get(path).text
    for _ in range(2):
        assert "You are subscribed again" in client.post(path, data={"action": "undo"}).text
    assert evidence(mailing, ADA)[1] == [
        (False, ConsentChannel.unsubscribe_page),
        (True, ConsentChannel.undo),
    ]
    send()
    assert ADA in sent_to(inbox)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    body=st.binary(max_size=300),
    kind=st.sampled_from(
        [
            "",
            "application/x-www-form-urlencoded",
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=x",
            "multipart/form-data; boundary=x; charset=rot13",
            "text/html; charset=\xff",
        ]
    ),
)
@example(
    b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-',
    "multipart/form-data; boundary=x",
)
@example(b"%ff=%00&action=%", "application/x-www-form-urlencoded")
def test_any_post_body_of_a_mail_client_unsubscribes(
    mailing: Mailing, client: TestClient, body: bytes, kind: str
) -> None:
    path = mailing.unsubscribe_path(ADA)
    client.post(path, data={"action": "undo"})
    answer = client.post(path, content=body, headers={"Content-Type": kind.encode("latin-1")})
    assert answer.status_code == 200
    assert not mailing.profile(ADA).subscribed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(room=st.sampled_from(["u", "p", "e"]), token=st.text(min_size=1, max_size=30))
@example("u", "A" * 22)
@example("p", "A" * 10_000)
@example("u", "\0" * 22)
@example("e", "../../etc/passwd")
@example("u", "é" * 22)
def test_an_unknown_token_gets_one_neutral_page(mailing: Mailing, client: TestClient, room: str, token: str) -> None:
    path = f"/{room}/{quote(token, safe='')}"
    # Dots may have led out of the room before anybody looked for a token.
    neutral = {client.get(f"/{room}/nobody").text, client.get("/nowhere").text}
    answers = [client.get(path)] if room == "e" else [client.get(path), client.post(path, data=ONE_CLICK)]
    for answer in answers:
        assert answer.status_code == 404
        assert answer.text in neutral


def test_token_is_valid_only_for_its_purpose(mailing: Mailing, client: TestClient) -> None:
    leave, choose, view = (
        mailing.unsubscribe_path(ADA),
        mailing.preferences_path(ADA),
        mailing.web_view_path("en"),
    )
    for room in ("/u/", "/p/", "/e/"):
        for path in (leave, choose, view):
            assert client.get(room + path[3:]).status_code == (200 if path.startswith(room) else 404)


def test_erased_reader_gets_the_neutral_page(mailing: Mailing, client: TestClient) -> None:
    paths = [mailing.unsubscribe_path(ADA), mailing.manage_path(ADA)]
    with mailing.app.database.transaction() as session:
        session.delete(subscribers.by_id(session, mailing.subscriber_id(ADA)))
    for path in paths:
        assert client.get(path).status_code == 404
        for action in ("unsubscribe", "undo", "save", "restore", "what"):
            data = {"action": action, "language": "en", "section": "1"}
            assert client.post(path, data=data).status_code == 404


def test_token_pages_are_private(mailing: Mailing, client: TestClient) -> None:
    leave, choose = mailing.unsubscribe_path(ADA), mailing.preferences_path(ADA)
    answers = [
        client.get(leave),
        client.head(leave),
        client.get(choose),
        client.get("/u/unknown"),
        client.post(choose, data={"action": "nonsense"}),
        client.post(leave, data=ONE_CLICK),
    ]
    for answer in answers:
        assert {name: answer.headers[name] for name in PRIVATE} == PRIVATE
        assert "set-cookie" not in answer.headers
        assert ADA not in answer.text
    assert "a…@</span>example.org" in answers[0].text


def test_pages_load_nothing_from_other_hosts(mailing: Mailing, client: TestClient) -> None:
    for path in (mailing.unsubscribe_path(ADA), mailing.manage_path(LEILA), "/nowhere"):
        html = client.get(path).text
        addresses = set(re.findall(r'(?:src|href|action)="([^"?]*)', html)) - {""}
        own = ("/static/", "/theme/", "/archive/lumen-basin", "lumen-basin/data")
        assert all(address.startswith(own) for address in addresses - {"/"})
        assert not re.search(r"<script|<style|\sstyle=|\son[a-z]+=", html)
        assert len(html.encode()) < 50_000


def test_unsubscribe_page_does_not_reveal_the_preferences_token(mailing: Mailing, client: TestClient) -> None:
    assert "/p/" not in client.get(mailing.unsubscribe_path(ADA)).text


def test_page_language_is_that_of_the_link_then_of_the_reader(mailing: Mailing, client: TestClient) -> None:
    for address, query, language, direction in (
        (ADA, "", "en", "ltr"),
        (LEILA, "", "ar", "rtl"),
        (JOVAN, "", "sr-Latn", "ltr"),
        (ADA, "?lang=sr", "sr-Cyrl", "ltr"),
        (ADA, "?lang=ar", "ar", "rtl"),
        (LEILA, "?lang=tlh", "ar", "rtl"),
        (LEILA, "?lang=" + "x" * 3000, "ar", "rtl"),
        (LEILA, '?lang="><script>', "ar", "rtl"),
    ):
        for path in (mailing.unsubscribe_path(address), mailing.manage_path(address)):
            answer = client.get(path + query, headers={"Accept-Language": "fr"})
            assert f'<html lang="{language}" dir="{direction}">' in answer.text, (address, query)
            assert answer.headers["Content-Language"] == language


def test_every_catalogue_is_used_on_every_page(mailing: Mailing, client: TestClient) -> None:
    leave, choose = mailing.unsubscribe_path(ADA), mailing.manage_path(ADA)
    for tag in languages():
        asked = f"?lang={tag}"
        for answer in (
            client.get(leave + asked),
            client.get(choose + asked),
            client.post(choose + asked, data={"action": "save", "section": "1", "language": "en"}),
            client.post(leave + asked, data=ONE_CLICK),
            client.post(leave + asked, data={"action": "undo"}),
        ):
            assert answer.status_code == 200
            assert f'<html lang="{tag}"' in answer.text
            assert "%(" not in answer.text


def boxes(html: str) -> dict[str, str]:
    """value → the rest of the tag, for each section's box."""
    return dict(re.findall(r'name="section" value="(\d+)"([^>]*)>', html))


def chosen(html: str) -> list[str]:
    return re.findall(r'<option value="([^"]+)" lang="[^"]+" selected>', html)


def test_form_shows_stored_preferences(mailing: Mailing, client: TestClient) -> None:
    html = client.get(mailing.manage_path(JOVAN)).text
    assert boxes(html) == {"0": " checked disabled", "1": " checked"} | dict.fromkeys("2345", "")
    assert chosen(html) == ["sr-Latn", "en"]
    assert not re.search(r'name="new" value="yes" checked', html)
    assert re.search(r'name="new" value="yes" checked', client.get(mailing.manage_path(ADA)).text)


def test_preferences_are_saved_shown_and_undone(mailing: Mailing, client: TestClient) -> None:
    path = mailing.manage_path(ADA)
    before = mailing.profile(ADA)
    answer = client.post(path, data={"action": "save", "section": ["2", "4"], "language": ["ar", "", "en"]})
    assert answer.status_code == 200
    assert mailing.followed_bits(ADA) == [0, 2, 4]  # the first goes to everybody
    assert mailing.profile(ADA).languages == ("ar", "en")
    assert not mailing.profile(ADA).preferences.new_sections
    assert 'value="restore"' in answer.text
    again = client.post(path, data={"action": "restore"})
    assert again.status_code == 200
    assert 'value="restore"' not in again.text
    assert mailing.profile(ADA) == before


NONSENSE: list[dict[str, str]] = [
    {},
    {"action": "drop"},
    {"action": "save"},
    {"action": "save", "section": "1"},
    {"action": "save", "section": "99", "language": "en"},
    {"action": "save", "section": "-1", "language": "en"},
    {"action": "save", "section": "one", "language": "en"},
    {"action": "save", "section": "9" * 5000, "language": "en"},
    {"action": "save", "section": "1", "language": "tlh"},
    {"action": "save", "section": "1", "language": "\x00"},
    {"action": "save", "section": "1", "language": "<script>"},
    {"action": "save", "section": "1", "language": "en", "zone": "Europe/Atlantis"},
    {"action": "save", "section": "1", "language": "en", "zone": "../../etc/passwd"},
    {"action": "save", "section": "1", "language": "en", "frequency": "daily"},
    {"action": "pause", "weeks": "3"},
    {"action": "pause", "weeks": "99999999999999999999"},
    {"action": "pause", "weeks": "-1"},
    {"action": "pause"},
    {"action": "drop", "section": "1"},
    {"action": "monthly"},
]


def test_invalid_form_changes_nothing(mailing: Mailing, client: TestClient) -> None:
    before = mailing.profile(LEILA)
    for nonsense in NONSENSE:
        answer = client.post(mailing.manage_path(LEILA) + "?lang=en", data=nonsense)
        assert answer.status_code == 422, nonsense
        assert "We could not read your changes. Nothing was changed." in answer.text
    assert mailing.profile(LEILA) == before


def test_rejected_form_keeps_entered_values(mailing: Mailing, client: TestClient) -> None:
    mailing.make_all_sections_optional()
    before = mailing.profile(ADA)
    answer = client.post(
        mailing.manage_path(ADA) + "?lang=en",
        data={
            "action": "save",
            "language": ["fr", ""],
            "text": "yes",
            "frequency": "monthly",
            "zone": "Asia/Tokyo",
        },
    )
    assert answer.status_code == 422
    assert "Choose at least one section" in answer.text
    ticked = re.findall(r'<input type="(?:checkbox|radio)" id="([\w-]+)"[^>]* checked', answer.text)
    assert ticked == ["monthly", "text"]
    assert re.findall(r'<option value="([^"]+)"[^>]* selected', answer.text)[:2] == ["fr", "Asia/Tokyo"]
    assert mailing.profile(ADA) == before


def test_thanks_are_shown_only_after_a_reason(mailing: Mailing, client: TestClient) -> None:
    path = mailing.unsubscribe_path(ADA)
    client.post(path, data=ONE_CLICK)
    assert "Thank you for telling us." not in client.post(path, data={"action": "reason", "comment": " "}).text
    assert "Thank you for telling us." in client.post(path, data={"action": "reason", "reason": "often"}).text


def test_not_found_page_links_to_the_newsletters(client: TestClient) -> None:
    for path, words in (
        ("/u/nobody", "open it again from the email"),
        ("/archive/x", "no page at this address"),
    ):
        answer = client.get(path + "?lang=en")
        assert answer.status_code == 404
        assert words in answer.text
        assert '<a href="/?lang=en">Newsletters</a>' in answer.text


def test_mail_link_does_not_undo_other_unsubscriptions(mailing: Mailing, client: TestClient) -> None:
    by_hand = [mailing.app.tokens.address_hash(LEILA)]
    bounces.unsubscribe(mailing.app.database, "lumen-basin", by_hand, mailing.app.clock.now())
    client.post(mailing.manage_path(ADA), data={"action": "unsubscribe"})
    client.post(mailing.manage_path(JOVAN), data={"action": "unsubscribe-all"})
    for address in (ADA, LEILA, JOVAN):
        for path in (mailing.unsubscribe_path(address), mailing.preferences_path(address)):
            client.post(path, data={"action": "unsubscribe"})  # ended already: it becomes no leaving by a mail
            assert 'value="undo"' not in client.get(path).text
            assert "You are unsubscribed" in client.post(path + "?lang=en", data={"action": "undo"}).text
        assert not mailing.profile(address).subscribed
    for address in (ADA, LEILA, JOVAN):
        own = mailing.manage_path(address)
        assert 'value="undo"' in client.get(own).text
        client.post(own, data={"action": "undo"})
        assert mailing.profile(address).subscribed


def test_unsubscribing_from_the_preferences_page(mailing: Mailing, client: TestClient) -> None:
    path = mailing.manage_path(ADA)
    assert "You are unsubscribed" in client.post(path, data={"action": "unsubscribe"}).text
    assert "You are unsubscribed" in client.get(path).text
    assert "You are unsubscribed" in client.post(path, data={"action": "save", "language": "en"}).text
    assert "You are subscribed again" in client.post(path, data={"action": "undo"}).text
    assert mailing.profile(ADA).subscribed


def test_oversized_body_is_rejected(mailing: Mailing, client: TestClient) -> None:
    def stream() -> object:
        for _ in range(65):
            yield b"a" * 1024

    for content in (b"a" * 65_537, stream()):
        answer = client.post(
            mailing.unsubscribe_path(ADA),
            content=content,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 413
    assert mailing.profile(ADA).subscribed
    fits = client.post(mailing.unsubscribe_path(ADA), data={"x": "a" * 65_000})
    assert fits.status_code == 200
