"""The pages of the inbox, read as HTML and, where a browser has the last word, in Chromium."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Dialog, Page

from mailer.devtools.inbox import CaughtMail, Inbox
from mailer.devtools.inbox.web import PAGE_SIZE, View, create_inbox_app, inbox_router, list_mail
from mailer.web.static import WEB_TEMPLATES

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)


def add(
    inbox: Inbox,
    recipient: str = "reader@example.org",
    subject: str = "Rivers",
    language: str = "en",
    html: str = "<p>Rich words</p>",
    text: str = "Plain words",
) -> CaughtMail:
    mail = EmailMessage()
    mail["From"] = "Rivers <news@rivers.example.org>"
    mail["Subject"] = subject
    mail["List-Unsubscribe"] = "<https://rivers.example.org/u/1>"
    mail.set_content(text)
    if html:
        mail.add_alternative(html, subtype="html")
        mail.get_payload(1).add_related(PICTURE, "image", "png", cid="<logo@x>")  # type: ignore[union-attr]
    mail["Content-Language"] = language
    return inbox.add("bounce@rivers.example.org", [recipient], mail.as_bytes())


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


@pytest.fixture
def client(inbox: Inbox) -> TestClient:
    return TestClient(create_inbox_app(inbox), base_url="http://localhost:8026")


@pytest.fixture
def address(inbox: Inbox) -> Iterator[str]:
    """The inbox on a port, for a browser."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(create_inbox_app(inbox), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/inbox"
        server.should_exit = True
        thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    # "null": let the frame's own colour scheme count, instead of overriding it in every frame.
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="null")
    yield context.new_page()
    context.close()


def rows(html: str) -> list[str]:
    return re.findall(r'id="mail-([0-9a-f]{16})"', html)


def test_an_empty_inbox_says_so(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.url.path == "/inbox"
    assert "No mail yet." in answer.text


def test_the_newest_mail_comes_first(inbox: Inbox, client: TestClient) -> None:
    ids = [add(inbox).id for _ in range(3)]
    assert rows(client.get("/inbox").text) == ids[::-1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=SECOND@", ["second"]),
        ("q=انهار", []),
        ("q=أنهار", ["second"]),
        ("q=arabic", ["second"]),
        ("q=rivers+first", ["first"]),
        ("q=zzz", []),
        ("language=ar", ["second"]),
        ("language=ar&q=first", []),
    ],
)
def test_search_reads_addresses_subjects_and_languages(
    inbox: Inbox, client: TestClient, query: str, found: list[str]
) -> None:
    first = add(inbox, "first@example.org", "Harbours", "en")
    second = add(inbox, "second@example.org", "أنهار وموانئ", "ar")
    html = client.get(f"/inbox?{query}").text
    assert rows(html) == [{"first": first, "second": second}[name].id for name in found]
    assert ("No mail matches this search." in html) == (not found)


def test_languages_are_counted_within_the_search(inbox: Inbox) -> None:
    for number, language in enumerate(("en", "ar", "ar", "fr")):
        add(inbox, f"reader{number}@example.org", language=language)
    listed = list_mail(inbox.messages(), View(q="reader", language="fr"), None)
    assert listed.languages == [("ar", 2), ("en", 1), ("fr", 1)]
    assert (listed.matching, listed.matching_in_all_languages, listed.total) == (1, 4, 4)


def test_pages_list_every_mail_once_and_a_selected_mail_sets_the_page(inbox: Inbox) -> None:
    mails = [add(inbox) for _ in range(PAGE_SIZE + 3)]
    newest_first = mails[::-1]
    first, second, beyond = (list_mail(mails, View(page=page), None) for page in (1, 2, 99))
    assert [*first.mails, *second.mails] == newest_first
    assert beyond == second
    selected = list_mail(mails, View(page=1), mails[0])
    assert (selected.page, selected.newer, selected.older) == (2, mails[1], None)
    assert list_mail(mails, View(), mails[-1]).newer is None


