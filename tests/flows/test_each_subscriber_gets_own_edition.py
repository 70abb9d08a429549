"""From a document to each reader's own edition."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.services.issues import report
from tests.support.emails import emails_by_recipient, html_body, text_body


def test_each_reader_gets_their_sections_in_their_language(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    issue = import_issue("en", "fr", "sr-Latn", "bs")
    add_subscribers("""
        ann@example.org;en;
        bea@example.org;fr;water-and-rivers
        cil@example.org;sr-Latn-BA;trade-and-crossings
        dan@example.org;bs;schools-and-skills
        eve@example.org;zh;health-and-care|culture-and-heritage
        fay@example.org;en;none
    """)
    prepare(issue)
    assert send() == 5
    got = emails_by_recipient(inbox)
    assert set(got) == {f"{name}@example.org" for name in ("ann", "bea", "cil", "dan", "eve")}

    assert "Nine countries sign the Lumen river charter" in html_body(got["ann@example.org"])
    assert "Nine choirs" in html_body(got["ann@example.org"])
    assert got["ann@example.org"]["List-Archive"] == "<http://news.example.org/archive/lumen-basin>"
    assert got["bea@example.org"]["Content-Language"] == "fr"
    assert "Port Selin" in text_body(got["bea@example.org"])
    assert "chœurs" not in text_body(got["bea@example.org"])
    assert got["cil@example.org"]["Content-Language"] == "sr-Latn"
    # Section 3 has no Bosnian text: it falls back, by the newsletter's chain, and says so.
    assert got["dan@example.org"]["Content-Language"] == "bs"
    assert 'lang="sr-Latn"' in html_body(got["dan@example.org"])
    assert got["eve@example.org"]["Content-Language"] == "en"

    status = report.status(app.database, issue, datetime.now(UTC))
    assert status.state == "sent"
    assert status.counts.sent == 5
    assert report.skipped_by_reason(app.database, issue) == {"nothing_in_sections": 1}
    assert status.editions == 5
    assert report.audit(app.database, issue) == []


def test_private_newsletter_has_no_archive_links(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    issue = import_issue("en")
    with app.database.transaction() as session:
        session.execute(sqlalchemy.text("UPDATE newsletter SET public = false"))
    add_subscribers("ann@example.org;en;")
    prepare(issue)
    assert send() == 1
    mail = emails_by_recipient(inbox)["ann@example.org"]
    assert "List-Archive" not in mail
    assert "/archive/" not in html_body(mail) + text_body(mail)


def test_readers_with_a_name_are_greeted_and_never_by_address(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    """In quoted-printable and in base64, which have their own ways to leave something out."""
    issue = import_issue("en", "mk")
    add_subscribers("ann@example.org;en;\nbea@example.org;en;\ncil@example.org;mk;\ndan@example.org;mk;")
    with app.database.transaction() as session:
        for address, name in ("ann@example.org", "Ann O’Hara"), ("cil@example.org", "Цвета"):
            query = sqlalchemy.text("UPDATE subscriber SET name = :name WHERE address = :address")
            session.execute(query, {"name": name, "address": address})
    prepare(issue)
    assert send() == 4
    got = emails_by_recipient(inbox)
    for greeted, unknown, hello in (
        ("ann", "bea", "Dear Ann O’Hara"),
        ("cil", "dan", "Добар ден, Цвета"),
    ):
        named, nameless = got[f"{greeted}@example.org"], got[f"{unknown}@example.org"]
        for part, greeting in ((text_body, hello), (html_body, f"<p>{hello}</p>")):
            # Links are each reader's own, and base64 needs a blank more here and there.
            told, untold = (
                "".join(re.sub(r"https?://[^\s\"<>]+/[pu]/[^\s\"<>]+", "LINK", part(mail)).split())
                for mail in (named, nameless)
            )
            greeting = greeting.replace(" ", "")
            assert greeting in told
            assert f"{unknown}@" in untold, "at the end, where they see which address it came to"
            same = told.replace(greeting, "").replace(f"{greeted}@", f"{unknown}@")
            assert same == untold, "and nothing else is missing"
        assert "\n\n\n" not in text_body(named).replace("\r\n", "\n")
