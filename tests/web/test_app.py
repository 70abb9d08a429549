"""The web application: error pages, headers, health, logs and style sheets."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from urllib.request import Request, urlopen

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import text as sql
from starlette.types import Message

from mailer.bootstrap import Container
from mailer.domain.colours import contrast_ratio
from mailer.settings import Settings
from mailer.store.database import Database
from mailer.web import theme
from mailer.web.app import create_app
from mailer.web.logs import redact_tokens
from mailer.web.static import WEB_TEMPLATES
from mailer.web.theme import theme_url
from tests.support.mailing import Mailing

SAFE = {"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}


@pytest.fixture
def lonely(settings: Settings) -> TestClient:
    """The pages of a service whose database is gone."""
    gone = settings.model_copy(update={"database_url": "postgresql://nobody:secret@127.0.0.1:9/none"})
    return TestClient(create_app(Container(gone)))


def test_health(client: TestClient, lonely: TestClient) -> None:
    well = client.get("/health")
    assert (well.status_code, well.json()) == (200, {"status": "ok"})
    ill = lonely.get("/health")
    assert (ill.status_code, ill.json()) == (503, {"status": "no database"})


def test_pages_without_a_database_show_a_message(
    lonely: TestClient, app: Container, caplog: pytest.LogCaptureFixture
) -> None:
    token = app.urls.subscriber_slots(1, [1])
    answer = lonely.post(f"/u/{next(token).unsubscribe}", headers={"Accept-Language": "fr"})
    assert answer.status_code == 503
    assert '<html lang="fr" dir="ltr">' in answer.text
    assert "secret" not in answer.text + caplog.text
    assert "The database does not answer" in caplog.text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/subscribe/lumen-basin",
        "/archive/lumen-basin",
        "/archive/lumen-basin/en",
        "/archive/lumen-basin/en?q=ferry",
        "/archive/lumen-basin/en.atom",
        "/archive/lumen-basin/en/news-and-events.atom",
        "/sitemap.xml",
    ],
)
def test_a_page_that_takes_too_long_is_unavailable(
    make_app: Callable[..., Container], mailing: Mailing, path: str
) -> None:
    impatient = Database(mailing.app.database.url, public_timeout_seconds=0.05)
    client = TestClient(create_app(make_app(database=impatient)), follow_redirects=False)
    with mailing.app.database.transaction() as session:
        session.execute(sql("LOCK TABLE newsletter IN ACCESS EXCLUSIVE MODE"))
        answer = client.get(path)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "<h1>" in answer.text
    assert client.get(path).status_code in (200, 302)
    impatient.close()


def test_unexpected_error_shows_a_page(mailing: Mailing) -> None:
    app = create_app(mailing.app)

    @app.get("/fail")
    def fail() -> None:
        raise RuntimeError("inner workings")

    answer = TestClient(app, raise_server_exceptions=False).get("/fail")
    assert answer.status_code == 500
    assert "Something went wrong on our side" in answer.text
    assert "inner workings" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/sign-in", "/subscribe/lumen-basin"])
def test_a_client_that_goes_in_the_middle_of_a_form_is_no_error(web_app: FastAPI, mailing: Mailing, path: str) -> None:
    part = {"type": "http.request", "body": b"address=a", "more_body": True}
    messages: Iterator[Message] = iter([part, {"type": "http.disconnect"}])
    sent: list[Message] = []

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"", "root_path": ""}
    scope |= {"client": ("127.0.0.1", 9), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1"}
    asyncio.run(web_app(scope, receive, send))  # an error would be raised here, and logged by the server
    assert sent[0]["status"] < 500


def test_every_response_has_security_headers(client: TestClient) -> None:
    for path in ("/", "/health", "/nowhere", "/static/base.css", theme_url({})):
        answer = client.get(path)
        assert {name: answer.headers[name] for name in SAFE} == SAFE
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_every_static_file_of_pages_exists(client: TestClient) -> None:
    html = client.get("/").text
    sheet = (WEB_TEMPLATES / "static" / "public.css").read_text()
    files = re.findall(r'href="(/static/[^"]+)"', html)
    assert len(files) == 3
    for path in [*files, *(f"/static/{name}" for name in re.findall(r'url\("([^"]+)"\)', sheet))]:
        assert client.get(path).status_code == 200


def test_public_url_with_a_path(settings: Settings) -> None:
    below = settings.model_copy(update={"public_url": "https://example.org/news"})
    with Container(below) as parts:
        html = TestClient(create_app(parts)).get("/nowhere").text
    assert 'href="/news/static/base.css?v=' in html


def test_logs_contain_no_token_address_or_ip(web_app: FastAPI, mailing: Mailing, serve: Callable[..., str]) -> None:
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    keep = Keep()
    paths = [
        mailing.unsubscribe_path("ada@example.org"),
        mailing.manage_path("ada@example.org"),
        mailing.web_view_path("en"),
    ]
    base = serve(web_app, log_level="debug", access_log=True)
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.access")]
    for logger in loggers:
        logger.addHandler(keep)
    try:
        for path in paths:
            urlopen(f"{base}{path}?lang=fr").read()
        urlopen(Request(base + paths[0], b"List-Unsubscribe=One-Click", method="POST")).read()
    finally:
        for logger in loggers:
            logger.removeHandler(keep)
    log = "\n".join(lines)
    assert '- - "GET /u/*?lang=fr HTTP/1.1" 200' in log
    assert '- - "POST /u/* HTTP/1.1" 200' in log
    for private in [*(path[3:] for path in paths), "ada@", "127.0.0.1"]:
        assert private not in log


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("/u/k3J_-x?lang=fr", "/u/*?lang=fr"),
        ("/p/k3J_-x", "/p/*"),
        ('GET /e/k3J_-x" 200', 'GET /e/*" 200'),
        ("/pictures/0123.jpg", "/pictures/0123.jpg"),
    ],
)
def test_tokens_are_masked(line: str, masked: str) -> None:
    assert redact_tokens(line) == masked


_COLOURS = st.from_regex(r"#[0-9a-fA-F]{6}", fullmatch=True)


@given(accent=_COLOURS, surface=_COLOURS, background=_COLOURS, ink=_COLOURS, section=_COLOURS)
def test_any_theme_has_enough_contrast(accent: str, surface: str, background: str, ink: str, section: str) -> None:
    css = theme_sheet({"accent": accent, "surface": surface, "background": background, "text": ink}, ["", section])
    for part in css.split("@media"):
        surface = re.findall(r"--surface: (#[0-9a-f]{6})", part.lower())[0]
        tones = re.findall(r"\.tone-[12] \{ --tone: (#[0-9a-f]{6});", part.lower())
        assert [contrast_ratio(tone, surface) >= 4.5 for tone in tones] == [True, True]
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part.lower()))
        for text in ("ink", "ink-soft", "accent"):
            assert contrast_ratio(colours[text], colours["surface"]) >= 4.5
        assert contrast_ratio(colours["on-accent"], colours["accent"]) >= 4.5
        assert "band" not in colours or contrast_ratio(colours["on-band"], colours["band"]) >= 4.5
        assert contrast_ratio(colours["on-ground"], colours["ground"]) >= 4.5
        assert contrast_ratio(colours["line-strong"], colours["surface"]) >= 3


def theme_sheet(colours: dict[str, str], sections: Sequence[str] = ()) -> str:
    answer = _themes().get(theme_url(colours, sections))
    assert answer.headers["Content-Type"].startswith("text/css")
    assert "immutable" in answer.headers["Cache-Control"]
    return answer.text


def _themes() -> TestClient:
    app = FastAPI()
    app.include_router(theme.router)
    return TestClient(app)


@given(accent=st.text(max_size=40))
@example("red;}body{display:none}")
@example("#0b5566/../x")
def test_invalid_colours_are_replaced_by_defaults(accent: str) -> None:
    if not re.fullmatch("#[0-9a-fA-F]{6}", accent):
        assert theme_sheet({"accent": accent}) == theme_sheet({})


@pytest.mark.parametrize(
    "name",
    ["0b5566", "red-1d2a2e-fffdf8-f1ece1", "0b5566-1d2a2e-fffdf8-f1ece1-", "-".join(["0b5566"] * 67), "%0a"],
)
def test_invalid_theme_urls_are_not_found(name: str) -> None:
    assert _themes().get(f"/theme/{name}.css").status_code == 404
