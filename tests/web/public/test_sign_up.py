"""Sign-up over HTTP, from the form to the welcome email."""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.consents import ConsentChannel
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.subscriber_fields import read_address
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.feedback import bounces
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import request_limits, sign_up, unsubscribe
from mailer.settings import Settings
from mailer.store import newsletters, subscribers
from mailer.store.subscribers import SubscriptionContext
from mailer.web.app import create_app
from mailer.web.public.sign_up import verify_proof_of_work
from tests.conftest import SAMPLE
from tests.support.clock import clock_of
from tests.support.emails import html_body as html_of
from tests.support.emails import text_body as text_of
from tests.support.transactional import emails_to, link_path, send_transactional

FORM = "/subscribe/lumen-basin"
EVA = "eva@example.org"


@pytest.fixture
def client(app: Container, import_issue: Callable[..., int]) -> Iterator[TestClient]:
    import_issue("en")
    with TestClient(create_app(app), follow_redirects=False) as made:
        yield made


def fields(**more: object) -> dict[str, object]:
    return {"address": EVA, "some": "yes", "section": ["1", "3"], "language": ["de", "", "en"]} | more


def known(app: Container, address: str) -> SubscriptionContext | None:
    with app.database.transaction() as session:
        reader = subscribers.by_hash(session, app.tokens.address_hash(read_address(address)[1]))
        newsletter = newsletters.by_slug(session, "lumen-basin")
        assert newsletter
        return subscribers.resolve(session, SubscriptionRef(reader.id, newsletter=newsletter.id)) if reader else None


def count(app: Container, table: str) -> int:
    with app.database.transaction() as session:
        return session.scalar(text(f"SELECT count(*) FROM {table}")) or 0


