"""Transactional emails: services add them, workers claim and send them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import (
    Account,
    AccountLink,
    AddressChange,
    Edition,
    Issue,
    IssueTest,
    Newsletter,
    Section,
    Signup,
    Subscriber,
    Subscription,
    TransactionalEmail,
)
from mailer.store import text_requests
from mailer.store.text_requests import RequestContext


def add(
    session: Session,
    kind: TransactionalEmailKind,
    newsletter: int,
    language: str,
    due_at: datetime,
    *,
    subscriber: int | None = None,
    signup: int | None = None,
    change: int | None = None,
    account_link: int | None = None,
    issue_test: int | None = None,
    text_request: int | None = None,
) -> TransactionalEmail:
    """Queue a transactional email and return it. ``language`` must have a translation catalogue."""
    email = TransactionalEmail(
        kind=kind,
        newsletter_id=newsletter,
        language=language,
        due_at=due_at,
        subscriber_id=subscriber,
        signup_id=signup,
        change_id=change,
        account_link_id=account_link,
        issue_test_id=issue_test,
        text_request_id=text_request,
    )
    session.add(email)
    return email


def lock_pending(
    session: Session, kind: TransactionalEmailKind, newsletter: int, subscriber: int
) -> TransactionalEmail | None:
    """Lock an email of this kind that no worker has claimed yet, and return it or None."""
    query = select(TransactionalEmail).where(
        TransactionalEmail.kind == kind,
        TransactionalEmail.newsletter_id == newsletter,
        TransactionalEmail.subscriber_id == subscriber,
        TransactionalEmail.sent_at.is_(None),
        TransactionalEmail.given_up_at.is_(None),
        TransactionalEmail.lease_until.is_(None),
    )
    return session.scalars(query.with_for_update()).first()


def last_due_at(session: Session, kind: TransactionalEmailKind, newsletter: int, subscriber: int) -> datetime | None:
    query = select(func.max(TransactionalEmail.due_at)).where(
        TransactionalEmail.kind == kind,
        TransactionalEmail.newsletter_id == newsletter,
        TransactionalEmail.subscriber_id == subscriber,
    )
    return session.scalar(query)


_DUE = """
SELECT id FROM transactional_email
WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= :now AND (lease_until IS NULL OR lease_until < :now)
ORDER BY due_at LIMIT :limit
"""


def count_due(session: Session, now: datetime, limit: int) -> int:
    """Return how many emails could be claimed, up to ``limit``."""
    query = f"SELECT count(*) FROM ({_DUE}) due"
    return int(session.execute(text(query), {"now": now, "limit": limit}).scalar_one())


def claim(session: Session, now: datetime, lease: timedelta, limit: int) -> list[int]:
    """Claim due emails until the lease ends; return their ids."""
    query = f"""
        -- MATERIALIZED: a plain subquery may run again for each row of the UPDATE, and each run would apply LIMIT anew.
        WITH chosen AS MATERIALIZED ({_DUE} FOR UPDATE SKIP LOCKED)
        UPDATE transactional_email n SET lease_until = :until, attempts = attempts + 1
        FROM chosen WHERE n.id = chosen.id
        RETURNING n.id
    """
    return sorted(session.scalars(text(query), {"now": now, "until": now + lease, "limit": limit}))


@dataclass(frozen=True, slots=True)
class TransactionalContext:
    """A transactional email and the rows that it refers to."""

    email: TransactionalEmail
    newsletter: Newsletter
    sections: Sequence[Section]
    subscriber: Subscriber | None
    subscription: Subscription | None
    signup: Signup | None
    change: AddressChange | None
    account_link: AccountLink | None
    account: Account | None
    """The recipient of an email about an account."""
    issue_test: IssueTest | None
    text_request: RequestContext | None


def load_contexts(session: Session, email_ids: Sequence[int]) -> list[TransactionalContext]:
    contexts = []
    for email in session.scalars(
        select(TransactionalEmail).where(TransactionalEmail.id.in_(email_ids)).order_by(TransactionalEmail.id)
    ):
        change = session.get(AddressChange, email.change_id) if email.change_id else None
        link = session.get(AccountLink, email.account_link_id) if email.account_link_id else None
        subscriber = email.subscriber_id or (change.subscriber_id if change else None)
        sections = select(Section).where(Section.newsletter_id == email.newsletter_id)
        contexts.append(
            TransactionalContext(
                email,
                session.get_one(Newsletter, email.newsletter_id),
                list(session.scalars(sections.order_by(Section.position, Section.id))),
                session.get(Subscriber, subscriber) if subscriber else None,
                session.get(Subscription, (email.newsletter_id, subscriber)) if subscriber else None,
                session.get(Signup, email.signup_id) if email.signup_id else None,
                change,
                link,
                session.get(Account, link.account_id) if link else None,
                session.get(IssueTest, email.issue_test_id) if email.issue_test_id else None,
                text_requests.load_context(session, email.text_request_id) if email.text_request_id else None,
            )
        )
    return contexts


def renew_lease(session: Session, email_ids: Sequence[int], until: datetime) -> None:
    """Extend the lease of emails that are still with the relay."""
    session.execute(update(TransactionalEmail).where(TransactionalEmail.id.in_(email_ids)).values(lease_until=until))


def record_result(session: Session, email_id: int, **values: object) -> None:
    """Save the result of an attempt and end the claim."""
    session.execute(
        update(TransactionalEmail).where(TransactionalEmail.id == email_id).values(lease_until=None, **values)
    )


def by_id(session: Session, email_id: int) -> TransactionalEmail | None:
    return session.get(TransactionalEmail, email_id)


def test_view(session: Session, issue: int, test: int) -> tuple[str, str] | None:
    """Return the HTML and the language of the web view of a test; None if there is no such test."""
    query = select(IssueTest.html, TransactionalEmail.language).join(
        TransactionalEmail, TransactionalEmail.issue_test_id == IssueTest.id
    )
    found = session.execute(query.where(IssueTest.id == test, IssueTest.issue_id == issue)).first()
    return (found.html, found.language) if found and found.html else None


@dataclass(frozen=True, slots=True)
class SeedCounts:
    """How many addresses of the seed list an issue was sent to, waits for, and could not be sent to."""

    sent: int
    waiting: int
    failed: int


def add_seed(
    session: Session, issue: Issue, edition: Edition, address: str, address_hash: bytes, now: datetime
) -> bool:
    """Queue an edition for an address of the seed list, unless it gets the issue already. Return whether it was."""
    query = insert(IssueTest).values(
        issue_id=issue.id,
        address=address,
        address_hash=address_hash,
        message=edition.message,
        slots=edition.slots,
        seed=True,
    )
    conflict = query.on_conflict_do_nothing(index_elements=["issue_id", "address_hash"], index_where=text("seed"))
    test = session.scalar(conflict.returning(IssueTest.id))
    if test is None:
        return False
    add(session, TransactionalEmailKind.issue_test, issue.newsletter_id, edition.language, now, issue_test=test)
    return True


def count_seeds(session: Session, issue: int) -> SeedCounts:
    query = select(
        func.count(TransactionalEmail.sent_at),
        func.count().filter(TransactionalEmail.sent_at.is_(None), TransactionalEmail.given_up_at.is_(None)),
        func.count(TransactionalEmail.given_up_at),
    ).join(IssueTest, IssueTest.id == TransactionalEmail.issue_test_id)
    return SeedCounts(*session.execute(query.where(IssueTest.issue_id == issue, IssueTest.seed)).one())
