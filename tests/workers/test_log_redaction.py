"""Logs of the whole running service contain no personal data."""

import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from mailer.bootstrap import Container
from mailer.cli.supervisor import Supervisor
from mailer.devtools.inbox import InboxServer
from mailer.services.issues import approve, compile, schedule
from mailer.services.issues.report import IssueStatus
from mailer.settings import Settings
from tests.support.emails import html_body, text_body
from tests.support.transactional import emails_to, link_path

EVA, ADA = "eva.secret@example.org", "ada.secret@example.org"
FORM = "/subscribe/lumen-basin"


@pytest.fixture
def settings(settings: Settings, inbox: InboxServer) -> Settings:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return settings.model_copy(update={"smtp_port": inbox.port, "web_port": port})


def wait(what: Callable[[], object], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "It did not come."
        time.sleep(0.1)


@pytest.fixture
def site(app: Container, processes: Supervisor) -> httpx.Client:
    processes.start("web", "mailer", "web")
    client = httpx.Client(base_url=f"http://127.0.0.1:{app.settings.web_port}")

    def answers() -> bool:
        try:
            return client.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    wait(answers)
    return client


def test_logs_of_a_whole_run_identify_no_reader(
    app: Container,
    settings: Settings,
    inbox: InboxServer,
    processes: Supervisor,
    site: httpx.Client,
    import_issue: Callable[..., int],
    add_subscribers: Callable[[str], None],
    wait_for_status: Callable[..., IssueStatus],
    tmp_path: Path,
) -> None:
    issue = import_issue("en")
    add_subscribers(f"{ADA};en;\nboţ.secret@example.org;en;")
    processes.start_all(web=False)
    heard = {"X-Forwarded-For": "192.0.2.77"}
    site.post(FORM, data={"address": EVA, "name": "Evangeline Secret"}, headers=heard)
    wait(lambda: emails_to(inbox, EVA))
    site.post(link_path(emails_to(inbox, EVA)[0], "/c/"), headers=heard)
    approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "tests")
    schedule.schedule(app.database, issue, datetime.now(UTC), "tests")
    wait_for_status(issue, lambda status: status.state == "sent")
    mail = emails_to(inbox, ADA)[0]
    leave = link_path(mail, "/u/")
    for path in (link_path(mail, "/p/"), link_path(mail, "/e/"), leave, leave + "x", f"/search?q={EVA}"):
        site.get(path, headers=heard)
    site.post(link_path(mail, "/p/"), data={"action": "send"}, headers=heard)
    wait(lambda: len(emails_to(inbox, ADA)) == 2)
    own = link_path(emails_to(inbox, ADA)[1], "/k/")
    site.post(own, data={"action": "change-address", "address": "new.secret@example.org"}, headers=heard)
    site.post(own + "/data", data={"action": "erase", "sure": "yes"}, headers=heard)
    site.post(leave, content=b"\xff\x00broken", headers=heard)
    processes.stop()
    # Then the database is gone, and everything fails.
    broken = Container(settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:9/none"}))
    with Supervisor(broken) as failing:
        failing.start("web", "mailer", "web")
        failing.start_worker("failing", "scheduler,transactional", 2)
        failing.start_beat()
        wait(lambda: "does not answer" in log_of(tmp_path, "failing"))
        wait(lambda: _status(site, leave, heard) == 503)

    words = {
        file: file.read_bytes().decode("utf-8", "replace") for file in (tmp_path / "state").rglob("*") if file.is_file()
    }
    assert {file.name for file in words} >= {"web.log", "prepare.log", "send.log", "beat.log"}
    assert "does not answer" in words[tmp_path / "state" / "logs" / "web.log"]
    tokens = {
        part
        for mail in (m for to in (ADA, EVA) for m in emails_to(inbox, to))
        for part in re.findall(r"/[upkeca]/([\w-]{22})", text_body(mail) + html_body(mail))
    }
    assert len(tokens) > 5
    for file, said in words.items():
        assert not [w for w in (*tokens, "secret@", "Evangeline", "192.0.2") if w in said], file


def _status(site: httpx.Client, path: str, headers: dict[str, str]) -> int:
    try:
        return site.get(path, headers=headers).status_code
    except httpx.TransportError:
        return 0


def log_of(folder: Path, name: str) -> str:
    return (folder / "state" / "logs" / f"{name}.log").read_text("utf-8", "replace")


def test_limits_use_the_address_from_a_trusted_proxy(site: httpx.Client, import_issue: Callable[..., int]) -> None:
    import_issue("en")

    def asked(number: int, network: str) -> int:
        data = {"address": f"eva{number}@example.org"}
        return site.post(FORM, data=data, headers={"X-Forwarded-For": network}).status_code

    assert [asked(n, f"198.51.{n}.9") for n in range(31)] == [200] * 31
    assert [asked(n, "203.0.113.5, 198.51.100.9") for n in range(31)] == [200] * 30 + [429]


class TestWithoutProxy:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"web_trusted_proxies": "192.0.2.1"})

    def test_forwarded_address_from_others_is_ignored(
        self, site: httpx.Client, import_issue: Callable[..., int]
    ) -> None:
        import_issue("en")
        answers = [
            site.post(
                FORM, data={"address": f"eva{n}@example.org"}, headers={"X-Forwarded-For": f"198.51.{n}.9"}
            ).status_code
            for n in range(31)
        ]
        assert answers == [200] * 30 + [429]
