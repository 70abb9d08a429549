"""Accounts of colleagues: invitations, roles, and links by mail to choose a password."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.accounts import (
    LINK_LIFETIME,
    MAX_NAME_CHARS,
    AccountLinkKind,
    AuditAction,
    check_password,
    normalize_address,
)
from mailer.domain.errors import UserError
from mailer.domain.permissions import Role, RoleGrant
from mailer.domain.subscriber_fields import read_address
from mailer.domain.transactional import TransactionalEmailKind
from mailer.models import Account, AccountLink
from mailer.services.accounts.sign_in import Passwords
from mailer.services.accounts.staff import Staff
from mailer.store import accounts, audit_log, newsletters, rate_limits, transactional
from mailer.store.database import Database, Session

MAX_RESET_MAILS_PER_DAY = 5
MAX_INVITATIONS_PER_HOUR = 50


class LinkExpired(UserError):
    """This link was used already or has expired. Ask for a new one."""


class AccountRefused(UserError, ValueError):
    """The account cannot be made or changed like this. The message says why."""


@dataclass(frozen=True, slots=True)
class Person:
    """An account in the list of colleagues."""

    id: int
    name: str
    address: str
    grants: tuple[RoleGrant, ...]
    is_invited: bool
    """Whether the invitation has not been accepted yet."""
    is_disabled: bool
    has_second_factor: bool
    is_linked: bool
    """Whether the owner has signed in at a provider of OpenID Connect."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A valid link to choose a password."""

    kind: AccountLinkKind
    name: str
    address: str
    invited_by: str


def create_account(
    database: Database,
    passwords: Passwords,
    address: str,
    name: str,
    password: str,
    grants: Sequence[RoleGrant],
    now: datetime,
    actor: str,
) -> int:
    """Create an account with a password, from the command line. Raises AccountRefused and PasswordRefused."""
    address, name = _read(address, name)
    check_password(password, address, name)
    password_hash = passwords.hash(password)
    with database.transaction() as session:
        account = _add(session, address, name, grants)
        account.password_hash = password_hash
        session.flush()
        audit_log.record(session, now, actor, AuditAction.account_created, object_kind="account", object_id=account.id)
        return account.id


def list_people(database: Database) -> list[Person]:
    with database.transaction() as session:
        rows = accounts.list_all(session)
        grants = accounts.grants_of_all(session, [row.id for row in rows])
        return [_person(row, grants.get(row.id, ())) for row in rows]


def person(database: Database, account: int) -> Person | None:
    with database.transaction() as session:
        row = accounts.find(session, account)
        return _person(row, accounts.grants(session, account)) if row else None


def invite(
    database: Database, staff: Staff, address: str, name: str, grants: Sequence[RoleGrant], now: datetime
) -> int:
    """Create an account and send its owner a link. Return the link.

    If there is no newsletter yet, no mail can be sent: the link must be handed over. Raises AccountRefused.
    """
    address, name = _read(address, name)
    with database.transaction() as session:
        key = b"invitations" + staff.account.to_bytes(8, "big")
        if not rate_limits.acquire(session, key, now, timedelta(hours=1), MAX_INVITATIONS_PER_HOUR):
            raise AccountRefused("That is enough invitations for one hour. Go on later.")
        account = _add(session, address, name, grants)
        link = _send_link(session, account, AccountLinkKind.invitation, staff.name, now)
        staff.record(session, now, AuditAction.invited, "account", account.id, {"roles": _describe(grants)})
        return link


def invite_again(database: Database, staff: Staff, account: int, now: datetime) -> int:
    """Send a new link to somebody who has not accepted the invitation. Return it. Raises AccountRefused."""
    with database.transaction() as session:
        row = accounts.lock(session, account)
        if row is None or row.is_accepted or row.disabled_at:
            raise AccountRefused("This account needs no invitation.")
        accounts.use_up_links(session, account, now)
        link = _send_link(session, row, AccountLinkKind.invitation, staff.name, now)
        staff.record(session, now, AuditAction.invited, "account", account)
        return link


def request_reset(database: Database, address: str, now: datetime) -> None:
    """Send a link to choose a new password, if there is such an account. Nothing tells whether there is."""
    with database.transaction() as session:
        account = accounts.by_address(session, normalize_address(address))
        if account is None or account.disabled_at or not account.is_accepted:
            return
        key = b"reset" + account.id.to_bytes(8, "big")
        if not rate_limits.acquire(session, key, now, timedelta(days=1), MAX_RESET_MAILS_PER_DAY):
            return
        _send_link(session, account, AccountLinkKind.password_reset, "", now)
        audit_log.record(session, now, account.name, AuditAction.reset_requested, account=account.id)


def open_link(database: Database, link: int, now: datetime) -> Invitation:
    """Return what a link is for. Raises LinkExpired."""
    with database.transaction() as session:
        row, account = _valid_link(session, link, now)
        return Invitation(row.kind, account.name, account.address, row.invited_by)


def choose_password(database: Database, passwords: Passwords, link: int, password: str, now: datetime) -> str:
    """Set the password by a link, which is used up, and end all sessions. Return the account's address.

    Raises LinkExpired and PasswordRefused.
    """
    with database.transaction() as session:
        _, account = _valid_link(session, link, now)
        check_password(password, account.address, account.name)
    password_hash = passwords.hash(password)
    with database.transaction() as session:
        row, account = _valid_link(session, link, now)
        account.password_hash = password_hash
        accounts.use_up_links(session, account.id, now)
        accounts.end_sessions(session, account.id)
        invited = row.kind is AccountLinkKind.invitation
        audit_log.record(
            session,
            now,
            account.name,
            AuditAction.account_created if invited else AuditAction.password_changed,
            account=account.id,
            object_kind="account",
            object_id=account.id,
        )
        return account.address


