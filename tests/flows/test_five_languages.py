"""From an empty newsletter to mail in five languages with pictures: two people, two browsers, no terminal."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.permissions import Role
from mailer.services.newsletters.apply import apply_newsletter
from tests.conftest import SAMPLE
from tests.support.browser import WIDE
from tests.support.emails import emails_by_recipient, html_body
from tests.support.sending import send_scheduled
from tests.support.staff import PASSWORD, add_account

MAX_ACTIONS = 60
"""What two people may have to do for 16 stories in five languages."""
READERS = {"en": "ada", "fr": "jeanne", "es": "ines", "de": "petra", "ar": "leila"}


class Person:
    """Somebody at the desk. Each click, choice, file or text that is typed is an action."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.actions = page, 0
        page.goto("/sign-in")
        self.type(page.get_by_label("Email address"), address)
        self.type(page.get_by_label("Password"), PASSWORD)
        self.press("Sign in")

    def press(self, name: str) -> None:
        self.actions += 1
        self.page.get_by_role("button", name=name).click()

    def follow(self, name: str) -> None:
        self.actions += 1
        self.page.get_by_role("link", name=name).first.click()

    def type(self, field: Locator, words: str) -> None:
        self.actions += 1
        field.fill(words)

    def tick(self, label: str) -> None:
        self.actions += 1
        self.page.get_by_label(label).check()

    def choose(self, label: str, *files: Path) -> None:
        self.actions += 1
        self.page.get_by_label(label).set_input_files(files)

    def upload(self, language: str, *pictures: Path) -> None:
        """Import the sample document in a language."""
        self.follow("Upload a document")
        self.choose("Document", SAMPLE / f"2026-3.{language}.md")
        self.actions += 1
        self.page.get_by_label("Language").select_option(language)
        if pictures:
            self.choose("Pictures", *pictures)
        self.press("Show how it is understood")
        self.page.get_by_role("heading", name="What would change").wait_for()
        self.press("Import")
        self.page.get_by_text("The document is imported.").wait_for()


@pytest.fixture
def app(make_app: Callable[..., Container], listener: socket.socket) -> Container:
    return make_app({"public_url": f"http://127.0.0.1:{listener.getsockname()[1]}"})


@pytest.fixture
def people(app: Container, server: None, browser: Browser) -> Iterator[tuple[Person, Person]]:
    settings = read_newsletter((SAMPLE / "newsletter.toml").read_text("utf-8"))
    apply_newsletter(app.database, settings.model_copy(update={"four_eyes": True}))
    contexts = [browser.new_context(base_url=app.settings.public_url, viewport=WIDE) for _ in range(2)]
    found = []
    for context, name in zip(contexts, ("amina", "jovan"), strict=True):
        add_account(app, f"{name}@example.org", Role.coordinator, name=name.title())
        found.append(Person(context.new_page(), f"{name}@example.org"))
    yield found[0], found[1]
    for context in contexts:
        context.close()


def test_two_people_send_five_languages_in_less_than_sixty_actions(
    people: tuple[Person, Person], app: Container, inbox: InboxServer, add_subscribers: Callable[[str], None]
) -> None:
    amina, jovan = people
    add_subscribers("\n".join(f"{name}@example.org;{language};" for language, name in READERS.items()))

    # Three documents from one, two from the other. The pictures come with the first.
    amina.upload("en", *sorted((SAMPLE / "pictures").iterdir()))
    for language in ("fr", "es"):
        amina.upload(language)
    jovan.page.goto("/desk")
    for language in ("de", "ar"):
        jovan.upload(language)

    # A word is corrected in the browser, and each approves what the other has brought.
    amina.page.reload()
    amina.follow("Nine countries sign")
    amina.page.locator(".ProseMirror").first.wait_for()
    amina.type(amina.page.locator("#picture_credit"), "Photo: Amina Testwell")
    expect(amina.page.locator("#save-state")).to_contain_text("Saved at")
    jovan.page.reload()
    for person in (jovan, amina):
        if person is amina:
            amina.follow("The Lumen Basin Quarterly 2026/3")
        person.follow("Check")
        person.press("Approve the chosen languages")
        person.page.get_by_role("alert").or_(person.page.get_by_role("status")).first.wait_for()

    amina.follow("Send")
    amina.tick("Now")
    amina.press("Schedule for 5 readers")
    amina.page.get_by_text("The issue is scheduled.").wait_for()
    send_scheduled(app, int(amina.page.url.partition("/issues/")[2].partition("/")[0]))
    assert amina.actions + jovan.actions < MAX_ACTIONS
    inbox.wait_for(5)
    mails = emails_by_recipient(inbox)
    for language, name in READERS.items():
        mail = mails[f"{name}@example.org"]
        assert mail["Content-Language"] == language
        assert html_body(mail).count("<img") > 10