def test_from_form_to_welcome_email(app: Container, client: TestClient, inbox: InboxServer) -> None:
    page = client.get(FORM + "?lang=de")
    assert page.status_code == 200
    agreed = re.search(r"<p>(Send me [^<]+|[^<]*Vierteljahresbrief[^<]*E-Mail[^<]*)</p>", page.text)
    answer = client.post(FORM + "?lang=de", data=fields(name="Eva  Example"))
    assert answer.status_code == 200
    assert EVA in answer.text
    assert known(app, EVA) is None

    assert send_transactional(app) == 1
    (mail,) = emails_to(inbox, EVA)
    assert mail["Content-Language"] == "de"
    assert "Eva" not in str(mail["To"])  # anybody may have written that name
    assert "List-Unsubscribe" not in mail
    assert mail["Auto-Submitted"] == "auto-generated", "no absence notes in answer (RFC 3834)"
    assert "<img" not in html_of(mail)
    confirm = link_path(mail, "/c/")
    for method in ("GET", "HEAD", "OPTIONS"):
        client.request(method, confirm)
    assert known(app, EVA) is None

    requested_at = app.clock.now()
    clock_of(app).advance(minutes=5)
    shown = client.get(confirm)
    assert 'lang="de"' in shown.text
    assert client.post(confirm).status_code == 200
    assert client.post(confirm).status_code == 200
    found = known(app, EVA)
    assert found
    assert found.subscription.state == "active"
    assert found.subscription.sections == 0b1010
    assert (found.subscriber.name, found.subscriber.languages) == ("Eva Example", ["de", "en"])
    with app.database.transaction() as session:
        (consent,) = subscribers.consents(session, found.subscriber.id)
    assert (consent.channel, consent.language, consent.given) == ("sign_up_form", "de", True)
    assert (consent.requested_at, consent.at) == (requested_at, app.clock.now())
    assert agreed is None or consent.wording == agreed[1]

    assert send_transactional(app) == 1
    welcome = emails_to(inbox, EVA)[1]
    assert welcome["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert client.get(link_path(welcome, "/p/")).status_code == 200
    assert client.post(link_path(welcome, "/u/"), data={"List-Unsubscribe": "One-Click"}).status_code == 200
    found = known(app, EVA)
    assert found
    assert found.subscription.state == "unsubscribed"
    assert send_transactional(app) == 0


def test_confirming_again_after_unsubscribing_resubscribes(
    app: Container, client: TestClient, inbox: InboxServer
) -> None:
    client.post(FORM, data=fields())
    send_transactional(app)
    confirm = link_path(emails_to(inbox, EVA)[0], "/c/")
    client.post(confirm)
    send_transactional(app)
    client.post(link_path(emails_to(inbox, EVA)[1], "/u/"), data={"List-Unsubscribe": "One-Click"})
    assert "You are subscribed" not in client.get(confirm + "?lang=en").text
    found = known(app, EVA)
    assert found
    assert found.subscription.state == "unsubscribed"
    assert "You are subscribed" in client.post(confirm + "?lang=en").text
    found = known(app, EVA)
    assert found
    assert found.subscription.state == "active"
    with app.database.transaction() as session:
        given = [consent.given for consent in subscribers.consents(session, found.subscriber.id)]
    assert given == [True, False, True]


def test_response_is_the_same_for_known_and_unknown_addresses(
    app: Container, client: TestClient, add_subscribers: Callable[[str], None], inbox: InboxServer
) -> None:
    add_subscribers("ada@example.org;en;\nlea@example.org;en;")
    bounces.suppress(app.database, [app.tokens.address_hash("sid@example.org")], SuppressionReason.manual)
    bounces.unsubscribe(app.database, "lumen-basin", [app.tokens.address_hash("lea@example.org")], app.clock.now())
    answers = set()
    for name in ("eva", "ada", "lea", "sid"):
        answer = client.post(FORM, data=fields(address=f"{name}@example.org"))
        answers.add((answer.status_code, answer.text.replace(f"{name}@", "X@")))
    assert len({re.sub(r'value="[\w-]{22}"', "", words) for _, words in answers}) == 1
    assert send_transactional(app) == 3
    assert not emails_to(inbox, "sid@example.org")
    assert {text_of(emails_to(inbox, f"{n}@example.org")[0]).partition("http")[0] for n in ("eva", "ada", "lea")} == {
        text_of(emails_to(inbox, "eva@example.org")[0]).partition("http")[0]
    }


def test_confirmation_updates_an_existing_subscription(
    app: Container, client: TestClient, add_subscribers: Callable[[str], None], inbox: InboxServer
) -> None:
    add_subscribers(f"{EVA};fr sr-Latn-BA pt;water-and-rivers")
    client.post(FORM, data=fields())
    send_transactional(app)
    client.post(link_path(emails_to(inbox, EVA)[0], "/c/"))
    found = known(app, EVA)
    assert found
    assert found.subscription.sections == 0b1010
    assert found.subscriber.languages == ["de", "en", "pt"]


def test_subscribing_anew_forgets_what_the_form_does_not_ask(
    app: Container, client: TestClient, add_subscribers: Callable[[str], None], inbox: InboxServer
) -> None:
    add_subscribers(f"{EVA};de;")
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscription SET frequency = 'monthly', tracking = true"))

    def confirm() -> SubscriptionContext:
        client.post(FORM, data=fields())
        send_transactional(app)
        client.post(link_path(emails_to(inbox, EVA)[-1], "/c/"))
        found = known(app, EVA)
        assert found
        return found

    kept = confirm().subscription
    assert (kept.frequency, kept.tracking) == ("monthly", True), "who never left keeps their choices"
    now = app.clock.now()
    unsubscribe.unsubscribe(
        app.database, SubscriptionRef(kept.subscriber_id, newsletter=1), ConsentChannel.one_click, now
    )
    anew = confirm().subscription
    assert (anew.state, anew.frequency, anew.tracking) == ("active", "each", False)
    with app.database.transaction() as session:
        withdrawn = [c for c in subscribers.consents(session, kept.subscriber_id) if c.kind == "tracking"]
    assert [(c.given, c.channel) for c in withdrawn] == [(False, "sign_up_form")]


@pytest.mark.parametrize(
    ("reason", "source", "lifted"),
    [
        (SuppressionReason.hard_bounce, SuppressionSource.system, True),
        (SuppressionReason.erased, SuppressionSource.subscriber, True),
        (SuppressionReason.manual, SuppressionSource.staff, False),
        (SuppressionReason.complaint, SuppressionSource.staff, False),
    ],
)
def test_confirmed_sign_up_lifts_bounce_and_complaint_suppressions(
    app: Container,
    client: TestClient,
    inbox: InboxServer,
    reason: SuppressionReason,
    source: SuppressionSource,
    lifted: bool,
) -> None:
    address_hash = app.tokens.address_hash(EVA)
    with app.database.transaction() as session:
        subscribers.suppress(session, address_hash, reason, source)
    client.post(FORM, data=fields())
    assert send_transactional(app) == int(lifted)
    if lifted:
        client.post(link_path(emails_to(inbox, EVA)[0], "/c/"))
    with app.database.transaction() as session:
        assert (subscribers.suppression(session, address_hash) is None) is lifted
    assert bool(known(app, EVA)) is lifted


def test_opt_in_does_not_lift_a_manual_suppression(app: Container, client: TestClient) -> None:
    address_hash = app.tokens.address_hash(EVA)
    with app.database.transaction() as session:
        subscribers.suppress(session, address_hash, SuppressionReason.hard_bounce, SuppressionSource.system, "550")
    assert bounces.suppress(app.database, [address_hash], SuppressionReason.complaint, "by telephone") == 0
    with app.database.transaction() as session:
        subscribers.suppress(session, address_hash, SuppressionReason.hard_bounce, SuppressionSource.system)
        kept = subscribers.suppression(session, address_hash)
    assert kept
    assert (kept.reason, kept.note) == (SuppressionReason.complaint, "by telephone")
    client.post(FORM, data=fields())
    assert send_transactional(app) == 0


def test_emails_per_address_are_limited_per_day(app: Container, client: TestClient) -> None:
    answers = [client.post(FORM, data=fields(address="Eva@Example.org")) for _ in range(5)]
    assert len({re.sub(r'value="[\w-]{22}"', "", a.text) for a in answers}) == 1
    assert send_transactional(app) == 3


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("eva@example.org", "eva+{}@example.org", "e.va@example.org"),
        ("eva.k@gmail.com", "e.v.a.k+{}@googlemail.com", "eva@gmail.com"),
    ],
)
def test_spellings_of_one_mailbox_share_the_limit(
    app: Container, client: TestClient, first: str, same: str, other: str
) -> None:
    for address in (first, *map(same.format, range(5)), other):
        assert client.post(FORM, data=fields(address=address)).status_code == 200
    assert send_transactional(app) == 3 + 1


