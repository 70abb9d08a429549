"""Signing in and out: password, second factor, sessions and their ends."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Protocol

import pyotp

from mailer.domain.accounts import (
    MAX_PASSWORD_CHARS,
    RECOVERY_CODES,
    AuditAction,
    Identity,
    IdentityProblem,
    SessionLifetime,
    check_password,
    normalize_address,
)
from mailer.domain.errors import UserError
from mailer.models import Account, StaffSession
from mailer.services.accounts.staff import Staff
from mailer.store import accounts, audit_log, rate_limits
from mailer.store.database import Database, Session

MAX_TRIES_PER_ACCOUNT = 10
MAX_TRIES_PER_NETWORK = 60
"""In a quarter of an hour each; an office may share one network."""
MAX_CODES_PER_SIGN_IN = 5
MAX_CODES_PER_HOUR = 20
"""For one account, however often its password is entered."""
_WINDOW = timedelta(minutes=15)
_SEEN_STEP = timedelta(minutes=1)
"""How exactly the time of the last request is kept: not each request writes a row."""
_TOTP_SECONDS = 30


class SignInRefused(UserError):
    """The address or the password is wrong, or this account cannot sign in."""


class TooManyTries(UserError):
    """There were too many attempts to sign in. Wait a quarter of an hour and try again."""


class CodeRefused(UserError):
    """This code is wrong, or it was used already. Wait for the next one."""


class IdentityRefused(UserError):
    """The provider has identified somebody who cannot sign in as any account. ``problem`` says why."""

    def __init__(self, problem: IdentityProblem) -> None:
        super().__init__(f"{IdentityRefused.__doc__} ({problem})")
        self.problem = problem


class Passwords(Protocol):
    def hash(self, password: str) -> str: ...

    def verify(self, password_hash: str, password: str) -> bool: ...


class Sealing(Protocol):
    def seal(self, secret: bytes) -> bytes: ...

    def open(self, sealed: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a request to sign in comes from."""

    network_hash: bytes
    """Keyed, for limits."""
    network: str
    """Shortened, for the audit log."""
    agent: str


