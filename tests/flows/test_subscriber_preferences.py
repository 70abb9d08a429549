"""Preferences take effect on mail: text only, pause, monthly, and the sender's DKIM signature."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.adapters.dkim import Key, Signer, new_private_key
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.dkim import KeyKind
from mailer.services.issues import report
from tests.support.sending import send_due_batches


def decide(app: Container, address: str, table: str, what: str, **values: object) -> None:
    where = (
        "address = :address"
        if table == "subscriber"
        else "subscriber_id = (SELECT id FROM subscriber WHERE address = :address)"
    )
    with app.database.transaction() as session:
        done = session.connection().execute(
            text(f"UPDATE {table} SET {what} WHERE {where}"), {"address": address, **values}
        )
        assert done.rowcount == 1


@pytest.mark.parametrize("late", [False, True], ids=["before the audience is frozen", "while the mail is queued"])
def test_readers_get_what_they_asked_for(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
    late: bool,
) -> None:
    issue = import_issue("en")
    add_subscribers("plain@example.org;en;\npaused@example.org;en;\nmonthly@example.org;en;\nall@example.org;en;")

    def choices() -> None:
        decide(app, "plain@example.org", "subscriber", "text_only = true")
        until = datetime.now(UTC) + timedelta(days=7)
        decide(app, "paused@example.org", "subscription", "paused_until = :until", until=until)
        decide(app, "monthly@example.org", "subscription", "frequency = 'monthly'")

    if late:
        prepare(issue)
        choices()
    else:
        choices()
        prepare(issue)
    assert send() == 2
    got = {mail.recipients[0]: inbox.inbox.read(mail) for mail in inbox.messages()}
    assert set(got) == {"plain@example.org", "all@example.org"}
    assert b"text/html" not in got["plain@example.org"]
    assert b"text/html" in got["all@example.org"]
    assert report.skipped_by_reason(app.database, issue) == {"paused": 1, "digest_only": 1}
    assert report.audit(app.database, issue) == []


def test_mail_is_signed_if_there_is_a_key(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    make_app: Callable[..., Container],
) -> None:
    key = Key("lumen-basin.example.org", "s1", new_private_key(KeyKind.ed25519))
    issue = import_issue("en")
    add_subscribers("ann@example.org;en;")
    prepare(issue)
    assert send_due_batches(make_app(signer=Signer([key]))) == 1
    (mail,) = inbox.messages()
    assert b"\r\nDKIM-Signature: v=1; a=ed25519-sha256" in b"\r\n" + inbox.inbox.read(mail)
