"""Subscribing over HTTP, from the form to the first mail."""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.adapters.inbox import RunningInbox
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.newsletter import read_newsletter
from mailer.domain.subscribers import read_address
from mailer.domain.ties import Tie
from mailer.services import feedback, leave, subscribe
from mailer.services.newsletter import apply_newsletter
from mailer.settings import Settings
from mailer.store import newsletters, readers
from mailer.store.readers import Tied
from mailer.web.app import create_app
from mailer.web.subscribe import solved
from tests.conftest import SAMPLE
from tests.mails import html as html_of
from tests.mails import text as text_of
from tests.notes import link_in, mails_to, send_notes

FORM = "/subscribe/lumen-basin"
EVA = "eva@example.org"


@pytest.fixture
def client(parts: Mailer, import_issue: Callable[..., int]) -> Iterator[TestClient]:
    import_issue("en")
    with TestClient(create_app(parts), follow_redirects=False) as made:
        yield made


def fields(**more: object) -> dict[str, object]:
    return {"address": EVA, "some": "yes", "section": ["1", "3"], "language": ["de", "", "en"]} | more


def known(parts: Mailer, address: str) -> Tied | None:
    with parts.database.transaction() as session:
        reader = readers.by_hash(session, parts.tokens.address_hash(read_address(address)[1]))
        newsletter = newsletters.by_slug(session, "lumen-basin")
        assert newsletter
        return readers.tied(session, Tie(reader.id, newsletter=newsletter.id)) if reader else None


def count(parts: Mailer, table: str) -> int:
    with parts.database.transaction() as session:
        return session.scalar(text(f"SELECT count(*) FROM {table}")) or 0


