"""What tests stand on: a real PostgreSQL and a real Redis, started once for the run, and a real browser."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from mailer.adapters.embedded import Postgres, Valkey
from mailer.adapters.tokens import Tokens
from mailer.bootstrap import Mailer
from mailer.migrations import upgrade
from mailer.settings import Settings
from mailer.store.database import Database

SECRET = "k" * 32


@pytest.fixture(scope="session")
def worker(request: pytest.FixtureRequest) -> str:
    """The name of this process among those that share the run."""
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory, worker: str) -> Iterator[Postgres]:
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if worker != "main" else root
    server = Postgres(shared / "pg", durable=False)
    yield server
    server.close()


@pytest.fixture(scope="session")
def database_url(postgres: Postgres, worker: str) -> str:
    """A database of this process, made by the real migrations."""
    engine = create_engine(
        postgres.url().replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    name = f"test_{worker}_{os.getpid()}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    url = postgres.url(name)
    upgrade(url)
    return url


@pytest.fixture(scope="session")
def _database(database_url: str) -> Iterator[Database]:
    made = Database(database_url, application="tests")
    yield made
    made.close()


@pytest.fixture
def database(_database: Database) -> Database:
    """An empty database."""
    _database.empty()
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
def settings(database: Database, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database.url,
        redis_url="",
        secret_key=SECRET,
        state_dir=tmp_path / "state",
        public_url="http://news.example.org",
        lease_seconds=30,
    )


@pytest.fixture
def parts(settings: Settings) -> Iterator[Mailer]:
    """The whole service on an empty database."""
    with Mailer(settings, application="tests") as made:
        yield made


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that can be driven; a run without one fails, it does not skip."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.fail("These tests drive a browser: install the package chromium (Debian: apt-get install chromium).")
