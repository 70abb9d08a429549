"""Visits every page for readers, in each of its states."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi.testclient import TestClient

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.subscriber_fields import read_address
from mailer.store import subscribers
from mailer.web.public.sign_up import verify_proof_of_work
from tests.support.transactional import emails_to, link_path, send_transactional

ADA, LEILA, JOVAN = "ada@example.org", "leila@example.org", "jovan@example.org"


@dataclass(frozen=True, slots=True)
class PageView:
    """A response of the service."""

    name: str
    """``template`` or ``template, state``"""
    status: int
    body: bytes
    headers: dict[str, str]


class PageTour:
    """Visits all pages in one language. The issue must have been sent to Ada, Leila and Jovan."""

    def __init__(
        self, app: Container, client: TestClient, inbox: InboxServer | None, issue: int, language: str
    ) -> None:
        self._app, self._client, self._inbox, self._issue = app, client, inbox, issue
        self._language_query = f"?lang={language}"
        self._language = language

    def pages(self) -> Iterator[PageView]:
        yield from self._archive()
        yield from self._sign_up()
        yield from self._by_mail_link(self._mail_link(Purpose.unsubscribe, LEILA), "unsubscribe")
        yield from self._by_mail_link(self._mail_link(Purpose.preferences, LEILA), "mail_options")
        yield from self._manage_page()
        yield from self._change_address()
        yield from self._unsubscribe()

    def paths(self) -> list[str]:
        """Return pages that a GET request shows, in any order."""
        return [
            "/",
            "/nowhere",
            "/subscribe/lumen-basin",
            self._mail_link(Purpose.unsubscribe, LEILA),
            self._mail_link(Purpose.preferences, LEILA),
            self._manage_path(ADA),
            self._manage_path(ADA) + "/data",
            self._manage_path(ADA, timedelta(days=1)),
        ]

    def _get(self, name: str, path: str, status: int = 200) -> PageView:
        return self._checked(name, status, self._client.get(path))

    def _post(self, name: str, path: str, status: int = 200, **form: object) -> PageView:
        return self._checked(name, status, self._client.post(path + self._language_query, data=form))

    def _checked(self, name: str, status: int, answer: object) -> PageView:
        assert answer.status_code == status, (name, answer.status_code)  # type: ignore[attr-defined]
        return PageView(name, status, answer.content, dict(answer.headers))  # type: ignore[attr-defined]

    def _subscriber_id(self, address: str) -> int:
        key = self._app.tokens.address_hash(read_address(address)[1])
        with self._app.database.transaction() as session:
            subscriber = subscribers.by_hash(session, key)
            assert subscriber
            return subscriber.id

    def _mail_link(self, purpose: Purpose, address: str) -> str:
        prefix = {Purpose.unsubscribe: "u", Purpose.preferences: "p"}[purpose]
        return f"/{prefix}/{self._app.tokens.make_link_token(purpose, self._issue, self._subscriber_id(address))}"

    def _manage_path(self, address: str, age: timedelta = timedelta(0)) -> str:
        created_at = int((datetime.now(UTC) - age).timestamp())
        token = self._app.tokens.make_link_token(Purpose.magic_link, created_at, self._subscriber_id(address))
        return f"/k/{token}/lumen-basin"

    def _archive(self) -> Iterator[PageView]:
        issue_list = f"/archive/lumen-basin/{self._language}"
        yield self._get("home", "/" + self._language_query)
        yield self._get("error", "/nowhere" + self._language_query, 404)
        yield self._get("issue_list", issue_list)
        yield self._get("search, found", issue_list + "?q=lumen")
        yield self._get("search, nothing found", issue_list + "?q=xylophone")
        yield self._get("edition", f"{issue_list}/2026-3")
        yield self._get("edition, some sections", f"{issue_list}/2026-3?section=health-and-care")
        story = self._client.get(f"{issue_list}/2026-3").text.partition('id="story-')[2].partition('"')[0]
        yield self._get("story", f"{issue_list}/2026-3/{story}")

    def _sign_up(self) -> Iterator[PageView]:
        path = "/subscribe/lumen-basin"
        yield self._get("subscribe", path + self._language_query)
        yield self._post("subscribe, no address", path, 422, address="eva", **self._completed_form())
        yield self._post("subscribe, too quick", path, 422, address="eva@example.org", some="yes", section="1")
        yield self._post("subscribe_sent", path, address="eva@example.org", **self._completed_form())
        yield self._post("subscribe_sent, a slip", path, address="eva@gmial.com", **self._completed_form())
        send_transactional(self._app)
        assert self._inbox is not None
        confirm = link_path(emails_to(self._inbox, "eva@example.org")[-1], "/c/")
        yield self._get("confirm", confirm + self._language_query)
        yield self._post("confirm, done", confirm)

    def _completed_form(self) -> dict[str, Any]:
        """Return the completed form, with a proof of work of one bit."""
        html = self._client.get("/subscribe/lumen-basin").text
        ticket = html.partition('name="ticket" value="')[2].partition('"')[0]
        answer = next(str(n) for n in range(1000) if verify_proof_of_work(ticket, str(n), 1))
        proof = {"ticket": ticket, "answer": answer}
        return {"some": "yes", "section": ["1", "3"], "language": [self._language]} | proof

    def _by_mail_link(self, path: str, name: str) -> Iterator[PageView]:
        chosen: dict[str, Any] = {"language": [self._language, "en"], "new": "yes"}
        yield self._get(name, path + self._language_query)
        yield self._post("mail_options, unreadable", path, 422, action="save", language="tlh")
        yield self._post("mail_options, saved", path, action="save", section="1", **chosen)
        yield self._get(f"{name}, changed", path + self._language_query)
        yield self._post("mail_options, undone", path, action="restore")
        yield self._post("mail_options, paused", path, action="pause", weeks="4")
        yield self._post("mail_options, resumed", path, action="pause", weeks="0")
        yield self._post("mail_options, sent", path, action="send")

    def _manage_page(self) -> Iterator[PageView]:
        own = self._manage_path(ADA)
        chosen: dict[str, Any] = {"language": [self._language, "en"], "new": "yes"}
        yield self._get("preferences", own + self._language_query)
        yield self._post("preferences, unreadable", own, 422, action="save", language="tlh")
        yield self._post("preferences, saved", own, action="save", section=["1", "2"], tracking="yes", **chosen)
        yield self._post("preferences, undone", own, action="restore")
        yield self._post("preferences, paused", own, action="pause", weeks="2")
        yield self._post("preferences, no address", own, 422, action="change-address", address="ada")
        yield self._get("personal_data", own + "/data" + self._language_query)
        yield self._post("personal_data, not sure", own + "/data", 422, action="erase")
        old = self._manage_path(ADA, timedelta(days=1))
        yield self._get("link_expired", old + self._language_query, 410)
        yield self._post("link_expired, sent", old, action="send")

    def _change_address(self) -> Iterator[PageView]:
        new = "ada.new@example.org"
        yield self._post("preferences, moving", self._manage_path(ADA), action="change-address", address=new)
        send_transactional(self._app)
        for address, state in ((ADA, "confirmed here"), (new, "done")):
            assert self._inbox is not None
            link = link_path(emails_to(self._inbox, address)[-1], "/a/")
            yield self._get("change_address", link + self._language_query)
            yield self._post(f"change_address, {state}", link)

    def _unsubscribe(self) -> Iterator[PageView]:
        path = self._mail_link(Purpose.unsubscribe, LEILA)
        yield self._post("unsubscribed", path, action="unsubscribe")
        yield self._post("unsubscribed, told why", path, action="reason", reason="often")
        yield self._post("resubscribed", path, action="undo")
        yield self._post("unsubscribed, all", path, action="unsubscribe-all")
        yield self._post("erased", self._manage_path(JOVAN) + "/data", action="erase", sure="yes")