def test_from_the_form_to_the_welcome(parts: Mailer, client: TestClient, inbox: RunningInbox) -> None:
    page = client.get(FORM + "?lang=de")
    assert page.status_code == 200
    agreed = re.search(r"<p>(Send me [^<]+|[^<]*Vierteljahresbrief[^<]*E-Mail[^<]*)</p>", page.text)
    answer = client.post(FORM + "?lang=de", data=fields(name="Eva  Example"))
    assert answer.status_code == 200
    assert EVA in answer.text
    assert known(parts, EVA) is None

    assert send_notes(parts) == 1
    (mail,) = mails_to(inbox, EVA)
    assert mail["Content-Language"] == "de"
    assert "Eva" not in str(mail["To"])  # anybody may have written that name
    assert "List-Unsubscribe" not in mail
    assert mail["Auto-Submitted"] == "auto-generated", "no absence notes in answer (RFC 3834)"
    assert "<img" not in html_of(mail)
    confirm = link_in(mail, "/c/")
    for method in ("GET", "HEAD", "OPTIONS"):
        client.request(method, confirm)
    assert known(parts, EVA) is None

    shown = client.get(confirm)
    assert 'lang="de"' in shown.text
    assert client.post(confirm).status_code == 200
    assert client.post(confirm).status_code == 200
    found = known(parts, EVA)
    assert found
    assert found.subscription.state == "active"
    assert found.subscription.sections == 0b1010
    assert (found.reader.name, found.reader.languages) == ("Eva Example", ["de", "en"])
    with parts.database.transaction() as session:
        (consent,) = readers.consents(session, found.reader.id)
    assert (consent.source, consent.language, consent.given) == ("subscribe page", "de", True)
    assert consent.asked_at
    assert consent.asked_at < consent.at
    assert agreed is None or consent.wording == agreed[1]

    assert send_notes(parts) == 1
    welcome = mails_to(inbox, EVA)[1]
    assert welcome["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert client.get(link_in(welcome, "/p/")).status_code == 200
    assert client.post(link_in(welcome, "/u/"), data={"List-Unsubscribe": "One-Click"}).status_code == 200
    found = known(parts, EVA)
    assert found
    assert found.subscription.state == "unsubscribed"
    assert send_notes(parts) == 0


def test_confirming_once_more_after_leaving_subscribes_again(
    parts: Mailer, client: TestClient, inbox: RunningInbox
) -> None:
    client.post(FORM, data=fields())
    send_notes(parts)
    confirm = link_in(mails_to(inbox, EVA)[0], "/c/")
    client.post(confirm)
    send_notes(parts)
    client.post(link_in(mails_to(inbox, EVA)[1], "/u/"), data={"List-Unsubscribe": "One-Click"})
    assert "You are subscribed" not in client.get(confirm + "?lang=en").text
    found = known(parts, EVA)
    assert found
    assert found.subscription.state == "unsubscribed"
    assert "You are subscribed" in client.post(confirm + "?lang=en").text
    found = known(parts, EVA)
    assert found
    assert found.subscription.state == "active"
    with parts.database.transaction() as session:
        given = [consent.given for consent in readers.consents(session, found.reader.id)]
    assert given == [True, False, True]


def test_the_answer_is_the_same_for_known_and_unknown_addresses(
    parts: Mailer, client: TestClient, add_readers: Callable[[str], None], inbox: RunningInbox
) -> None:
    add_readers("ada@example.org;en;\nlea@example.org;en;")
    feedback.suppress(parts.database, [parts.tokens.address_hash("sid@example.org")], "by hand")
    feedback.unsubscribe(
        parts.database, "lumen-basin", [parts.tokens.address_hash("lea@example.org")], datetime.now(UTC)
    )
    answers = set()
    for name in ("eva", "ada", "lea", "sid"):
        answer = client.post(FORM, data=fields(address=f"{name}@example.org"))
        answers.add((answer.status_code, answer.text.replace(f"{name}@", "X@")))
    assert len({re.sub(r'value="[\w-]{22}"', "", words) for _, words in answers}) == 1
    assert send_notes(parts) == 3
    assert not mails_to(inbox, "sid@example.org")
    assert {
        text_of(mails_to(inbox, f"{n}@example.org")[0]).partition("http")[0] for n in ("eva", "ada", "lea")
    } == {text_of(mails_to(inbox, "eva@example.org")[0]).partition("http")[0]}


def test_who_is_subscribed_already_gets_what_they_confirm(
    parts: Mailer, client: TestClient, add_readers: Callable[[str], None], inbox: RunningInbox
) -> None:
    add_readers(f"{EVA};fr sr-Latn-BA pt;water-and-rivers")
    client.post(FORM, data=fields())
    send_notes(parts)
    client.post(link_in(mails_to(inbox, EVA)[0], "/c/"))
    found = known(parts, EVA)
    assert found
    assert found.subscription.sections == 0b1010
    assert found.reader.languages == ["de", "en", "pt"]


@pytest.mark.parametrize(("reason", "lifted"), [("hard bounce", True), ("erased", True), ("by hand", False)])
def test_a_confirmed_sign_up_lifts_what_it_disproves(
    parts: Mailer, client: TestClient, inbox: RunningInbox, reason: str, lifted: bool
) -> None:
    address_hash = parts.tokens.address_hash(EVA)
    feedback.suppress(parts.database, [address_hash], reason)
    client.post(FORM, data=fields())
    assert send_notes(parts) == int(lifted)
    if lifted:
        client.post(link_in(mails_to(inbox, EVA)[0], "/c/"))
    with parts.database.transaction() as session:
        assert (readers.suppression(session, address_hash) is None) is lifted
    assert bool(known(parts, EVA)) is lifted


def test_one_address_gets_a_few_mails_a_day(parts: Mailer, client: TestClient) -> None:
    answers = [client.post(FORM, data=fields(address="Eva@Example.org")) for _ in range(5)]
    assert len({re.sub(r'value="[\w-]{22}"', "", a.text) for a in answers}) == 1
    assert send_notes(parts) == 3


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        ("eva@example.org", "eva+{}@example.org", "e.va@example.org"),
        ("eva.k@gmail.com", "e.v.a.k+{}@googlemail.com", "eva@gmail.com"),
    ],
)
def test_all_spellings_of_one_mailbox_share_its_mails(
    parts: Mailer, client: TestClient, first: str, same: str, other: str
) -> None:
    for address in (first, *map(same.format, range(5)), other):
        assert client.post(FORM, data=fields(address=address)).status_code == 200
    assert send_notes(parts) == 3 + 1


def test_one_network_sends_some_forms_an_hour(parts: Mailer, client: TestClient) -> None:
    statuses = [client.post(FORM, data=fields(address=f"eva{n}@example.org")).status_code for n in range(31)]
    assert statuses == [200] * 30 + [429]
    with parts.database.transaction() as session:
        kept = session.execute(text("SELECT encode(who, 'escape') FROM attempt")).scalars().all()
    assert not [who for who in kept if "testclient" in who or "example.org" in who]


def test_networks_are_told_apart_by_24_and_48_bits(parts: Mailer) -> None:
    of = parts.tokens.network_hash
    assert of("192.0.2.1") == of("192.0.2.200") == of("::ffff:192.0.2.7") != of("192.0.3.1")
    assert of("2001:db8:1:2::1") == of("2001:db8:1:ffff::9") != of("2001:db8:2::1")
    assert of("") == of("testclient")


