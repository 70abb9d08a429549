"""Every page that a reader can come to, in each of its states, as one person would see them one after another."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fastapi.testclient import TestClient

from mailer.adapters.inbox import RunningInbox
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.domain.subscribers import read_address
from mailer.store import readers
from mailer.web.subscribe import solved
from tests.notes import link_in, mails_to, send_notes

ADA, LEILA, JOVAN = "ada@example.org", "leila@example.org", "jovan@example.org"


@dataclass(frozen=True, slots=True)
class Shown:
    """A page as the service answered it."""

    name: str
    """``template`` or ``template, state``"""
    status: int
    body: bytes
    headers: dict[str, str]


class Walk:
    """Goes through all pages in one language. The issue is sent, and Ada, Leila and Jovan got it."""

    def __init__(
        self, parts: Mailer, client: TestClient, inbox: RunningInbox | None, issue: int, language: str
    ) -> None:
        self._parts, self._client, self._inbox, self._issue = parts, client, inbox, issue
        self._speak = f"?lang={language}"
        self._language = language

    def pages(self) -> Iterator[Shown]:
        yield from self._archive()
        yield from self._subscribing()
        yield from self._less(self._link(Purpose.unsubscribe, LEILA), "leave")
        yield from self._less(self._link(Purpose.preferences, LEILA), "ways")
        yield from self._own_page()
        yield from self._moving()
        yield from self._leaving()

    def paths(self) -> list[str]:
        """Pages that can be gone to as they are."""
        return [
            "/",
            "/nowhere",
            "/subscribe/lumen-basin",
            self._link(Purpose.unsubscribe, LEILA),
            self._link(Purpose.preferences, LEILA),
            self._key(ADA),
            self._key(ADA) + "/data",
            self._key(ADA, timedelta(days=1)),
        ]

    def _get(self, name: str, path: str, status: int = 200) -> Shown:
        return self._shown(name, status, self._client.get(path))

    def _post(self, name: str, path: str, status: int = 200, **form: object) -> Shown:
        return self._shown(name, status, self._client.post(path + self._speak, data=form))

    def _shown(self, name: str, status: int, answer: object) -> Shown:
        assert answer.status_code == status, (name, answer.status_code)  # type: ignore[attr-defined]
        return Shown(name, status, answer.content, dict(answer.headers))  # type: ignore[attr-defined]

    def _reader(self, address: str) -> int:
        key = self._parts.tokens.address_hash(read_address(address)[1])
        with self._parts.database.transaction() as session:
            found = readers.by_hash(session, key)
            assert found
            return found.id

    def _link(self, purpose: Purpose, address: str) -> str:
        room = {Purpose.unsubscribe: "u", Purpose.preferences: "p"}[purpose]
        return f"/{room}/{self._parts.tokens.link(purpose, self._issue, self._reader(address))}"

    def _key(self, address: str, age: timedelta = timedelta(0)) -> str:
        made = int((datetime.now(UTC) - age).timestamp())
        return f"/k/{self._parts.tokens.link(Purpose.key, made, self._reader(address))}/lumen-basin"

    def _archive(self) -> Iterator[Shown]:
        shelf = f"/archive/lumen-basin/{self._language}"
        yield self._get("home", "/" + self._speak)
        yield self._get("problem", "/nowhere" + self._speak, 404)
        yield self._get("shelf", shelf)
        yield self._get("search, found", shelf + "?q=lumen")
        yield self._get("search, nothing found", shelf + "?q=xylophone")
        yield self._get("edition", f"{shelf}/2026-3")
        yield self._get("edition, some sections", f"{shelf}/2026-3?section=health-and-care")
        story = self._client.get(f"{shelf}/2026-3").text.partition('id="story-')[2].partition('"')[0]
        yield self._get("story", f"{shelf}/2026-3/{story}")

    def _subscribing(self) -> Iterator[Shown]:
        path = "/subscribe/lumen-basin"
        yield self._get("subscribe", path + self._speak)
        yield self._post("subscribe, no address", path, 422, address="eva", **self._form())
        yield self._post(
            "subscribe, too quick", path, 422, address="eva@example.org", some="yes", section="1"
        )
        yield self._post("asked", path, address="eva@example.org", **self._form())
        yield self._post("asked, a slip", path, address="eva@gmial.com", **self._form())
        send_notes(self._parts)
        confirm = link_in(mails_to(self._inbox, "eva@example.org")[-1], "/c/")
        yield self._get("confirm", confirm + self._speak)
        yield self._post("confirm, done", confirm)

    def _form(self) -> dict[str, object]:
        """The form filled in, with the work done that it asks for: one bit."""
        html = self._client.get("/subscribe/lumen-basin").text
        ticket = html.partition('name="ticket" value="')[2].partition('"')[0]
        answer = next(str(n) for n in range(1000) if solved(ticket, str(n), 1))
        done = {"ticket": ticket, "answer": answer}
        return {"some": "yes", "section": ["1", "3"], "language": [self._language]} | done

    def _less(self, path: str, name: str) -> Iterator[Shown]:
        yield self._get(name, path + self._speak)
        yield self._post(f"{name}, nothing ticked", path, 422, action="drop")
        yield self._post("less, dropped", path, action="drop", section="1")
        yield self._post("less, undone", path, action="restore")
        yield self._post("less, monthly", path, action="monthly")
        yield self._post("less, paused", path, action="pause", weeks="4")
        yield self._post("less, undone", path, action="restore")
        if name == "ways":
            yield self._post("ways, sent", path, action="send")

    def _own_page(self) -> Iterator[Shown]:
        own, chosen = self._key(ADA), {"language": [self._language, "en"], "new": "yes"}
        yield self._get("preferences", own + self._speak)
        yield self._post("preferences, unreadable", own, 422, action="save", language="tlh")
        yield self._post(
            "preferences, saved", own, action="save", section=["1", "2"], tracking="yes", **chosen
        )
        yield self._post("preferences, undone", own, action="restore")
        yield self._post("preferences, paused", own, action="pause", weeks="2")
        yield self._post("preferences, no address", own, 422, action="move", address="ada")
        yield self._get("data", own + "/data" + self._speak)
        yield self._post("data, not sure", own + "/data", 422, action="erase")
        old = self._key(ADA, timedelta(days=1))
        yield self._get("closed", old + self._speak, 410)
        yield self._post("closed, sent", old, action="send")

    def _moving(self) -> Iterator[Shown]:
        new = "ada.new@example.org"
        yield self._post("preferences, moving", self._key(ADA), action="move", address=new)
        send_notes(self._parts)
        for address, state in ((ADA, "confirmed here"), (new, "done")):
            link = link_in(mails_to(self._inbox, address)[-1], "/a/")
            yield self._get("move", link + self._speak)
            yield self._post(f"move, {state}", link)

    def _leaving(self) -> Iterator[Shown]:
        path = self._link(Purpose.unsubscribe, LEILA)
        yield self._post("left", path, action="leave")
        yield self._post("left, told why", path, action="why", why="often")
        yield self._post("back", path, action="undo")
        yield self._post("left, all", path, action="leave-all")
        yield self._post("erased", self._key(JOVAN) + "/data", action="erase", sure="yes")
