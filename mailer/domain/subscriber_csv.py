"""Reads a CSV file of subscribers; each line becomes a subscriber or a rejected row with a reason.

The first line names the columns. Each line is one record: fields cannot contain line breaks, so an unclosed
quotation mark affects only its own line.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.errors import UserError
from mailer.domain.preferences import Preferences
from mailer.domain.subscriber_fields import (
    MAX_LOCAL_PART_OCTETS,
    MAX_TEXT_CHARS,
    InvalidValue,
    is_plain_local_part,
    quoted,
    read_address,
    read_consent_date,
    read_consent_source,
    read_domain,
    read_languages,
    read_text,
    read_time_zone,
)

COLUMNS = (
    "address",
    "name",
    "languages",
    "sections",
    "time_zone",
    "consent_source",
    "consent_date",
)
_COLUMN_ALIASES = {"email": "address", "e-mail": "address"}
_REQUIRED_COLUMNS = ("address", "consent_source", "consent_date")
REJECT_COLUMNS = ("line", "reason")
"""Columns that a file of rejected rows has before the original ones. A corrected file can be imported as it is."""

_CACHE_LIMIT = 1 << 16
_EARLIEST_CONSENT = datetime(1970, 1, 1, tzinfo=UTC)


class ImportRefused(UserError, ValueError):
    """A file that cannot be imported. The message is one sentence."""


class RowChoices(NamedTuple):
    """Preferences and consent source of a row. Rows with equal values share one object."""

    preferences: Preferences
    """Without the name."""
    consent_source: str


class CsvSubscriber(NamedTuple):
    """A valid row."""

    line: int
    address: str
    address_key: str
    """The normalised address, for hashes and comparisons."""
    name: str
    choices: RowChoices
    consented_at: datetime


class CsvSubscribers:
    """Valid rows, stored by column. An object for each row would take more time than parsing it."""

    __slots__ = ("address_keys", "addresses", "choices", "consent_times", "lines", "names")

    def __init__(self, subscribers: Iterable[CsvSubscriber] = ()) -> None:
        self.lines: list[int] = []
        self.addresses: list[str] = []
        self.address_keys: list[str] = []
        self.names: list[str] = []
        self.choices: list[RowChoices] = []
        self.consent_times: list[datetime] = []
        for subscriber in subscribers:
            self.add(subscriber)

    def add(self, subscriber: CsvSubscriber) -> None:
        self.lines.append(subscriber.line)
        self.addresses.append(subscriber.address)
        self.address_keys.append(subscriber.address_key)
        self.names.append(subscriber.name)
        self.choices.append(subscriber.choices)
        self.consent_times.append(subscriber.consented_at)

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[CsvSubscriber]:
        return map(
            CsvSubscriber,
            self.lines,
            self.addresses,
            self.address_keys,
            self.names,
            self.choices,
            self.consent_times,
        )


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """An invalid row, with its original fields."""

    line: int
    reason: str
    fields: list[str]


@dataclass(frozen=True, slots=True)
class SectionNames:
    """The names that a file may use for a section: its key, or its title in any language."""

    key: str
    bit: int
    titles: Mapping[str, str]


def _fold_name(name: str) -> str:
    # Turkish İ folds to an i with a dot above it, and people type a plain i.
    return " ".join(unicodedata.normalize("NFC", name).casefold().replace("i\u0307", "i").split())


class SectionParser:
    """Parses the sections column for one newsletter."""

    def __init__(self, sections: Iterable[SectionNames]) -> None:
        self._masks: dict[str, int] = {}
        self._keys: list[str] = []
        for section in sections:
            self._keys.append(section.key)
            for name in (section.key, *section.titles.values()):
                self._masks.setdefault(_fold_name(name), 1 << section.bit)
        # Longest first, since a title may begin with another title. Titles may contain commas and spaces.
        names = sorted(filter(None, self._masks), key=len, reverse=True)
        any_name = "|".join(map(re.escape, names)) or r"(?!)"
        self._match_name = re.compile(rf"({any_name})(?:[\s|;,]+|$)").match

    def read(self, written: str) -> int:
        """Return the mask of the sections named by key or title. An empty text means all, including future sections.

        Raises InvalidValue.
        """
        if not written:
            return ALL_SECTIONS
        text = _fold_name(written).strip(" |;,")
        if text in ("none", "-") and text not in self._masks:
            return 0
        mask = at = 0
        while at < len(text):
            match = self._match_name(text, at)
            if not match:
                unknown = re.split(r"[|;,]", text[at:], maxsplit=1)[0].strip()
                raise InvalidValue(f"there is no section {quoted(unknown)}; there is {', '.join(self._keys)}, or none")
            mask |= self._masks[match[1]]
            at = match.end()
        return mask


def _split_line(line: str, delimiter: str) -> list[str]:
    """Return the fields of one line. Raises InvalidValue if its quotation marks are not balanced."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        raise InvalidValue("its quotation marks are not balanced") from None


