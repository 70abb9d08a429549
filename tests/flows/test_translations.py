"""Later translations, and stories without a translation."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.states import IssueState, MissingTranslationPolicy
from mailer.services.delivery import expand
from mailer.services.issues import approve, report
from mailer.services.issues.approve import NotApproved
from tests.support.emails import emails_by_recipient, html_body, text_body
from tests.support.explained import explain_delivery

Import = Callable[..., int]
AddReaders = Callable[[str], None]
Prepare = Callable[[int], None]
Send = Callable[[], int]

READERS = """
    ann@example.org;en;
    bea@example.org;fr;water-and-rivers
    gil@example.org;bs;schools-and-skills
    hal@example.org;bs;water-and-rivers
"""
CHARTER = "Nine countries sign the Lumen river charter"


def audience(app: Container, issue: int) -> dict[str, int]:
    """Readers by the language that they would get now, or by the reason why not."""
    found: dict[str, int] = {}
    for group in expand.count_audience(app.database, issue):
        outcome = group.skip_reason or group.language or ""
        found[outcome] = found.get(outcome, 0) + group.subscribers
    return found


def test_later_translation_changes_the_editions(
    app: Container,
    inbox: InboxServer,
    import_issue: Import,
    add_subscribers: AddReaders,
    prepare: Prepare,
    send: Send,
) -> None:
    issue = import_issue("en")
    add_subscribers(READERS)
    assert audience(app, issue) == {"en": 4}
    assert import_issue("fr") == issue
    assert audience(app, issue) == {"en": 3, "fr": 1}
    import_issue("bs")
    assert audience(app, issue) == {"en": 1, "fr": 1, "bs": 2}
    prepare(issue)
    assert send() == 4
    languages = {address: str(mail["Content-Language"]) for address, mail in emails_by_recipient(inbox).items()}
    assert languages == {
        "ann@example.org": "en",
        "bea@example.org": "fr",
        "gil@example.org": "bs",
        "hal@example.org": "bs",
    }
    assert report.status(app.database, issue, datetime.now(UTC)).editions == 4


def test_fallback_story_is_labelled_with_its_language(
    app: Container,
    inbox: InboxServer,
    import_issue: Import,
    add_subscribers: AddReaders,
    prepare: Prepare,
    send: Send,
) -> None:
    issue = import_issue("en", "bs")
    add_subscribers(READERS)
    prepare(issue)
    send()
    gil = emails_by_recipient(inbox)["gil@example.org"]
    assert "Two thousand pupils learn to read the river" in text_body(gil)
    assert '<html lang="bs"' in html_body(gil)
    assert 'lang="en"' in html_body(gil)
    hal = emails_by_recipient(inbox)["hal@example.org"]
    assert 'lang="en"' not in html_body(hal).partition("<body")[2], "nothing of hers fell back"


def test_untranslated_story_is_omitted(
    app: Container,
    inbox: InboxServer,
    import_issue: Import,
    add_subscribers: AddReaders,
    prepare: Prepare,
    send: Send,
) -> None:
    issue = import_issue("en", "fr", "bs")
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, "tests")
    add_subscribers(READERS + "ivo@example.org;bs;")
    prepare(issue)
    assert send() == 4
    assert report.skipped_by_reason(app.database, issue) == {"nothing_in_sections": 1}
    found = explain_delivery(app, issue, "gil@example.org")
    assert "Nothing was sent: the sections that they follow have no stories in it." in found.sentences
    got = emails_by_recipient(inbox)
    assert set(got) == {f"{name}@example.org" for name in ("ann", "bea", "hal", "ivo")}
    ivo = text_body(got["ivo@example.org"])
    assert "Devet zemalja potpisalo povelju o rijeci Lumen" in ivo
    assert CHARTER not in ivo
    assert "Two thousand pupils" not in ivo
    assert "Two thousand pupils" in text_body(got["ann@example.org"])


def test_missing_translation_blocks_if_the_policy_says_so(
    app: Container,
    inbox: InboxServer,
    import_issue: Import,
    add_subscribers: AddReaders,
    prepare: Prepare,
    send: Send,
) -> None:
    issue = import_issue("en", "uk")
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.block, "tests")
    add_subscribers(READERS)
    with pytest.raises(NotApproved, match=r"uk: 9 of 16 stories must be translated first: "):
        prepare(issue)
    assert report.status(app.database, issue, datetime.now(UTC)).state is IssueState.draft
    assert send() == 0
    assert inbox.messages() == ()
    whole = import_issue("fr")
    with pytest.raises(NotApproved):
        prepare(whole)
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.fallback, "tests")
    prepare(issue)
    assert send() == 4
