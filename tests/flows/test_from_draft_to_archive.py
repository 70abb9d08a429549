"""An issue with text overrides is sent and then appears in the archive."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.devtools.inbox.mime import parse_mail
from mailer.domain.newsletter_check import read_newsletter
from mailer.services.newsletters.apply import apply_newsletter
from mailer.web.app import create_app
from tests.conftest import SAMPLE

OWN = "أوقفوا إرسال النشرة"


def test_from_the_draft_to_the_archive(
    app: Container,
    inbox: InboxServer,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    issue = import_issue("en", "ar")
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    settings.text_overrides = {"ar": {"Unsubscribe": OWN, "All issues": "الأرشيف"}}
    apply_newsletter(app.database, settings)
    add_subscribers("ada@example.org;en;\nleila@example.org;ar;water-and-rivers")
    with TestClient(create_app(app)) as client:
        shelf, page = "/archive/lumen-basin/ar", "/archive/lumen-basin/ar/2026-3"
        prepare(issue)
        assert "وميثاق نهر واحد" not in client.get(shelf).text
        assert client.get(page).status_code == 404
        assert client.get(f"{shelf}?q=نهر").text.count("<mark>") == 0
        assert send() == 2
        assert "وميثاق نهر واحد" in client.get(shelf).text
        assert "الأرشيف" in client.get(page).text
        assert client.get(f"{shelf}?q=نهر").text.count("<mark>") > 10
        assert client.get(f"{shelf}.atom").text.count("<entry") == 1
    mails = {mail.language: parse_mail(inbox.inbox.read(mail)) for mail in inbox.inbox.messages()}
    assert OWN in mails["ar"].html
    assert OWN in mails["ar"].text
    assert "Unsubscribe" in mails["en"].html