def test_every_part_of_a_mail_is_shown(inbox: Inbox, client: TestClient) -> None:
    words = "Read https://rivers.example.org/story, see <https://a.example/b,>، then https://a.example/c؟ <b>"
    mail = add(inbox, text=words)
    html = client.get(f"/inbox/{mail.id}?width=360&scheme=dark").text
    assert 'class="frame frame--360 frame--dark"' in html
    assert 'href="https://rivers.example.org/u/1"' in html
    text = client.get(f"/inbox/{mail.id}?show=text").text
    assert re.findall(r'<a href="([^"]+)" target="_blank" rel="noreferrer">http', text) == [
        "https://rivers.example.org/story",
        "https://a.example/b,",
        "https://a.example/c",
    ]
    assert "&lt;b&gt;" in text
    assert "<dt>Return-Path</dt>" in client.get(f"/inbox/{mail.id}?show=headers").text
    source = client.get(f"/inbox/{mail.id}/source")
    assert source.content == inbox.read(mail)
    assert source.headers["Content-Disposition"] == f'attachment; filename="{mail.id}.eml"'


def test_a_mail_without_html_shows_its_text(inbox: Inbox, client: TestClient) -> None:
    html = client.get(f"/inbox/{add(inbox, html='').id}").text
    assert "Plain words" in html
    assert "<iframe" not in html


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no headers",
        b"Subject: =?no-such?q?=ff?=\r\nContent-Language: ../../etc\r\n\r\n\xff",
        b"Content-Type: multipart/mixed\r\n\r\n--",
        b"Content-Type: text/html; charset=unicode-escape\r\n\r\n\\ud800",
    ],
)
@pytest.mark.parametrize("show", ["html", "text", "headers"])
def test_broken_mail_is_still_shown(inbox: Inbox, client: TestClient, content: bytes, show: str) -> None:
    mail = inbox.add("", ["reader@example.org"], content)
    assert client.get(f"/inbox/{mail.id}?show={show}").status_code == 200
    assert client.get(f"/inbox/{mail.id}/html").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["0123456789abcdef", "..%2f..%2fsecret", "%2e%2e%2fsecret", "....//secret", "secret", "%00", "é"],
)
@pytest.mark.parametrize("part", ["", "/html", "/source", "/files/0"])
def test_only_received_mail_can_be_read(inbox: Inbox, client: TestClient, tmp_path: Path, path: str, part: str) -> None:
    (tmp_path / "secret.eml").write_text("Subject: hush\r\n\r\nhush")
    (tmp_path.parent / "secret.eml").write_text("Subject: hush\r\n\r\nhush")
    answer = client.get(f"/inbox/{path}{part}")
    assert answer.status_code == 404
    assert "hush" not in answer.text


def test_attachments_other_than_pictures_are_downloaded(inbox: Inbox, client: TestClient) -> None:
    mail = EmailMessage()
    mail.set_content("See the file.")
    mail.add_attachment(b"<script>alert(1)</script>", "text", "html", filename="x.html")
    caught = inbox.add("", ["reader@example.org"], mail.as_bytes())
    answer = client.get(f"/inbox/{caught.id}/files/0")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert client.get(f"/inbox/{caught.id}/files/1").status_code == 404
    assert client.get(f"/inbox/{caught.id}/files/-1").status_code == 404


def test_the_mail_keeps_its_rendering_mode(inbox: Inbox, client: TestClient) -> None:
    mail = add(inbox, html='<!doctype html><html><head lang="en"><title>x</title></head><body>x</body></html>')
    html = client.get(f"/inbox/{mail.id}/html").text
    assert html.startswith('<!doctype html><html><head lang="en"><base target="_blank"><title>')


def test_mail_with_many_head_tags_is_parsed_in_linear_time(inbox: Inbox, client: TestClient) -> None:
    mail = add(inbox, html="<head " * 14_000 + "<body>x</body>")
    began = time.monotonic()
    assert '<base target="_blank"><body>x' in client.get(f"/inbox/{mail.id}/html").text
    assert time.monotonic() - began < 3  # to look for the end of each of them took 6 seconds


