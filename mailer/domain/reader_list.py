"""How a list of readers is read: each line as a reader, or as the reason why it cannot be one.

A line of the file is a record: no column can hold a line break, so a quotation mark that someone forgot to
close spoils its own line and not the thousands after it. The first line names the columns.
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
from mailer.domain.subscribers import (
    LONGEST,
    Unfit,
    plain_local,
    quoted,
    read_address,
    read_date,
    read_domain,
    read_languages,
    read_source,
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
_ALSO = {"email": "address", "e-mail": "address"}
_NEEDED = ("address", "consent_source", "consent_date")
REJECT_COLUMNS = ("line", "reason")
"""What a file of rejected lines has before its original columns. Once mended, such a file is read too."""

_MOST_KNOWN = 1 << 16
_OLDEST = datetime(1970, 1, 1, tzinfo=UTC)


class ImportRefused(ValueError):
    """Why a file of readers cannot be taken in, in one sentence."""


class Chosen(NamedTuple):
    """What a line says beside whom it is about, and when. Many lines say the same, and share one of these."""

    languages: tuple[str, ...]
    sections: int
    time_zone: str
    source: str


class NewReader(NamedTuple):
    """A line that can be taken in. ``key`` is the address in the form that hashes and comparisons use."""

    line: int
    address: str
    key: str
    name: str
    chosen: Chosen
    at: datetime
    """When they agreed."""


class NewReaders:
    """Some of them, column by column: an object for each line would cost more than reading it."""

    __slots__ = ("addresses", "chosen", "keys", "lines", "names", "times")

    def __init__(self, readers: Iterable[NewReader] = ()) -> None:
        self.lines: list[int] = []
        self.addresses: list[str] = []
        self.keys: list[str] = []
        self.names: list[str] = []
        self.chosen: list[Chosen] = []
        self.times: list[datetime] = []
        for reader in readers:
            self.add(reader)

    def add(self, reader: NewReader) -> None:
        self.lines.append(reader.line)
        self.addresses.append(reader.address)
        self.keys.append(reader.key)
        self.names.append(reader.name)
        self.chosen.append(reader.chosen)
        self.times.append(reader.at)

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[NewReader]:
        return map(NewReader, self.lines, self.addresses, self.keys, self.names, self.chosen, self.times)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that cannot, and its fields as they stand in the file."""

    line: int
    reason: str
    fields: list[str]


@dataclass(frozen=True, slots=True)
class SectionNames:
    """What a section may be called in a file: its key, or its title in any language."""

    key: str
    bit: int
    titles: Mapping[str, str]


def _folded(name: str) -> str:
    # Turkish İ folds to an i with a dot above it, and people type a plain i.
    return " ".join(unicodedata.normalize("NFC", name).casefold().replace("i\u0307", "i").split())


class SectionLists:
    """Reads the sections that a line names, for one newsletter."""

    def __init__(self, sections: Iterable[SectionNames]) -> None:
        self._masks: dict[str, int] = {}
        self._keys: list[str] = []
        for section in sections:
            self._keys.append(section.key)
            for name in (section.key, *section.titles.values()):
                self._masks.setdefault(_folded(name), 1 << section.bit)
        # The longest first, since a title may begin with another, and may hold commas and spaces.
        names = sorted(filter(None, self._masks), key=len, reverse=True)
        any_name = "|".join(map(re.escape, names)) or r"(?!)"
        self._next = re.compile(rf"({any_name})(?:[\s|;,]+|$)").match

    def read(self, written: str) -> int:
        """The mask of the sections named by key or title; empty: all, and all to come. Raises Unfit."""
        if not written:
            return ALL_SECTIONS
        text = _folded(written).strip(" |;,")
        if text in ("none", "-") and text not in self._masks:
            return 0
        mask = at = 0
        while at < len(text):
            found = self._next(text, at)
            if not found:
                unknown = re.split(r"[|;,]", text[at:], maxsplit=1)[0].strip()
                raise Unfit(
                    f"there is no section {quoted(unknown)}; there is {', '.join(self._keys)}, or none"
                )
            mask |= self._masks[found[1]]
            at = found.end()
        return mask


def _split(line: str, delimiter: str) -> list[str]:
    """The fields of one line. Raises Unfit when its quotation marks do not fit together."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        raise Unfit("its quotation marks do not fit together") from None


def guarded(cell: str) -> str:
    """A cell that a spreadsheet will not take for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and guarded(cell[1:]) == cell else cell


