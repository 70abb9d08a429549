"""Validates the fields of a subscriber: address, name, languages, time zone, consent."""

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache

from mailer.domain.languages import InvalidLanguageTag, canonical_tag
from mailer.domain.time_zones import find_time_zone, nearest_time_zone

MAX_TEXT_CHARS = 200
"""Characters in a name, a consent source or a list of languages or sections."""
MAX_LANGUAGES = 20
MAX_ADDRESS_OCTETS = 254
"""RFC 5321, section 4.5.3.1.3: a path has 256, with its angle brackets."""
MAX_LOCAL_PART_OCTETS = 64
"""RFC 5321, section 4.5.3.1.1."""


class InvalidValue(ValueError):
    """An invalid value. The message is for the person who corrects the file."""


def quoted(value: str) -> str:
    """Return a value in quotation marks, at most 60 characters and without control characters."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value[:60])
    return f"“{text}{'…' if len(value) > 60 else ''}”"


# Most addresses are this simple. email-validator checks all others, and each domain once.
is_plain_local_part = re.compile(r"(?=.{1,64}$)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*", re.ASCII).fullmatch


@lru_cache(maxsize=1 << 16)
def read_domain(written: str) -> tuple[str, str]:
    """Return a domain in Unicode and in ASCII (IDNA). Raises EmailNotValidError."""
    from email_validator import validate_email  # slow to import, and few commands need it

    result = validate_email(f"a@{written}", check_deliverability=False, test_environment=True)
    return result.domain, result.ascii_domain


def read_address(written: str) -> tuple[str, str]:
    """Return an address for sending, and its key: NFC, ASCII domain, lower case. Raises InvalidValue.

    A server may distinguish ``Ana@`` from ``ana@`` (RFC 5321 section 2.4), but in practice none does, and
    people write both. Normalization and IDNA see only what is short enough, because they take more than linear time.
    """
    if problem := _impossible(written):
        raise InvalidValue(f"the address {quoted(written)} cannot be right: {problem}")
    from email_validator import EmailNotValidError, validate_email

    try:
        local, _, domain = written.rpartition("@")
        if is_plain_local_part(local):
            unicode_domain, ascii_domain = read_domain(domain)
            if len(local) + len(ascii_domain) < 254:
                return f"{local}@{unicode_domain}", f"{local.lower()}@{ascii_domain}"
        result = validate_email(written, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidValue(f"the address {quoted(written)} is not valid: {str(error).rstrip('.')}") from None
    return result.normalized, f"{result.local_part.casefold()}@{result.ascii_domain}"


def _impossible(address: str) -> str:
    """Return why this can be no address, whatever its characters mean; empty if it can."""
    # A character has at least one octet, so that a long text is not even encoded.
    octets = len(address) if len(address) > MAX_ADDRESS_OCTETS else len(address.encode("utf-8", "surrogatepass"))
    if octets > MAX_ADDRESS_OCTETS:
        return f"it is too long; an address has at most {MAX_ADDRESS_OCTETS} octets"
    if len(address.rpartition("@")[0].encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART_OCTETS:
        return f"the part before the @ is too long; it has at most {MAX_LOCAL_PART_OCTETS} octets"
    if not address.isprintable() and _find_unsafe(address):
        return "it holds a control character"
    return ""


# Control characters, all kinds of line breaks, bidirectional overrides, and halves of surrogate pairs.
_find_unsafe = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]").search


def read_text(written: str, field_name: str) -> str:
    """Return a text in NFC. Raises InvalidValue."""
    if len(written) > MAX_TEXT_CHARS:
        raise InvalidValue(f"the {field_name} has {len(written)} characters; at most {MAX_TEXT_CHARS} are allowed")
    if not written.isprintable() and _find_unsafe(written):
        raise InvalidValue(f"the {field_name} {quoted(written)} contains a control character")
    return written if written.isascii() else unicodedata.normalize("NFC", written)


def read_languages(written: str) -> tuple[str, ...]:
    """Return canonical tags in order of preference, without duplicates. Raises InvalidValue."""
    if len(written) > MAX_TEXT_CHARS:
        raise InvalidValue(f"the list of languages has {len(written)} characters; at most {MAX_TEXT_CHARS} are allowed")
    try:
        tags = tuple(dict.fromkeys(canonical_tag(tag) for tag in re.split(r"[\s,;|]+", written) if tag))
    except InvalidLanguageTag as error:
        raise InvalidValue(str(error)) from None
    if len(tags) > MAX_LANGUAGES:
        raise InvalidValue(f"there are {len(tags)} languages; at most {MAX_LANGUAGES} are allowed")
    return tags


def read_time_zone(written: str) -> str:
    """Return the name of a time zone, ``UTC`` for an empty text. Raises InvalidValue."""
    if not written:
        return "UTC"
    if found := find_time_zone(written):
        return found
    if nearest := nearest_time_zone(written):
        raise InvalidValue(f"{quoted(written)} is not the time zone of a place: write {nearest}, or a nearer city")
    raise InvalidValue(f"{quoted(written)} is not a time zone such as Europe/Paris")


def read_consent_date(written: str) -> datetime:
    """Return the UTC time of an ISO 8601 date or time. No offset means UTC. Raises InvalidValue."""
    if not written:
        raise InvalidValue("there is no consent_date: evidence of consent is required")
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidValue(f"the consent_date {quoted(written)} is not in the form 2026-09-30") from None


def read_consent_source(written: str) -> str:
    """Return where consent was given. Raises InvalidValue if it is missing."""
    if not written:
        raise InvalidValue("there is no consent_source: evidence of consent is required")
    return read_text(written, "consent_source")


def read_display_name(written: str) -> str:
    """Return a name for a greeting. Return an empty text if it has a URL, which is probably spam."""
    name = "".join(c for c in " ".join(written.split())[:MAX_TEXT_CHARS] if c.isprintable())
    return "" if "://" in name or "www." in name.casefold() else name
