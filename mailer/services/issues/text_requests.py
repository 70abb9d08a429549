"""Asking colleagues, with or without an account, for texts of an issue: asked, reminded, taken in or sent back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from mailer.domain.accounts import MAX_NAME_CHARS, THE_SERVICE, ActingStaff, Actor, AuditAction, account_of
from mailer.domain.errors import ChangeRefused
from mailer.domain.permissions import Permission, allows
from mailer.domain.staff_texts import gettext
from mailer.domain.states import TextSubject
from mailer.domain.subscriber_fields import InvalidValue, read_address
from mailer.domain.text_requests import (
    LINK_DAYS,
    MAX_DAYS_AHEAD,
    MAX_LINK_LIFETIME,
    MAX_WORDS_CHARS,
    TextTask,
    link_expires_at,
    reminder_due,
)
from mailer.domain.text_tree import plain_line
from mailer.domain.time_zones import time_zone
from mailer.domain.transactional import TransactionalEmailKind
from mailer.domain.versions import TextKey
from mailer.models import Issue, Newsletter, TextRequest
from mailer.store import (
    accounts,
    audit_log,
    issues,
    newsletters,
    rate_limits,
    stories,
    subscribers,
    text_requests,
    text_versions,
    transactional,
)
from mailer.store.database import Database, Session

MAX_OPEN_REQUESTS = 300
"""In one issue: ten stories in 18 languages, and more."""
MAX_MAILS_PER_HOUR = 60
"""That one account causes by asking, reminding and sending back."""
REMINDERS_AT_ONCE = 200
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class RequestGone(ChangeRefused):
    """The request is not there any more."""


@dataclass(frozen=True, slots=True)
class NewRequest:
    """What somebody asks for, as it was typed."""

    story: int | None
    """None for the front matter."""
    language: str
    task: TextTask
    account: int | None
    """None for somebody without an account, whose name and address follow."""
    name: str
    address: str
    due_on: date
    words: str


def ask(
    database: Database,
    issue: int,
    wanted: NewRequest,
    actor: ActingStaff,
    address_hash: Callable[[str], bytes],
    now: datetime,
) -> int:
    """Ask somebody for a text and queue the email to them. Return the request.

    Raises IssueNotFound, InvalidIssueState, or ChangeRefused with what is to be changed.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "nobody can be asked for its texts any more")
        newsletter = newsletters.by_id(session, row.newsletter_id)
        key = _key(session, row, newsletter, wanted)
        _check_day(newsletter, wanted.due_on, now)
        words = _words(wanted.words)
        if text_requests.count_open(session, issue) >= MAX_OPEN_REQUESTS:
            raise ChangeRefused(
                gettext("This issue has %(count)s open requests. Withdraw some first.", count=MAX_OPEN_REQUESTS)
            )
        name, address, hashed = _who(session, newsletter, wanted, address_hash)
        for other in text_requests.open_of_text(session, key):
            if (other.account_id, other.address_hash) == (wanted.account, hashed):
                raise ChangeRefused(gettext("%(name)s has been asked for this text already.", name=name))
        _count_mail(session, actor, now)
        request = TextRequest(
            **key.columns,
            task=wanted.task,
            account_id=wanted.account,
            name=name,
            address=address,
            address_hash=hashed,
            words=words,
            due_on=wanted.due_on,
            expires_at=link_expires_at(wanted.due_on, now, time_zone(newsletter.time_zone)),
            asked_at=now,
            asked_by_id=actor.account,
            asked_by=actor.name,
        )
        session.add(request)
        session.flush()
        _mail(session, TransactionalEmailKind.text_request, request, now)
        record(session, request, actor, AuditAction.text_requested, now)
        return request.id


def remind(database: Database, issue: int, request: int, actor: ActingStaff, now: datetime) -> None:
    """Remind who was asked, at most once a day. Raises what ``ask`` does, and RequestGone."""
    with database.transaction() as session:
        row = _lock(session, issue, request, "nobody is reminded of its texts any more")
        if row.handed_in_at or row.done_at or row.withdrawn_at:
            raise ChangeRefused(gettext("Nobody is waited for here."))
        if row.account_id is None and row.expires_at <= now:
            raise ChangeRefused(gettext("The link has expired. Ask again."))
        if now - max(row.reminded_at or row.asked_at, row.asked_at) < _DAY:
            raise ChangeRefused(gettext("An email about this went out less than a day ago."))
        _count_mail(session, actor, now)
        row.reminded_at = now
        _mail(session, TransactionalEmailKind.text_reminder, row, now)
        record(session, row, actor, AuditAction.text_reminded, now)