class ReaderList:
    """The layout of one file, told by its first line; ``read`` turns its other lines into readers."""

    def __init__(self, header: str, sections: Iterable[SectionNames], now: datetime) -> None:
        """Raises ImportRefused when a column is unknown, missing or there twice."""
        header = header.strip("\r\n")
        if not header.strip():
            raise ImportRefused("The file is empty: its first line must name the columns.")
        if "\0" in header:
            raise ImportRefused("The file is not text: save it as “CSV UTF-8”.")
        try:
            self.delimiter = max(",;\t", key=lambda d: len(_split(header, d)))
            written = [name.strip() for name in _split(header, self.delimiter)]
        except Unfit as problem:
            raise ImportRefused(f"The first line cannot be read: {problem}.") from None
        names = [_ALSO.get(name.casefold(), name.casefold()) for name in written]
        known = f"The columns are {', '.join(COLUMNS)}."
        for at, name in enumerate(names, start=1):
            if name not in COLUMNS and name not in REJECT_COLUMNS:
                which = (
                    f"Column {quoted(written[at - 1])} is not known" if name else f"Column {at} has no name"
                )
                raise ImportRefused(f"{which}. {known}")
            if names.index(name) != at - 1:
                raise ImportRefused(f"There are two columns {name}. {known}")
        if missing := [name for name in _NEEDED if name not in names]:
            raise ImportRefused(f"There is no column {' and no column '.join(missing)}. {known}")
        self._names = names
        self._mended = "reason" in names
        self._usual = (*names[:2], names[-1]) == ("address", "name", "consent_date") and not self._mended
        self._seen: dict[str, int] = {}
        self._middles: dict[str, Chosen] = {}
        self._domains: dict[str, tuple[str, str]] = {}
        self._latest = now + timedelta(days=1)  # it may be tomorrow already where the reader is
        self._kept = [at for at, name in enumerate(names) if name not in REJECT_COLUMNS]
        # A column that is not there is read as the empty field that is put at the end of each line.
        places = (names.index(name) if name in names else len(names) for name in COLUMNS)
        self._pick = itemgetter(*places)
        self._languages = lru_cache(maxsize=1 << 14)(read_languages)
        self._followed = lru_cache(maxsize=1 << 14)(SectionLists(sections).read)
        self._zone = lru_cache(maxsize=1 << 10)(read_time_zone)
        self._source = lru_cache(maxsize=1 << 14)(read_source)
        self._date = lru_cache(maxsize=1 << 14)(self._day)
        self.columns = [written[at] for at in self._kept]
        """The header as it stands in the file."""

    def read(self, lines: Iterable[str], size: int) -> Iterator[tuple[NewReaders, list[Rejected]]]:
        """What the lines behind the first say, ``size`` lines at a time. Blank lines are passed over."""
        lines, first = iter(lines), 2
        while chunk := list(islice(lines, size)):
            good, bad = NewReaders(), list[Rejected]()
            for number in (
                self._plain(chunk, first, good) if self._usual else range(first, first + len(chunk))
            ):
                line = chunk[number - first].rstrip("\r\n")
                fields = [line]
                try:
                    fields = self._fields(line)
                    reader = self._judged(number, fields)
                    if (before := self._seen.setdefault(reader.key, number)) != number:
                        raise Unfit(f"it repeats the address of line {before}")
                except Unfit as problem:
                    if any(map(str.strip, fields)):
                        bad.append(Rejected(number, str(problem), self._original(fields)))
                else:
                    good.add(reader)
                    self._remember(chunk[number - first], fields, reader)
            yield good, bad
            first += len(chunk)

    def _plain(self, chunk: Sequence[str], first: int, good: NewReaders) -> Iterator[int]:
        """Read the lines that are plain, and whose domain and middle (all between name and date) are known.

        Those are most, and take less than half the time of ``_judged``, which would say the same of them. Of
        each other line the number is handed out, before the line behind it is read.
        """
        delimiter, normalize, date = self.delimiter, unicodedata.normalize, self._date
        middles, domains, seen = self._middles, self._domains, self._seen
        add_line, add_address, add_key = good.lines.append, good.addresses.append, good.keys.append
        add_name, add_chosen, add_time = good.names.append, good.chosen.append, good.times.append
        for number, line in enumerate(chunk, first):
            if len(cut := line.split(delimiter, 2)) == 3:
                address, name, rest = cut
                middle, _, day = rest.rpartition(delimiter)
                local, _, domain = address.rpartition("@")
                if (
                    (chosen := middles.get(middle)) is not None
                    and (at := domains.get(domain)) is not None
                    and ((local.isalnum() and local.isascii()) or plain_local(local))
                    and len(local) + len(at[1]) <= 254
                    and name.isprintable()
                    and '"' not in name
                    and len(name := name.strip()) <= LONGEST
                ):
                    try:
                        time = date(day.strip())
                    except Unfit:
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

    def _remember(self, line: str, fields: Sequence[str], reader: NewReader) -> None:
        """Keep what ``_plain`` has to know to read a line like this one."""
        if not self._usual or '"' in line:
            return
        self._middles[line.split(self.delimiter, 2)[2].rpartition(self.delimiter)[0]] = reader.chosen
        local, _, domain = fields[0].strip().rpartition("@")
        if plain_local(local):
            shown, ascii_domain = read_domain(domain)
            self._domains[domain] = f"@{shown}", f"@{ascii_domain}"
        if max(len(self._middles), len(self._domains)) >= _MOST_KNOWN:
            self._usual = False  # whatever is in there, it is no list of this kind

    def _fields(self, line: str) -> list[str]:
        """Raises Unfit when its quotation marks do not fit together."""
        fields = _split(line, self.delimiter)
        return [_unguarded(field) for field in fields] if self._mended else fields

    def _judged(self, number: int, fields: Sequence[str]) -> NewReader:
        """Raises Unfit."""
        if len(fields) != len(self._names):
            raise Unfit(f"it has {len(fields)} fields where the first line has {len(self._names)}")
        address, name, spoken, followed, zone, source, date = self._pick((*map(str.strip, fields), ""))
        if not address:
            raise Unfit("there is no address")
        return NewReader(
            number,
            *read_address(address),
            read_text(name, "name") if name else "",
            Chosen(
                self._languages(spoken),
                self._followed(followed),
                self._zone(zone),
                self._source(source),
            ),
            self._date(date),
        )

    def _original(self, fields: Sequence[str]) -> list[str]:
        return [fields[at] for at in self._kept] if len(fields) == len(self._names) else list(fields)

    def _day(self, written: str) -> datetime:
        at = read_date(written)
        if not _OLDEST <= at <= self._latest:
            raise Unfit(f"the consent_date {quoted(written)} cannot be right: nobody agreed on that day")
        return at
