"""What can be said of a reader, each value judged as it is written: address, name, languages, time zone, consent."""

import re
import unicodedata
from datetime import UTC, datetime
from functools import cache, lru_cache
from zoneinfo import available_timezones

from email_validator import EmailNotValidError, validate_email

from mailer.domain.languages import InvalidLanguageTag, canonical_tag

MAX_TEXT_CHARS = 200
"""Characters in a name, a consent source or a list of languages or sections."""
MAX_LANGUAGES = 20


class InvalidValue(ValueError):
    """Why a value cannot be used, in words for the person who mends the file."""


def quoted(value: str) -> str:
    """A value as a sentence shows it: short, and without what would break the line."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:60])
    return f"“{shown}{'…' if len(value) > 60 else ''}”"


# Most addresses are this plain. All others, and every domain once, are judged by email-validator.
is_plain_local_part = re.compile(r"(?=.{1,64}$)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*", re.ASCII).fullmatch


@lru_cache(maxsize=1 << 16)
def read_domain(written: str) -> tuple[str, str]:
    """A domain as people write it and as DNS has it (IDNA). Raises EmailNotValidError."""
    found = validate_email(f"a@{written}", check_deliverability=False, test_environment=True)
    return found.domain, found.ascii_domain


def read_address(written: str) -> tuple[str, str]:
    """An address as mail is sent to it, and its key: NFC, domain in ASCII, all in lower case. Raises Unfit.

    The standard lets a server tell ``Ana@`` from ``ana@``; none does, and people write both.
    """
    try:
        local, _, domain = written.rpartition("@")
        if is_plain_local_part(local):
            shown, ascii_domain = read_domain(domain)
            if len(local) + len(ascii_domain) < 254:
                return f"{local}@{shown}", f"{local.lower()}@{ascii_domain}"
        found = validate_email(written, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidValue(
            f"the address {quoted(written)} cannot be right: {str(error).rstrip('.')}"
        ) from None
    return found.normalized, f"{found.local_part.casefold()}@{found.ascii_domain}"


# Control characters, line breaks of all kinds, and those that turn the direction of the text around them.
_find_unsafe = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]").search


def read_text(written: str, field_name: str) -> str:
    if len(written) > MAX_TEXT_CHARS:
        raise InvalidValue(
            f"the {field_name} has {len(written)} characters; at most {MAX_TEXT_CHARS} are taken"
        )
    if not written.isprintable() and _find_unsafe(written):
        raise InvalidValue(f"the {field_name} {quoted(written)} holds a control character")
    return written if written.isascii() else unicodedata.normalize("NFC", written)


def read_languages(written: str) -> tuple[str, ...]:
    """Canonical tags in order of preference, each once. Raises Unfit."""
    if len(written) > MAX_TEXT_CHARS:
        raise InvalidValue(
            f"the list of languages has {len(written)} characters; at most {MAX_TEXT_CHARS} are taken"
        )
    try:
        found = tuple(dict.fromkeys(canonical_tag(tag) for tag in re.split(r"[\s,;|]+", written) if tag))
    except InvalidLanguageTag as error:
        raise InvalidValue(str(error)) from None
    if len(found) > MAX_LANGUAGES:
        raise InvalidValue(f"{len(found)} languages are named; at most {MAX_LANGUAGES} are taken")
    return found


@cache
def _zone_names() -> dict[str, str]:
    return {zone.casefold(): zone for zone in available_timezones()}


def read_time_zone(written: str) -> str:
    """A name of the IANA database; ``UTC`` for none. Raises Unfit."""
    if not written:
        return "UTC"
    try:
        return _zone_names()[written.casefold()]
    except KeyError:
        raise InvalidValue(f"{quoted(written)} is not a time zone such as Europe/Paris") from None


def read_consent_date(written: str) -> datetime:
    """A moment from an ISO date or date and time; UTC where it says no offset. Raises Unfit."""
    if not written:
        raise InvalidValue("there is no consent_date: without evidence of consent nobody is added")
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidValue(f"the consent_date {quoted(written)} is not of the form 2026-09-30") from None


def read_consent_source(written: str) -> str:
    if not written:
        raise InvalidValue("there is no consent_source: without evidence of consent nobody is added")
    return read_text(written, "consent_source")


def read_display_name(written: str) -> str:
    """A name as it can stand in a greeting; empty where it is an advertisement that a stranger has mailed."""
    name = "".join(c for c in " ".join(written.split())[:MAX_TEXT_CHARS] if c.isprintable())
    return "" if "://" in name or "www." in name.casefold() else name
