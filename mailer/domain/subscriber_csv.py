"""Reads a CSV file of subscribers; each line becomes a subscriber or a rejected row with a reason.

The first line names the columns; spreadsheets may put titles above it. Each line is one record: fields cannot contain
line breaks, so an unclosed quotation mark affects only its own line.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from mailer.domain.errors import UserError
from mailer.domain.plurals import format_count
from mailer.domain.preferences import Preferences
from mailer.domain.section_parser import SEPARATORS, SectionNames, SectionParser
from mailer.domain.subscriber_fields import (
    MAX_ADDRESS_OCTETS,
    MAX_LOCAL_PART_OCTETS,
    MAX_TEXT_CHARS,
    InvalidValue,
    is_plain_local_part,
    is_plain_name,
    quoted,
    read_address,
    read_consent_date,
    read_consent_source,
    read_languages,
    read_name,
    read_time_zone,
    trim,
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
_COLUMN_ALIASES = {
    **{name.replace("_", ""): name for name in COLUMNS},
    **dict.fromkeys(("email", "mail", "emailaddress", "mailaddress"), "address"),
    "language": "languages",
    "section": "sections",
}
"""Names of columns without spaces and punctuation → the column."""
_REQUIRED_COLUMNS = ("address", "consent_source", "consent_date")
REJECT_COLUMNS = ("line", "reason")
"""Columns that a file of rejected rows has before the original ones. A corrected file can be imported as it is."""

_DELIMITERS = ",;\t|"
_MAX_LINES_ABOVE_HEADER = 20
_MAX_HEADER_CHARS = 10_000
_MAX_LISTED = 10
"""Unknown columns named in a message."""
_MAX_CELL_LINES = 20
"""Lines searched for the end of a cell that has line breaks."""
_CACHE_LIMIT = 1 << 16
_EARLIEST_CONSENT = datetime(1970, 1, 1, tzinfo=UTC)


class ImportRefused(UserError, ValueError):
    """A file that cannot be imported. The message is one sentence."""


class RowChoices(NamedTuple):
    """Preferences and consent source of a row. Rows with equal values share one object."""

    preferences: Preferences
    """Without the name."""
    consent_source: str
    given: tuple[str, ...] = ()
    """Names of the fields of ``preferences`` that the row has a value for."""


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


def _split_line(line: str, delimiter: str) -> list[str]:
    """Return the fields of one line. Raises InvalidValue if its quotation marks are not balanced."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        raise InvalidValue(_UNBALANCED) from None


_UNBALANCED = "its quotation marks are not balanced"


def _read_header(lines: Iterable[str]) -> tuple[int, list[str], str]:
    """Return the number of the line that names the columns, its cells and its delimiter.

    Above it there may be empty lines, titles and Excel's ``sep=;``. The lines up to it are taken from ``lines``. If
    none names all that is required, the one that names most is returned. Raises ImportRefused if there is none.
    """
    best: tuple[int, int, list[str], str] | None = None
    delimiters, problem = _DELIMITERS, ""
    for number, line in enumerate(islice(lines, _MAX_LINES_ABOVE_HEADER), start=1):
        line = line[:_MAX_HEADER_CHARS].strip("\r\n\ufeff")
        if "\0" in line:
            raise ImportRefused("The file is not text: save it as “CSV UTF-8”.")
        if match := _match_separator(line):
            delimiters += match[1]
            continue
        for delimiter in delimiters:
            try:
                cells = [trim(cell) for cell in _split_line(line, delimiter)]
            except InvalidValue:
                problem = problem or f"{_name_line(number).capitalize()} cannot be read: {_UNBALANCED}."
                continue
            if not any(cells):
                break
            names = {_column(cell) for cell in cells}
            known = 10 * len(names & {*_REQUIRED_COLUMNS}) + len(names & {*COLUMNS})
            if not best or known > best[0] or (number == best[1] and known == best[0] and len(cells) > len(best[2])):
                best = known, number, cells, delimiter
        if best and {*_REQUIRED_COLUMNS} <= {*map(_column, best[2])}:
            break
    if not best or (problem and not best[0]):
        raise ImportRefused(problem or "The file is empty: its first line must name the columns.")
    _, number, cells, delimiter = best
    return number, cells, delimiter


_match_separator = re.compile(r'"?sep=([^\w"\s]|\t)"?[;,\s]*', re.IGNORECASE).fullmatch
_letters_only = partial(re.compile(r"[\W_]+").sub, "")