def remind_due(database: Database, now: datetime) -> int:
    """Queue the reminders that are due. Return how many. Each request has one, unless somebody has sent one before."""
    count = 0
    with database.transaction() as session:
        for row, zone in text_requests.not_reminded(session, now.date() + timedelta(days=4), REMINDERS_AT_ONCE):
            due_at = reminder_due(row.due_on, row.asked_at, time_zone(zone))
            if due_at is None or due_at > now:
                continue
            row.reminded_at = now
            _mail(session, TransactionalEmailKind.text_reminder, row, now)
            count += 1
    return count


def withdraw(database: Database, issue: int, request: int, actor: Actor, now: datetime) -> None:
    """End a request, and its link with it. What was written is kept among the versions. Raises RequestGone."""
    with database.transaction() as session:
        issues.lock(session, issue)
        row = _find(session, issue, request)
        if row.done_at:
            raise ChangeRefused(gettext("The text has been taken in already."))
        if row.withdrawn_at is None:
            row.withdrawn_at = now
            record(session, row, actor, AuditAction.text_request_withdrawn, now)


def send_back(database: Database, issue: int, request: int, words: str, actor: ActingStaff, now: datetime) -> None:
    """Ask for changes of a text that was handed in. Its link works again. Raises what ``ask`` does, and RequestGone."""
    with database.transaction() as session:
        row = _lock(session, issue, request, "its texts do not change any more")
        if row.handed_in_at is None or row.done_at or row.withdrawn_at:
            raise ChangeRefused(gettext("This text has not been handed in, or it has been dealt with meanwhile."))
        words = _words(words)
        if not words:
            raise ChangeRefused(gettext("Write what is to be changed."))
        _count_mail(session, actor, now)
        row.words, row.sent_back_at, row.handed_in_at = words, now, None
        row.expires_at = max(row.expires_at, min(now + timedelta(days=LINK_DAYS), row.asked_at + MAX_LINK_LIFETIME))
        if version := text_versions.find(session, row.version_id):
            # What was handed in stays as it is: they go on from a copy.
            copy = text_versions.contribute(session, text_requests.key_of(row), version.content, row.name, None)
            copy.source_version_id = version.source_version_id
            row.version_id = copy.id
        _mail(session, TransactionalEmailKind.text_sent_back, row, now)
        record(session, row, actor, AuditAction.text_sent_back, now)


def finish_own(database: Database, issue: int, request: int, actor: ActingStaff, now: datetime) -> None:
    """End a request to the account that is signed in, whose text was ready all along. Raises RequestGone."""
    with database.transaction() as session:
        issues.lock(session, issue)
        row = _find(session, issue, request)
        if row.account_id != actor.account:
            raise RequestGone(RequestGone.__doc__)
        if row.done_at is None and row.withdrawn_at is None:
            row.handed_in_at = row.done_at = now
            arrived(session, row, now)


def text_is_ready(session: Session, key: TextKey, actor: Actor, now: datetime) -> None:
    """Note that somebody has marked a text as ready: what their account was asked for is done."""
    account = account_of(actor)
    for row in text_requests.open_of_text(session, key) if account is not None else ():
        if row.account_id == account:
            row.handed_in_at = row.done_at = now
            arrived(session, row, now)


def arrived(session: Session, request: TextRequest, now: datetime) -> None:
    """Tell who asked that a text is there, by email, and record it."""
    if request.asked_by_id not in (None, request.account_id):
        _mail(session, TransactionalEmailKind.text_handed_in, request, now)
    record(session, request, THE_SERVICE, AuditAction.text_handed_in, now)


def _key(session: Session, issue: Issue, newsletter: Newsletter, wanted: NewRequest) -> TextKey:
    if wanted.language not in newsletter.languages:
        raise ChangeRefused(gettext("Choose one of the newsletter’s languages."))
    key = TextKey(issue.id, TextSubject.front_matter, issue.id, wanted.language)
    if wanted.story is not None:
        if stories.find(session, issue.id, wanted.story) is None:
            raise ChangeRefused(gettext("The story is not in this issue any more."))
        key = TextKey(issue.id, TextSubject.story, wanted.story, wanted.language)
    if wanted.task is TextTask.translation and text_versions.stored_source(session, key) is None:
        raise ChangeRefused(gettext("There is no text to translate it from. Ask for it to be written."))
    return key


