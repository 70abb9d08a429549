"""The nginx example of docs/operations.md, in a real nginx in front of two web servers."""

import http.server
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from mailer.settings import ROOT

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


class Web(http.server.ThreadingHTTPServer):
    """A web server that notes what it was asked, and may hang up instead of answering."""

    allow_reuse_address = True

    def __init__(self, port: int = 0, *, hangs_up: bool = False) -> None:
        self.asked: list[str] = []
        self.hangs_up = hangs_up
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Web

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path} {self.headers['X-Forwarded-For']}")
        if self.server.hangs_up:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def reserved() -> Iterator[list[int]]:
    """Three ports that nobody else takes: bound, so that connections are refused until a server listens there."""
    with ExitStack() as kept:
        sockets = [kept.enter_context(socket.socket()) for _ in range(3)]
        for holder in sockets:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 0))
        yield [holder.getsockname()[1] for holder in sockets]


@pytest.fixture
def ports(reserved: list[int]) -> list[int]:
    """Where the two web servers are expected."""
    return reserved[:2]


@pytest.fixture
def proxy(tmp_path: Path, reserved: list[int], ports: list[int]) -> Iterator[httpx.Client]:
    """nginx with the example, which the documentation gives to copy."""
    example = re.search(r"^```\n(limit_req_zone .*?)^```$", (ROOT / "docs/operations.md").read_text(), re.M | re.S)
    assert example
    text, port = example[1], reserved[2]
    for written, used in zip(("8025", "8027"), ports, strict=True):
        assert text.count(f"127.0.0.1:{written}") == 1
        text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{used}")
    text = text.replace("server_name news.example.org;", f"server_name news.example.org; listen 127.0.0.1:{port};")
    folders = "".join(
        f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; worker_processes 1; events {{}}\n"
        # Bodies stay in memory: nginx, started by root, may not write to the test's folder.
        f"http {{ client_body_buffer_size 4m; access_log {tmp_path}/access.log; {folders}\n{text}}}\n"
    )
    assert NGINX
    server = subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(conf)], stderr=subprocess.PIPE, text=True)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        deadline = time.monotonic() + 20
        while server.poll() is None:
            try:
                client.get("/")
                break
            except httpx.ConnectError:
                assert time.monotonic() < deadline, "nginx does not listen"
                time.sleep(0.02)
        if server.poll() is not None:
            pytest.fail(server.communicate()[1])
        yield client
    server.terminate()
    server.communicate(timeout=20)


ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def test_one_click_reaches_the_server_that_is_there(proxy: httpx.Client, ports: list[int]) -> None:
    for port in ports:
        web = Web(port)
        answers = [proxy.post("/u/TOKEN", data=ONE_CLICK).status_code for _ in range(6)]
        assert answers == [200] * 6 and web.asked == ["POST /u/TOKEN 127.0.0.1"] * 6
        web.stop()


def test_one_click_goes_to_the_other_server_if_one_hangs_up(proxy: httpx.Client, ports: list[int]) -> None:
    starting, web = Web(ports[0], hangs_up=True), Web(ports[1])
    answers = [proxy.post("/u/TOKEN", data=ONE_CLICK).status_code for _ in range(6)]
    assert answers == [200] * 6 and len(web.asked) == 6
    assert starting.asked, "the first server was tried, too"
    starting.stop()
    web.stop()


def test_staff_may_upload_more_than_readers(proxy: httpx.Client, ports: list[int]) -> None:
    web = Web(ports[0])
    content = b"x" * (2 << 20)
    assert proxy.post("/desk/newsletters/news/subscribers/import", content=content).status_code == 200
    assert proxy.post("/subscribe/news", content=content).status_code == 413
    web.stop()


def test_other_forms_are_not_sent_twice(proxy: httpx.Client, ports: list[int]) -> None:
    webs = [Web(port, hangs_up=True) for port in ports]
    answer = proxy.post("/subscribe/news", data={"address": "ada@example.org"})
    assert answer.status_code == 503
    assert sum(len(web.asked) for web in webs) == 1
    for web in webs:
        web.stop()


def test_without_a_server_everybody_is_asked_to_try_again(proxy: httpx.Client) -> None:
    for answer in (proxy.post("/u/TOKEN", data=ONE_CLICK), proxy.get("/"), proxy.get("/p/TOKEN")):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "10"
        assert "try again" in answer.text


def test_no_link_of_a_reader_is_logged(proxy: httpx.Client, tmp_path: Path) -> None:
    for kind in "acekpu":
        proxy.get(f"/{kind}/TOKEN")
    proxy.get("/archive")
    logs = (tmp_path / "access.log").read_text() + (tmp_path / "error.log").read_text()
    assert "/archive" in logs and "TOKEN" not in logs
