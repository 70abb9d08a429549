"""The embedded servers."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from mailer.adapters.embedded import Postgres, UnusableStateDir, Valkey


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not among pytest's own folders: those are for one user alone, and as root PostgreSQL runs as another."""
    with tempfile.TemporaryDirectory(prefix="mailer-tests-") as made:
        yield Path(made)


@pytest.mark.parametrize("name", ["Öfen+Töpfe", "a/rather" + "/long" * 20])
def test_redis_starts_in_a_folder_and_is_reused(folder: Path, name: str) -> None:
    server = Valkey(folder / name)
    try:
        joined = Valkey(folder / name)
        redis.Redis.from_url(server.url).set("a", "b")
        assert redis.Redis.from_url(joined.url).get("a") == b"b"
        joined.close()
        assert redis.Redis.from_url(server.url).ping()
    finally:
        server.close()


def test_postgresql_starts_in_a_folder_with_non_ascii_letters(folder: Path) -> None:
    server = Postgres(folder / "Öfen+Töpfe", durable=False)
    try:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.close()


@pytest.mark.parametrize("server", [Postgres, Valkey])
@pytest.mark.parametrize("name", ["my first try", "it's", 'a"b', "a#b", "a$b", "a,b"])
def test_unusable_path_is_refused(folder: Path, server: type[Postgres] | type[Valkey], name: str) -> None:
    with pytest.raises(UnusableStateDir, match="Move this folder"):
        server(folder / name)
    assert not (folder / name).exists()
