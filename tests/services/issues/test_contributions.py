"""What is written behind a link: kept beside the issue, handed in, taken in or sent back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.adapters.pictures import PreparedPicture
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.accounts import AuditAction
from mailer.domain.document import parse
from mailer.domain.errors import ChangeRefused
from mailer.domain.permissions import Role
from mailer.domain.personal_data import RetentionCategory
from mailer.domain.states import TextSubject, TranslationStatus, VersionKind
from mailer.domain.text_fields import TypedText
from mailer.domain.text_requests import RequestState, TextTask
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.issues import (
    contributions,
    document_import,
    edit,
    issue_pictures,
    text_request_list,
    text_requests,
    write_text,
)
from mailer.services.issues.contributions import LinkGone, LinkState, TooManyRequests
from mailer.services.issues.issue_pictures import NewPicture
from mailer.services.issues.text_requests import NewRequest
from mailer.services.issues.write_text import SaveOrder, SaveOutcome
from mailer.services.subscribers import personal_data
from mailer.store import issues, retention, text_versions
from mailer.store import text_requests as stored
from tests.conftest import SAMPLE
from tests.support.locks import wait_for_lock
from tests.support.pictures import jpeg
from tests.support.staff import add_account, staff_of
from tests.support.transactional import emails_to, send_transactional

JEAN = "jean@example.org"
NETWORK = b"network of jean."


@pytest.fixture
def now(app: Container) -> datetime:
    return app.clock.now()


@pytest.fixture
def amina(app: Container, issue: int) -> Staff:
    return staff_of(add_account(app, "amina@example.org", Role.coordinator), Role.coordinator)


@pytest.fixture
def request_id(app: Container, issue: int, amina: Staff, now: datetime) -> int:
    """Jean, who has no account, translates the first story into Spanish within ten days."""
    return ask(app, issue, amina, now)


def ask(app: Container, issue: int, staff: Staff, now: datetime, **changes: object) -> int:
    story = text_request_list.list_stories(app.database, issue)[0][0]
    due_on = (now + timedelta(days=10)).date()
    values = {"story": story, "language": "es", "task": TextTask.translation, "account": None, "name": "Jean Morel"}
    values |= {"address": JEAN, "due_on": due_on, "words": ""}
    new = NewRequest(**(values | changes))  # type: ignore[arg-type]
    return text_requests.ask(app.database, issue, new, staff, app.tokens.address_hash, now)


def write(app: Container, request: int, body: str, now: datetime, base: str = "", tab: str = "a", **content: str):  # type: ignore[no-untyped-def]
    typed = TypedText({"headline": "Los barcos", "body": body, **content})
    return contributions.save(app.database, request, base, typed, now, tabs=(tab,))


def state(app: Container, issue: int, request: int, now: datetime) -> RequestState:
    return text_request_list.load(app.database, issue, request, now).state


def test_what_is_written_is_kept_beside_the_issue_until_it_is_taken_in(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime, inbox: InboxServer
) -> None:
    opened = contributions.open_link(app.database, request_id, now)
    assert opened.state is LinkState.open
    assert opened.source_language == "en" and opened.source
    assert opened.written.content["link"] == opened.source["link"]
    with pytest.raises(ChangeRefused):
        contributions.hand_in(app.database, request_id, now)
    first = write(app, request_id, "Uno.", now)
    second = write(app, request_id, "Uno dos.", now, first.written.base)
    assert second.outcome is SaveOutcome.saved
    key = opened.key
    assert write_text.load_state(app.database, key).base == ""
    with app.database.transaction() as session:
        (version,) = text_versions.of_text(session, key, 10)
        assert (version.kind, version.revision, version.actor) == (VersionKind.contributed, 2, "Jean Morel")
        assert text_versions.head(session, key) is None
    contributions.hand_in(app.database, request_id, now)
    contributions.hand_in(app.database, request_id, now)  # pressed twice
    assert state(app, issue, request_id, now) is RequestState.handed_in
    send_transactional(app, now)
    (mail,) = emails_to(inbox, "amina@example.org")
    assert f"/desk/issues/{issue}/requests/{request_id}" in str(mail)
    late = write(app, request_id, "Uno dos tres.", now, second.written.base)
    assert late.outcome is SaveOutcome.closed
    compared = contributions.compare(app.database, issue, request_id)
    assert compared
    assert compared.contributed["body"] == "Uno dos."
    contributions.take_in(app.database, issue, request_id, compared.present.base, amina, now)
    text_now = write_text.load_state(app.database, key)
    assert (text_now.content["body"], text_now.status) == ("Uno dos.", TranslationStatus.ready)
    assert state(app, issue, request_id, now) is RequestState.done
    assert contributions.open_link(app.database, request_id, now).state is LinkState.done
    with pytest.raises(ChangeRefused):
        contributions.take_in(app.database, issue, request_id, text_now.base, amina, now)
    assert audit.search(app.database, AuditAction.text_taken_in, "Amina", None)


def test_a_text_that_is_sent_back_can_be_changed_and_handed_in_again(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime, inbox: InboxServer
) -> None:
    base = write(app, request_id, "Uno.", now).written.base
    contributions.hand_in(app.database, request_id, now)
    with pytest.raises(ChangeRefused):
        text_requests.send_back(app.database, issue, request_id, " ", amina, now)
    later = now + timedelta(days=20)
    text_requests.send_back(app.database, issue, request_id, "Name the river.", amina, later)
    send_transactional(app, later)
    assert "Name the river." in str(emails_to(inbox, JEAN)[-1])
    opened = contributions.open_link(app.database, request_id, later + timedelta(days=13))
    assert (opened.state, opened.text.words) == (LinkState.open, "Name the river.")
    assert opened.written.base != base
    write(app, request_id, "Uno, el Lumen.", later, opened.written.base)
    contributions.hand_in(app.database, request_id, later)
    with app.database.transaction() as session:
        bodies = [version.content["body"] for version in text_versions.of_text(session, opened.key, 10)]
    assert bodies == ["Uno, el Lumen.", "Uno."]


def test_two_hand_in_and_the_second_is_compared_with_the_first(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    other = ask(app, issue, amina, now, name="Ana Ruiz", address="ana@example.org")
    for request, body in ((request_id, "Uno."), (other, "Dos.")):
        write(app, request, body, now)
        contributions.hand_in(app.database, request, now)
    compared = contributions.compare(app.database, issue, other)
    assert compared
    contributions.take_in(app.database, issue, request_id, "", amina, now)
    with pytest.raises(ChangeRefused, match="changed meanwhile"):
        contributions.take_in(app.database, issue, other, compared.present.base, amina, now)
    again = contributions.compare(app.database, issue, other)
    assert again
    contributions.take_in(app.database, issue, other, again.present.base, amina, now)
    key = contributions.open_link(app.database, other, now).key
    assert write_text.load_state(app.database, key).content["body"] == "Dos."


def test_an_issue_that_is_approved_meanwhile_keeps_what_is_written(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    base = write(app, request_id, "Uno.", now).written.base
    contributions.hand_in(app.database, request_id, now)
    with app.database.transaction() as session:
        session.execute(text("UPDATE issue SET state = 'approved'"))
    with pytest.raises(ChangeRefused, match="not a draft"):
        contributions.take_in(app.database, issue, request_id, "", amina, now)
    assert state(app, issue, request_id, now) is RequestState.handed_in
    assert contributions.open_link(app.database, request_id, now).state is LinkState.closed
    assert write(app, request_id, "Uno dos.", now, base).outcome is SaveOutcome.closed
    key = contributions.open_link(app.database, request_id, now).key
    with app.database.transaction() as session:
        bodies = [version.content["body"] for version in text_versions.of_text(session, key, 10)]
    assert bodies == ["Uno dos.", "Uno."]


def test_a_removed_storys_text_waits_until_the_story_is_put_back(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    story = contributions.open_link(app.database, request_id, now).key.subject_id
    base = write(app, request_id, "Uno.", now).written.base
    edit.remove_story(app.database, issue, story, "", amina)
    assert text_request_list.list_requests(app.database, issue, now) == []
    with app.database.transaction() as session:
        assert stored.count_open(session, issue) == 0
    assert contributions.open_link(app.database, request_id, now).state is LinkState.closed
    assert write(app, request_id, "Uno dos.", now, base).outcome is SaveOutcome.closed
    with pytest.raises(ChangeRefused):
        contributions.hand_in(app.database, request_id, now)
    late = now + timedelta(days=9)
    assert text_requests.remind_due(app.database, late) == 0
    edit.undo(app.database, issue, edit.list_changes(app.database, issue)[0].id, amina)
    assert write(app, request_id, "Uno dos.", now, base).outcome is SaveOutcome.saved
    assert [request.id for request in text_request_list.list_requests(app.database, issue, now)] == [request_id]
    assert text_requests.remind_due(app.database, late) == 1


def test_a_link_that_is_withdrawn_or_expired_opens_nothing(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    write(app, request_id, "Uno.", now)
    luka = add_account(app, "luka@example.org", Role.translator)
    of_account = ask(app, issue, amina, now, account=luka)
    text_requests.withdraw(app.database, issue, request_id, amina, now)
    expired = ask(app, issue, amina, now)
    for request, at in (
        (request_id, now),
        (of_account, now),
        (expired, now + timedelta(days=26)),
        (expired + 1000, now),
    ):
        for order in (
            lambda r, t: contributions.open_link(app.database, r, t),
            lambda r, t: write(app, r, "Dos.", t),
            lambda r, t: contributions.hand_in(app.database, r, t),
            lambda r, t: contributions.replace_text(app.database, r, TypedText({"body": "x"}), t),
        ):
            with pytest.raises(LinkGone):
                order(request, at)


def test_two_windows_keep_both_texts(app: Container, request_id: int, now: datetime) -> None:
    first = write(app, request_id, "Uno.", now)
    write(app, request_id, "Uno dos.", now, first.written.base)
    # The answer to its own save was lost: that is no conflict.
    assert write(app, request_id, "Uno dos tres.", now, first.written.base).outcome is SaveOutcome.saved
    other = write(app, request_id, "Otro.", now, first.written.base, tab="b")
    assert other.outcome is SaveOutcome.changed
    assert other.written.content["body"] == "Uno dos tres."
    key = contributions.open_link(app.database, request_id, now).key
    with app.database.transaction() as session:
        assert {version.content["body"] for version in text_versions.of_text(session, key, 10)} == {
            "Otro.",
            "Uno dos tres.",
        }
    results = [
        write(app, request_id, f"Otro {number}.", now, first.written.base, tab="b").is_kept
        for number in range(contributions.MAX_VERSIONS + 5)
    ]
    assert results == [True] * (contributions.MAX_VERSIONS - 2) + [False] * 7
    with app.database.transaction() as session:
        assert text_versions.count_contributed(session, key) == contributions.MAX_VERSIONS


def test_only_the_text_of_the_link_is_written(app: Container, issue: int, request_id: int, now: datetime) -> None:
    with app.database.transaction() as session:
        before = session.scalars(text("SELECT t::text FROM story_translation t ORDER BY 1")).all()
    typed = TypedText({"body": "Uno.", "language": "en", "story_id": 1, "status": "ready", "search_vector": "x"})
    contributions.save(app.database, request_id, "", typed, now)
    contributions.hand_in(app.database, request_id, now)
    with app.database.transaction() as session:
        assert session.scalars(text("SELECT t::text FROM story_translation t ORDER BY 1")).all() == before
        key = contributions.open_link(app.database, request_id, now).key
        (version,) = text_versions.of_text(session, key, 10)
        assert version.content.keys() == {*text_versions.COLUMNS[TextSubject.story]} - {"alt", "picture_credit"}
    assert key.issue == issue


def test_requests_are_bounded_by_link_and_network(app: Container, now: datetime) -> None:
    for _ in range(contributions.MAX_SAVES_PER_MINUTE):
        contributions.count(app.database, 1, NETWORK, now)
    with pytest.raises(TooManyRequests):
        contributions.count(app.database, 1, NETWORK, now)
    contributions.count(app.database, 2, NETWORK, now)
    contributions.count(app.database, 1, NETWORK, now + timedelta(minutes=1))
    for _ in range(contributions.MAX_DOCUMENTS_PER_HOUR):
        contributions.count(app.database, 2, b"another network", now, document=True)
    with pytest.raises(TooManyRequests):
        contributions.count(app.database, 2, b"another network", now + timedelta(seconds=1), document=True)
    contributions.count(app.database, 3, b"a third network", now)
    with app.database.transaction() as session:
        last = contributions.MAX_REQUESTS_PER_NETWORK_MINUTE - 1
        session.execute(text("UPDATE rate_limit_window SET hits = :last"), {"last": last})
    contributions.count(app.database, 4, b"a third network", now)
    with pytest.raises(TooManyRequests):
        contributions.count(app.database, 5, b"a third network", now)
    contributions.count(app.database, 5, b"a fourth network", now)


def test_an_erased_person_leaves_their_text_without_their_name(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    write(app, request_id, "Uno.", now)
    ask(app, issue, amina, now, name="Ana Ruiz", address="ana@example.org")
    personal_data.erase(app.database, app.tokens.address_hash(JEAN), now)
    with app.database.transaction() as session:
        assert session.scalars(text("SELECT name FROM text_request")).all() == ["Ana Ruiz"]
        assert session.scalars(text("SELECT actor FROM text_version WHERE kind = 'contributed'")).all() == [""]


def test_retention_forgets_the_name_with_the_request(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    write(app, request_id, "Uno.", now)
    story = text_request_list.list_stories(app.database, issue)[1][0]
    other = ask(app, issue, amina, now, story=story, due_on=(now + timedelta(days=60)).date())
    write(app, other, "Dos.", now)
    keys = [contributions.open_link(app.database, one, now).key for one in (request_id, other)]
    with app.database.transaction() as session:
        before = now + timedelta(days=30)
        assert retention.delete_expired(session, RetentionCategory.text_requests, before) == 1
    with app.database.transaction() as session:
        versions = [text_versions.of_text(session, key, 1)[0] for key in keys]
        assert [version.actor for version in versions] == ["", "Jean Morel"]
        assert [version.content["body"] for version in versions] == ["Uno.", "Dos."]


def test_a_colleague_who_marks_the_text_as_ready_has_done_it(
    app: Container, issue: int, amina: Staff, now: datetime
) -> None:
    luka = staff_of(add_account(app, "luka@example.org", Role.translator), Role.translator, "Luka")
    request = ask(app, issue, amina, now, account=luka.account)
    key = text_request_list.load(app.database, issue, request, now).key
    typed = TypedText({"headline": "Los barcos", "body": "Uno."})
    saved = write_text.save_text(app.database, key, SaveOrder("", typed), luka, now)
    assert state(app, issue, request, now) is RequestState.open
    write_text.save_text(app.database, key, SaveOrder(saved.text.base, typed, TranslationStatus.ready), luka, now)
    assert state(app, issue, request, now) is RequestState.done


def test_an_imported_document_is_a_text_that_is_ready(
    app: Container, issue: int, amina: Staff, now: datetime, pictures: Callable[[str], PreparedPicture]
) -> None:
    luka = staff_of(add_account(app, "luka@example.org", Role.translator), Role.translator, "Luka")
    request = ask(app, issue, amina, now, account=luka.account)
    document = parse((SAMPLE / "2026-3.es.md").read_text(), "es")
    document_import.import_document(
        app.database,
        document,
        "lumen-basin",
        "es",
        number="2026/3",
        today=now.date(),
        picture_loader=pictures,
        picture_store=app.picture_store,
        actor=luka,
    )
    assert state(app, issue, request, now) is RequestState.done


def test_a_translation_of_an_older_source_is_stale_once_it_is_taken_in(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    write(app, request_id, "Uno.", now)
    contributions.hand_in(app.database, request_id, now)
    key = contributions.open_link(app.database, request_id, now).key
    source = replace(key, language="en")
    base = write_text.load_state(app.database, source).base
    order = SaveOrder(base, TypedText({"body": "Something else."}))
    assert write_text.save_text(app.database, source, order, amina, now).outcome is SaveOutcome.saved
    compared = contributions.compare(app.database, issue, request_id)
    assert compared
    assert compared.is_source_newer
    contributions.take_in(app.database, issue, request_id, compared.present.base, amina, now)
    with app.database.transaction() as session:
        assert key in text_versions.stale(session, issue)


def test_what_the_page_does_not_have_stays_as_it_is_in_the_issue(
    app: Container, issue: int, amina: Staff, now: datetime
) -> None:
    request = ask(app, issue, amina, now, language="fr")
    front = ask(app, issue, amina, now, language="fr", story=None, address="ana@example.org")
    write(app, request, "Un.", now)
    contributions.save(app.database, front, "", TypedText({"subject": "Un"}), now)
    key, front_key = (contributions.open_link(app.database, one, now).key for one in (request, front))
    picture = NewPicture(app.prepare_picture(jpeg(8, 8), "lake"), "lake")
    issue_pictures.set_story_picture(app.database, issue, key.subject_id, picture, "fr", "Un lac", "Ina", amina, None)
    for one, typed in ((key, {"picture_credit": "Ina Doe"}), (front_key, {"partial_intro": "Nouveau"})):
        base = write_text.load_state(app.database, one).base
        write_text.save_text(app.database, one, SaveOrder(base, TypedText(typed)), amina, now)
    for link in (request, front):
        contributions.hand_in(app.database, link, now)
        compared = contributions.compare(app.database, issue, link)
        assert compared
        contributions.take_in(app.database, issue, link, compared.present.base, amina, now)
    story, matter = (write_text.load_state(app.database, one).content for one in (key, front_key))
    assert (story["body"], story["alt"], story["picture_credit"]) == ("Un.", "Un lac", "Ina Doe")
    assert (matter["subject"], matter["partial_intro"]) == ("Un", "Nouveau")


def test_an_alternative_text_that_was_written_is_taken_in(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    first = write(app, request_id, "Uno.", now, alt="Un lago")
    write(app, request_id, "Uno dos.", now, first.written.base)
    contributions.hand_in(app.database, request_id, now)
    contributions.take_in(app.database, issue, request_id, "", amina, now)
    key = contributions.open_link(app.database, request_id, now).key
    assert write_text.load_state(app.database, key).content["alt"] == "Un lago"


def test_a_text_is_not_taken_in_while_it_is_sent_back(
    app: Container, issue: int, amina: Staff, request_id: int, now: datetime
) -> None:
    write(app, request_id, "Uno.", now)
    contributions.hand_in(app.database, request_id, now)
    with ThreadPoolExecutor() as pool:
        with app.database.transaction() as session:
            issues.lock(session, issue)
            order = (app.database, issue, request_id, "", amina, now)
            waiting = pool.submit(contributions.take_in, *order)
            wait_for_lock(session, waiting)
            row = stored.lock(session, request_id)
            assert row
            row.handed_in_at, row.sent_back_at = None, now
        with pytest.raises(ChangeRefused):
            waiting.result()
    key = contributions.open_link(app.database, request_id, now).key
    assert write_text.load_state(app.database, key).base == ""


def test_front_matter_is_asked_for_too(app: Container, issue: int, amina: Staff, now: datetime) -> None:
    request = ask(app, issue, amina, now, story=None)
    key = contributions.open_link(app.database, request, now).key
    typed = TypedText({"subject": "Noticias del río", "intro": "Hola."})
    contributions.save(app.database, request, "", typed, now)
    contributions.hand_in(app.database, request, now)
    contributions.take_in(app.database, issue, request, "", amina, now)
    assert write_text.load_state(app.database, key).content["subject"] == "Noticias del río"
