"""An issue is sent, in its newsletter's own words, and is in the archive from then on."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from mailer.adapters.inbox import RunningInbox
from mailer.adapters.inbox.reading import read_mail
from mailer.bootstrap import Mailer
from mailer.domain.newsletter import read_newsletter
from mailer.services.newsletter import apply_newsletter
from mailer.web.app import create_app
from tests.conftest import SAMPLE

OWN = "أوقفوا إرسال النشرة"


def test_from_the_draft_to_the_archive(
    parts: Mailer,
    inbox: RunningInbox,
    import_issue: Callable[..., int],
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    issue = import_issue("en", "ar")
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    settings.phrases = {"ar": {"Unsubscribe": OWN, "All issues": "الأرشيف"}}
    apply_newsletter(parts.database, settings)
    add_readers("ada@example.org;en;\nleila@example.org;ar;water-and-rivers")
    with TestClient(create_app(parts)) as client:
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
    mails = {mail.language: read_mail(inbox.inbox.read(mail)) for mail in inbox.inbox.messages()}
    assert OWN in mails["ar"].html
    assert OWN in mails["ar"].text
    assert "Unsubscribe" in mails["en"].html
