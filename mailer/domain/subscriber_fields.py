"""Validates the fields of a subscriber: address, name, languages, time zone, consent."""

import re
import unicodedata
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import lru_cache
from string import whitespace

from mailer.domain.languages import InvalidLanguageTag, canonical_tag
from mailer.domain.time_zones import find_time_zone, nearest_time_zone

MAX_TEXT_CHARS = 200
"""Characters in a name, a consent source or a list of languages or sections."""
MAX_LANGUAGES = 20
MAX_ADDRESS_OCTETS = 254
"""RFC 5321, section 4.5.3.1.3: a path has 256, with its angle brackets."""
MAX_LOCAL_PART_OCTETS = 64
"""RFC 5321, section 4.5.3.1.1."""
_MAX_NAMED_ADDRESS_CHARS = MAX_TEXT_CHARS + MAX_ADDRESS_OCTETS + 20
"""Characters of an address with a name before it. A longer text is not searched for one."""

_JOINERS = "\u200c\u200d"
"""They shape the letters beside them. A name may end with one, as in Malayalam."""
_INVISIBLE = (
    f"{whitespace}\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"  # spaces and line breaks; what follows has no width at all, or no ink
    "\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064"
    "\u2066\u2067\u2068\u2069\u2800\u3164\ufeff\uffa0"
)
_AROUND_ADDRESS = f"{_INVISIBLE}{_JOINERS},;"


class InvalidValue(ValueError):
    """An invalid value. The message is for the person who corrects the file."""


def trim(written: str) -> str:
    """Return a text without spaces and invisible characters at its ends."""
    return written.strip() if written.isascii() else written.strip(_INVISIBLE)


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

    It may be written as mail programs do: ``Ana <ana@example.org>``, ``<ana@example.org>``, ``mailto:ana@example.org``.
    A server may distinguish ``Ana@`` from ``ana@`` (RFC 5321 section 2.4), but in practice none does, and
    people write both. Normalization and IDNA see only what is short enough, because they take more than linear time.
    """
    address = _bare_address(written)
    if problem := _impossible(address):
        raise InvalidValue(f"the address {quoted(written)} cannot be right: {problem}")
    from email_validator import EmailNotValidError, validate_email

    try:
        local, _, domain = address.rpartition("@")
        if is_plain_local_part(local):
            unicode_domain, ascii_domain = read_domain(domain)
            if len(local) + len(ascii_domain) < 254:
                return f"{local}@{unicode_domain}", f"{local.lower()}@{ascii_domain}"
        result = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise InvalidValue(f"the address {quoted(written)} is not valid: {str(error).rstrip('.')}") from None
    return result.normalized, f"{result.local_part.casefold()}@{result.ascii_domain}"


def _bare_address(written: str) -> str:
    """Return the address without a name, brackets, a link's scheme and invisible characters at the ends."""
    if len(written) > _MAX_NAMED_ADDRESS_CHARS:
        return written
    address = written.strip(_AROUND_ADDRESS)
    if address.endswith(">"):
        name, _, inner = address[:-1].rpartition("<")
        # Mail programs repeat an address as its own name. Any other address there is a second one.
        if "@" not in name or name.strip(" \"'“”‘’").casefold() == inner.casefold():
            address = inner.strip(_AROUND_ADDRESS)
    if address[:7].casefold() == "mailto:":
        address = address[7:].partition("?")[0]
    return address


def _impossible(address: str) -> str:
    """Return why this can be no address, whatever its characters mean; empty if it can."""
    if len(address) <= _MAX_NAMED_ADDRESS_CHARS and address.count("@") > 1:
        count = len(_find_addresses(address))
        if count > 1:
            return f"it holds {'two' if count == 2 else 'several'} addresses; give each by itself"
    # A character has at least one octet, so that a long text is not even encoded.
    octets = len(address) if len(address) > MAX_ADDRESS_OCTETS else len(address.encode("utf-8", "surrogatepass"))
    if octets > MAX_ADDRESS_OCTETS:
        return f"it is too long; an address has at most {MAX_ADDRESS_OCTETS} octets"
    if len(address.rpartition("@")[0].encode("utf-8", "surrogatepass")) > MAX_LOCAL_PART_OCTETS:
        return f"the part before the @ is too long; it has at most {MAX_LOCAL_PART_OCTETS} octets"
    if not address.isprintable():
        if len(address.splitlines()) > 1:
            return "it holds a line break"
        if _unsafe.search(address):
            return "it holds a control character"
    return ""


