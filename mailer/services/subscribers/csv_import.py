"""Imports subscribers from a CSV file, each with a record of their consent."""

import codecs
import csv
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from mailer.domain.section_parser import SectionNames
from mailer.domain.subscriber_csv import (
    REJECT_COLUMNS,
    CsvSubscribers,
    ImportRefused,
    RejectedRow,
    SubscriberCsv,
    escape_formula,
)
from mailer.store import newsletters, subscriber_import
from mailer.store.database import Database, DatabaseDown

__all__ = ["ImportRefused", "ImportReport", "Progress", "default_rejects_path", "import_subscribers"]

_BLOCK_BYTES = 1 << 20
_ANALYZE_MIN_ROWS = 10_000
_MAX_CONCURRENT_CHUNKS = 2
"""Most of the work is PostgreSQL's, which uses one core per connection."""
_PARTIAL_IMPORT_ADVICE = (
    "What was stored is kept. Import the file again when the database is available to add the rest."
)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an import: lines stored, and bytes read of the file."""

    lines: int
    bytes_read: int
    bytes_total: int


@dataclass(slots=True)
class ImportReport:
    """The result of an import. ``lines`` is the sum of the next four counts, without blank lines."""

    lines: int = 0
    added: int = 0
    """New subscriptions to this newsletter."""
    known: int = 0
    """Already subscribed or unsubscribed. The subscription is unchanged."""
    suppressed: int = 0
    """Suppressed addresses. Nothing was stored."""
    rejected: int = 0
    rejects_path: Path | None = None
    """The file with the rejected lines, if there are any."""


def default_rejects_path(path: Path) -> Path:
    """Return ``readers.rejects.csv`` for ``readers.csv``."""
    return path.with_name(f"{path.stem}.rejects.csv")


def import_subscribers(
    database: Database,
    source: Path | BinaryIO,
    slug: str,
    *,
    rejects_path: Path | None = None,
    hmac_pads: tuple[bytes, bytes],
    now: datetime,
    on_progress: Callable[[Progress], None] | None = None,
    chunk_lines: int = 20_000,
) -> ImportReport:
    """Import the subscribers of a CSV file, ``chunk_lines`` per transaction.

    Safe to repeat, also after an interrupted run: existing subscriptions are not changed. Rejected lines are written
    to ``rejects_path`` with the reason. The default is a file next to ``source``; an open file, which must be
    seekable, needs an explicit path. ``hmac_pads`` are the pads of the keyed address hash. Raises ImportRefused if
    the file as a whole is invalid, or NewsletterNotFound; nothing is stored then.
    """
    with ExitStack() as stack:
        if isinstance(source, Path):
            rejects_path = rejects_path or default_rejects_path(source)
            if rejects_path.resolve() == source.resolve():
                raise ImportRefused(
                    "The rejected lines would overwrite the imported file: choose another file for them."
                )
        if rejects_path is None:
            raise TypeError("an open file needs a rejects_path")
        newsletter, sections = load_newsletter(database, slug)
        file, text, size = stack.enter_context(open_list(source))
        layout = SubscriberCsv(text, sections, now)
        report = ImportReport()
        all_new: bool | None = None  # unknown until the first chunk is stored

        def store(good: CsvSubscribers) -> subscriber_import.BulkResult:
            nonlocal all_new
            while good:
                try:
                    with database.transaction() as session:
                        result = subscriber_import.bulk_insert(
                            session, newsletter, good, hmac_pads, all_new=bool(all_new)
                        )
                except subscriber_import.ConcurrentChange:
                    all_new = False
                else:
                    if all_new is None:
                        all_new = result.known == 0
                    return result
            return subscriber_import.BulkResult(0, 0, 0)

        # The next chunk is read while others are stored. Results are reported in order, after the commit.
        with (
            _reject_writer(rejects_path, layout) as reject,
            ThreadPoolExecutor(_MAX_CONCURRENT_CHUNKS) as pool,
        ):

            def finish_chunk(storing: Future[subscriber_import.BulkResult], bad: list[RejectedRow], read: int) -> None:
                try:
                    result = storing.result()
                except DatabaseDown as error:
                    raise DatabaseDown(f"{error}. {_PARTIAL_IMPORT_ADVICE}") from error
                report.added += result.added
                report.known += result.known
                report.suppressed += result.suppressed
                if bad:
                    reject(bad)
                    report.rejects_path = rejects_path
                report.rejected += len(bad)
                report.lines = report.added + report.known + report.suppressed + report.rejected
                if on_progress:
                    on_progress(Progress(report.lines, read, size))

            waiting: deque[tuple[Future[subscriber_import.BulkResult], list[RejectedRow], int]] = deque()
            for good, bad in layout.read(text, chunk_lines):
                waiting.append((pool.submit(store, good), bad, file.tell()))
                if len(waiting) > _MAX_CONCURRENT_CHUNKS:
                    finish_chunk(*waiting.popleft())
            while waiting:
                finish_chunk(*waiting.popleft())
        if report.added >= _ANALYZE_MIN_ROWS:
            with database.transaction() as session:
                subscriber_import.analyze(session)
    return report


@contextmanager
def open_list(source: Path | BinaryIO) -> Iterator[tuple[BinaryIO, io.TextIOWrapper, int]]:
    """Yield a file, its text and its size in bytes. Raises ImportRefused if it cannot be read or is no text."""
    with ExitStack() as stack:
        if isinstance(source, Path):
            try:
                file: BinaryIO = stack.enter_context(source.open("rb"))
            except OSError as error:
                raise ImportRefused(f"{source} cannot be opened: {error.strerror}.") from None
        else:
            file = source
        encoding, size = _check_encoding(file)
        text = io.TextIOWrapper(file, encoding=encoding)
        stack.callback(text.detach)  # otherwise it would close the caller's file
        yield file, text, size


def load_newsletter(database: Database, slug: str) -> tuple[int, list[SectionNames]]:
    """Return a newsletter's id and the names of its sections. Raises NewsletterNotFound."""
    with database.transaction() as session:
        newsletter = newsletters.get(session, slug)
        sections = newsletters.sections(session, newsletter.id)
        return newsletter.id, [SectionNames(section.key, section.bit, section.titles) for section in sections]


