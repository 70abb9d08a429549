"""From a document to the right mail in every reader's inbox."""

from collections.abc import Callable
from datetime import UTC, datetime

from mailer.adapters.inbox import RunningInbox
from mailer.bootstrap import Mailer
from mailer.services import report
from tests.mails import html, mails, text


def test_each_reader_gets_their_sections_in_their_language(
    parts: Mailer,
    inbox: RunningInbox,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    issue = import_issue("en", "fr", "sr-Latn", "bs")
    add_readers("""
        ann@example.org;en;
        bea@example.org;fr;water-and-rivers
        cil@example.org;sr-Latn-BA;trade-and-crossings
        dan@example.org;bs;schools-and-skills
        eve@example.org;zh;health-and-care|culture-and-heritage
        fay@example.org;en;none
    """)
    prepare(issue)
    assert send() == 5
    got = mails(inbox)
    assert set(got) == {f"{name}@example.org" for name in ("ann", "bea", "cil", "dan", "eve")}

    assert "Nine countries sign the Lumen river charter" in html(got["ann@example.org"])
    assert "Nine choirs" in html(got["ann@example.org"])
    assert got["ann@example.org"]["List-Archive"] == "<http://news.example.org/archive/lumen-basin>"
    assert got["bea@example.org"]["Content-Language"] == "fr"
    assert "Port Selin" in text(got["bea@example.org"])
    assert "chœurs" not in text(got["bea@example.org"])
    assert got["cil@example.org"]["Content-Language"] == "sr-Latn"
    # Section 3 has no Bosnian text: it falls back, by the newsletter's chain, and says so.
    assert got["dan@example.org"]["Content-Language"] == "bs"
    assert 'lang="sr-Latn"' in html(got["dan@example.org"])
    assert got["eve@example.org"]["Content-Language"] == "en"

    status = report.status(parts.database, issue, datetime.now(UTC))
    assert status.state == "sent"
    assert status.counts.sent == 5
    assert report.skipped(parts.database, issue) == {"nothing_in_sections": 1}
    assert status.editions == 5
    assert report.audit(parts.database, issue) == []