@dataclass(frozen=True, slots=True)
class SignIn:
    """Signs staff in. An unknown address is answered like a wrong password, after the same time."""

    database: Database
    passwords: Passwords
    sealer: Sealing
    address_hash: Callable[[str], bytes]
    """A keyed hash, for limits."""
    lifetime: SessionLifetime = field(default_factory=SessionLifetime)

    def sign_in(self, address: str, password: str, visitor: Visitor, now: datetime) -> tuple[str, bool]:
        """Start a session. Return its token, and whether the code of the second factor is still needed.

        Raises SignInRefused and TooManyTries.
        """
        normalized = normalize_address(address)
        with self.database.transaction() as session:
            self._count_try(session, self.address_hash(normalized), visitor, now)
        with self.database.transaction() as session:
            account = accounts.by_address(session, normalized)
            password_hash = account.password_hash if account and account.disabled_at is None else ""
        # Outside a transaction: it takes a tenth of a second.
        fits = self.passwords.verify(password_hash, password[: MAX_PASSWORD_CHARS + 1])
        with self.database.transaction() as session:
            account = accounts.lock(session, account.id) if account else None
            if not fits or not account or account.disabled_at or account.password_hash != password_hash:
                _record_refusal(session, account, visitor, now)
                refused = True
            else:
                refused = False
                needs_code = account.totp_confirmed_at is not None
                token = self._start_session(session, account, visitor, now, needs_code=needs_code)
        if refused:
            raise SignInRefused(SignInRefused.__doc__)
        return token, needs_code

    def sign_in_with_identity(self, identity: Identity, visitor: Visitor, now: datetime) -> tuple[str, bool]:
        """Start a session for somebody whom the provider of OpenID Connect has identified; return as ``sign_in`` does.

        The account is the one that is linked with the identity. At the first sign-in it is the one with the same
        address, if the provider has verified that, and is linked then. Raises IdentityRefused.
        """
        with self.database.transaction() as session:
            account = accounts.by_identity(session, identity.issuer, identity.subject)
            if is_new := account is None and identity.is_verified:
                found = accounts.by_address(session, normalize_address(identity.address))
                account = accounts.lock(session, found.id) if found else None
            problem = self._problem(session, identity, account, now)
            if problem or account is None:
                _record_refusal(session, account, visitor, now, {"openid": str(problem)})
            else:
                if is_new:
                    account.openid_issuer, account.openid_subject = identity.issuer, identity.subject
                    accounts.use_up_links(session, account.id, now)
                    self._record(session, account, AuditAction.identity_linked, visitor.network, now)
                needs_code = account.totp_confirmed_at is not None and not identity.is_multi_factor
                token = self._start_session(session, account, visitor, now, needs_code=needs_code)
        if problem:
            raise IdentityRefused(problem)
        return token, needs_code

    def enter_code(self, token: str, code: str, visitor: Visitor, now: datetime) -> str:
        """Finish signing in with a code of the second factor or a recovery code. Return the session's new token.

        Raises CodeRefused, TooManyTries and SignInRefused if the sign-in has expired.
        """
        refused = False
        with self.database.transaction() as session:
            row = accounts.session_by_hash(session, hash_token(token))
            if row is None or not row.needs_code or now - row.created_at > self.lifetime.second_factor:
                raise SignInRefused(SignInRefused.__doc__)
            account = accounts.lock(session, row.account_id)
            assert account
            limits = {
                b"code" + row.token_hash[:16]: MAX_CODES_PER_SIGN_IN,
                b"codes" + account.id.to_bytes(8, "big"): MAX_CODES_PER_HOUR,
            }
            for key, limit in limits.items():
                if not rate_limits.acquire(session, key, now, timedelta(hours=1), limit):
                    raise TooManyTries(TooManyTries.__doc__)
            if self._is_current_code(account, code, now) or accounts.use_recovery_code(
                session, account.id, _hash_code(code), now
            ):
                new_token = secrets.token_urlsafe(32)
                row.token_hash, row.needs_code, row.seen_at = hash_token(new_token), False, now
                self._record(session, account, AuditAction.signed_in, visitor.network, now)
            else:
                refused = True
        if refused:
            raise CodeRefused(CodeRefused.__doc__)
        return new_token

    def load(self, token: str, network: str, now: datetime, *, in_use: bool = True) -> Staff | None:
        """Return who is signed in with a token, or None.

        The time of the request is kept, unless nobody made it (``in_use`` is False): a page that refreshes itself
        keeps no session alive.
        """
        if not token or len(token) > 100:
            return None
        with self.database.transaction() as session:
            row = accounts.session_by_hash(session, hash_token(token))
            if row is None or self._has_ended(row, now):
                return None
            account = accounts.find(session, row.account_id)
            if account is None or account.disabled_at:
                return None
            if in_use and now - row.seen_at > _SEEN_STEP:
                row.seen_at = now
            return Staff(
                account=account.id,
                session=row.id,
                name=account.name,
                address=account.address,
                language=account.language,
                grants=accounts.grants(session, account.id),
                network=network,
                needs_code=row.needs_code,
                has_second_factor=account.totp_confirmed_at is not None,
                has_password=bool(account.password_hash),
            )

    def sign_out(self, staff: Staff, now: datetime) -> None:
        with self.database.transaction() as session:
            accounts.end_sessions(session, staff.account, only=staff.session)
            staff.record(session, now, AuditAction.signed_out)

    def sessions(self, staff: Staff, now: datetime) -> list[StaffSession]:
        """Return the account's sessions, the latest used first."""
        with self.database.transaction() as session:
            return [row for row in accounts.sessions_of(session, staff.account) if not self._has_ended(row, now)]

    def end_session(self, staff: Staff, ended: int, now: datetime) -> None:
        """End one of the account's own sessions."""
        with self.database.transaction() as session:
            if accounts.end_sessions(session, staff.account, only=ended):
                staff.record(session, now, AuditAction.session_ended, "session", ended)

    def change_password(self, staff: Staff, old: str, new: str, visitor: Visitor, now: datetime) -> None:
        """Change the password, and end the account's other sessions. Raises SignInRefused and PasswordRefused."""
        check_password(new, staff.address, staff.name)
        self._check_password(staff, old, visitor, now)
        new_hash = self.passwords.hash(new)
        with self.database.transaction() as session:
            account = accounts.lock(session, staff.account)
            assert account
            account.password_hash = new_hash
            accounts.end_sessions(session, staff.account, but=staff.session)
            accounts.use_up_links(session, staff.account, now)
            staff.record(session, now, AuditAction.password_changed)

    # The second factor.

    def begin_second_factor(self, staff: Staff, password: str, visitor: Visitor, now: datetime) -> str:
        """Make a new secret for an authenticator app and return its URI for a QR code.

        It counts only once a code confirms it. The password is asked for if the account has one, since a second factor
        set up in a stolen session would lock its owner out. Raises SignInRefused for a wrong password or if the account
        has a second factor, and TooManyTries.
        """
        if staff.has_password:
            self._check_password(staff, password, visitor, now)
        secret = pyotp.random_base32()
        with self.database.transaction() as session:
            account = accounts.lock(session, staff.account)
            assert account
            if account.totp_confirmed_at:
                raise SignInRefused("This account has a second factor. Turn it off first.")
            account.totp_secret = self.sealer.seal(secret.encode())
        return _uri(secret, staff)

    def second_factor_uri(self, staff: Staff) -> str:
        """Return the URI of a secret that is not confirmed yet, or an empty string."""
        with self.database.transaction() as session:
            account = accounts.find(session, staff.account)
            if account is None or account.totp_secret is None or account.totp_confirmed_at:
                return ""
            return _uri(self.sealer.open(account.totp_secret).decode(), staff)

    def recovery_codes_left(self, staff: Staff) -> int:
        with self.database.transaction() as session:
            return accounts.count_recovery_codes(session, staff.account)

    def may_ask(self, visitor: Visitor, now: datetime) -> bool:
        """Count a request from this network that needs no account. Return whether it may be granted."""
        with self.database.transaction() as session:
            key = b"sign-in-network" + visitor.network_hash
            return rate_limits.acquire(session, key, now, _WINDOW, MAX_TRIES_PER_NETWORK)

    def confirm_second_factor(self, staff: Staff, code: str, now: datetime) -> list[str]:
        """Turn the second factor on and return recovery codes, which are shown only now. Raises CodeRefused."""
        with self.database.transaction() as session:
            account = accounts.lock(session, staff.account)
            assert account
            if account.totp_confirmed_at or not self._is_current_code(account, code, now):
                raise CodeRefused(CodeRefused.__doc__)
            account.totp_confirmed_at = now
            codes = [
                f"{secrets.token_hex(2)}-{secrets.token_hex(2)}-{secrets.token_hex(2)}" for _ in range(RECOVERY_CODES)
            ]
            accounts.set_recovery_codes(session, account.id, [_hash_code(code) for code in codes])
            staff.record(session, now, AuditAction.second_factor_on)
        return codes

    def turn_off_second_factor(self, staff: Staff, password: str, visitor: Visitor, now: datetime) -> None:
        """Turn the second factor off. Raises SignInRefused for a wrong password, and TooManyTries."""
        self._check_password(staff, password, visitor, now)
        with self.database.transaction() as session:
            account = accounts.lock(session, staff.account)
            assert account
            account.totp_secret = account.totp_confirmed_at = None
            accounts.set_recovery_codes(session, account.id, [])
            staff.record(session, now, AuditAction.second_factor_off)

    def _check_password(self, staff: Staff, password: str, visitor: Visitor, now: datetime) -> None:
        """Raise SignInRefused for a wrong password, and TooManyTries."""
        with self.database.transaction() as session:
            self._count_try(session, self.address_hash(staff.address), visitor, now)
            account = accounts.find(session, staff.account)
            password_hash = account.password_hash if account else ""
        if not self.passwords.verify(password_hash, password[: MAX_PASSWORD_CHARS + 1]):
            raise SignInRefused("The password is wrong.")

    def _is_current_code(self, account: Account, code: str, now: datetime) -> bool:
        """Check a code of this time step or its neighbours, and use it up."""
        digits = "".join(code.split())
        if not account.totp_secret or len(digits) != 6 or not digits.isascii() or not digits.isdigit():
            return False
        totp = pyotp.TOTP(self.sealer.open(account.totp_secret).decode())
        current = int(now.timestamp()) // _TOTP_SECONDS
        for step in (current - 1, current, current + 1):
            if step > account.totp_last_step and secrets.compare_digest(totp.generate_otp(step), digits):
                account.totp_last_step = step
                return True
        return False

    def _has_ended(self, row: StaffSession, now: datetime) -> bool:
        limit = self.lifetime.second_factor if row.needs_code else self.lifetime.absolute
        return now - row.created_at > limit or now - row.seen_at > self.lifetime.idle

    @staticmethod
    def _problem(
        session: Session, identity: Identity, account: Account | None, now: datetime
    ) -> IdentityProblem | None:
        """Return why somebody may not sign in as the account that was found for them, or None."""
        if account is None:
            return IdentityProblem.unknown if identity.is_verified else IdentityProblem.unverified
        if account.disabled_at:
            return IdentityProblem.disabled
        if account.openid_issuer == identity.issuer:
            return None if account.openid_subject == identity.subject else IdentityProblem.other_identity
        if not account.is_accepted and not accounts.has_open_invitation(session, account.id, now):
            return IdentityProblem.invitation_expired
        return None

    def _start_session(
        self, session: Session, account: Account, visitor: Visitor, now: datetime, *, needs_code: bool
    ) -> str:
        token = secrets.token_urlsafe(32)
        session.add(
            StaffSession(
                token_hash=hash_token(token),
                account_id=account.id,
                created_at=now,
                seen_at=now,
                needs_code=needs_code,
                agent=visitor.agent[:200],
                network=visitor.network,
            )
        )
        if not needs_code:
            self._record(session, account, AuditAction.signed_in, visitor.network, now)
        return token

    @staticmethod
    def _count_try(session: Session, address_hash: bytes, visitor: Visitor, now: datetime) -> None:
        allowed = rate_limits.acquire(session, b"sign-in" + address_hash, now, _WINDOW, MAX_TRIES_PER_ACCOUNT)
        key = b"sign-in-network" + visitor.network_hash
        if not (allowed and rate_limits.acquire(session, key, now, _WINDOW, MAX_TRIES_PER_NETWORK)):
            raise TooManyTries(TooManyTries.__doc__)

    @staticmethod
    def _record(session: Session, account: Account, action: AuditAction, network: str, now: datetime) -> None:
        audit_log.record(session, now, account.name, action, account=account.id, network=network)


def _uri(secret: str, staff: Staff) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=staff.address, issuer_name="Newsletter")


def _record_refusal(
    session: Session, account: Account | None, visitor: Visitor, now: datetime, detail: Mapping[str, str] | None = None
) -> None:
    name, id = (account.name, account.id) if account else ("somebody unknown", None)
    action = AuditAction.sign_in_refused
    audit_log.record(session, now, name, action, account=id, detail=detail, network=visitor.network)


def hash_token(token: str) -> bytes:
    """Return the hash under which a session's token is kept. The token is random, so a plain hash is enough."""
    return sha256(token.encode()).digest()


def _hash_code(code: str) -> bytes:
    return sha256(b"recovery " + code.strip().casefold().encode()).digest()
