"""Two people write one issue in real browsers, while what can fail fails. Nothing that they wrote is lost."""

import base64
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from mailer.bootstrap import Container
from mailer.domain.permissions import Role
from mailer.domain.states import TranslationStatus, VersionKind
from mailer.domain.text_requests import TextTask
from mailer.domain.versions import TextKey
from mailer.services.issues import approve, compile, plan, text_requests, write_text
from mailer.services.issues.text_requests import NewRequest
from mailer.store import text_versions
from tests.conftest import SECRET
from tests.support.browser import WIDE, PageCheck, sign_in
from tests.support.pictures import jpeg
from tests.support.staff import PASSWORD, add_account, staff_of

SLOW_MS = 1500
COPIES = """async () => {
    const request = indexedDB.open("texts")
    const database = await new Promise(resolve => { request.onsuccess = () => resolve(request.result) })
    const all = database.transaction("copies").objectStore("copies").getAll()
    const copies = await new Promise(resolve => { all.onsuccess = () => resolve(all.result) })
    database.close()
    return JSON.stringify(copies)
}"""
"""Returns what the browser has kept."""
PASTE = """(field, [name, data]) => {
    const clipboardData = new DataTransfer()
    clipboardData.items.add(new File([Uint8Array.from(atob(data), letter => letter.charCodeAt())], name))
    field.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }))
}"""
"""Pastes a file whose type the browser does not know."""


@pytest.fixture
def app(make_app: Callable[..., Container], listener: socket.socket) -> Container:
    return make_app({"public_url": f"http://127.0.0.1:{listener.getsockname()[1]}"})


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int]) -> int:
    """The sample issue in English, and two people who write."""
    issue = import_issue("en")
    for name in ("Amina", "Jovan"):
        add_account(app, f"{name.lower()}@example.org", Role.author, name=name)
    return issue


@pytest.fixture
def key(app: Container, issue: int) -> TextKey:
    story = plan.load_plan(app.database, app.urls, issue).sections[0].stories[1]
    return write_text.key_of(app.database, issue, story.id, "en")


