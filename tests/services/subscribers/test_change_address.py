"""What is kept of an address after a change of address."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.domain.consents import ConsentChannel
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.suppressions import SuppressionReason
from mailer.models import Signup
from mailer.services.feedback import bounces
from mailer.services.subscribers import change_address, personal_data
from mailer.store import signups, subscribers
from mailer.web.app import create_app

OLD, NEW = "ada@example.org", "ada@new.example.org"
AddReaders = Callable[[str], None]


def reader(app: Container, address: str) -> int:
    with app.database.transaction() as session:
        found = subscribers.by_hash(session, app.tokens.address_hash(address))
        assert found
        return found.id


def move(app: Container, old: str, new: str) -> None:
    now, tie = datetime.now(UTC), SubscriptionRef(reader(app, old), newsletter=1)
    change_address.request(
        app.database,
        tie,
        new,
        app.tokens.address_hash(new),
        "en",
        now,
        hash_mailbox=app.tokens.mailbox_hash,
        requester=app.requester(""),
    )
    with app.database.transaction() as session:
        change = session.scalar(text("SELECT max(id) FROM address_change")) or 0
    for new_end in (False, True):
        assert change_address.confirm(app.database, change, new_end, [], now)


def stored(app: Container) -> set[str]:
    with app.database.transaction() as session:
        return set(session.scalars(text("SELECT address FROM subscriber")))


@pytest.fixture
def moved(app: Container, import_issue: Callable[..., int], add_subscribers: AddReaders) -> Container:
    import_issue("en")
    add_subscribers(f"{OLD};en;")
    move(app, OLD, NEW)
    return app


def test_import_does_not_restore_the_old_address(moved: Container, add_subscribers: AddReaders) -> None:
    add_subscribers(f"{OLD};en;")
    assert stored(moved) == {NEW}
    personal_data.erase(moved.database, moved.tokens.address_hash(NEW), datetime.now(UTC))
    add_subscribers(f"{OLD};en;\n{NEW};en;")
    assert stored(moved) == set()


def test_import_does_not_restore_a_merged_address(moved: Container, add_subscribers: AddReaders) -> None:
    add_subscribers("leila@example.org;en;")
    move(moved, NEW, "leila@example.org")
    add_subscribers(f"{OLD};en;\n{NEW};en;")
    assert stored(moved) == {"leila@example.org"}


def test_reader_may_change_back(moved: Container) -> None:
    move(moved, NEW, OLD)
    with moved.database.transaction() as session:
        suppressed = list(session.execute(text("SELECT address_hash, reason FROM suppression")))
    assert suppressed == [(moved.tokens.address_hash(NEW), "address_changed")]


def test_only_a_hash_of_the_old_address_is_kept(
    app: Container, import_issue: Callable[..., int], add_subscribers: AddReaders
) -> None:
    import_issue("en")
    add_subscribers(f"{OLD};en;")
    with app.database.transaction() as session:
        signup = Signup(
            newsletter_id=1,
            address=OLD,
            address_hash=app.tokens.address_hash(OLD),
            languages=["en"],
            sections=0,
            language="en",
            wording="",
            channel=ConsentChannel.sign_up_form,
        )
        signups.add(session, signup)
    bounces.suppress(app.database, [app.tokens.address_hash(OLD)], SuppressionReason.hard_bounce, "it was Ada")
    move(app, OLD, NEW)
    with app.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM signup")) == 0
        assert list(session.execute(text("SELECT reason, note FROM suppression"))) == [("hard_bounce", "")]


def test_merged_subscribers_emails_still_unsubscribe(moved: Container, add_subscribers: AddReaders) -> None:
    add_subscribers("leila@example.org;en;\nmia@example.org;en;")
    leave = [moved.urls.unsubscribe_token(1, reader(moved, a)) for a in ("leila@example.org", "mia@example.org")]
    move(moved, NEW, "leila@example.org")
    move(moved, "leila@example.org", "mia@example.org")
    now = datetime.now(UTC)
    said = [
        bounces.receive(moved.database, moved.urls, f"unsubscribe+{token}@example.org", b"", now) for token in leave
    ]
    assert said == ["unsubscribed", "unsubscribed before"]
    with moved.database.transaction() as session:
        assert list(session.scalars(text("SELECT state FROM subscription"))) == ["unsubscribed"]
    personal_data.erase(moved.database, moved.tokens.address_hash("mia@example.org"), now)
    with moved.database.transaction() as session:
        assert session.scalar(text("SELECT count(*) FROM subscriber_alias")) == 0


def test_merged_subscribers_links_still_work(moved: Container, add_subscribers: AddReaders) -> None:
    add_subscribers("leila@example.org;en;")
    path = "/u/" + moved.tokens.make_link_token(Purpose.unsubscribe_newsletter, 1, reader(moved, "leila@example.org"))
    move(moved, NEW, "leila@example.org")
    with TestClient(create_app(moved)) as client:
        assert client.get(path).status_code == 200
        assert client.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    with moved.database.transaction() as session:
        assert set(session.scalars(text("SELECT state FROM subscription"))) == {"unsubscribed"}


@pytest.mark.parametrize(
    ("mine", "other", "together"),
    [
        (("", "{}", "UTC"), ("Lea", "{sr-Latn,en}", "Europe/Belgrade"), ("Lea", ["sr-Latn", "en"], "Europe/Belgrade")),
        (("Ada", "{en,fr}", "Asia/Tokyo"), ("Lea", "{fr,de}", "UTC"), ("Ada", ["en", "fr", "de"], "Asia/Tokyo")),
        (("", "{}", "UTC"), ("", "{}", "UTC"), ("", [], "UTC")),
    ],
)
def test_two_addresses_brought_together_lose_no_preference(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: AddReaders,
    mine: tuple[str, str, str],
    other: tuple[str, str, str],
    together: tuple[str, list[str], str],
) -> None:
    import_issue("en")
    add_subscribers(f"{OLD};en;\nlea@example.org;en;")
    with app.database.transaction() as session:
        for address, values in ((OLD, mine), ("lea@example.org", other)):
            query = "UPDATE subscriber SET name = :name, languages = :languages, time_zone = :zone WHERE address = :a"
            session.execute(text(query), dict(zip(("name", "languages", "zone"), values, strict=True)) | {"a": address})
    move(app, OLD, "lea@example.org")
    with app.database.transaction() as session:
        assert session.execute(text("SELECT name, languages, time_zone FROM subscriber")).one() == together


def test_links_work_after_two_merges(moved: Container, add_subscribers: AddReaders) -> None:
    add_subscribers("leila@example.org;en;\nmia@example.org;en;")
    leave = moved.urls.unsubscribe_token(1, reader(moved, "leila@example.org"))
    move(moved, NEW, "leila@example.org")
    move(moved, "mia@example.org", "leila@example.org")
    said = bounces.receive(moved.database, moved.urls, f"unsubscribe+{leave}@example.org", b"", datetime.now(UTC))
    assert said == "unsubscribed"
