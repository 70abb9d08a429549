"""Sends an edition of an issue to somebody who looks at it before its readers get it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.accounts import Actor
from mailer.domain.composition import IssueSource
from mailer.domain.errors import ChangeRefused
from mailer.domain.labels import SUPPRESSION_REASON_LABELS
from mailer.domain.states import IssueEventKind
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import IssueTest
from mailer.services.issues.compile import EditionCompiler, EditionNotFound
from mailer.store import issues, subscribers, transactional
from mailer.store.database import Database

SUBJECT_PREFIX = "[Test] "
"""Marks a test; it is not translated, because the people who make a newsletter read it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of a test so far. ``reply`` is the relay's last one."""

    sent: bool
    given_up: bool
    reply: str


def send_test(
    database: Database,
    source: IssueSource,
    compiler: EditionCompiler,
    language: str,
    sections: int | None,
    address: str,
    address_hash: bytes,
    actor: Actor,
    now: datetime,
) -> int:
    """Queue an edition for an address and return the id of the transactional email. Workers send it.

    ``compiler`` has the prefix for tests. ``sections`` None means all. Raises EditionNotFound, ChangeRefused for a
    suppressed address, and ValueError if the edition cannot be rendered.
    """
    languages: Sequence[str] = source.language_rules.languages
    if language not in languages:
        known = ", ".join(languages) or "none"
        raise EditionNotFound(f"Issue {source.issue} has no text in {language}. Its languages: {known}.")
    available = source.sections_shown(language)
    mask = available if sections is None else (sections | source.always_included) & available
    if not mask:
        raise EditionNotFound(f"Issue {source.issue} has no stories in these sections.")
    message, slots = compiler.compile_edition(0, language, mask).message.serialize()
    with database.transaction() as session:
        if suppression := subscribers.suppression(session, address_hash):
            reason = SUPPRESSION_REASON_LABELS[suppression.reason]
            raise ChangeRefused(f"{address} is suppressed ({reason}), so nothing is sent to it.")
        row = issues.by_id(session, source.issue)
        test = IssueTest(issue_id=row.id, address=address, address_hash=address_hash, message=message, slots=slots)
        session.add(test)
        session.flush()
        email = transactional.add(
            session, TransactionalEmailKind.issue_test, row.newsletter_id, language, now, issue_test=test.id
        )
        session.flush()
        issues.log(session, row.id, actor, IssueEventKind.tested, language)
        return email.id


def progress(database: Database, email: int) -> Progress:
    """Return what became of a test."""
    with database.transaction() as session:
        row = transactional.by_id(session, email)
        assert row is not None
        return Progress(row.sent_at is not None, row.given_up_at is not None, row.last_reply)
