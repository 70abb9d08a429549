"""Uploaded lists: looked over first, imported once somebody says so, cancelled, begun again, and deleted."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.errors import ChangeRefused
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role
from mailer.domain.states import ImportState
from mailer.models import AuditEvent, ImportJob, ImportJobPart
from mailer.services.accounts.staff import Staff
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.newsletters.catalogue import find_newsletter
from mailer.services.subscribers import import_jobs, listing
from mailer.services.subscribers.csv_import import ImportRefused
from mailer.services.subscribers.import_jobs import ImportStatus, JobGone
from mailer.services.subscribers.listing import SubscriberFilter
from tests.conftest import SAMPLE
from tests.support.clock import StoppedClock
from tests.support.staff import add_account, staff_of

SLUG = "lumen-basin"
HEADER = "address,name,languages,sections,time_zone,consent_source,consent_date\n"
ANA, BO = "ana@example.org,Ana,hr,,,letter,2024-01-01\n", "bo@example.org,,en,none,,form,2025-02-03\n"


@dataclass
class Imports:
    """Uploaded lists of one newsletter, and a worker."""

    app: Container
    folder: Path
    staff: Staff
    newsletter: int
    clock: StoppedClock

    def upload(self, lines: str, header: str = HEADER) -> int:
        file = io.BytesIO((header + lines).encode())
        return import_jobs.keep(self.app.database, self.newsletter, self.staff, "readers.csv", file, self.clock.now())

    def work(self) -> bool:
        pads = self.app.tokens.hmac_pads()
        return import_jobs.run_next(self.app.database, self.folder, pads, self.clock)

    def start(self, job: int, *, update_known: bool = False) -> None:
        import_jobs.start(self.app.database, self.newsletter, job, self.staff, update_known=update_known)

    def get(self, job: int) -> ImportStatus:
        found = import_jobs.find(self.app.database, self.newsletter, job)
        assert found
        return found

    def addresses(self) -> dict[str, tuple[str, ...]]:
        rows = listing.list_subscribers(self.app.database, SLUG, SubscriberFilter(), self.clock.now())
        return {row.address: row.languages for row in rows}

    def parts(self) -> int:
        with self.app.database.transaction() as session:
            return len(session.scalars(select(ImportJobPart.number)).all())


@pytest.fixture
def imports(make_app: Callable[..., Container], tmp_path: Path) -> Imports:
    clock = StoppedClock()
    app = make_app(clock=clock)
    apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
    account = add_account(app, "amina@example.org", Role.coordinator)
    newsletter = find_newsletter(app.database, SLUG)
    assert newsletter
    return Imports(app, tmp_path, staff_of(account, Role.coordinator), newsletter.id, clock)


def test_a_list_is_looked_over_before_anything_is_written(imports: Imports) -> None:
    first = imports.upload(ANA)
    assert imports.work()
    imports.start(first)
    assert imports.work()
    job = imports.upload(ANA.replace(",hr,", ",de,") + BO + "wrong,,,,,form,2024-01-01\n\n")
    assert imports.get(job).state is ImportState.reading
    assert imports.work() and not imports.work()
    found = imports.get(job)
    assert (found.state, found.bytes_read) == (ImportState.ready, found.size)
    summary = found.summary
    assert [summary[name] for name in ("lines", "new", "known", "rejected", "changed")] == [3, 1, 1, 1, 1]
    assert summary["columns"] == HEADER.strip().split(",")
    assert summary["languages"] == [["de", 1], ["en", 1]] and summary["sources"] == [["letter", 1], ["form", 1]]
    assert (summary["first_consent"], summary["last_consent"]) == ("2024-01-01", "2025-02-03")
    assert summary["changes"] == [["ana@example.org", [["languages", "hr", "de"]]]]
    assert summary["rejects"][0][0] == 4 and "wrong" in summary["rejects"][0][2]
    assert summary["sample"][1]["consent"] == "form, 2025-02-03"
    assert imports.addresses() == {"ana@example.org": ("hr",)}


@pytest.mark.parametrize(("update_known", "language"), [(False, "hr"), (True, "de")])
def test_a_list_is_imported_with_its_rejects_and_changes_those_known_if_asked(
    imports: Imports, update_known: bool, language: str
) -> None:
    for lines in (ANA, ANA.replace(",hr,", ",de,") + BO + "wrong,,,,,form,2024-01-01\n"):
        job = imports.upload(lines)
        imports.work()
        imports.start(job, update_known=update_known)
        imports.work()
    found = imports.get(job)
    assert found.state is ImportState.done and found.summary == {}
    assert found.counts == {
        "lines": 3,
        "added": 1,
        "known": 1,
        "suppressed": 0,
        "rejected": 1,
        "changed": int(update_known),
    }
    assert imports.addresses() == {"ana@example.org": (language,), "bo@example.org": ("en",)}
    rejects = b"".join(import_jobs.rejected_lines(imports.app.database, job)).decode("utf-8-sig")
    assert rejects.splitlines()[0] == f"line,reason,{HEADER.strip()}" and "wrong" in rejects
    assert imports.parts() == 1  # the file itself is deleted
    with imports.app.database.transaction() as session:
        actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert actions[-2:] == [AuditAction.list_uploaded, AuditAction.list_imported]
    with pytest.raises(ChangeRefused):
        imports.start(job)


def test_what_is_no_list_is_refused_in_words(imports: Imports) -> None:
    job = imports.upload("x\n", header="a,b\n")
    imports.work()
    assert imports.get(job).state is ImportState.refused and "There is no column address" in imports.get(job).problem
    assert imports.parts() == 0
    with pytest.raises(ImportRefused, match="empty"):
        imports.upload("", header="")


def test_a_cancelled_import_stops_and_keeps_what_it_has_added(imports: Imports) -> None:
    job = imports.upload("".join(f"r{n}@example.org,,,,,form,2024-01-01\n" for n in range(12)))
    imports.work()
    imports.start(job)

    class CancellingClock(StoppedClock):
        """Somebody presses the button at the first report of the import."""

        calls = 0

        def now(self):  # type: ignore[no-untyped-def]
            self.calls += 1
            if self.calls == 4:
                import_jobs.cancel(imports.app.database, imports.newsletter, job, imports.staff)
            return super().now()

    clock = CancellingClock()
    pads = imports.app.tokens.hmac_pads()
    import_jobs.run_next(imports.app.database, imports.folder, pads, clock, chunk_lines=2)
    assert imports.get(job).state is ImportState.cancelled
    assert 0 < len(imports.addresses()) < 12 and imports.parts() == 0
    with pytest.raises(ChangeRefused):
        import_jobs.cancel(imports.app.database, imports.newsletter, job, imports.staff)
    other = imports.upload(ANA)
    import_jobs.cancel(imports.app.database, imports.newsletter, other, imports.staff)
    assert not imports.work() and imports.get(other).counts == {}


def test_work_that_was_interrupted_begins_again_but_not_for_ever(imports: Imports) -> None:
    job = imports.upload(ANA)

    def lose_worker() -> None:
        """A worker has the job, and is killed."""
        with imports.app.database.transaction() as session:
            values = {"leased_until": imports.clock.now() + import_jobs.LEASE, "attempts": ImportJob.attempts + 1}
            session.execute(update(ImportJob).values(values))

    lose_worker()
    left = imports.folder / "import-left"
    left.mkdir()
    (left / "list.csv").write_text(ANA, "utf-8")
    assert not imports.work() and left.exists()
    imports.clock.advance(seconds=import_jobs.LEASE.total_seconds())
    assert imports.work() and imports.get(job).attempts == 2
    assert not left.exists()
    imports.start(job)
    for _ in range(import_jobs.MAX_ATTEMPTS):
        lose_worker()
    imports.clock.advance(seconds=import_jobs.LEASE.total_seconds())
    assert imports.work() and imports.get(job).state is ImportState.refused


def test_lists_are_deleted_after_some_days_and_with_the_next_upload(imports: Imports) -> None:
    first = imports.upload(ANA)
    second = imports.upload(BO)
    with pytest.raises(JobGone):
        imports.start(first)
    imports.work()
    imports.clock.advance(days=import_jobs.KEPT.days, seconds=1)
    import_jobs.delete_old(imports.app.database, imports.clock.now())
    with pytest.raises(JobGone):
        imports.start(second)
    assert imports.parts() == 0
