"""Lists of subscribers that staff upload: looked over by a worker, shown, and imported once somebody says so.

A job whose worker is gone is begun again from the start. That is safe: an import changes nobody who is known.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mailer.domain.accounts import ActingStaff, Actor, AuditAction
from mailer.domain.errors import ChangeRefused
from mailer.domain.ports import Clock
from mailer.domain.states import ImportState
from mailer.models import ImportJob
from mailer.services.subscribers import csv_import, list_summary, staff_changes
from mailer.services.subscribers.csv_import import ImportRefused
from mailer.store import audit_log, import_jobs, newsletters
from mailer.store.database import Database, Session

MAX_LIST_BYTES = 100 * 1024 * 1024
KEPT = timedelta(days=3)
LEASE = timedelta(minutes=3)
MAX_ATTEMPTS = 5
MAX_NAME_CHARS = 120
PART_BYTES = 1 << 20
_LISTED_JOBS = 10
_CHANGES_PER_REPORT = 100
_CHUNK_LINES = 5_000
_FOLDER_PREFIX = "import-"


class JobGone(ChangeRefused):
    """This list is not kept any more. Upload it again."""


@dataclass(frozen=True, slots=True)
class ImportStatus:
    """An uploaded list as its page shows it: see ``mailer.models.ImportJob``."""

    id: int
    at: datetime
    name: str
    size: int
    state: ImportState
    update_known: bool
    summary: Mapping[str, Any]
    counts: Mapping[str, int]
    bytes_read: int
    problem: str
    attempts: int


class Cancelled(Exception):
    """Somebody has cancelled the job, or another worker has it by now."""


def keep(database: Database, newsletter: int, staff: ActingStaff, name: str, file: BinaryIO, now: datetime) -> int:
    """Keep a file for a worker to look it over; return the job's id.

    It takes the place of those that this account uploaded and did not import. Raises ImportRefused if it is empty.
    """
    with database.transaction() as session:
        import_jobs.delete_before(session, now - KEPT)
        import_jobs.delete_unconfirmed(session, newsletter, staff.account)
        job = ImportJob(
            newsletter_id=newsletter,
            account_id=staff.account,
            at=now,
            name=name[:MAX_NAME_CHARS],
            size=0,
            state=ImportState.reading,
        )
        session.add(job)
        session.flush()
        for number, data in enumerate(iter(partial(file.read, PART_BYTES), b"")):
            import_jobs.add_part(session, job.id, number, data)
            job.size += len(data)
        if not job.size:
            raise ImportRefused("The file is empty.")
        _record(session, staff, AuditAction.list_uploaded, newsletter, {"file": job.name, "bytes": job.size})
        return job.id


def find(database: Database, newsletter: int, job: int) -> ImportStatus | None:
    with database.transaction() as session:
        row = import_jobs.find(session, newsletter, job)
        return _status(row) if row else None


def list_latest(database: Database, newsletter: int) -> list[ImportStatus]:
    with database.transaction() as session:
        return [_status(row) for row in import_jobs.latest(session, newsletter, _LISTED_JOBS)]


def _status(row: ImportJob) -> ImportStatus:
    return ImportStatus(**{field.name: getattr(row, field.name) for field in fields(ImportStatus)})


def start(database: Database, newsletter: int, job: int, staff: Actor, *, update_known: bool) -> None:
    """Have a list imported that was looked over. Raises JobGone and ChangeRefused."""
    with database.transaction() as session:
        row = _lock(session, newsletter, job)
        if row.state is not ImportState.ready:
            raise ChangeRefused("This list is being imported already, or was.")
        row.state, row.update_known = ImportState.importing, update_known
        row.attempts, row.bytes_read, row.counts, row.leased_until = 0, 0, {}, None
        detail = {"file": row.name, "lines": row.summary["lines"], "update": "yes" if update_known else "no"}
        _record(session, staff, AuditAction.list_imported, newsletter, detail)


def cancel(database: Database, newsletter: int, job: int, staff: Actor) -> None:
    """Stop a job. What was imported until then is kept. Raises JobGone and ChangeRefused."""
    with database.transaction() as session:
        row = _lock(session, newsletter, job)
        if row.state not in (ImportState.reading, ImportState.ready, ImportState.importing):
            raise ChangeRefused("This import has ended already.")
        if row.state is not ImportState.importing:
            row.counts = {}
        _end(session, row, ImportState.cancelled)
        _record(session, staff, AuditAction.list_cancelled, newsletter, {"file": row.name})


def rejected_lines(database: Database, job: int) -> Iterator[bytes]:
    """Yield the list of rejected lines as CSV, piece by piece."""
    return _read_parts(database, job, rejects=True)


def _read_parts(database: Database, job: int, *, rejects: bool) -> Iterator[bytes]:
    """Yield the pieces of a file, each read in a transaction of its own."""
    number, data = 0, b" "
    while data:
        with database.transaction() as session:
            data = import_jobs.part(session, job, number, rejects=rejects)
        yield data
        number += 1


def delete_old(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        import_jobs.delete_before(session, now - KEPT)


def _lock(session: Session, newsletter: int, job: int) -> ImportJob:
    row = import_jobs.lock(session, job)
    if row is None or row.newsletter_id != newsletter:
        raise JobGone(JobGone.__doc__)
    return row


def _record(session: Session, actor: Actor, action: AuditAction, newsletter: int, detail: dict[str, Any]) -> None:
    audit_log.record(session, None, actor, action, object_kind="newsletter", object_id=newsletter, detail=detail)


def _end(session: Session, row: ImportJob, state: ImportState, problem: str = "") -> None:
    """End a job, and delete what is not needed any more: the file, and lines quoted from it."""
    row.state, row.problem, row.leased_until, row.summary = state, problem, None, {}
    import_jobs.delete_parts(session, row.id, rejects=False)


def run_next(
    database: Database, folder: Path, hmac_pads: tuple[bytes, bytes], clock: Clock, chunk_lines: int = _CHUNK_LINES
) -> bool:
    """Do what the next job waits for; return whether there was one. Only one worker at a time is at it.

    ``folder`` holds the file while it is read. An import is stored in chunks, and can be cancelled after each.
    """
    with database.transaction() as session:
        if import_jobs.is_busy(session, clock.now()):
            return False
        for left_by_killed_worker in folder.glob(f"{_FOLDER_PREFIX}*"):
            shutil.rmtree(left_by_killed_worker, ignore_errors=True)
        row = import_jobs.claim(session, clock.now(), LEASE)
        if row is None:
            return False
        if row.attempts > MAX_ATTEMPTS:
            problem = "The import was begun several times and never came to its end. Who was added is kept."
            _end(session, row, ImportState.refused, problem)
            return True
        slug = newsletters.by_id(session, row.newsletter_id).slug
        run = _Run(database, row.id, row.attempts, slug, hmac_pads, clock, chunk_lines)
        work = run.look_over if row.state is ImportState.reading else partial(run.carry_out, row.update_known)
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(Cancelled), tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX, dir=folder) as own:
        try:
            work(Path(own))
        except ImportRefused as error:
            with database.transaction() as session:
                _end(session, run.lock(session), ImportState.refused, str(error))
    return True


@dataclass(frozen=True, slots=True)
class _Run:
    """One attempt of a worker at a job. Its methods raise Cancelled once the job is not this worker's any more."""

    database: Database
    job: int
    attempt: int
    slug: str
    hmac_pads: tuple[bytes, bytes]
    clock: Clock
    chunk_lines: int

    def look_over(self, folder: Path) -> None:
        """Read the list and write down how it is understood."""
        summary = list_summary.summarize(
            self.database,
            self._write_file(folder),
            self.slug,
            hmac_pads=self.hmac_pads,
            now=self.clock.now(),
            on_progress=lambda at: self._report(at.bytes_read, {"lines": at.lines}),
        )
        with self.database.transaction() as session:
            row = self.lock(session)
            row.state, row.summary, row.leased_until = ImportState.ready, summary.as_json(), None

    def carry_out(self, update_known: bool, folder: Path) -> None:
        """Import the list, and change those who are known if it was asked for."""
        file, now = self._write_file(folder), self.clock.now()
        rejects = folder / "rejects.csv"
        report = csv_import.import_subscribers(
            self.database,
            file,
            self.slug,
            rejects_path=rejects,
            hmac_pads=self.hmac_pads,
            now=now,
            on_progress=lambda at: self._report(at.bytes_read, {"lines": at.lines}),
            chunk_lines=self.chunk_lines,
        )
        counts = {
            "lines": report.lines,
            "added": report.added,
            "known": report.known,
            "suppressed": report.suppressed,
            "rejected": report.rejected,
            "changed": 0,
        }

        def on_change(changed: int) -> None:
            if changed % _CHANGES_PER_REPORT == 1:
                self._report(file.stat().st_size, counts | {"changed": changed})

        if update_known:
            counts["changed"] = staff_changes.update_from_csv(
                self.database, file, self.slug, hmac_pads=self.hmac_pads, now=now, on_change=on_change
            )
        with self.database.transaction() as session:
            row = self.lock(session)
            _end(session, row, ImportState.done)
            row.counts, row.bytes_read = counts, row.size
            import_jobs.delete_parts(session, row.id, rejects=True)
            if report.rejects_path:
                with rejects.open("rb") as written:
                    for number, data in enumerate(iter(partial(written.read, PART_BYTES), b"")):
                        import_jobs.add_part(session, row.id, number, data, rejects=True)

    def _write_file(self, folder: Path) -> Path:
        path = folder / "list.csv"
        with path.open("wb") as file:
            for data in _read_parts(self.database, self.job, rejects=False):
                file.write(data)
        return path

    def _report(self, bytes_read: int, counts: dict[str, int]) -> None:
        """Write down how far the job has come, and keep the lease."""
        until = self.clock.now() + LEASE
        with self.database.transaction() as session:
            row = self.lock(session)
            row.bytes_read, row.counts, row.leased_until = bytes_read, counts, until

    def lock(self, session: Session) -> ImportJob:
        """Return the job, locked, as long as it is this attempt's."""
        row = import_jobs.lock(session, self.job)
        if row is None or row.attempts != self.attempt or row.state not in import_jobs.WORKING:
            raise Cancelled
        return row