def test_pages_have_no_inline_script_or_style(inbox: Inbox, client: TestClient) -> None:
    mail = add(inbox)
    for show in ("html", "text", "headers"):
        answer = client.get(f"/inbox/{mail.id}?show={show}")
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", answer.text)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_inbox_can_be_mounted_in_another_app(inbox: Inbox) -> None:
    mail = add(inbox)
    whole = FastAPI()
    whole.mount("/dev", create_inbox_app(inbox))
    whole.include_router(inbox_router(inbox, "/post", ["http://pictures.example.org"]))
    client = TestClient(whole, base_url="http://localhost")
    html = client.get("/dev/inbox").text
    links = re.findall(r'(?:href|src|action)="([^"]+)"', html)
    assert all(link.startswith(("/dev/", "#", "?")) for link in links)
    assert client.get(f"/dev/inbox/{mail.id}").status_code == 200
    assert all(client.get(link).status_code == 200 for link in links if link.startswith("/dev/static"))
    assert f'href="/post/{mail.id}"' in client.get("/post").text
    policy = client.get(f"/post/{mail.id}/html").headers["Content-Security-Policy"]
    assert "img-src 'self' data: http://pictures.example.org;" in policy


@pytest.mark.parametrize("bound_to", ["127.0.0.1", "192.0.2.7", "[2001:db8::7]"])
def test_requests_need_an_own_host_name_whatever_the_address(inbox: Inbox, bound_to: str) -> None:
    client = TestClient(create_inbox_app(inbox, host_names=["devbox"]), base_url=f"http://{bound_to}:8026")
    own = ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "192.0.2.7", "[2001:db8::7]", "devbox"]
    foreign = ["rebound.example.org", "inbox.example.org", "127.0.0.1.example.org", "localhost.example.org", "", "["]
    for names, status in ((own, 200), (foreign, 400)):
        for name in names:
            assert client.get("/inbox", headers={"Host": name}).status_code == status, name
            assert client.get("/inbox", headers={"Host": f"{name}:8026"}).status_code == status, name


