"""What stays of an address that its reader has given up."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.domain.ties import Tie
from mailer.models import Signup
from mailer.services import feedback, readdress, rights
from mailer.store import readers, signups
from mailer.web.app import create_app

OLD, NEW = "ada@example.org", "ada@new.example.org"
AddReaders = Callable[[str], None]


def reader(parts: Mailer, address: str) -> int:
    with parts.database.transaction() as session:
        found = readers.by_hash(session, parts.tokens.address_hash(address))
        assert found
        return found.id


def move(parts: Mailer, old: str, new: str) -> None:
    now, tie = datetime.now(UTC), Tie(reader(parts, old), newsletter=1)
    readdress.ask(parts.database, tie, new, parts.tokens.address_hash(new), "en", now)
    with parts.database.transaction() as session:
        change = session.scalar(text("SELECT max(id) FROM address_change")) or 0
    for new_end in (False, True):
        assert readdress.confirm(parts.database, change, new_end, [], now)


def stored(parts: Mailer) -> set[str]:
    with parts.database.transaction() as session:
        return set(session.scalars(text("SELECT address FROM subscriber")))


@pytest.fixture
def moved(parts: Mailer, import_issue: Callable[..., int], add_readers: AddReaders) -> Mailer:
    import_issue("en")
    add_readers(f"{OLD};en;")
    move(parts, OLD, NEW)
    return parts


def test_a_list_does_not_bring_the_old_address_back(moved: Mailer, add_readers: AddReaders) -> None:
    add_readers(f"{OLD};en;")
    assert stored(moved) == {NEW}
    rights.erase(moved.database, moved.tokens.address_hash(NEW), datetime.now(UTC))
    add_readers(f"{OLD};en;\n{NEW};en;")
    assert stored(moved) == set()


def test_nor_that_of_who_was_brought_together_with_another(moved: Mailer, add_readers: AddReaders) -> None:
    add_readers("leila@example.org;en;")
    move(moved, NEW, "leila@example.org")
    add_readers(f"{OLD};en;\n{NEW};en;")
    assert stored(moved) == {"leila@example.org"}


def test_but_its_reader_may_go_back(moved: Mailer) -> None:
    move(moved, NEW, OLD)
    with moved.database.transaction() as session:
        suppressed = list(session.execute(text("SELECT address_hash, reason FROM suppression")))
    assert suppressed == [(moved.tokens.address_hash(NEW), "moved")]


def test_nothing_but_a_hash_stays_of_the_old_address(
    parts: Mailer, import_issue: Callable[..., int], add_readers: AddReaders
) -> None:
    import_issue("en")
    add_readers(f"{OLD};en;")
    with parts.database.transaction() as session:
        signup = Signup(
            newsletter_id=1,
            address=OLD,
            address_hash=parts.tokens.address_hash(OLD),
            languages=["en"],
            sections=0,
            language="en",
            wording="",
            source="a form",
        )
        signups.add(session, signup)
    feedback.suppress(parts.database, [parts.tokens.address_hash(OLD)], "hard bounce")
    with parts.database.transaction() as session:
        session.execute(text("UPDATE suppression SET detail = 'it was Ada'"))
    move(parts, OLD, NEW)
    with parts.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM signup")) == 0
        assert list(session.execute(text("SELECT reason, detail FROM suppression"))) == [("hard bounce", "")]


def test_the_mail_of_who_was_brought_together_goes_on_unsubscribing(
    moved: Mailer, add_readers: AddReaders
) -> None:
    add_readers("leila@example.org;en;\nmia@example.org;en;")
    leave = [moved.links.quit_token(1, reader(moved, a)) for a in ("leila@example.org", "mia@example.org")]
    move(moved, NEW, "leila@example.org")
    move(moved, "leila@example.org", "mia@example.org")
    now = datetime.now(UTC)
    said = [
        feedback.receive(moved.database, moved.links, f"unsubscribe+{token}@example.org", b"", now)
        for token in leave
    ]
    assert said == ["unsubscribed", "unsubscribed before"]
    with moved.database.transaction() as session:
        assert list(session.scalars(text("SELECT state FROM subscription"))) == ["unsubscribed"]
    rights.erase(moved.database, moved.tokens.address_hash("mia@example.org"), now)
    with moved.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM merged")) == 0


def test_and_so_do_its_links(moved: Mailer, add_readers: AddReaders) -> None:
    add_readers("leila@example.org;en;")
    path = "/u/" + moved.tokens.link(Purpose.quit, 1, reader(moved, "leila@example.org"))
    move(moved, NEW, "leila@example.org")
    with TestClient(create_app(moved)) as client:
        assert client.get(path).status_code == 200
        assert client.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    with moved.database.transaction() as session:
        assert set(session.scalars(text("SELECT state FROM subscription"))) == {"unsubscribed"}


def test_so_does_that_of_who_is_brought_to_another_twice(moved: Mailer, add_readers: AddReaders) -> None:
    add_readers("leila@example.org;en;\nmia@example.org;en;")
    leave = moved.links.quit_token(1, reader(moved, "leila@example.org"))
    move(moved, NEW, "leila@example.org")
    move(moved, "mia@example.org", "leila@example.org")
    said = feedback.receive(
        moved.database, moved.links, f"unsubscribe+{leave}@example.org", b"", datetime.now(UTC)
    )
    assert said == "unsubscribed"
