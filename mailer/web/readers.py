"""Where the links of a mail lead its reader: leaving, and choosing. GET changes nothing; POST needs the link
alone, no cookie and no login."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.adapters.tokens import Purpose, Tokens
from mailer.bootstrap import Mailer
from mailer.domain.locales import native_name
from mailer.services import preferences
from mailer.services.preferences import NothingChosen, NotOffered, Profile
from mailer.web.forms import posted
from mailer.web.negotiation import asked
from mailer.web.pages import Pages
from mailer.web.theme import theme_address

_PLACES = 3
"""Lists of languages on the page; more where the reader has more languages."""

Tie = tuple[int, int]
"""issue, subscriber"""
Speak = Annotated[list[str], Depends(asked)]
Form = Annotated[FormData, Depends(posted)]


def reader_router(parts: Mailer, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database, tokens = parts.database, parts.tokens
    ToLeave = Annotated[Tie, Depends(_opened(tokens, Purpose.unsubscribe))]
    ToChoose = Annotated[Tie, Depends(_opened(tokens, Purpose.preferences))]

    def page(name: str, reader: Profile, status: int = 200, **values: object) -> HTMLResponse:
        frame = {
            "reader": reader,
            "languages": reader.page_languages,
            "publication": reader.name,
            "theme": pages.at(theme_address(reader.theme)),
            "postal_address": reader.postal_address,
        }
        return pages.page(name, reader.language, frame | values, status)

    def reader_of(tie: Tie, speak: list[str]) -> Profile:
        found = preferences.profile(database, *tie, datetime.now(UTC), speak)
        if found is None:
            raise HTTPException(404)
        return found

    def leave(tie: Tie, speak: list[str], how: str) -> HTMLResponse:
        preferences.leave(database, *tie, how, datetime.now(UTC))
        return page("left", reader_of(tie, speak))

    def come_back(tie: Tie, speak: list[str]) -> HTMLResponse:
        back = preferences.come_back(database, *tie, datetime.now(UTC))
        return page("back" if back else "left", reader_of(tie, speak))

    def choices(
        reader: Profile, status: int = 200, saved: str = "", problem: str = "", former: Profile | None = None
    ) -> HTMLResponse:
        followed = tuple(s.title.text for s in reader.sections if s.followed or s.always)
        places = [*reader.languages, *[""] * (min(_PLACES, len(reader.offered)) - len(reader.languages))]
        return page(
            "preferences",
            reader,
            status,
            saved=saved,
            problem=problem,
            former=former,
            places=places,
            section_titles=cldr.listed(followed, reader.language),
            language_names=cldr.listed(tuple(map(native_name, reader.languages)), reader.language),
        )

    def save(tie: Tie, speak: list[str], form: FormData) -> HTMLResponse:
        try:
            changed = preferences.choose_sections(
                database,
                *tie,
                [int(str(bit)) for bit in form.getlist("section")],
                [str(tag) for tag in form.getlist("language") if tag],
                new_sections="new" in form,
                now=datetime.now(UTC),
                speak=speak,
            )
        except NothingChosen:
            return choices(reader_of(tie, speak), 422, problem="no sections")
        except (NotOffered, ValueError):  # ValueError: a section that is no number
            return choices(reader_of(tie, speak), 422, problem="unreadable")
        if changed is None:
            raise HTTPException(404)
        before, after = changed
        if not after.subscribed:
            return page("left", after)
        if form.get("action") == "restore":
            return choices(after, saved="undone")
        return choices(after, saved="saved", former=None if after == before else before)

    @router.api_route("/u/{token}", methods=["GET", "HEAD"])
    def ask_to_leave(tie: ToLeave, speak: Speak) -> HTMLResponse:
        reader = reader_of(tie, speak)
        return page("leave" if reader.subscribed else "left", reader)

    @router.post("/u/{token}")
    def unsubscribe(tie: ToLeave, speak: Speak, form: Form) -> HTMLResponse:
        """RFC 8058. Whatever else a mail client may post means the same: this link has one purpose."""
        match form.get("action"):
            case "undo":
                return come_back(tie, speak)
            case "leave":
                return leave(tie, speak, "unsubscribe page")
            case _:
                return leave(tie, speak, "one click")

    @router.api_route("/p/{token}", methods=["GET", "HEAD"])
    def show_choices(tie: ToChoose, speak: Speak) -> HTMLResponse:
        reader = reader_of(tie, speak)
        return choices(reader) if reader.subscribed else page("left", reader)

    @router.post("/p/{token}")
    def store_choices(tie: ToChoose, speak: Speak, form: Form) -> HTMLResponse:
        match form.get("action"):
            case "save" | "restore":
                return save(tie, speak, form)
            case "leave":
                return leave(tie, speak, "preferences page")
            case "undo":
                return come_back(tie, speak)
            case _:
                return choices(reader_of(tie, speak), 422, problem="unreadable")

    return router


def _opened(tokens: Tokens, purpose: Purpose) -> Callable[[str], Tie]:
    def opened(token: str) -> Tie:
        found = tokens.open_link(purpose, token)
        if found is None:
            raise HTTPException(404)
        return found

    return opened