def test_forms_per_network_are_limited_per_hour(app: Container, client: TestClient) -> None:
    statuses = [client.post(FORM, data=fields(address=f"eva{n}@example.org")).status_code for n in range(31)]
    assert statuses == [200] * 30 + [429]
    with app.database.transaction() as session:
        kept = session.execute(text("SELECT encode(subject_hash, 'escape') FROM rate_limit_window")).scalars().all()
    assert not [who for who in kept if "testclient" in who or "example.org" in who]


def test_networks_are_24_and_48_bit_prefixes(app: Container) -> None:
    of = app.tokens.network_hash
    assert of("192.0.2.1") == of("192.0.2.200") == of("::ffff:192.0.2.7") != of("192.0.3.1")
    assert of("2001:db8:1:2::1") == of("2001:db8:1:ffff::9") != of("2001:db8:2::1")
    assert of("") == of("testclient")


def test_networks_of_one_ipv6_provider_share_a_larger_limit(app: Container, client: TestClient) -> None:
    for n in range(request_limits.MAX_REQUESTS_PER_ISP_HOUR - 4):
        request_limits.check_network(app.database, app.requester(f"2001:db8:{n + 100}::1"), app.clock.now())
    web_app = client.app

    def ask(host: str, name: str) -> int:
        there = TestClient(web_app, client=(host, 5000))
        return there.post(FORM, data=fields(address=f"{name}@example.org")).status_code

    assert [ask(f"2001:db8:{n}::1", f"eva{n}") for n in range(6)] == [200] * 4 + [429] * 2
    assert ask("2001:db9::1", "other") == 200
    assert [ask(f"::ffff:192.0.{n}.1", f"old{n}") for n in range(6)] == [200] * 6


def test_hidden_field_stops_robots(app: Container, client: TestClient) -> None:
    person = client.post(FORM, data=fields()).text
    robot = client.post(FORM, data=fields(url="http://spam.example.org")).text
    assert re.sub(r'value="[\w-]{22}"', "", robot) == re.sub(r'value="[\w-]{22}"', "", person)
    assert count(app, "signup") == 1


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("ana@gmial.com", "ana@gmail.com"),
        ("ana@gmail.con", "ana@gmail.com"),
        ("ana@hotmial.com", "ana@hotmail.com"),
        ("ana@gmail.com", None),
        ("ana@mail.com", None),
        ("ana@example.org", None),
    ],
)
def test_probable_typo_is_pointed_out_but_accepted(
    app: Container, client: TestClient, typed: str, meant: str | None
) -> None:
    page = client.post(FORM, data=fields(address=typed)).text
    assert count(app, "signup") == 1
    assert ("Did you mean" in page) is (meant is not None)
    if meant:
        hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
        data = {name: [v for n, v in hidden if n == name] for name, _ in hidden}
        assert data["address"] == [meant]
        assert client.post(FORM, data=data).status_code == 200
        with app.database.transaction() as session:
            rows = session.execute(text("SELECT address, sections, languages FROM signup ORDER BY id")).all()
        assert [row[0] for row in rows] == [typed, meant]
        assert rows[0][1:] == rows[1][1:]


