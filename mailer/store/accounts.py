"""Accounts of staff, their roles, sessions, links and recovery codes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import CursorResult, delete, func, select, text, update
from sqlalchemy.orm import Session

from mailer.domain.accounts import AccountLinkKind
from mailer.domain.permissions import Role, RoleGrant
from mailer.models import Account, AccountLink, AccountRole, RecoveryCode, StaffSession


def find(session: Session, account: int) -> Account | None:
    return session.get(Account, account)


def by_address(session: Session, address: str) -> Account | None:
    """Return the account with a normalized address."""
    return session.scalar(select(Account).where(Account.address == address))


def by_identity(session: Session, issuer: str, subject: str) -> Account | None:
    """Return the account that is linked with somebody at a provider of OpenID Connect, locked."""
    query = select(Account).where(Account.openid_issuer == issuer, Account.openid_subject == subject)
    return session.scalar(query.with_for_update())


def lock(session: Session, account: int) -> Account | None:
    return session.get(Account, account, with_for_update=True, populate_existing=True)


def list_all(session: Session) -> list[Account]:
    return list(session.scalars(select(Account).order_by(Account.disabled_at.is_not(None), Account.name, Account.id)))


def grants(session: Session, account: int) -> tuple[RoleGrant, ...]:
    return tuple(grants_of_all(session, [account])[account])


def grants_of_all(session: Session, accounts: Sequence[int]) -> dict[int, list[RoleGrant]]:
    """Return account → roles, for accounts that have any or none."""
    query = select(AccountRole).where(AccountRole.account_id.in_(accounts)).order_by(AccountRole.id)
    found: dict[int, list[RoleGrant]] = defaultdict(list)
    for row in session.scalars(query):
        found[row.account_id].append(RoleGrant(row.role, row.newsletter_id, tuple(row.languages)))
    return found


def set_grants(session: Session, account: int, wanted: Iterable[RoleGrant]) -> None:
    session.execute(delete(AccountRole).where(AccountRole.account_id == account))
    session.add_all(
        AccountRole(
            account_id=account, role=grant.role, newsletter_id=grant.newsletter, languages=list(grant.languages)
        )
        for grant in wanted
    )
    session.flush()


def lock_administrators(session: Session) -> set[int]:
    """Return the accounts that administer the service and can sign in. Others who change roles wait until then.

    Row locks would not do: a statement that has waited for one still sees the roles from before.
    """
    session.execute(text("LOCK TABLE account_role IN SHARE ROW EXCLUSIVE MODE"))
    query = (
        select(Account.id)
        .join(AccountRole, AccountRole.account_id == Account.id)
        .where(
            AccountRole.role == Role.administrator,
            AccountRole.newsletter_id.is_(None),
            Account.disabled_at.is_(None),
            (Account.password_hash != "") | Account.openid_subject.is_not(None),
        )
        .order_by(Account.id)
    )
    return set(session.scalars(query.with_for_update(of=Account)))


# Sessions.


def session_by_hash(session: Session, token_hash: bytes) -> StaffSession | None:
    return session.scalar(select(StaffSession).where(StaffSession.token_hash == token_hash))


def sessions_of(session: Session, account: int) -> list[StaffSession]:
    query = select(StaffSession).where(StaffSession.account_id == account, StaffSession.needs_code.is_(False))
    return list(session.scalars(query.order_by(StaffSession.seen_at.desc())))


def end_sessions(session: Session, account: int, *, but: int | None = None, only: int | None = None) -> int:
    """End an account's sessions: all, all but one, or only one. Return how many."""
    query = delete(StaffSession).where(StaffSession.account_id == account)
    if but is not None:
        query = query.where(StaffSession.id != but)
    if only is not None:
        query = query.where(StaffSession.id == only)
    return cast(CursorResult[object], session.execute(query)).rowcount


def delete_ended_sessions(session: Session, created_before: datetime, seen_before: datetime) -> int:
    """Delete the sessions that have ended by themselves. Return how many."""
    query = delete(StaffSession).where(
        (StaffSession.created_at < created_before) | (StaffSession.seen_at < seen_before)
    )
    return cast(CursorResult[object], session.execute(query)).rowcount


# Links.


def lock_link(session: Session, link: int) -> AccountLink | None:
    return session.get(AccountLink, link, with_for_update=True, populate_existing=True)


def has_open_invitation(session: Session, account: int, now: datetime) -> bool:
    query = select(AccountLink.id).where(
        AccountLink.account_id == account,
        AccountLink.kind == AccountLinkKind.invitation,
        AccountLink.used_at.is_(None),
        AccountLink.expires_at > now,
    )
    return session.scalar(query.limit(1)) is not None


def use_up_links(session: Session, account: int, now: datetime) -> None:
    """Make the account's unused links useless."""
    session.execute(
        update(AccountLink).where(AccountLink.account_id == account, AccountLink.used_at.is_(None)).values(used_at=now)
    )


# Recovery codes.


def set_recovery_codes(session: Session, account: int, hashes: Iterable[bytes]) -> None:
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account))
    session.add_all(RecoveryCode(account_id=account, code_hash=code_hash) for code_hash in hashes)


def use_recovery_code(session: Session, account: int, code_hash: bytes, now: datetime) -> bool:
    """Use up a recovery code. Return whether it was one."""
    query = (
        update(RecoveryCode)
        .where(RecoveryCode.account_id == account, RecoveryCode.code_hash == code_hash, RecoveryCode.used_at.is_(None))
        .values(used_at=now)
    )
    return cast(CursorResult[object], session.execute(query)).rowcount > 0


def count_recovery_codes(session: Session, account: int) -> int:
    query = select(func.count()).where(RecoveryCode.account_id == account, RecoveryCode.used_at.is_(None))
    return int(session.scalar(query) or 0)