@pytest.fixture
def open_story(browser: Browser, app: Container, key: TextKey) -> Iterator[Callable[[str], Page]]:
    """Return a function that opens the story as somebody in a browser of their own.

    The test fails for any breach of the content security policy and any error of a script.
    """
    faults: list[str] = []
    contexts = []

    def run(name: str) -> Page:
        context = browser.new_context(base_url=app.settings.public_url, viewport=WIDE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        sign_in(page, f"{name.lower()}@example.org")
        page.goto(story_path(key))
        ready(page)
        return page

    yield run
    for context in contexts:
        context.close()
    assert faults == []


def story_path(key: TextKey) -> str:
    return f"/desk/issues/{key.issue}/stories/{key.subject_id}/{key.language}"


def ready(page: Page) -> None:
    page.locator("#writing[data-started]").wait_for()


def text_field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Text", exact=True)


def write(page: Page, words: str) -> None:
    """Type at the end of the text."""
    text_field(page).click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(words)  # at once: what follows may end the writing


def state(page: Page) -> Locator:
    return page.locator("#save-state")


def stored(app: Container, key: TextKey) -> str:
    return str(write_text.load_state(app.database, key).content["body"])


def set_aside(app: Container, key: TextKey) -> list[str]:
    """The bodies that somebody wrote and that did not become the text, the latest first."""
    with app.database.transaction() as session:
        found = text_versions.of_text(session, key, 20)
        return [version.content["body"] for version in found if version.kind is VersionKind.set_aside]


@pytest.mark.usefixtures("server")
def test_two_people_at_once(
    app: Container, key: TextKey, open_story: Callable[[str], Page], look_over: PageCheck
) -> None:
    amina = open_story("Amina")
    look_over(amina)
    lines = amina.locator("[name=dateline]")
    count = lines.count()
    lines.first.fill("May 2026")
    amina.get_by_role("button", name="Add another date").click()
    expect(lines).to_have_count(count + 1)
    expect(lines.last).to_be_focused()
    write(amina, " Amina was here.")
    expect(lines).to_have_count(count)  # what is left empty goes
    expect(state(amina)).to_contain_text("Saved at")
    assert stored(app, key).endswith("Amina was here.")

    # The second sees who writes, and reads along.
    jovan = open_story("Jovan")
    expect(jovan.locator("#people")).to_contain_text("Amina is writing here.")
    expect(text_field(jovan)).to_have_attribute("aria-readonly", "true")
    write(amina, " And again.")
    expect(text_field(jovan)).to_contain_text("And again.")

    # He takes over; what she still writes is set aside, and both are told.
    amina.context.set_offline(True)  # so that she writes before she is told
    jovan.get_by_role("button", name="Write here instead").click()
    expect(text_field(jovan)).not_to_have_attribute("aria-readonly", "true")
    write(amina, " Her last words.")
    amina.context.set_offline(False)
    panel = amina.locator(".conflict")
    expect(panel).to_contain_text("Somebody else is writing here now")
    expect(state(amina)).to_contain_text("Two versions")
    expect(panel.locator("ins")).to_contain_text("Her last words.")
    look_over(amina)
    assert set_aside(app, key)[0].endswith("Her last words.")
    write(jovan, " Jovan was here.")
    expect(state(jovan)).to_contain_text("Saved at")
    assert stored(app, key).endswith("And again. Jovan was here.")

    # She chooses hers: his stays a version, and he sees hers. Her text is still there as she wrote it.
    panel.get_by_role("button", name="Use what I wrote").click()
    expect(amina.locator(".conflict")).to_contain_text("Jovan has changed this text meanwhile")
    amina.locator(".conflict").get_by_role("button", name="Use what I wrote").click()
    expect(state(amina)).to_contain_text("Saved at")
    assert stored(app, key).endswith("Her last words.")
    expect(jovan.locator("#people")).to_contain_text("Amina is writing here.")
    expect(text_field(jovan)).to_contain_text("Her last words.")
    with app.database.transaction() as session:
        bodies = [version.content["body"] for version in text_versions.of_text(session, key, 20)]
    assert any(body.endswith("Jovan was here.") for body in bodies)

    # He sees the status that she chooses.
    amina.get_by_label("Draft").check()
    expect(jovan.get_by_label("Draft")).to_be_checked()
    assert write_text.load_state(app.database, key).status is TranslationStatus.draft


@pytest.mark.usefixtures("server")
def test_a_picture_that_is_pasted_is_the_storys_picture(
    app: Container, key: TextKey, open_story: Callable[[str], Page], look_over: PageCheck
) -> None:
    page = open_story("Amina")
    dialog = page.get_by_role("dialog", name="Picture of this story")

    def paste(name: str, data: bytes) -> None:
        text_field(page).evaluate(PASTE, [name, base64.b64encode(data).decode()])

    write(page, " Before the picture.")
    paste("IMG_1.HEIC", b"\0\0\0\x18ftypheic" + bytes(20))
    use = dialog.get_by_role("button", name="Use this picture")
    use.click()
    expect(dialog.get_by_role("alert")).to_contain_text("its alternative text is missing")
    dialog.get_by_label("Alternative text").fill("A bridge")
    use.click()
    expect(dialog.get_by_role("alert")).to_contain_text("HEIC")
    dialog.get_by_role("button", name="Cancel").click()
    expect(text_field(page)).to_be_focused()

    paste("bridge.jpg.heif", jpeg())
    look_over(page)
    dialog.get_by_label("Alternative text").fill("A bridge")
    dialog.get_by_label("Credit").fill("Photo: Amina")
    use.click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("img", name="A bridge")).to_be_visible()
    write(page, " After it.")
    expect(state(page)).to_contain_text("Saved at")
    content = write_text.load_state(app.database, key).content
    assert content["body"].endswith("Before the picture. After it.")
    assert (content["alt"], content["picture_credit"]) == ("A bridge", "Photo: Amina")

    # On its own page, while this one is open: what is typed meanwhile is saved, and the page shows the other picture.
    other = page.context.new_page()
    other.goto(f"/desk/issues/{key.issue}/stories/{key.subject_id}/picture?language=en")
    other.get_by_label("Picture", exact=True).set_input_files(
        {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": jpeg()}
    )
    other.get_by_label("Alternative text in English").fill("A boat")
    other.get_by_role("button", name="Use this picture").click()
    expect(other.get_by_text("The story shows this picture.")).to_be_visible()
    write(page, " And on.")
    expect(page.get_by_role("img", name="A boat")).to_be_visible()
    assert stored(app, key).endswith("After it. And on.")
    assert write_text.load_state(app.database, key).content["alt"] == "A boat"
    assert set_aside(app, key) == []


@pytest.mark.usefixtures("server")
def test_a_network_that_is_broken_and_slow(app: Container, key: TextKey, open_story: Callable[[str], Page]) -> None:
    page = open_story("Amina")
    page.context.set_offline(True)
    write(page, " Written without a network.")
    expect(state(page)).to_contain_text("no connection")
    assert not stored(app, key).endswith("network.")
    page.context.set_offline(False)
    expect(state(page)).to_contain_text("Saved at")
    assert stored(app, key).endswith("Written without a network.")

    # Slow: what is typed during a save is saved after it, one after the other.
    devtools = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": SLOW_MS, "downloadThroughput": -1, "uploadThroughput": -1}
    devtools.send("Network.enable")
    devtools.send("Network.emulateNetworkConditions", slow)
    write(page, " One")
    expect(state(page)).to_have_text("Saving…")
    write(page, ", two, three.")
    expect(state(page)).to_contain_text("Saved at")
    assert stored(app, key).endswith("network. One, two, three.")
    assert set_aside(app, key) == []


@pytest.mark.usefixtures("server")
def test_a_session_that_ended_and_an_issue_approved_meanwhile(
    app: Container, key: TextKey, open_story: Callable[[str], Page]
) -> None:
    page = open_story("Amina")
    page.context.clear_cookies()
    write(page, " Written after the session.")
    expect(state(page)).to_contain_text("Your session has ended.")
    with page.context.expect_page() as opened:
        state(page).get_by_role("link", name="Sign in in a new tab").click()
    other = opened.value
    other.get_by_label("Email address").fill("amina@example.org")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in", exact=True).click()
    other.wait_for_url("**/sign-in/continue")
    other.close()
    expect(state(page)).to_contain_text("Saved at")
    assert stored(app, key).endswith("Written after the session.")

    approve.approve(app.database, compile.load_issue(app.database, app.urls, key.issue), "tests")
    write(page, " Too late.")
    expect(page.locator(".conflict")).to_contain_text("The issue is not a draft any more")
    expect(page.locator(".conflict ins").last).to_contain_text("Too late.")
    assert set_aside(app, key)[0].endswith("Too late.")
    assert not stored(app, key).endswith("Too late.")
    expect(text_field(page)).to_contain_text("Too late.")


@pytest.mark.usefixtures("server")
def test_a_browser_that_is_killed(
    app: Container, key: TextKey, browser: Browser, chromium: str, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    with running_browser(chromium, profile) as process:
        page = connect(browser, profile, app)
        sign_in(page, "amina@example.org")
        page.goto(story_path(key))
        ready(page)
        page.context.set_offline(True)  # so that only the browser can have it
        write(page, " Written before the browser was killed.")
        page.wait_for_function(f"async () => (await ({COPIES})()).includes('browser was killed.')")
        os.killpg(process.pid, signal.SIGKILL)
    assert not stored(app, key).endswith("killed.")
    (profile / "DevToolsActivePort").unlink()
    with running_browser(chromium, profile):
        page = connect(browser, profile, app)
        sign_in(page, "amina@example.org")
        page.goto(story_path(key))
        ready(page)
        expect(page.locator("#restored")).to_contain_text("is back.")
        expect(state(page)).to_contain_text("Saved at")
        assert stored(app, key).endswith("Written before the browser was killed.")
        page.reload()
        ready(page)
        expect(page.locator("#restored")).to_be_hidden()


class running_browser:
    """A browser as a process of its own, with its own profile. It is killed by its id."""

    def __init__(self, chromium: str, profile: Path) -> None:
        words = [chromium, "--headless=new", "--no-sandbox", "--no-first-run", "--remote-debugging-port=0"]
        self._words = [*words, f"--user-data-dir={profile}", "about:blank"]

    def __enter__(self) -> "subprocess.Popen[bytes]":
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._words, stdout=quiet, stderr=quiet, start_new_session=True)
        return self._process

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def connect(browser: Browser, profile: Path, app: Container) -> Page:
    """Return a page of a running browser."""
    file, until = profile / "DevToolsActivePort", time.monotonic() + 30
    while not (file.exists() and "\n" in file.read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    other = browser.browser_type.connect_over_cdp(f"http://127.0.0.1:{file.read_text().split()[0]}")
    page = other.contexts[0].pages[0]
    page.goto(app.settings.public_url)  # what follows is relative to it
    url = app.settings.public_url
    go = page.goto
    page.goto = lambda path, **options: go(path if "://" in path else url + path, **options)  # type: ignore[method-assign]
    return page


def test_a_web_process_that_is_killed_between_keystroke_and_save(
    app: Container, key: TextKey, listener: socket.socket, open_story: Callable[[str], Page], tmp_path: Path
) -> None:
    port = listener.getsockname()[1]
    listener.close()
    process = start_web(app, port, tmp_path)
    try:
        page = open_story("Amina")
        write(page, " Written as the server was killed.")
        process.kill()
        process.wait()
        expect(state(page)).to_contain_text("the server does not answer")
        write(page, " And after.")
        process = start_web(app, port, tmp_path)
        expect(state(page)).to_contain_text("Saved at")
        assert stored(app, key).endswith("Written as the server was killed. And after.")
        assert set_aside(app, key) == []
    finally:
        process.kill()
        process.wait()


def start_web(app: Container, port: int, tmp_path: Path) -> "subprocess.Popen[bytes]":
    """Start ``mailer web`` on the test's database; return its process once it answers."""
    settings = app.settings
    variables = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SECRET_KEY": SECRET,
        "PUBLIC_URL": settings.public_url,
        "WEB_PORT": str(port),
        "STATE_DIR": str(tmp_path / "web"),
    }
    env = os.environ | {f"MAILER_{name}": value for name, value in variables.items()}
    process = subprocess.Popen([sys.executable, "-m", "mailer", "web"], env=env)
    until = time.monotonic() + 30
    while True:
        with suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
            return process
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.usefixtures("server")
def test_a_text_comes_from_somebody_without_an_account(
    browser: Browser, app: Container, key: TextKey, open_story: Callable[[str], Page], look_over: PageCheck
) -> None:
    """The last words typed before “Hand in” are handed in, and the page keeps nothing of its visitor."""
    amina = staff_of(1, Role.author)
    now = app.clock.now()
    wanted = NewRequest(
        key.subject_id, "fr", TextTask.translation, None, "Jean", "jean@example.org", now.date(), "As short as it is."
    )
    request = text_requests.ask(app.database, key.issue, wanted, amina, app.tokens.address_hash, now)
    context = browser.new_context(base_url=app.settings.public_url, viewport=WIDE)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda line: faults.append(line.text) if "Content Security" in line.text else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(app.urls.text_request_url(request))
    ready(page)
    look_over(page)
    page.get_by_role("textbox", name="Headline").click()
    page.keyboard.type("La rivière monte")
    write(page, "Elle monte depuis lundi")
    page.get_by_role("button", name="Hand in", exact=True).click()
    expect(page.get_by_text("Handed in on")).to_be_visible()
    assert context.cookies() == []
    assert faults == []
    context.close()
    desk = open_story("Amina")
    desk.goto(f"/desk/issues/{key.issue}")
    desk.get_by_role("link", name="Handed in: French, by Jean").click()
    look_over(desk)
    expect(desk.locator("ins").first).to_contain_text("La rivière monte")
    desk.get_by_role("button", name="Take it into the issue").click()
    expect(desk.get_by_text("The text is in the issue.")).to_be_visible()
    look_over(desk)
    stored = write_text.load_state(app.database, replace(key, language="fr")).content
    assert (stored["headline"], stored["body"]) == ("La rivière monte", "Elle monte depuis lundi")