@pytest.mark.parametrize(
    ("typed", "recipient"),
    [("eva@bücher.example", "eva@xn--bcher-kva.example"), ("ева@пример.example", "ева@xn--e1afmkfd.example")],
)
def test_non_ascii_addresses(
    app: Container, client: TestClient, inbox: InboxServer, typed: str, recipient: str
) -> None:
    assert client.post(FORM, data=fields(address=typed)).status_code == 200
    assert send_transactional(app) == 1
    client.post(link_path(emails_to(inbox, recipient)[0], "/c/"))
    assert known(app, typed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "eva"},
        {"address": "eva@"},
        {"address": "eva@example.org\r\nBcc: all@example.org"},
        {"address": "<script>@example.org"},
        {"address": "a" * 5000 + "@example.org"},
        {"section": ["99"]},
        {"section": ["one"]},
        {"section": ["-1"]},
        {"section": []},
        {"language": ["tlh"]},
        {"language": ["\x00"]},
    ],
)
def test_invalid_form_is_rejected_and_shown_again(app: Container, client: TestClient, wrong: dict[str, object]) -> None:
    answer = client.post(FORM, data=fields(**wrong))
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "<script>@" not in answer.text
    assert count(app, "signup") == 0


def test_hostile_name_does_not_change_the_email(app: Container, client: TestClient, inbox: InboxServer) -> None:
    name = '</mj-text><mj-include path="/etc/passwd"/> \r\nBcc: all@example.org'
    client.post(FORM, data=fields(name=name))
    send_transactional(app)
    client.post(link_path(emails_to(inbox, EVA)[0], "/c/"))
    send_transactional(app)
    confirm, welcome = emails_to(inbox, EVA)
    for mail in (confirm, welcome):
        assert "Bcc" not in mail
        assert "mj-include" not in html_of(mail)


@pytest.mark.parametrize("name", ["Claim prize https://evil.example/win", "WWW.evil.example"])
def test_name_with_advertising_is_dropped(app: Container, client: TestClient, inbox: InboxServer, name: str) -> None:
    client.post(FORM, data=fields(name=name))
    send_transactional(app)
    client.post(link_path(emails_to(inbox, EVA)[0], "/c/"))
    found = known(app, EVA)
    assert found
    assert found.subscriber.name == ""


@pytest.mark.parametrize("own", ["Eva", ""])
def test_sign_up_does_not_change_an_existing_name(
    app: Container, client: TestClient, inbox: InboxServer, add_subscribers: Callable[[str], None], own: str
) -> None:
    add_subscribers(f"{EVA};en;")
    with app.database.transaction() as session:
        session.execute(text("UPDATE subscriber SET name = :name"), {"name": own})
    client.post(FORM, data=fields(name="Mallory"))
    send_transactional(app)
    client.post(link_path(emails_to(inbox, EVA)[0], "/c/"))
    found = known(app, EVA)
    assert found
    assert found.subscriber.name == own


def test_private_newsletter_has_no_sign_up(app: Container, client: TestClient) -> None:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    settings.public = False
    apply_newsletter(app.database, settings)
    for path in (FORM, FORM + "/form", "/subscribe/nowhere"):
        assert client.get(path).status_code == 404
    assert client.post(FORM, data=fields()).status_code == 404
    assert count(app, "signup") == 0


def test_sign_up_expires_after_a_week(app: Container, client: TestClient, inbox: InboxServer) -> None:
    client.post(FORM, data=fields())
    send_transactional(app)
    token = link_path(emails_to(inbox, EVA)[0], "/c/").removeprefix("/c/")
    pair = app.tokens.read_link_token(Purpose.confirm, token)
    assert pair
    late = app.clock.now() + sign_up.CONFIRMATION_LIFETIME + timedelta(minutes=1)
    assert sign_up.confirm(app.database, pair[1], [], late) is None
    assert known(app, EVA) is None