def set_roles(database: Database, staff: Staff, account: int, grants: Sequence[RoleGrant], now: datetime) -> None:
    """Replace an account's roles. Raises AccountRefused for the last administrator."""
    with database.transaction() as session:
        administrators = accounts.lock_administrators(session)
        row = accounts.lock(session, account)
        if row is None:
            raise AccountRefused("There is no such account.")
        keeps = any(grant.role is Role.administrator and grant.newsletter is None for grant in grants)
        if administrators == {account} and not keeps:
            raise AccountRefused("This is the last administrator. Make somebody else one first.")
        accounts.set_grants(session, account, grants)
        staff.record(session, now, AuditAction.roles_changed, "account", account, {"roles": _describe(grants)})


def disable(database: Database, staff: Staff, account: int, now: datetime) -> None:
    """Keep somebody out from now on: all their sessions end. Raises AccountRefused for the last administrator."""
    with database.transaction() as session:
        administrators = accounts.lock_administrators(session)
        row = accounts.lock(session, account)
        if row is None:
            raise AccountRefused("There is no such account.")
        if administrators == {account}:
            raise AccountRefused("This is the last administrator. Make somebody else one first.")
        row.disabled_at = row.disabled_at or now
        accounts.end_sessions(session, account)
        accounts.use_up_links(session, account, now)
        staff.record(session, now, AuditAction.account_disabled, "account", account)


def enable(database: Database, staff: Staff, account: int, now: datetime) -> None:
    with database.transaction() as session:
        row = accounts.lock(session, account)
        if row and row.disabled_at:
            row.disabled_at = None
            staff.record(session, now, AuditAction.account_enabled, "account", account)


def end_sessions(database: Database, staff: Staff, account: int, now: datetime) -> int:
    """End all sessions of an account. Return how many."""
    with database.transaction() as session:
        ended = accounts.end_sessions(session, account)
        staff.record(session, now, AuditAction.session_ended, "account", account, {"sessions": ended})
        return ended


def unlink(database: Database, staff: Staff, account: int, now: datetime) -> None:
    """Forget who an account's owner is at the provider of OpenID Connect, and end the account's sessions.

    Raises AccountRefused for an account without a password, which would become an invitation again.
    """
    with database.transaction() as session:
        row = accounts.lock(session, account)
        if row is None or row.openid_subject is None:
            return
        if not row.password_hash:
            raise AccountRefused("This account has no password. Its owner chooses one under “Forgotten your password?”")
        row.openid_issuer = row.openid_subject = None
        accounts.end_sessions(session, account)
        staff.record(session, now, AuditAction.identity_unlinked, "account", account)


def set_language(database: Database, account: int, language: str) -> None:
    with database.transaction() as session:
        row = accounts.lock(session, account)
        if row:
            row.language = language


def _read(address: str, name: str) -> tuple[str, str]:
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise AccountRefused(f"Give a name of at most {MAX_NAME_CHARS} characters.")
    try:
        read_address(address.strip())
    except ValueError:
        raise AccountRefused(f"“{address[:80]}” is not an email address.") from None
    return normalize_address(address), name


def _add(session: Session, address: str, name: str, grants: Sequence[RoleGrant]) -> Account:
    if accounts.by_address(session, address):
        raise AccountRefused(f"There is an account for {address} already.")
    if not grants:
        raise AccountRefused("Choose at least one role.")
    account = Account(address=address, name=name)
    session.add(account)
    session.flush()
    accounts.set_grants(session, account.id, grants)
    return account


def _send_link(session: Session, account: Account, kind: AccountLinkKind, invited_by: str, now: datetime) -> int:
    link = AccountLink(
        kind=kind,
        account_id=account.id,
        invited_by=invited_by,
        created_at=now,
        expires_at=now + LINK_LIFETIME[kind],
    )
    session.add(link)
    session.flush()
    of_account = [grant.newsletter for grant in accounts.grants(session, account.id) if grant.newsletter]
    newsletter = of_account[0] if of_account else newsletters.first_id(session)
    if newsletter is not None:
        transactional.add(
            session, TransactionalEmailKind(kind.value), newsletter, account.language, now, account_link=link.id
        )
    return link.id


def _valid_link(session: Session, link: int, now: datetime) -> tuple[AccountLink, Account]:
    row = accounts.lock_link(session, link)
    account = accounts.lock(session, row.account_id) if row else None
    if row is None or account is None or row.used_at or row.expires_at <= now or account.disabled_at:
        raise LinkExpired(LinkExpired.__doc__)
    return row, account


def _person(row: Account, grants: Sequence[RoleGrant]) -> Person:
    return Person(
        id=row.id,
        name=row.name,
        address=row.address,
        grants=tuple(grants),
        is_invited=not row.is_accepted,
        is_disabled=row.disabled_at is not None,
        has_second_factor=row.totp_confirmed_at is not None,
        is_linked=row.openid_subject is not None,
    )


def _describe(grants: Sequence[RoleGrant]) -> list[dict[str, object]]:
    return [
        {"role": grant.role.value, "newsletter": grant.newsletter, "languages": list(grant.languages)}
        for grant in grants
    ]