def _name_line(number: int) -> str:
    return "the first line" if number == 1 else f"line {number}"


def _column(written: str) -> str:
    """Return the column that a cell of the header names, or the cell folded."""
    folded = written.casefold()
    return folded if folded in REJECT_COLUMNS else _COLUMN_ALIASES.get(_letters_only(folded), folded)


def escape_formula(cell: str) -> str:
    """Return the cell, with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _unescape_formula(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and escape_formula(cell[1:]) == cell else cell


class SubscriberCsv:
    """The layout of a file, read from its first line. ``read`` parses the other lines."""

    def __init__(self, lines: Iterator[str], sections: Iterable[SectionNames], now: datetime) -> None:
        """Read the header, and the lines above it. Raises ImportRefused if columns are unknown, missing or repeated."""
        self._header_line, written, self.delimiter = _read_header(lines)
        while not written[-1]:  # empty columns at the end of a table
            written.pop()
        names = [_column(cell) for cell in written]
        problems = []
        known = (*COLUMNS, *REJECT_COLUMNS, "")
        if unknown := [quoted(written[at]) for at, name in enumerate(names) if name not in known]:
            more = f" and {len(unknown) - _MAX_LISTED} more" if len(unknown) > _MAX_LISTED else ""
            problems.append(
                f"Column {unknown[0]} is not known."
                if len(unknown) == 1
                else f"Columns {', '.join(unknown[:_MAX_LISTED])}{more} are not known."
            )
        if repeated := [name for name in known[:-1] if names.count(name) > 1]:
            problems.append(f"There are two columns {' and two columns '.join(repeated)}.")
        if missing := [name for name in _REQUIRED_COLUMNS if name not in names]:
            problems.append(f"There is no column {' and no column '.join(missing)}.")
        if problems:
            raise ImportRefused(f"{' '.join(problems)} The columns are {', '.join(COLUMNS)}.")
        self._names = names
        self._is_reject_file = "reason" in names
        self._fast_path = (*names[:2], names[-1]) == ("address", "name", "consent_date") and not self._is_reject_file
        self._fewest_fields = 1 + max(map(names.index, _REQUIRED_COLUMNS))
        self._unnamed_columns = [at for at, name in enumerate(names) if not name]
        self._line_by_key: dict[str, int] = {}
        self._known_middles: dict[str, RowChoices] = {}
        self._known_domains: dict[str, tuple[str, str, int]] = {}
        self._latest_consent = now + timedelta(days=1)  # it may already be tomorrow in the subscriber's time zone
        self._other_columns = frozenset(at for at, name in enumerate(names) if name in (*REJECT_COLUMNS, ""))
        self._open_cell: tuple[int, int, str] | None = None
        # A missing column is read from the empty field that is appended to each line.
        positions = (names.index(name) if name in names else len(names) for name in COLUMNS)
        self._pick_fields = itemgetter(*positions)
        self._read_languages = lru_cache(maxsize=1 << 14)(read_languages)
        self._read_sections = lru_cache(maxsize=1 << 14)(SectionParser(sections).read)
        self._read_time_zone = lru_cache(maxsize=1 << 10)(read_time_zone)
        self._read_consent_source = lru_cache(maxsize=1 << 14)(read_consent_source)
        self._read_choices = lru_cache(maxsize=1 << 14)(self._parse_choices)
        self._read_consent_date = lru_cache(maxsize=1 << 14)(self._parse_consent_date)
        self.columns = self._original_fields(written)
        """The original header."""

    def read(self, lines: Iterable[str], chunk_size: int) -> Iterator[tuple[CsvSubscribers, list[RejectedRow]]]:
        """Yield the valid and rejected rows of ``chunk_size`` lines at a time. Blank lines are skipped."""
        lines, first = iter(lines), self._header_line + 1
        while chunk := list(islice(lines, chunk_size)):
            good, bad = CsvSubscribers(), list[RejectedRow]()
            for number in (
                self._parse_fast_path(chunk, first, good) if self._fast_path else range(first, first + len(chunk))
            ):
                line = chunk[number - first].rstrip("\r\n")
                fields = line.split(self.delimiter)
                try:
                    fields = self._split_row(line)
                    subscriber = self._parse_row(number, fields)
                    if (first_line := self._line_by_key.setdefault(subscriber.address_key, number)) != number:
                        raise InvalidValue(f"it repeats the address of line {first_line}")
                except InvalidValue as problem:
                    if any(map(trim, fields)):
                        reason = self._explain_line_break(number, line, problem)
                        bad.append(RejectedRow(number, reason, self._original_fields(fields)))
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
                    and len(local) <= at[2]
                    and '"' not in name
                    and len(name := name.strip()) <= MAX_TEXT_CHARS
                    and is_plain_name(name)
                ):
                    try:
                        time = date(day)
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
        if not self._fast_path or '"' in line or line.count(self.delimiter) != len(self._names) - 1:
            return
        self._known_middles[line.split(self.delimiter, 2)[2].rpartition(self.delimiter)[0]] = subscriber.choices
        local, _, domain = fields[0].strip().rpartition("@")
        if is_plain_local_part(local):
            shown, ascii_domain = (
                address.rpartition("@")[2] for address in (subscriber.address, subscriber.address_key)
            )
            longest_local = min(MAX_LOCAL_PART_OCTETS, MAX_ADDRESS_OCTETS - 1 - len(ascii_domain))
            self._known_domains[domain] = f"@{shown}", f"@{ascii_domain}", longest_local
        if max(len(self._known_middles), len(self._known_domains)) >= _CACHE_LIMIT:
            self._fast_path = False  # too few lines have these in common

    def _split_row(self, line: str) -> list[str]:
        """Return the fields of a line, without empty ones behind the last column. Raises InvalidValue."""
        fields = _split_line(line, self.delimiter)
        if "'" in line:
            fields = [_unescape_formula(field) for field in fields]
        while len(fields) > len(self._names) and not trim(fields[-1]):
            fields.pop()
        return fields

    def _explain_line_break(self, number: int, line: str, problem: InvalidValue) -> str:
        """Return the reason of a rejected line. It is another one if a cell has a line break in it."""
        if str(problem) == _UNBALANCED:
            self._open_cell = number, number, line
            return f"{problem}, perhaps because of a line break in a cell; a line holds one reader"
        if not self._open_cell:
            return str(problem)
        first, last, text = self._open_cell
        self._open_cell = None
        if number == last + 1 and number - first < _MAX_CELL_LINES:
            text = f"{text}\n{line}"
            try:
                next(csv.reader(text.splitlines(keepends=True), delimiter=self.delimiter, strict=True))
            except csv.Error:
                self._open_cell = first, number, text
            else:
                return f"it belongs to line {first}, where a cell has a line break; a line holds one reader"
        return str(problem)

    def _parse_row(self, number: int, fields: Sequence[str]) -> CsvSubscriber:
        """Return the subscriber in a row. Raises InvalidValue."""
        if not self._fewest_fields <= len(fields) <= len(self._names):
            raise InvalidValue(
                f"it has {format_count(len(fields), 'field')} "
                f"where {_name_line(self._header_line)} has {len(self._names)}"
            )
        if self._is_reject_file and any(field.count('"') % 2 for field in fields):
            raise InvalidValue("it has a quotation mark without its partner")
        # Spreadsheet programs leave out empty cells at the end of a line.
        cells = [*map(trim, fields), *[""] * (len(self._names) - len(fields) + 1)]
        for at in self._unnamed_columns:
            # R and pandas number the lines, in a first column without a name.
            if cells[at] and (at or not cells[at].isdecimal()):
                raise InvalidValue(f"it has {quoted(cells[at])} in column {at + 1}, which has no name")
        address, name, languages, sections, zone, source, date = self._pick_fields(cells)
        if not address:
            raise InvalidValue("there is no address")
        return CsvSubscriber(
            number,
            *read_address(address),
            read_name(name),
            self._read_choices(languages, sections, zone, source),
            self._read_consent_date(date),
        )

    def _parse_choices(self, languages: str, sections: str, zone: str, source: str) -> RowChoices:
        preferences = Preferences(
            languages=self._read_languages(languages),
            sections=self._read_sections(sections),
            time_zone=self._read_time_zone(zone),
        )
        cells = {"languages": languages, "sections": sections, "time_zone": zone}
        given = tuple(name for name, cell in cells.items() if cell.strip(SEPARATORS))
        return RowChoices(preferences, self._read_consent_source(source), given)

    def _original_fields(self, fields: Sequence[str]) -> list[str]:
        return [field for at, field in enumerate(fields) if at not in self._other_columns]

    def _parse_consent_date(self, written: str) -> datetime:
        at = read_consent_date(trim(written))
        if not _EARLIEST_CONSENT <= at <= self._latest_consent:
            raise InvalidValue(f"the consent_date {quoted(written)} is not valid: it is before 1970 or in the future")
        return at