def test_embedded_form(app: Container, client: TestClient, inbox: InboxServer) -> None:
    answer = client.get(FORM + "/form?lang=fr")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "<script" not in answer.text
    action = re.search(r'action="http://news\.example\.org([^"]+)"', answer.text)
    assert action
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', answer.text))
    assert re.search(r'<p hidden>.*name="url"', answer.text)
    client.post(action[1], data={"address": "robot@example.org", "url": "https://spam.example.org"})
    assert count(app, "signup") == 0
    ticked = re.findall(r'name="section" value="(\d+)" checked', answer.text)
    assert ticked == list("012345")
    data = hidden | {"address": EVA, "section": ticked, "language": "fr"}
    assert client.post(action[1], data=data, headers={"Origin": "https://blog.example.net"}).status_code == 200
    send_transactional(app)
    client.post(link_path(emails_to(inbox, EVA)[0], "/c/"))
    found = known(app, EVA)
    assert found
    with app.database.transaction() as session:
        (consent,) = subscribers.consents(session, found.subscriber.id)
    assert (consent.channel, consent.language) == ("embedded_form", "fr")
    # The smallest form there is: an address means everything.
    client.post(FORM, data={"address": "all@example.org"})
    send_transactional(app)
    client.post(link_path(emails_to(inbox, "all@example.org")[0], "/c/"))
    found = known(app, "all@example.org")
    assert found
    assert found.subscription.sections == ALL_SECTIONS


class TestChallenge:
    BITS = 16  # with few, a form without work passes by chance now and then

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"subscribe_pow_bits": self.BITS})

    def solve(self, ticket: str) -> str:
        return next(
            str(n)
            for n in range(1 << 22)
            if hashlib.sha256(f"{ticket}:{n}".encode()).digest()[:2] == b"\0\0"  # 16 bits
        )

    def test_proof_of_work_is_accepted_once(self, app: Container, client: TestClient) -> None:
        page = client.get(FORM)
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        ticket = re.search(r'name="ticket" value="([\w-]{22})"', page.text)
        assert ticket
        for answer, status in (("nonsense", 422), (self.solve(ticket[1]), 200), (self.solve(ticket[1]), 422)):
            data = fields(ticket=ticket[1], answer=answer)
            assert client.post(FORM, data=data).status_code == status
        assert count(app, "signup") == 1

    def test_form_without_script_needs_minimum_time(self, app: Container, client: TestClient) -> None:
        now = int(app.clock.now().timestamp())
        ages = {1: 422, 30: 200, 7 * 3600: 422}
        for age, status in ages.items():
            ticket = app.tokens.make_link_token(Purpose.form_nonce, now - age, 7)
            assert client.post(FORM, data=fields(ticket=ticket)).status_code == status, age
        assert client.post(FORM, data=fields()).status_code == 422
        assert client.post(FORM, data=fields(ticket="x" * 22)).status_code == 422
        assert count(app, "signup") == 1

    def test_forms_without_proof_of_work_are_limited_per_network(self, app: Container, client: TestClient) -> None:
        then = int(app.clock.now().timestamp()) - 30
        tickets = [app.tokens.make_link_token(Purpose.form_nonce, then, n) for n in range(1, 8)]

        def ask(ticket: str, **more: str) -> int:
            data = fields(address=f"eva{tickets.index(ticket)}@example.org", ticket=ticket, **more)
            return client.post(FORM, data=data).status_code

        assert [ask(ticket) for ticket in tickets[:5]] == [200] * 3 + [429] * 2
        assert [ask(ticket, answer=self.solve(ticket)) for ticket in tickets[5:]] == [200] * 2

    def test_proof_of_work_is_verified(self) -> None:
        assert verify_proof_of_work("t", self.solve("t"), self.BITS)
        assert not verify_proof_of_work("t", self.solve("t"), 32)
        assert not verify_proof_of_work("t", "1" * 21, 0)


def test_unsubscribing_by_a_newsletter_link_and_undoing(
    app: Container, add_subscribers: Callable[[str], None], client: TestClient
) -> None:
    add_subscribers(f"{EVA};en;")
    found = known(app, EVA)
    assert found
    tie = SubscriptionRef(found.subscriber.id, newsletter=found.newsletter.id)
    assert unsubscribe.unsubscribe(app.database, tie, ConsentChannel.mailto, app.clock.now())
    assert unsubscribe.resubscribe(app.database, tie, LinkKind.mail, app.clock.now())
