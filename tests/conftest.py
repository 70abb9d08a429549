"""Fixtures: a real PostgreSQL and a real Redis, started once per run, a browser, and the sample newsletter with its
issue, readers and an inbox."""

import functools
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import redis
from sqlalchemy import create_engine, make_url, text

from mailer.adapters.embedded import Postgres, Valkey
from mailer.adapters.passwords import PasswordHasher
from mailer.adapters.pictures import PreparedPicture
from mailer.adapters.tokens import Tokens
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer, start_inbox_server
from mailer.domain.document import parse
from mailer.domain.newsletter_check import read_newsletter
from mailer.migrations import upgrade
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import approve, compile, document_import, schedule
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers import csv_import
from mailer.settings import ROOT, Settings
from mailer.store.database import Database
from tests.support.name_server import NameServer, running_name_server
from tests.support.sending import send_due_batches
from tests.support.smtp_sink import SinkServer
from tests.support.snapshots import Snapshots, non_empty_tables

# Few examples during development, many in .ci/run. No deadline, because the duration depends on the machine's load.
# The same commit gives the same result; "search" looks for examples that nobody has seen yet.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=60, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=300, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None, max_examples=2000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SECRET = "k" * 32
SAMPLE = ROOT / "docs" / "sample"
NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)


def _takes_long(item: pytest.Item) -> bool:
    """Return whether a test drives a browser or starts the service's processes."""
    return (
        item.path.parent.name == "flows"
        or item.path.stem == "test_demo"
        or not {"chromium", "processes"}.isdisjoint(getattr(item, "fixturenames", ()))
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first in each process's share, so that no process is alone with them in the end.

    pytest-xdist gives each process an equal part of the list, and takes from the end of a part what others can do.
    """
    files = dict.fromkeys(item.path for item in items if _takes_long(item))
    short = [item for item in items if item.path not in files]
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ordered: list[pytest.Item] = []
    for number in range(processes):
        size = (len(items) - len(ordered)) // (processes - number)
        part = [item for path in list(files)[number::processes] for item in items if item.path == path]
        room = max(0, size - len(part))
        ordered += part + short[:room]
        del short[:room]
    items[:] = ordered + short


def pytest_collection_finish() -> None:
    """Exclude loaded modules from garbage collection, which took a seventh of the run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> str:
    """Return the name of this test process."""
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """One server for all processes of the run. Not among pytest's own folders: those are for one user alone,
    and as root the server runs as another."""
    run = str(getattr(request.config, "workerinput", {}).get("testrunuid", os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"mailer-tests-{run}"
    server = Postgres(folder / "postgres", durable=False)
    yield server
    server.close()
    if not (folder / "postgres" / "postmaster.pid").exists():  # this process was the last
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, worker: str) -> str:
    """A database of this process, made by the real migrations.

    It is on the server of MAILER_TEST_DATABASE_URL, where databases may be created, or else on an embedded one.
    """
    server = os.environ.get("MAILER_TEST_DATABASE_URL") or request.getfixturevalue("postgres").url()
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://", 1), isolation_level="AUTOCOMMIT")
    name = f"test_{worker}_{os.getpid()}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    url = make_url(server).set(database=name).render_as_string(hide_password=False)
    upgrade(url)
    return url


@pytest.fixture(scope="session")
def _database(database_url: str) -> Iterator[Database]:
    made = Database(database_url, application="tests")
    yield made
    made.close()


@pytest.fixture
def database(_database: Database) -> Database:
    """Return an empty database."""
    _database.delete_all_rows()
    return _database


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.close()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens([SECRET])


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[InboxServer]:
    with start_inbox_server("127.0.0.1", 0, tmp_path / "inbox") as running:
        yield running


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[SinkServer]:
    """Return a relay that logs accepted messages and can be made to fail."""
    with SinkServer(tmp_path / "accepted.log") as running:
        yield running


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    with running_name_server() as running:
        yield running


@pytest.fixture
def settings(database: Database, inbox: InboxServer, valkey: Valkey, tmp_path: Path) -> Settings:
    redis.Redis.from_url(valkey.url).flushall()
    return Settings(
        database_url=database.url,
        smtp_port=inbox.port,
        batch_size=10,
        redis_url=valkey.url,
        secret_key=SECRET,
        state_dir=tmp_path / "state",
        public_url="http://news.example.org",
        lease_seconds=30,
        host_grace_seconds=0,
    )


@pytest.fixture(scope="session")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Container:
    """Return a container with what is expensive and never changed: compiled templates and catalogues."""
    return Container(Settings(secret_key=SECRET, state_dir=tmp_path_factory.mktemp("state")), application="tests")


@pytest.fixture
def make_app(settings: Settings, database: Database, shared_app: Container) -> Iterator[Callable[..., Container]]:
    """Return a function that makes a container on the test's database, with changed settings and components."""
    with ExitStack() as stack:

        def make(changes: Mapping[str, object] | None = None, **adapters: Any) -> Container:
            components: dict[str, Any] = {
                "database": database,  # shares connections and compiled statements with other tests
                "catalogues": shared_app.catalogues,
                "renderer": shared_app.renderer,
                "transactional_renderer": shared_app.transactional_renderer,
                "passwords": PasswordHasher(memory_kib=64),  # quick
            }
            changed = settings.model_copy(update=dict(changes or {}))
            return stack.enter_context(Container(changed, application="tests", **{**components, **adapters}))

        yield make


@pytest.fixture
def app(make_app: Callable[..., Container]) -> Container:
    """Return a container on an empty database."""
    return make_app()


@pytest.fixture(scope="session")
def pictures(shared_app: Container) -> Callable[[str], PreparedPicture]:
    """Return a loader of the sample's pictures, which prepares each only once because that is slow."""
    return shared_app.picture_loader(SAMPLE)


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory, worker: str) -> Snapshots:
    folder = tmp_path_factory.getbasetemp()
    return Snapshots((folder if worker == "main" else folder.parent) / "snapshots")


@pytest.fixture
def import_issue(
    app: Container, pictures: Callable[[str], PreparedPicture], snapshots: Snapshots
) -> Callable[..., int]:
    """Return a function that imports the sample issue in some languages and returns its id."""

    def run(*languages: str) -> int:
        keys = [f"issue in {languages[: count + 1]}" for count in range(len(languages))]
        empty = not non_empty_tables(app.database)
        issue, known = 0, len(languages) if empty else 0
        while known and not (issue := snapshots.restore(app.database, keys[known - 1]) or 0):
            known -= 1
        if not known:
            apply_newsletter(app.database, read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8")))
        for language in languages[known:]:
            done = document_import.import_document(
                app.database,
                parse((SAMPLE / f"2026-3.{language}.md").read_text("utf-8"), language),
                "lumen-basin",
                language,
                number="2026/3",
                today=date(2026, 9, 30),
                picture_loader=pictures,
                picture_store=app.picture_store,
                actor="tests",
            )
            issue = done.issue
        if empty and known < len(languages):
            snapshots.keep(app.database, keys[-1], issue)
        return issue

    return run


@pytest.fixture
def add_subscribers(app: Container, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that imports readers from lines of ``address;languages;sections``."""

    def run(lines: str) -> None:
        file = tmp_path / "readers.csv"
        head = "address;languages;sections;consent_source;consent_date\n"
        rows = [f"{line.strip()};a form;2026-01-02" for line in lines.strip().splitlines()]
        file.write_text(head + "\n".join(rows) + "\n", "utf-8")
        report = csv_import.import_subscribers(
            app.database, file, "lumen-basin", hmac_pads=app.tokens.hmac_pads(), now=NOW
        )
        assert not report.rejected, (tmp_path / "readers.rejects.csv").read_text("utf-8")

    return run


@pytest.fixture
def prepare(app: Container) -> Callable[[int], None]:
    """Return a function that does everything to an issue except sending: approve, schedule, expand, render."""

    def run(issue: int) -> None:
        approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
        now = datetime.now(UTC)
        schedule.schedule(app.database, issue, now, "tests")
        assert dispatch.start_due(app.database, now, app.settings.batch_size) == [issue]
        while expand.expand_next(app.database, issue, now):
            pass
        while compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8):
            pass
        assert dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash)

    return run


@pytest.fixture
def prepared_issue(
    app: Container,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    snapshots: Snapshots,
) -> Callable[..., int]:
    """Return a function that makes the sample issue in some languages with readers (lines as for add_subscribers),
    does everything to it except sending, and returns its id."""

    def run(readers: str, *languages: str) -> int:
        def make() -> int:
            issue = import_issue(*languages)
            add_subscribers(readers)
            prepare(issue)
            return issue

        settings = app.settings.public_url, app.settings.batch_size
        return snapshots.restore_or_make(app.database, f"prepared {languages} {readers} {settings}", make)

    return run


@pytest.fixture
def send(app: Container) -> Callable[[], int]:
    """Return a function that sends every due batch in this process and returns the number of messages."""
    return functools.partial(send_due_batches, app)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Chromium. Without it, tests fail instead of being skipped."""
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)  # as patient as actions are: the machine may be busy
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.fail("These tests drive a browser: install the package chromium (Debian: apt-get install chromium).")


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator["Browser"]:
    """Chromium, for all tests of a file. Playwright occupies the event loop of this thread meanwhile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
