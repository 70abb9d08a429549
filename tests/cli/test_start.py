"""What commands import: `mailer receive` runs for every inbound mail, and completion at every press of a key."""

import os
import subprocess
import sys

import pytest

from mailer.bootstrap import Container
from tests.conftest import SECRET

_WEB = {"fastapi", "starlette", "uvicorn"}
_RENDERING = {"babel", "jinja2", "mjml", "nh3", "PIL"}
_OTHERS = {"alembic", "aiosmtpd", "celery", "dns", "email_validator", "langcodes", "redis", "uvloop"}
_DATABASE = {"cryptography", "psycopg", "pydantic_settings", "sqlalchemy"}


def run(*words: str, stdin: bytes = b"", **environment: str) -> tuple[str, set[str]]:
    """Run the command line. Return its output and the packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mailer", *words],
        input=stdin,
        capture_output=True,
        env=os.environ | environment,
        check=True,
    )
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip() for line in lines}
    assert "mailer.cli" in modules
    return done.stdout.decode(), {name.partition(".")[0] for name in modules} | modules


@pytest.mark.parametrize("words", [(), ("issue",), ("issue", "send"), ("queues",), ("demo",), ("dkim", "key")])
def test_help_imports_no_heavy_package(words: tuple[str, ...]) -> None:
    out, modules = run(*words, "--help")
    assert "Usage" in out
    assert modules & (_WEB | _RENDERING | _OTHERS | _DATABASE) == set()


def test_completion_imports_no_heavy_package() -> None:
    out, modules = run(_MAILER_COMPLETE="complete_bash", COMP_WORDS="mailer issue s", COMP_CWORD="2")
    assert out.split() == ["story", "send", "status"]
    assert modules & (_WEB | _RENDERING | _OTHERS | _DATABASE | {"rich"}) == set()


def test_receive_imports_nothing_of_pages_and_rendering(app: Container) -> None:
    (slots,) = app.urls.subscriber_slots(1, [1])
    out, modules = run(
        "receive",
        f"bounce+{slots.bounce}@lumen-basin.example.org",
        stdin=b"Subject: hello\n\nhello\n",
        MAILER_DATABASE_URL=app.database.url,
        MAILER_SECRET_KEY=SECRET,
    )
    assert out == "ignored: no delivery status notification\n"
    assert modules & (_WEB | _RENDERING | _OTHERS | {"rich", "mailer.web", "mailer.migrations"}) == set()


def test_a_command_that_asks_the_database_imports_no_pages_and_rendering(app: Container) -> None:
    out, modules = run("issue", "list", MAILER_DATABASE_URL=app.database.url, MAILER_SECRET_KEY=SECRET)
    assert "There are no issues yet" in out
    assert modules & (_WEB | _RENDERING | _OTHERS | {"mailer.web", "mailer.migrations"}) == set()