def _check_day(newsletter: Newsletter, due_on: date, now: datetime) -> None:
    today = newsletter.day_of(now)
    if due_on < today:
        raise ChangeRefused(gettext("The day is in the past."))
    if due_on > today + timedelta(days=MAX_DAYS_AHEAD):
        raise ChangeRefused(gettext("The day is more than %(count)s days ahead.", count=MAX_DAYS_AHEAD))


def _who(
    session: Session, newsletter: Newsletter, wanted: NewRequest, address_hash: Callable[[str], bytes]
) -> tuple[str, str, bytes | None]:
    """Return name, address and hash of the address of who is asked; the last two only without an account."""
    if wanted.account is not None:
        account = accounts.find(session, wanted.account)
        if account is None or account.disabled_at:
            raise ChangeRefused(gettext("There is no such account."))
        grants = accounts.grants(session, account.id)
        if not allows(grants, Permission.translate_texts, newsletter.id, wanted.language):
            raise ChangeRefused(gettext("%(name)s may not write texts in this language.", name=account.name))
        return account.name, "", None
    name = " ".join(wanted.name.split())
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise ChangeRefused(gettext("Give a name of at most %(count)s characters.", count=MAX_NAME_CHARS))
    try:
        address, normalized = read_address(wanted.address.strip())
    except InvalidValue:
        raise ChangeRefused(gettext("“%(address)s” is no email address.", address=wanted.address[:80])) from None
    hashed = address_hash(normalized)
    if subscribers.suppression(session, hashed):
        raise ChangeRefused(gettext("%(address)s is suppressed, so nothing is sent to it.", address=address))
    return name, address, hashed


def _words(words: str) -> str:
    words = words.strip()
    if len(words) > MAX_WORDS_CHARS:
        raise ChangeRefused(gettext("These are more than %(count)s characters.", count=MAX_WORDS_CHARS))
    return words


def _count_mail(session: Session, actor: ActingStaff, now: datetime) -> None:
    key = f"text requests {actor.account}".encode()
    if not rate_limits.acquire(session, key, now, _HOUR, MAX_MAILS_PER_HOUR):
        raise ChangeRefused(
            gettext("You can send %(count)s emails about texts an hour. Go on later.", count=MAX_MAILS_PER_HOUR)
        )


def _lock(session: Session, issue: int, request: int, consequence: str) -> TextRequest:
    """Lock a request of an issue that is still written, and return it."""
    issues.lock_draft(session, issue, consequence)
    return _find(session, issue, request)


def _find(session: Session, issue: int, request: int) -> TextRequest:
    row = text_requests.lock(session, request)
    if row is None or row.issue_id != issue:
        raise RequestGone(RequestGone.__doc__)
    return row


def _mail(session: Session, kind: TransactionalEmailKind, request: TextRequest, now: datetime) -> None:
    """Queue an email in the language of the desk: of who has an account and gets it, else of who asked."""
    asked_by = accounts.find(session, request.asked_by_id) if request.asked_by_id else None
    asked = accounts.find(session, request.account_id) if request.account_id else None
    recipient = asked_by if kind is TransactionalEmailKind.text_handed_in else asked or asked_by
    language = recipient.language if recipient else "en"
    newsletter = issues.by_id(session, request.issue_id).newsletter_id
    transactional.add(session, kind, newsletter, language, now, text_request=request.id)


def record(session: Session, request: TextRequest, actor: Actor, action: AuditAction, now: datetime) -> None:
    """Write a line of the audit log, without the name and address of somebody without an account."""
    key = text_requests.key_of(request)
    headline = text_requests.headline(text_requests.headlines(session, key.issue, key.subject_id), key)
    detail: dict[str, str | int] = {"language": key.language, "request": request.id}
    if headline:
        detail["headline"] = plain_line(headline)
    if request.account_id:
        detail["name"] = request.name
    audit_log.record(session, now, actor, action, object_kind="issue", object_id=request.issue_id, detail=detail)