def test_static_files_are_immutable_only_with_their_hash(client: TestClient) -> None:
    hashed = re.findall(r'"(/static/[^"]+)"', client.get("/inbox").text)
    assert len(hashed) == 4
    assert all("immutable" in client.get(path).headers["Cache-Control"] for path in hashed)
    assert client.get("/static/base.css").headers["Cache-Control"] == "no-cache"


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_design_tokens_have_enough_contrast(scheme: int) -> None:
    css = (WEB_TEMPLATES / "static" / "base.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    tokens = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme]))
    pairs = [
        (text, ground, 4.5)
        for text in ("ink", "ink-soft", "accent", "good", "bad")
        for ground in ("ground", "surface", "raised", "accent-wash")
    ]
    pairs += [("on-accent", "accent", 4.5), ("line-strong", "surface", 3.0), ("line-strong", "ground", 3.0)]
    for text, ground, least in pairs:
        light, dark = sorted((luminance(tokens[text]), luminance(tokens[ground])), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= least, (text, ground)


HOSTILE = """<!doctype html><html><head><meta http-equiv="refresh" content="0;url=/inbox">
<base href="http://evil.example.org/"></head><body onload="document.title='ran'">
<script>document.body.append('SCRIPT RAN'); parent.document.title = 'ran'</script>
<img src="x" onerror="document.body.append('HANDLER RAN')">
<img src="http://127.0.0.1:TRACKER/pixel.gif"><link rel="stylesheet" href="http://127.0.0.1:TRACKER/x.css">
<style>body { background: url(http://127.0.0.1:TRACKER/x.png) }</style>
<svg onload="document.body.append('SVG RAN')"></svg>
<a id="js" href="javascript:document.body.append('LINK RAN')">js</a>
<form action="/inbox"><input name="q" value="stolen"><button>go</button></form>
<iframe srcdoc="<script>parent.document.body.append('FRAME RAN')</script>"></iframe>
<p>The words of the mail</p></body></html>"""


def test_nothing_in_a_hostile_mail_runs_or_loads(inbox: Inbox, address: str, page: Page) -> None:
    tracker = socket.create_server(("127.0.0.1", 0))
    tracker.setblocking(False)
    html = HOSTILE.replace("TRACKER", str(tracker.getsockname()[1]))
    subject = "</title><script>document.title='ran'</script><img src=x onerror=alert(1)>"
    mail = add(inbox, '"<b>x</b>"@example.org', subject, '"><script>alert(1)</script>', html)
    dialogs: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    for path in (f"{address}/{mail.id}", f"{address}/{mail.id}/html"):
        page.goto(path)
        shown = page.frames[1] if path.endswith(mail.id) else page.main_frame
        shown.locator("text=The words of the mail").wait_for()
        shown.locator("#js").click()
        shown.locator("button").click()
        page.wait_for_timeout(300)
        assert page.url == path
        assert shown.url == f"{address}/{mail.id}/html"
        assert "RAN" not in shown.locator("body").inner_text()
        assert page.title() != "ran"
        if path.endswith(mail.id):
            assert page.locator("h2").inner_text() == subject
    assert dialogs == []
    with tracker, pytest.raises(BlockingIOError):
        tracker.accept()


def test_pictures_load_and_links_open_beside_the_inbox(inbox: Inbox, address: str, page: Page) -> None:
    html = f'<img src="cid:logo@x" width="9"><img src="{address}/count"><a href="{address}?q=linked">link</a>'
    mail = add(inbox, html=html)
    with page.expect_response("**/files/0") as picture:
        page.goto(f"{address}/{mail.id}")
    assert picture.value.body() == PICTURE
    with page.context.expect_page() as opened:
        page.frames[1].locator("a").click()
    opened.value.wait_for_url("**/inbox?q=linked")
    # The page that a link opens is a page like any other: its own scripts run.
    opened.value.keyboard.press("/")
    opened.value.locator("#q:focus").wait_for()
    assert page.url.endswith(mail.id)


def test_width_and_darkness_reach_the_media_queries_of_the_mail(inbox: Inbox, address: str, page: Page) -> None:
    html = """<!doctype html><html><head><style>p { display: none }
    @media (width: 360px) { .phone { display: block } }
    @media (width: 640px) { .desktop { display: block } }
    @media (prefers-color-scheme: light) { .light { display: block } }
    @media (prefers-color-scheme: dark) { .dark { display: block } }</style></head><body>
    <p class="phone">phone</p><p class="desktop">desktop</p><p class="light">light</p><p class="dark">dark</p>"""
    mail = add(inbox, html=html)
    page.goto(f"{address}/{mail.id}")
    for link, seen in (
        ("", "desktop light"),
        ("Phone", "phone light"),
        ("Dark", "phone dark"),
        ("Desktop", "desktop dark"),
        ("Light", "desktop light"),
    ):
        if link:
            page.get_by_role("link", name=link, exact=True).click()
        page.frame_locator("iframe").locator(f".{seen.split()[0]}").wait_for()
        assert page.frames[1].locator("body").inner_text().split() == seen.split()


def test_keyboard_navigation_and_automatic_refresh(inbox: Inbox, address: str, page: Page) -> None:
    page.goto(address)
    page.get_by_role("heading", name="No mail yet.").and_(page.locator(":visible")).wait_for()
    older, newer = add(inbox, subject="older"), add(inbox, subject="newer")
    page.get_by_text("2 mails").wait_for()
    for key, mail in (("j", newer), ("j", older), ("j", older), ("k", newer), ("ArrowDown", older)):
        page.keyboard.press(key)
        page.wait_for_url(f"**/{mail.id}")
    page.keyboard.press("/")
    page.keyboard.type("jk")
    assert page.locator("#q").input_value() == "jk"
    page.keyboard.press("Enter")
    page.wait_for_url("**/inbox?q=jk")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_the_list_or_the_mail(inbox: Inbox, address: str, browser: Browser, scheme: str) -> None:
    mail = add(inbox, "a-very-long-address-of-a-reader@a-very-long-domain.example.org", "Subject " * 20)
    context = browser.new_context(
        viewport={"width": 390, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=False,
    )
    page = context.new_page()
    page.goto(address)
    assert page.locator("#reader").is_hidden()
    page.locator("a.row").click()
    page.wait_for_url(f"**/{mail.id}")
    page.frame_locator("iframe").locator("text=Rich words").wait_for()
    assert page.locator("#mails").is_hidden()
    page.get_by_role("link", name="Text").click()
    page.locator("pre").wait_for()
    page.get_by_role("link", name="List").click()
    page.locator("a.row").wait_for()
    context.close()


def test_unknown_url_names_the_inbox(client: TestClient) -> None:
    answer = client.get("/nosuch")
    assert answer.status_code == 404
    assert answer.text == "There is no such page. The mail is at /inbox\n"
    assert client.get("/inbox?width=12").status_code == 200
