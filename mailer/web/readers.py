"""Where the links of a mail lead its reader: leaving, getting less, and asking for the way to everything else.

Mails are forwarded, so that these pages show nothing of the reader but a masked address. GET changes nothing;
POST needs the link alone, no cookie and no login.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.domain.ties import Tie
from mailer.services import leave as leaving
from mailer.services import preferences
from mailer.services.preferences import NothingChosen, NotOffered, Profile
from mailer.web.forms import posted
from mailer.web.negotiation import asked
from mailer.web.pages import Pages

Speak = Annotated[list[str], Depends(asked)]
Form = Annotated[FormData, Depends(posted)]


def reader_router(parts: Mailer, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database = parts.database
    ToLeave = Annotated[Tie, Depends(_opened(parts, Purpose.unsubscribe, Purpose.quit))]
    ToChoose = Annotated[Tie, Depends(_opened(parts, Purpose.preferences, Purpose.choose))]

    def page(name: str, reader: Profile | None, status: int = 200, **values: object) -> HTMLResponse:
        if reader is None:
            raise HTTPException(404)
        return pages.of(reader, name, status, reader=reader, **values)

    def reader_of(tie: Tie, speak: list[str]) -> Profile:
        found = preferences.profile(database, tie, datetime.now(UTC), speak)
        if found is None:
            raise HTTPException(404)
        return found

    def entry(
        name: str,
        reader: Profile,
        status: int = 200,
        problem: str = "",
        sent: str = "",
        ticked: Sequence[int] = (),
    ) -> HTMLResponse:
        if not reader.subscribed:
            return left(reader)
        values = {"problem": problem, "pauses": preferences.PAUSES, "sent": sent, "ticked": ticked}
        return page(name, reader, status, **values)

    def left(reader: Profile, thanks: bool = False, every: bool = False) -> HTMLResponse:
        longest = leaving.LONGEST_WORDS
        return page("left", reader, thanks=thanks, every=every, reasons=leaving.REASONS, longest=longest)

    def leave_all(tie: Tie, speak: list[str]) -> HTMLResponse:
        leaving.leave_all(database, tie, "mail", datetime.now(UTC))
        return left(reader_of(tie, speak), every=True)

    def leave(tie: Tie, speak: list[str], how: str) -> HTMLResponse:
        leaving.leave(database, tie, how, datetime.now(UTC))
        return left(reader_of(tie, speak))

    def come_back(tie: Tie, speak: list[str]) -> HTMLResponse:
        back = leaving.come_back(database, tie, "mail", datetime.now(UTC))
        reader = reader_of(tie, speak)
        return page("back", reader) if back else left(reader)

    def say_why(tie: Tie, speak: list[str], form: FormData) -> HTMLResponse:
        told = leaving.say_why(database, tie, str(form.get("why", "")), str(form.get("words", "")))
        reader = reader_of(tie, speak)
        return entry("leave", reader) if reader.subscribed else left(reader, thanks=told)

    def less(tie: Tie, speak: list[str], form: FormData, name: str) -> HTMLResponse:
        """The choices between all and nothing. ``name``: the page they were made on."""
        reader, now = reader_of(tie, speak), datetime.now(UTC)
        if not reader.subscribed:
            return left(reader)
        bits: list[int] = []
        try:
            match form.get("action"):
                case "drop":
                    bits = [int(str(bit)) for bit in form.getlist("section")]
                    dropped = preferences.drop_sections(database, tie, bits, now, speak)
                    titles = (
                        cldr.listed(tuple(title.text for title in dropped[0]), reader.language)
                        if dropped
                        else ""
                    )
                    return page("less", dropped[1] if dropped else None, what="dropped", titles=titles)
                case "monthly":
                    return page("less", preferences.set_monthly(database, tie, now, speak), what="monthly")
                case "pause":
                    weeks = int(str(form.get("weeks", "")))
                    paused = preferences.pause(database, tie, max(weeks, 1), "mail", now, speak)
                    return page("less", paused, what="paused")
                case _:
                    undone = preferences.take_back(database, tie, "mail", now, speak)
                    return page("less", undone[1] if undone else None, what="undone")
        except NothingChosen:
            return entry(name, reader, 422, problem="no sections", ticked=bits)
        except (NotOffered, ValueError):  # ValueError: what should be a number is none
            return entry(name, reader, 422, problem="unreadable")

    @router.api_route("/u/{token}", methods=["GET", "HEAD"])
    def ask_to_leave(tie: ToLeave, speak: Speak) -> HTMLResponse:
        return entry("leave", reader_of(tie, speak))

    @router.post("/u/{token}")
    def unsubscribe(tie: ToLeave, speak: Speak, form: Form) -> HTMLResponse:
        """RFC 8058. Whatever else a mail client may post means the same: to leave."""
        match form.get("action"):
            case "undo":
                return come_back(tie, speak)
            case "leave":
                return leave(tie, speak, "unsubscribe page")
            case "leave-all":
                return leave_all(tie, speak)
            case "why":
                return say_why(tie, speak, form)
            case "drop" | "monthly" | "pause" | "restore":
                return less(tie, speak, form, "leave")
            case _:
                return leave(tie, speak, "one click")

    @router.api_route("/p/{token}", methods=["GET", "HEAD"])
    def show_ways(tie: ToChoose, speak: Speak) -> HTMLResponse:
        return entry("ways", reader_of(tie, speak))

    @router.post("/p/{token}")
    def take_way(tie: ToChoose, speak: Speak, form: Form) -> HTMLResponse:
        match form.get("action"):
            case "send":
                answer = preferences.send_key(database, tie, datetime.now(UTC), speak)
                if answer is None:
                    raise HTTPException(404)
                return entry("ways", answer[1], sent="now" if answer[0] else "before")
            case "leave":
                return leave(tie, speak, "preferences page")
            case "leave-all":
                return leave_all(tie, speak)
            case "undo":
                return come_back(tie, speak)
            case "why":
                return say_why(tie, speak, form)
            case "drop" | "monthly" | "pause" | "restore":
                return less(tie, speak, form, "ways")
            case _:
                return entry("ways", reader_of(tie, speak), 422, problem="unreadable")

    return router


def _opened(parts: Mailer, of_issue: Purpose, of_newsletter: Purpose) -> Callable[[str], Tie]:
    database, tokens = parts.database, parts.tokens

    def opened(token: str) -> Tie:
        if pair := tokens.open_link(of_issue, token):
            return leaving.present(database, Tie(pair[1], issue=pair[0]))
        if pair := tokens.open_link(of_newsletter, token):
            return leaving.present(database, Tie(pair[1], newsletter=pair[0]))
        raise HTTPException(404)

    return opened
