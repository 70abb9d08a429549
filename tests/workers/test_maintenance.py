"""What the hourly task deletes, and whom it reminds."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from mailer.bootstrap import Container
from mailer.domain.network_checks import LookupKind, LookupOutcome, LookupResult
from mailer.domain.permissions import Role
from mailer.domain.text_requests import TextTask
from mailer.models import ImportJob, NetworkLookup
from mailer.services.issues import edit, network_checks, text_request_list, text_requests
from mailer.services.issues.text_requests import NewRequest
from mailer.services.newsletters import address_book
from mailer.services.newsletters.catalogue import find_newsletter
from mailer.services.subscribers import import_jobs
from mailer.store import network_lookups
from tests.conftest import SECRET
from tests.support.staff import add_account, staff_of
from workers import app as worker
from workers.maintenance import run_maintenance


@pytest.fixture
def _environment(app: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a worker process of this service."""
    monkeypatch.setenv("MAILER_DATABASE_URL", app.database_url)
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    monkeypatch.setenv("MAILER_STATE_DIR", str(tmp_path))
    worker._container.cache_clear()
    yield
    worker.container().close()
    worker._container.cache_clear()


@pytest.mark.usefixtures("_environment")
def test_uploaded_lists_and_lookups_are_deleted_after_their_time(
    app: Container, import_issue: Callable[..., int]
) -> None:
    import_issue("en")
    newsletter = find_newsletter(app.database, "lumen-basin")
    assert newsletter
    staff = staff_of(add_account(app, "amina@example.org", Role.coordinator), Role.coordinator)
    now, works = datetime.now(UTC), LookupResult(LookupOutcome.works)
    old = now - import_jobs.KEPT - timedelta(seconds=1)
    import_jobs.keep(app.database, newsletter.id, staff, "readers.csv", BytesIO(b"address\n"), old)
    with app.database.transaction() as session:
        for link, age in ("old", network_checks.KEPT), ("new", timedelta()):
            network_lookups.save(session, LookupKind.link, link, works, now - age - timedelta(seconds=1))

    run_maintenance()

    with app.database.transaction() as session:
        assert session.scalar(select(func.count()).select_from(ImportJob)) == 0
        assert session.scalars(select(NetworkLookup.target)).all() == ["new"]


@pytest.mark.usefixtures("_environment")
def test_what_was_removed_at_the_desk_goes_after_its_time_and_who_owes_a_text_is_reminded(
    app: Container, import_issue: Callable[..., int]
) -> None:
    issue = import_issue("en")
    newsletter = find_newsletter(app.database, "lumen-basin")
    assert newsletter
    staff = staff_of(add_account(app, "amina@example.org", Role.coordinator), Role.coordinator)
    now = datetime.now(UTC)
    old, tomorrow = now - timedelta(days=31), (now + timedelta(days=1)).date()
    card = address_book.add_card(app.database, newsletter.id, "Ana", {"en": "(Ask: Ana)"}, staff, old)
    address_book.remove_card(app.database, newsletter.id, card, staff, old)
    wanted = NewRequest(None, "fr", TextTask.translation, None, "Jean", "jean@example.org", tomorrow, "")
    asked_at = now - timedelta(days=9)
    request = text_requests.ask(app.database, issue, wanted, staff, app.tokens.address_hash, asked_at)
    edit.remove_story(app.database, issue, edit.list_stories(app.database, issue)[0].story, "", staff)
    with app.database.transaction() as session:
        for change in "story_change SET at", "picture SET at", "library_picture SET removed_at":
            session.execute(text(f"UPDATE {change} = :old"), {"old": old})

    run_maintenance()

    with app.database.transaction() as session:
        tables = ("story_change", "contact_card", "picture")
        left = {table: session.scalar(text(f"SELECT count(*) FROM {table}")) for table in tables}
    assert left == {"story_change": 0, "contact_card": 0, "picture": 30}, "all but one story's and its thumbnail"
    assert text_request_list.load(app.database, issue, request, now).reminded_at
