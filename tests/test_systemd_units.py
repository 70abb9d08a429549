"""The systemd units of docs/systemd run what compose.yaml runs, and operations.md names them."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from mailer.settings import ROOT, Settings

FOLDER = ROOT / "docs" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
COMPOSE = (ROOT / "compose.yaml").read_text("utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")


def read(path: Path) -> ConfigParser:
    unit = ConfigParser(interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    return unit


def commands_of(text: str) -> list[str]:
    """Return the workers' arguments, without the names of the nodes."""
    return sorted(re.sub(r"-n \S+ ", "", found) for found in re.findall(r"celery -A workers\.app worker (.+)", text))


def test_the_workers_are_those_of_compose() -> None:
    assert commands_of("\n".join(path.read_text("utf-8") for path in UNITS)) == commands_of(COMPOSE)
    names = [re.search(r"-n (\S+)", path.read_text("utf-8")) for path in UNITS]
    nodes = [found[1] for found in names if found]
    assert len(set(nodes)) == len(nodes) and all(name.endswith("@%%h") for name in nodes), "systemd reads %% as %"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_service_is_restarted_and_has_the_settings(path: Path) -> None:
    service = read(path)["Service"]
    assert service["User"] == "mailer"
    assert service["EnvironmentFile"] == "/etc/mailer.env"
    assert service["WorkingDirectory"] == "/opt/mailer"
    assert service["Restart"] == "always"
    assert int(service["TimeoutStopSec"]) >= 20, "messages in flight finish"
    wanted = read(FOLDER / "mailer.target")["Unit"]["Wants"].split()
    assert path.name.replace("@.", "@1.") in wanted
    assert f"`{path.stem.removesuffix('@')}" in OPERATIONS


def test_the_settings_in_the_steps_exist() -> None:
    written = re.findall(r"^(MAILER_\w+)=", OPERATIONS, re.MULTILINE)
    assert {name.removeprefix("MAILER_").lower() for name in written} <= Settings.model_fields.keys()
    assert {"MAILER_STATE_DIR", "MAILER_DATABASE_URL", "MAILER_SECRET_KEY"} <= set(written)