def _check_encoding(file: BinaryIO) -> tuple[str, int]:
    """Return the encoding and the size in bytes. Raises ImportRefused if the file is not valid text.

    The whole file is decoded in advance, so that a file with encoding errors is never partly imported.
    """
    file.seek(0)
    head = file.read(4)
    if head.startswith(b"PK\x03\x04"):
        raise ImportRefused("This is a spreadsheet or an archive, not text: save it as “CSV UTF-8”.")
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding, title = ("utf-16", "UTF-16") if utf16 else ("utf-8-sig", "UTF-8")
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    line, size = 1, 0
    while True:
        block = file.read(_BLOCK_BYTES)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            pending = len(error.object) - len(block)  # bytes left over from the previous block
            line += error.object[: error.start].count(b"\n")
            where = f"Byte {size - pending + error.start + 1}, on line {line},"
            raise ImportRefused(f"{where} is not {title}: save the file as “CSV UTF-8”.") from None
        line += text.count("\n")
        size += len(block)
        if not block:
            break
        if len(block) == _BLOCK_BYTES and "\n" not in text and "\r" not in text:
            raise ImportRefused(f"Line {line} is longer than a million bytes: this is not a list of subscribers.")
    file.seek(0)
    return encoding, size


@contextmanager
def _reject_writer(path: Path, layout: SubscriberCsv) -> Iterator[Callable[[list[RejectedRow]], None]]:
    """Yield a function that writes rejected lines. The file is created with the first of them."""
    try:
        with path.open("a+", encoding="utf-8-sig", errors="replace", newline="") as existing_file:
            existing_file.seek(0)
            head = existing_file.readline()
        if head and not head.startswith(layout.delimiter.join(REJECT_COLUMNS)):
            raise ImportRefused(
                f"{path} already exists and contains something else: choose another file for the rejected lines."
            )
        path.unlink()  # from an earlier run
    except OSError as error:
        raise ImportRefused(f"Rejected lines cannot be written to {path}: {error.strerror}.") from None
    with ExitStack() as stack:
        writer: Any = None

        def reject(entries: list[RejectedRow]) -> None:
            nonlocal writer
            if writer is None:
                # Spreadsheet programs recognise UTF-8 by the BOM.
                file = stack.enter_context(path.open("w", encoding="utf-8-sig", newline="", buffering=_BLOCK_BYTES))
                writer = csv.writer(file, delimiter=layout.delimiter)
                writer.writerow([*REJECT_COLUMNS, *layout.columns])
            writer.writerows((e.line, e.reason, *map(escape_formula, e.fields)) for e in entries)

        yield reject