def test_the_networks_of_one_ipv6_provider_share_a_larger_allowance(
    parts: Mailer, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribe, "_FORMS_OF_A_PROVIDER", 4)
    app = client.app

    def ask(host: str, name: str) -> int:
        there = TestClient(app, client=(host, 5000))
        return there.post(FORM, data=fields(address=f"{name}@example.org")).status_code

    assert [ask(f"2001:db8:{n}::1", f"eva{n}") for n in range(6)] == [200] * 4 + [429] * 2
    assert ask("2001:db9::1", "other") == 200
    assert [ask(f"::ffff:192.0.{n}.1", f"old{n}") for n in range(6)] == [200] * 6


def test_robots_fall_for_the_hidden_field(parts: Mailer, client: TestClient) -> None:
    person = client.post(FORM, data=fields()).text
    robot = client.post(FORM, data=fields(url="http://spam.example.org")).text
    assert re.sub(r'value="[\w-]{22}"', "", robot) == re.sub(r'value="[\w-]{22}"', "", person)
    assert count(parts, "signup") == 1


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
def test_a_slip_is_pointed_out_and_stops_nobody(
    parts: Mailer, client: TestClient, typed: str, meant: str | None
) -> None:
    page = client.post(FORM, data=fields(address=typed)).text
    assert count(parts, "signup") == 1
    assert ("Did you mean" in page) is (meant is not None)
    if meant:
        hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
        data = {name: [v for n, v in hidden if n == name] for name, _ in hidden}
        assert data["address"] == [meant]
        assert client.post(FORM, data=data).status_code == 200
        with parts.database.transaction() as session:
            rows = session.execute(text("SELECT address, sections, languages FROM signup ORDER BY id")).all()
        assert [row[0] for row in rows] == [typed, meant]
        assert rows[0][1:] == rows[1][1:]


@pytest.mark.parametrize(
    ("typed", "recipient"),
    [("eva@bücher.example", "eva@xn--bcher-kva.example"), ("ева@пример.example", "ева@xn--e1afmkfd.example")],
)
def test_addresses_beyond_ascii(
    parts: Mailer, client: TestClient, inbox: RunningInbox, typed: str, recipient: str
) -> None:
    assert client.post(FORM, data=fields(address=typed)).status_code == 200
    assert send_notes(parts) == 1
    client.post(link_in(mails_to(inbox, recipient)[0], "/c/"))
    assert known(parts, typed)


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
def test_what_cannot_be_is_refused_and_shown_again(
    parts: Mailer, client: TestClient, wrong: dict[str, object]
) -> None:
    answer = client.post(FORM, data=fields(**wrong))
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "<script>@" not in answer.text
    assert count(parts, "signup") == 0


def test_a_hostile_name_changes_no_mail(parts: Mailer, client: TestClient, inbox: RunningInbox) -> None:
    name = '</mj-text><mj-include path="/etc/passwd"/> \r\nBcc: all@example.org'
    client.post(FORM, data=fields(name=name))
    send_notes(parts)
    client.post(link_in(mails_to(inbox, EVA)[0], "/c/"))
    send_notes(parts)
    confirm, welcome = mails_to(inbox, EVA)
    for mail in (confirm, welcome):
        assert "Bcc" not in mail
        assert "mj-include" not in html_of(mail)


@pytest.mark.parametrize("name", ["Claim prize https://evil.example/win", "WWW.evil.example"])
def test_a_name_that_advertises_is_dropped(
    parts: Mailer, client: TestClient, inbox: RunningInbox, name: str
) -> None:
    client.post(FORM, data=fields(name=name))
    send_notes(parts)
    client.post(link_in(mails_to(inbox, EVA)[0], "/c/"))
    found = known(parts, EVA)
    assert found
    assert found.reader.name == ""


@pytest.mark.parametrize("own", ["Eva", ""])
def test_a_new_sign_up_renames_nobody(
    parts: Mailer, client: TestClient, inbox: RunningInbox, add_readers: Callable[[str], None], own: str
) -> None:
    add_readers(f"{EVA};en;")
    with parts.database.transaction() as session:
        session.execute(text("UPDATE subscriber SET name = :name"), {"name": own})
    client.post(FORM, data=fields(name="Mallory"))
    send_notes(parts)
    client.post(link_in(mails_to(inbox, EVA)[0], "/c/"))
    found = known(parts, EVA)
    assert found
    assert found.reader.name == own


def test_a_private_newsletter_takes_nobody(parts: Mailer, client: TestClient) -> None:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    settings.public = False
    apply_newsletter(parts.database, settings)
    for path in (FORM, FORM + "/form", "/subscribe/nowhere"):
        assert client.get(path).status_code == 404
    assert client.post(FORM, data=fields()).status_code == 404
    assert count(parts, "signup") == 0


