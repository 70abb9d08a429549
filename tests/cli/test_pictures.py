"""Output and errors of the commands ``mailer pictures``."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from tests.cli.conftest import RunCli


def in_database(app: Container) -> int:
    """Return how many pictures have their bytes in the database."""
    with app.database.transaction() as session:
        return int(session.scalar(text("SELECT count(data) FROM picture")) or 0)


def test_pictures_are_moved_out_of_the_database_copied_and_moved_back(
    mailer: RunCli,
    cli_app: Container,
    import_issue: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import_issue("en")
    folder, backup = (f"{tmp_path.as_uri()}/{name}" for name in ("pictures", "backup"))
    there = "mailer: The pictures are there already. Set MAILER_PICTURE_STORE to where they should be.\n"
    assert mailer("pictures", "move", "database") == (2, "", there)
    assert mailer("pictures", "copy", f"{backup}/") == (0, "32 pictures copied.\n", "")
    assert mailer("pictures", "copy", backup) == (0, "0 pictures copied.\n", "")
    monkeypatch.setenv("MAILER_PICTURE_STORE", folder)
    assert mailer("pictures", "move", folder) == (2, "", there)
    assert mailer("pictures", "move", "database") == (0, "32 pictures moved.\n", "")
    assert in_database(cli_app) == 0
    assert mailer("pictures", "move", f"{folder}/") == (2, "", there), "a move onto themselves would delete them"
    assert mailer("pictures", "check") == (0, "32 pictures checked, 0 problems found.\n", "")
    monkeypatch.delenv("MAILER_PICTURE_STORE")
    assert mailer("pictures", "move", folder) == (0, "32 pictures moved.\n", "")
    assert in_database(cli_app) == 32


def test_missing_and_damaged_pictures_are_listed(
    mailer: RunCli,
    cli_app: Container,
    import_issue: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import_issue("en")
    monkeypatch.setenv("MAILER_PICTURE_STORE", tmp_path.as_uri())
    mailer("pictures", "move", "database")
    missing, damaged, *_ = [path for path in sorted(tmp_path.rglob("*")) if len(path.name) == 64]
    missing.unlink()
    damaged.write_bytes(b"other bytes")
    status, out, _ = mailer("pictures", "check")
    *problems, last = out.splitlines()
    assert (status, last) == (1, "32 pictures checked, 2 problems found.")
    assert len(problems) == 2
    assert all(any(path.name in problem for problem in problems) for path in (missing, damaged))


def test_a_place_that_is_none_is_refused_in_one_sentence(mailer: RunCli, cli_app: Container) -> None:
    refused = "mailer: nowhere is neither `database` nor like file:///folder or s3://bucket/prefix.\n"
    for command in ("move", "copy"):
        assert mailer("pictures", command, "nowhere") == (2, "", refused)