def escape_formula(cell: str) -> str:
    """Return the cell, with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _unescape_formula(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and escape_formula(cell[1:]) == cell else cell


class SubscriberCsv:
    """The layout of a file, read from its first line. ``read`` parses the other lines."""

    def __init__(self, header: str, sections: Iterable[SectionNames], now: datetime) -> None:
        """Read the header. Raises ImportRefused if a column is unknown, missing or duplicated."""
        header = header.strip("\r\n")
        if not header.strip():
            raise ImportRefused("The file is empty: its first line must name the columns.")
        if "\0" in header:
            raise ImportRefused("The file is not text: save it as “CSV UTF-8”.")
        try:
            self.delimiter = max(",;\t", key=lambda d: len(_split_line(header, d)))
            written = [name.strip() for name in _split_line(header, self.delimiter)]
        except InvalidValue as problem:
            raise ImportRefused(f"The first line cannot be read: {problem}.") from None
        names = [_COLUMN_ALIASES.get(name.casefold(), name.casefold()) for name in written]
        known = f"The columns are {', '.join(COLUMNS)}."
        for at, name in enumerate(names, start=1):
            if name not in COLUMNS and name not in REJECT_COLUMNS:
                which = f"Column {quoted(written[at - 1])} is not known" if name else f"Column {at} has no name"
                raise ImportRefused(f"{which}. {known}")
            if names.index(name) != at - 1:
                raise ImportRefused(f"There are two columns {name}. {known}")
        if missing := [name for name in _REQUIRED_COLUMNS if name not in names]:
            raise ImportRefused(f"There is no column {' and no column '.join(missing)}. {known}")
        self._names = names
        self._is_reject_file = "reason" in names
        self._fast_path = (*names[:2], names[-1]) == (
            "address",
            "name",
            "consent_date",
        ) and not self._is_reject_file
        self._line_by_key: dict[str, int] = {}
        self._known_middles: dict[str, RowChoices] = {}
        self._known_domains: dict[str, tuple[str, str]] = {}
        self._latest_consent = now + timedelta(days=1)  # it may already be tomorrow in the subscriber's time zone
        self._original_columns = [at for at, name in enumerate(names) if name not in REJECT_COLUMNS]
        # A missing column is read from the empty field that is appended to each line.
        positions = (names.index(name) if name in names else len(names) for name in COLUMNS)
        self._pick_fields = itemgetter(*positions)
        self._read_languages = lru_cache(maxsize=1 << 14)(read_languages)
        self._read_sections = lru_cache(maxsize=1 << 14)(SectionParser(sections).read)
        self._read_time_zone = lru_cache(maxsize=1 << 10)(read_time_zone)
        self._read_consent_source = lru_cache(maxsize=1 << 14)(read_consent_source)
        self._read_consent_date = lru_cache(maxsize=1 << 14)(self._parse_consent_date)
        self.columns = [written[at] for at in self._original_columns]
        """The original header."""

    def read(self, lines: Iterable[str], chunk_size: int) -> Iterator[tuple[CsvSubscribers, list[RejectedRow]]]:
        """Yield the valid and rejected rows of ``chunk_size`` lines at a time. Blank lines are skipped."""
        lines, first = iter(lines), 2
        while chunk := list(islice(lines, chunk_size)):
            good, bad = CsvSubscribers(), list[RejectedRow]()
            for number in (
                self._parse_fast_path(chunk, first, good) if self._fast_path else range(first, first + len(chunk))
            ):
                line = chunk[number - first].rstrip("\r\n")
                fields = [line]
                try:
                    fields = self._split_row(line)
                    subscriber = self._parse_row(number, fields)
                    if (first_line := self._line_by_key.setdefault(subscriber.address_key, number)) != number:
                        raise InvalidValue(f"it repeats the address of line {first_line}")
                except InvalidValue as problem:
                    if any(map(str.strip, fields)):
                        bad.append(RejectedRow(number, str(problem), self._original_fields(fields)))
                else:
                    good.add(subscriber)
                    self._cache_row(chunk[number - first], fields, subscriber)
            yield good, bad
            first += len(chunk)

    def _parse_fast_path(self, chunk: Sequence[str], first: int, accepted: CsvSubscribers) -> Iterator[int]:
        """Parse plain lines whose domain and middle (the part between name and date) occurred before.

        These are most lines. The result is the same as that of ``_parse_row``, in less than half the time. Yields the
        number of each other line before the next line is parsed.
        """
        delimiter, normalize, date = self.delimiter, unicodedata.normalize, self._read_consent_date
        middles, domains, seen = self._known_middles, self._known_domains, self._line_by_key
        add_line, add_address, add_key = (
            accepted.lines.append,
            accepted.addresses.append,
            accepted.address_keys.append,
        )
        add_name, add_chosen, add_time = (
            accepted.names.append,
            accepted.choices.append,
            accepted.consent_times.append,
        )
        for number, line in enumerate(chunk, first):
            if len(fields := line.split(delimiter, 2)) == 3:
                address, name, rest = fields
                middle, _, day = rest.rpartition(delimiter)
                local, _, domain = address.rpartition("@")
                if (
                    (chosen := middles.get(middle)) is not None
                    and (at := domains.get(domain)) is not None
                    and ((local.isalnum() and local.isascii()) or is_plain_local_part(local))
                    and len(local) <= MAX_LOCAL_PART_OCTETS
                    and len(local) + len(at[1]) <= 254
                    and name.isprintable()
                    and '"' not in name
                    and len(name := name.strip()) <= MAX_TEXT_CHARS
                ):
                    try:
                        time = date(day.strip())
                    except InvalidValue:
                        yield number
                        continue
                    key = local.lower() + at[1]
                    if seen.setdefault(key, number) == number:
                        add_line(number)
                        add_address(local + at[0])
                        add_key(key)
                        add_name(name if name.isascii() else normalize("NFC", name))
                        add_chosen(chosen)
                        add_time(time)
                        continue
            yield number

    def _cache_row(self, line: str, fields: Sequence[str], subscriber: CsvSubscriber) -> None:
        """Remember the domain and middle of a line for ``_parse_fast_path``."""
        if not self._fast_path or '"' in line:
            return
        self._known_middles[line.split(self.delimiter, 2)[2].rpartition(self.delimiter)[0]] = subscriber.choices
        local, _, domain = fields[0].strip().rpartition("@")
        if is_plain_local_part(local):
            shown, ascii_domain = read_domain(domain)
            self._known_domains[domain] = f"@{shown}", f"@{ascii_domain}"
        if max(len(self._known_middles), len(self._known_domains)) >= _CACHE_LIMIT:
            self._fast_path = False  # too few lines have these in common

    def _split_row(self, line: str) -> list[str]:
        """Return the fields of a line. Raises InvalidValue if its quotation marks are not balanced."""
        fields = _split_line(line, self.delimiter)
        return [_unescape_formula(field) for field in fields] if self._is_reject_file else fields

    def _parse_row(self, number: int, fields: Sequence[str]) -> CsvSubscriber:
        """Return the subscriber in a row. Raises InvalidValue."""
        if len(fields) != len(self._names):
            raise InvalidValue(f"it has {len(fields)} fields where the first line has {len(self._names)}")
        address, name, languages, sections, zone, source, date = self._pick_fields((*map(str.strip, fields), ""))
        if not address:
            raise InvalidValue("there is no address")
        return CsvSubscriber(
            number,
            *read_address(address),
            read_text(name, "name") if name else "",
            RowChoices(
                Preferences(
                    languages=self._read_languages(languages),
                    sections=self._read_sections(sections),
                    time_zone=self._read_time_zone(zone),
                ),
                self._read_consent_source(source),
            ),
            self._read_consent_date(date),
        )

    def _original_fields(self, fields: Sequence[str]) -> list[str]:
        return [fields[at] for at in self._original_columns] if len(fields) == len(self._names) else list(fields)

    def _parse_consent_date(self, written: str) -> datetime:
        at = read_consent_date(written)
        if not _EARLIEST_CONSENT <= at <= self._latest_consent:
            raise InvalidValue(f"the consent_date {quoted(written)} is not valid: it is before 1970 or in the future")
        return at