def test_a_sign_up_waits_a_week(parts: Mailer, client: TestClient, inbox: RunningInbox) -> None:
    client.post(FORM, data=fields())
    send_notes(parts)
    token = link_in(mails_to(inbox, EVA)[0], "/c/").removeprefix("/c/")
    pair = parts.tokens.open_link(Purpose.confirm, token)
    assert pair
    late = datetime.now(UTC) + subscribe.LASTS + timedelta(minutes=1)
    assert subscribe.confirm(parts.database, pair[1], [], late) is None
    assert known(parts, EVA) is None


def test_the_form_for_other_sites(parts: Mailer, client: TestClient, inbox: RunningInbox) -> None:
    answer = client.get(FORM + "/form?lang=fr")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "<script" not in answer.text
    action = re.search(r'action="http://news\.example\.org([^"]+)"', answer.text)
    assert action
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', answer.text))
    assert re.search(r'<p hidden>.*name="url"', answer.text)
    client.post(action[1], data={"address": "robot@example.org", "url": "https://spam.example.org"})
    assert count(parts, "signup") == 0
    ticked = re.findall(r'name="section" value="(\d+)" checked', answer.text)
    assert ticked == list("012345")
    data = hidden | {"address": EVA, "section": ticked, "language": "fr"}
    assert (
        client.post(action[1], data=data, headers={"Origin": "https://blog.example.net"}).status_code == 200
    )
    send_notes(parts)
    client.post(link_in(mails_to(inbox, EVA)[0], "/c/"))
    found = known(parts, EVA)
    assert found
    with parts.database.transaction() as session:
        (consent,) = readers.consents(session, found.reader.id)
    assert (consent.source, consent.language) == ("form on another site", "fr")
    # The smallest form there is: an address means everything.
    client.post(FORM, data={"address": "all@example.org"})
    send_notes(parts)
    client.post(link_in(mails_to(inbox, "all@example.org")[0], "/c/"))
    found = known(parts, "all@example.org")
    assert found
    assert found.subscription.sections == ALL_SECTIONS


class TestChallenge:
    BITS = 16  # with few, a form without work passes by chance now and then

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"subscribe_challenge": self.BITS})

    def solve(self, ticket: str) -> str:
        return next(
            str(n)
            for n in range(1 << 22)
            if hashlib.sha256(f"{ticket}:{n}".encode()).digest()[:2] == b"\0\0"  # 16 bits
        )

    def test_work_done_lets_a_form_through_once(self, parts: Mailer, client: TestClient) -> None:
        page = client.get(FORM)
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        ticket = re.search(r'name="ticket" value="([\w-]{22})"', page.text)
        assert ticket
        for answer, status in (("nonsense", 422), (self.solve(ticket[1]), 200), (self.solve(ticket[1]), 422)):
            data = fields(ticket=ticket[1], answer=answer)
            assert client.post(FORM, data=data).status_code == status
        assert count(parts, "signup") == 1

    def test_without_script_it_takes_the_time_of_a_person(self, parts: Mailer, client: TestClient) -> None:
        now = int(datetime.now(UTC).timestamp())
        ages = {1: 422, 30: 200, 7 * 3600: 422}
        for age, status in ages.items():
            ticket = parts.tokens.link(Purpose.ticket, now - age, 7)
            assert client.post(FORM, data=fields(ticket=ticket)).status_code == status, age
        assert client.post(FORM, data=fields()).status_code == 422
        assert client.post(FORM, data=fields(ticket="x" * 22)).status_code == 422
        assert count(parts, "signup") == 1

    def test_a_network_may_wait_instead_of_working_a_few_times_an_hour(
        self, parts: Mailer, client: TestClient
    ) -> None:
        then = int(datetime.now(UTC).timestamp()) - 30
        tickets = [parts.tokens.link(Purpose.ticket, then, n) for n in range(1, 8)]

        def ask(ticket: str, **more: str) -> int:
            data = fields(address=f"eva{tickets.index(ticket)}@example.org", ticket=ticket, **more)
            return client.post(FORM, data=data).status_code

        assert [ask(ticket) for ticket in tickets[:5]] == [200] * 3 + [429] * 2
        assert [ask(ticket, answer=self.solve(ticket)) for ticket in tickets[5:]] == [200] * 2

    def test_answers_are_checked(self) -> None:
        assert solved("t", self.solve("t"), self.BITS)
        assert not solved("t", self.solve("t"), 32)
        assert not solved("t", "1" * 21, 0)


def test_leaving_by_a_newsletter_link_and_back(
    parts: Mailer, add_readers: Callable[[str], None], client: TestClient
) -> None:
    add_readers(f"{EVA};en;")
    found = known(parts, EVA)
    assert found
    tie = Tie(found.reader.id, newsletter=found.newsletter.id)
    assert leave.leave(parts.database, tie, "mail", datetime.now(UTC))
    assert leave.come_back(parts.database, tie, "mail", datetime.now(UTC))