_find_addresses = re.compile(r"[^\s,;|/<>()\"'@]+@[^\s,;|/<>()\"'@]+").findall
# Control characters, all kinds of line breaks, bidirectional overrides, and halves of surrogate pairs.
_unsafe = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def read_text(written: str, field_name: str) -> str:
    """Return a text in NFC. Raises InvalidValue."""
    if len(written) > MAX_TEXT_CHARS:
        raise InvalidValue(f"the {field_name} has {len(written)} characters; at most {MAX_TEXT_CHARS} are allowed")
    if not written.isprintable() and _unsafe.search(written):
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


# A day as spreadsheets and people write it, with or without a time: 2025-6-12, 12.06.2025, 12. 6. 2025., 12/06/2025.
_match_day = re.compile(
    r"(?:(?P<year>\d{4})([-/.])(?P<month>\d\d?)\2(?P<day>\d\d?)"
    r"|(?P<first>\d\d?)(?P<mark>[-/.]) ?(?P<second>\d\d?)(?P=mark) ?(?P<last>\d{4})\.?)(?:[ T](?P<time>\d.*))?",
    re.ASCII,
).fullmatch


def read_consent_date(written: str) -> datetime:
    """Return the UTC time of a date or time in ISO 8601 or another form that has only one reading.

    No offset means UTC. Raises InvalidValue.
    """
    if not written:
        raise InvalidValue("there is no consent_date: evidence of consent is required")
    try:
        at = datetime.fromisoformat(_iso_date(written))
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        if isinstance(error, InvalidValue):
            raise
        raise InvalidValue(f"the consent_date {quoted(written)} is not in the form 2026-09-30") from None


def _iso_date(written: str) -> str:
    """Return a date or time in ISO 8601 if it has only one reading, else as it is. Raises InvalidValue."""
    match = _match_day(written)
    if not match:
        return written
    if match["year"]:
        readings = [(match["year"], match["month"], match["day"])]
    else:
        readings = [(match["last"], match["second"], match["first"])]
        if match["mark"] != ".":  # Americans write the month first
            readings.append((match["last"], match["first"], match["second"]))
    days = set[date]()
    for reading in readings:
        with suppress(ValueError):
            days.add(date(*map(int, reading)))
    if len(days) > 1:
        either, other = sorted(days)
        raise InvalidValue(
            f"the consent_date {quoted(written)} may mean {either} or {other}: write it so, or as {either:%d.%m.%Y} "
            "(day.month.year) if your spreadsheet program changes it back"
        )
    time = match["time"] or "00:00"
    return f"{days.pop()}T{'0' if time[1:2] == ':' else ''}{time}" if days else written


def read_consent_source(written: str) -> str:
    """Return where consent was given. Raises InvalidValue if it is missing."""
    if not written:
        raise InvalidValue("there is no consent_source: evidence of consent is required")
    return read_text(written, "consent_source")


def read_name(written: str) -> str:
    """Return a name for a greeting in NFC, with single spaces, or an empty text if it is none. Raises InvalidValue.

    No names are links, addresses, texts without letters, and what programs write for a missing or wrong value.
    """
    name = trim(written)
    if len(name) <= MAX_TEXT_CHARS:
        name = " ".join(name.split())
        if not any(map(str.isalpha, name)) or _match_missing(name) or _find_link(name):
            return ""
    return read_text(name, "name")


# NA and nan as R and pandas write them: Na and Nan are names. Errors of spreadsheets: #N/A, #REF!, #BEZUG!
_match_missing = re.compile(r"#.*|NA|nan|NaN|(?i:[(<]?null[)>]?|<NA>|none|n/a|undefined|\\N)").fullmatch
_find_link = re.compile(r"//|\bwww\.|[^\s@]@[^\s@]|\w\.\w{2,}/|\w\.(?:com|net|org|info|biz)\b", re.IGNORECASE).search
_MISSING = frozenset(("null", "none", "na", "nan", "undefined"))


def is_plain_name(name: str) -> bool:
    """Return whether ``read_name`` returns a name as it is, but for NFC. Most names are that simple.

    It is asked for each line of an import, where one regular expression would take as long as the rest of the line.
    """
    return not name or (
        name[0].isalpha()
        and (len(name) > 9 or name.lower() not in _MISSING)
        and "  " not in name
        and name.isprintable()
        and "/" not in name
        and "@" not in name
        and ("." not in name or "." not in name.replace(". ", ""))
    )


def read_form_name(written: str) -> str:
    """Return the name in a form, which says nothing about a name that it does not take: see ``read_name``."""
    return read_name(_unsafe.sub("", " ".join(written.split()))[:MAX_TEXT_CHARS])
