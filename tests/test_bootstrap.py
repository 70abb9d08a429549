"""The container: what it makes from the settings."""

import os
import stat
from pathlib import Path

import pytest

from mailer.bootstrap import Container
from mailer.settings import Settings
from tests.conftest import SECRET


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_state_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(
        database_url="postgresql://nobody@127.0.0.1:9/none", secret_key=SECRET, state_dir=tmp_path / "a" / "state"
    )
    with Container(settings) as app:
        assert app.journals.folder_id
    assert mode(tmp_path / "a" / "state") == 0o700


def test_a_state_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with Container(Settings(state_dir=tmp_path)) as app:
        assert app.journals.folder_id
    assert mode(tmp_path) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="the embedded PostgreSQL runs as another user for root alone")
def test_the_embedded_server_of_root_can_pass_through_the_state_folder(tmp_path: Path) -> None:
    with Container(Settings(state_dir=tmp_path / "state")) as app:
        assert app.secret_key
    assert mode(tmp_path / "state") == 0o711
    assert mode(tmp_path / "state" / "secret.key") == 0o600
