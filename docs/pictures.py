"""Take the pictures in the README from the running demo: make pictures.

It starts ``mailer demo``, looks at the mail of two readers, at the draft that waits at the desk and one of its texts,
and, while that is sent slowly to the same readers, at its progress and at the control room. Needs Chromium.
"""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent / "pictures"
STATE = Path(".local/demo")
WIDTH, HEIGHT = 1200, 780
TONIGHT_HEIGHT = 520
MAIL_WIDTH, MAIL_HEIGHT = 390, HEIGHT
MAX_BYTES = 80_000
QUALITIES = (85, 75, 65, 55)
RATE = "8/s"
START_SECONDS = 180


@contextmanager
def running_demo() -> Iterator[str]:
    """Yield what the demo prints, once it waits to be looked at."""
    command = [sys.executable, "-m", "mailer", "demo"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    assert demo.stdout
    printed = ""
    try:
        for line in demo.stdout:
            printed += line
            if "Stop with Ctrl-C" in line:
                break
        yield printed
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)


def find(pattern: str, printed: str) -> str:
    found = re.search(pattern, printed)
    if not found:
        sys.exit(f"The demo does not say {pattern}:\n{printed}")
    return found[1]


def mailer(*arguments: str) -> None:
    """Run a command of the command line on the demo."""
    command = [sys.executable, "-m", "mailer", *arguments]
    subprocess.run(command, check=True, env=os.environ | {"MAILER_STATE_DIR": str(STATE)}, stdout=subprocess.DEVNULL)


def save(picture: Image.Image, name: str) -> None:
    """Write a picture as WebP, in the best quality that is small enough."""
    for quality in QUALITIES:
        out = io.BytesIO()
        picture.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= MAX_BYTES:
            break
    (FOLDER / f"{name}.webp").write_bytes(out.getvalue())
    print(f"docs/pictures/{name}.webp: {picture.width} × {picture.height}, {out.tell()} bytes")


def shoot(page: Page, height: int = HEIGHT) -> Image.Image:
    size = page.viewport_size
    assert size
    taken = page.screenshot(animations="disabled", clip={"x": 0, "y": 0, "width": size["width"], "height": height})
    return Image.open(io.BytesIO(taken)).convert("RGB")


def sign_in(page: Page, printed: str, role: str) -> None:
    page.goto("/sign-in")
    page.get_by_label("Email address").fill(f"{role}@example.org")
    page.get_by_label("Password").fill(find(rf"{role}@example\.org\s+│\s+(\S+)", printed))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/desk")


def take_mail(browser: Browser, inbox: str) -> None:
    """Take the same mail in two scripts, side by side, as a phone shows it."""
    both = Image.new("RGB", (2 * MAIL_WIDTH + 40, MAIL_HEIGHT), "#e7e3db")
    page = browser.new_page(viewport={"width": MAIL_WIDTH, "height": MAIL_HEIGHT})
    for number, language in enumerate(("en", "ar")):
        page.goto(f"{inbox}?language={language}")
        mail = page.locator("a[href*='/inbox/']").first.get_attribute("href")
        assert mail
        page.goto(inbox.removesuffix("/inbox") + mail.partition("?")[0] + "/html")
        both.paste(shoot(page), (number * (MAIL_WIDTH + 40), 0))
    page.close()
    save(both, "mail")


def take_desk(browser: Browser, printed: str) -> None:
    """Take the plan of the draft, a text of it, its progress while it is sent, and the control room at that time."""
    base_url = find(r"(http://\S+)/desk", printed)
    draft = find(r"Issue (\d+) waits there as a draft", printed)
    desk, control = (
        browser.new_context(base_url=base_url, viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB").new_page()
        for _ in range(2)
    )
    sign_in(desk, printed, "coordinator")
    sign_in(control, printed, "ops")
    desk.goto(f"/desk/issues/{draft}")
    save(shoot(desk), "plan")
    desk.locator(".plan-section .mark.ready", has_text="fr").first.click()
    desk.locator(".ProseMirror").first.wait_for()
    desk.get_by_text("The source, in English").click()
    desk.wait_for_load_state("networkidle")
    save(shoot(desk), "writing")
    mailer("issue", "approve", draft)
    mailer("issue", "rate", draft, RATE)
    mailer("issue", "send", draft)
    desk.goto(f"/desk/issues/{draft}/report")
    deadline = time.monotonic() + START_SECONDS
    while not re.search(r"Sending [4-9]\d", desk.inner_text("body")) and time.monotonic() < deadline:
        desk.wait_for_timeout(500)
        desk.reload()
    save(shoot(desk), "progress")
    control.goto("/control")
    control.get_by_text("a second").first.wait_for(timeout=20_000)
    save(shoot(control, TONIGHT_HEIGHT), "tonight")


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("This needs Chromium: apt-get install chromium")
    with running_demo() as printed, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        take_mail(browser, find(r"(http://\S+/inbox)", printed))
        take_desk(browser, printed)
        browser.close()


if __name__ == "__main__":
    main()
