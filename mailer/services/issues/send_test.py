"""Sends editions of an issue to people who look at them before its readers get it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.accounts import Actor
from mailer.domain.composition import IssueSource
from mailer.domain.errors import ChangeRefused
from mailer.domain.labels import SUPPRESSION_REASON_LABELS
from mailer.domain.ports import MailUrls
from mailer.domain.states import IssueEventKind
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import IssueTest
from mailer.services.issues.compile import EditionCompiler, EditionNotFound
from mailer.store import issues, rate_limits, subscribers, transactional
from mailer.store.database import Database, Session

SUBJECT_PREFIX = "[Test] "
"""Marks a test; it is not translated, because the people who make a newsletter read it."""
MAX_TESTS_AT_ONCE = 20
MAX_TESTS_AN_HOUR = 100
"""Of one account."""
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of a test so far. ``reply`` is the relay's last one."""

    sent: bool
    given_up: bool
    reply: str


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a test goes to."""

    address: str
    address_hash: bytes


def send_tests(
    database: Database,
    source: IssueSource,
    compiler: EditionCompiler,
    urls: MailUrls,
    editions: Sequence[tuple[str, int | None]],
    recipients: Sequence[Recipient],
    actor: Actor,
    now: datetime,
) -> list[int]:
    """Queue each edition for each recipient; return the ids of the transactional emails. Workers send them.

    An edition is a language and a section mask, None for all sections. ``compiler`` has the prefix for tests. All of
    them are queued or none. Raises EditionNotFound, ChangeRefused for a suppressed address or too many tests, and
    ValueError if an edition cannot be rendered.
    """
    count = len(editions) * len(recipients)
    if count > MAX_TESTS_AT_ONCE:
        raise ChangeRefused(f"These would be {count} emails. Send at most {MAX_TESTS_AT_ONCE} tests at once.")
    chosen = [(language, _section_mask(source, language, sections)) for language, sections in editions]
    with database.transaction() as session:
        if not isinstance(actor, str):
            subject = f"issue tests {actor.account}".encode()
            if not all(rate_limits.acquire(session, subject, now, _HOUR, MAX_TESTS_AN_HOUR) for _ in range(count)):
                raise ChangeRefused(f"You can send {MAX_TESTS_AN_HOUR} tests an hour. Wait until the hour is over.")
        for recipient in recipients:
            if suppression := subscribers.suppression(session, recipient.address_hash):
                reason = SUPPRESSION_REASON_LABELS[suppression.reason]
                raise ChangeRefused(f"{recipient.address} is suppressed ({reason}), so nothing is sent to it.")
        return [
            _queue(session, source, compiler, urls, language, mask, recipient, actor, now)
            for language, mask in chosen
            for recipient in recipients
        ]


def _section_mask(source: IssueSource, language: str, sections: int | None) -> int:
    languages: Sequence[str] = source.language_rules.languages
    if language not in languages:
        known = ", ".join(languages) or "none"
        raise EditionNotFound(f"Issue {source.issue} has no text in {language}. Its languages: {known}.")
    available = source.sections_shown(language)
    mask = available if sections is None else (sections | source.always_included) & available
    if not mask:
        raise EditionNotFound(f"Issue {source.issue} has no stories in these sections.")
    return mask


def _queue(
    session: Session,
    source: IssueSource,
    compiler: EditionCompiler,
    urls: MailUrls,
    language: str,
    mask: int,
    recipient: Recipient,
    actor: Actor,
    now: datetime,
) -> int:
    row = issues.by_id(session, source.issue)
    test = IssueTest(
        issue_id=row.id, address=recipient.address, address_hash=recipient.address_hash, message=b"", slots=[]
    )
    session.add(test)
    session.flush()
    compiled = compiler.compile_edition(urls.test_view_url(row.id, test.id), language, mask)
    test.message, test.slots = compiled.message.serialize()
    test.html = compiled.web_view_html
    email = transactional.add(
        session, TransactionalEmailKind.issue_test, row.newsletter_id, language, now, issue_test=test.id
    )
    session.flush()
    issues.log(session, row.id, actor, IssueEventKind.tested, language, language=language)
    return email.id


def progress(database: Database, email: int) -> Progress:
    """Return what became of a test."""
    with database.transaction() as session:
        row = transactional.by_id(session, email)
        assert row is not None
        return Progress(row.sent_at is not None, row.given_up_at is not None, row.last_reply)
