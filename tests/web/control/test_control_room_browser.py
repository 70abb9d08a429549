"""The control room in a real browser: a relay refuses, tonight says so, it is suspended, released, and all is well."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench.sink import Fault
from mailer.bootstrap import Container
from mailer.domain.metrics import QUEUES, WorkerHeartbeat
from mailer.domain.permissions import Role
from mailer.services.delivery import dispatch
from tests.support.browser import sign_in
from tests.support.smtp_sink import SinkServer
from tests.support.staff import add_account


@pytest.fixture
def browser(chromium: str, sink: SinkServer) -> Iterator[Browser]:
    """Chromium, started after the relay: Playwright occupies the event loop of this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def app(make_app: Callable[..., Container], sink: SinkServer) -> Container:
    """The whole service with a running clock: pages in a browser refresh themselves."""
    changes = {"public_url": "http://127.0.0.1", "smtp_port": sink.port, "batch_size": 1000}
    return make_app(changes)


@pytest.fixture
def page(browser: Browser, web_app: FastAPI, app: Container, serve: Callable[..., str]) -> Iterator[Page]:
    """Somebody of ops, signed in; the test fails when the page asks another host, or breaks its own policy."""
    add_account(app, "omar@example.org", Role.ops)
    site = serve(web_app)
    context = browser.new_context(viewport={"width": 1280, "height": 800}, base_url=site)
    opened = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    sign_in(opened, "omar@example.org")
    yield opened
    context.close()
    assert all(url.startswith(site) for url in asked)
    assert not complaints


def report(app: Container) -> None:
    at = datetime.now(UTC).timestamp()
    app.metrics.send_heartbeat(WorkerHeartbeat("one@host", QUEUES, 1, at, {"scheduler": at}))


def one_round(app: Container) -> None:
    """Do what a worker does in a second: report, and send what is due, in a thread that is free for an event loop."""
    report(app)
    at = datetime.now(UTC)
    for batch, _ in dispatch.enqueue_due(app.database, at + timedelta(hours=2), timedelta(0), 1000):
        with ThreadPoolExecutor(1) as thread:
            thread.submit(app.send_worker.send_batch, batch).result()


def test_a_relay_refuses_is_suspended_and_released(
    page: Page,
    app: Container,
    sink: SinkServer,
    prepared_issue: Callable[..., int],
) -> None:
    prepared_issue("\n".join(f"reader{n}@a.example;en;" for n in range(10)), "en")
    report(app)
    page.goto("/control")
    sentence = page.locator(".sentence")
    expect(sentence).to_have_text("Nothing needs you.")

    sink.behaviour.faults = [Fault("mail", "451 4.3.2 not now", 1.0)]
    one_round(app)
    expect(sentence).to_contain_text("The relay relay has been refusing our mail for")
    expect(page.locator("#verdict")).to_contain_text("10 readers wait for their mail. It is late, not lost.")
    expect(page.locator("#verdict")).to_contain_text("451 4.3.2 not now")

    page.get_by_role("link", name="Look at relay").click()
    expect(page.locator("#state")).to_have_text("Refuses")
    page.get_by_label("2 hours").check()
    page.get_by_label("Reason").fill("their maintenance")
    page.get_by_role("button", name="Suspend relay").click()
    expect(page.get_by_role("status")).to_contain_text("relay is suspended. Workers know within two seconds.")
    page.goto("/control")
    expect(sentence).to_contain_text("No relay has been usable")
    expect(page.locator("#watched")).to_contain_text("their maintenance")

    sink.behaviour.faults = []
    page.get_by_role("link", name="The relay relay has been suspended").click()
    page.get_by_role("button", name="Release relay").click()
    expect(page.get_by_role("status")).to_contain_text("relay is released. Workers know within two seconds.")
    expect(page.locator("#state")).to_have_text("Flows")
    app.traffic_shaper.throttles.expire()
    one_round(app)
    page.goto("/control")
    expect(sentence).to_have_text("Nothing needs you.")
    expect(page.locator("#issues")).to_contain_text("Sending 100%")
