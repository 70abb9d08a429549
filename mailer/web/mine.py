"""A reader's own page, behind a link that was sent to the reader's address and opens for a short time: all
choices, all newsletters, another address, everything that is held, and letting it go."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.domain.locales import native_name
from mailer.domain.subscribers import Unfit, read_address
from mailer.domain.ties import Tie
from mailer.domain.timezones import OFFERED
from mailer.services import leave as leaving
from mailer.services import preferences, readdress, rights
from mailer.services.preferences import Choices, NothingChosen, NotOffered, Profile
from mailer.web.held import Words
from mailer.web.pages import N_, PRIVATE, Pages
from mailer.web.readers import Form, Speak

_PLACES = 3
"""Lists of languages on the page; more where the reader has more languages."""
_TRACKING = N_("I agree that you record which emails I open and which links I click.")
"""What the box for tracking says; the translation of it is kept with the consent."""


class Closed(Exception):
    """The link of a reader's own page opens no more."""

    def __init__(self, tie: Tie) -> None:
        super().__init__()
        self.tie = tie


def mine_router(parts: Mailer, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database, tokens = parts.database, parts.tokens

    def key(token: str, slug: str) -> tuple[Tie, bool]:
        pair = tokens.open_link(Purpose.key, token)
        if pair is None:
            raise HTTPException(404)
        made = datetime.fromtimestamp(pair[0], UTC)
        found = preferences.by_key(database, made, pair[1], slug, datetime.now(UTC))
        if found is None:
            raise HTTPException(404)
        return found

    Key = Annotated[tuple[Tie, bool], Depends(key)]

    def reader_of(tie: Tie, speak: list[str]) -> Profile:
        found = preferences.profile(database, tie, datetime.now(UTC), speak, "key")
        if found is None:
            raise HTTPException(404)
        return found

    def closed(tie: Tie, speak: list[str], sent: str = "") -> HTMLResponse:
        reader = reader_of(tie, speak)
        return pages.of(reader, "closed", 200 if sent else 410, reader=reader, sent=sent)

    def left(reader: Profile, thanks: bool = False, every: bool = False) -> HTMLResponse:
        values = {"thanks": thanks, "every": every, "reasons": leaving.REASONS}
        return pages.of(reader, "left", reader=reader, longest=leaving.LONGEST_WORDS, **values)

    def choices(
        reader: Profile,
        status: int = 200,
        saved: str = "",
        problem: str = "",
        undo: bool = False,
        typed: str = "",
    ) -> HTMLResponse:
        followed = tuple(s.title.text for s in reader.sections if s.followed or s.always)
        places = [*reader.languages, *[""] * (min(_PLACES, len(reader.offered)) - len(reader.languages))]
        zones = dict.fromkeys([*OFFERED, reader.time_zone])
        return pages.of(
            reader,
            "preferences",
            status,
            reader=reader,
            saved=saved,
            problem=problem,
            undo=undo,
            places=places,
            zones=sorted(zones, key=lambda zone: cldr.zone_name(zone, reader.language, date.today())),
            pauses=preferences.PAUSES,
            tracking_wording=pages.gettext(reader, _TRACKING),
            section_titles=cldr.listed(followed, reader.language),
            language_names=cldr.listed(tuple(map(native_name, reader.languages)), reader.language),
            typed=typed,
        )

    def save(tie: Tie, speak: list[str], form: Form) -> HTMLResponse:
        reader = reader_of(tie, speak)
        frequency = form.get("frequency")
        asks = reader.asks_for_tracking
        try:
            if frequency not in (None, "each", "monthly"):
                raise NotOffered("A choice names no frequency.")
            wanted = Choices(
                sections=[int(str(bit)) for bit in form.getlist("section")],
                languages=[str(tag) for tag in form.getlist("language") if tag],
                new_sections="new" in form,
                text_only="text" in form,
                time_zone=str(form["zone"]) if "zone" in form else None,
                monthly=frequency == "monthly" if frequency else None,
                tracking="tracking" in form if asks else None,
                tracking_wording=pages.gettext(reader, _TRACKING),
                language=reader.language,
            )
            changed = preferences.choose_all(database, tie, wanted, datetime.now(UTC), speak)
        except NothingChosen:
            return choices(_as_filled_in(reader, form), 422, problem="no sections")
        except (NotOffered, ValueError):  # ValueError: a section that is no number
            return choices(reader, 422, problem="unreadable")
        if changed is None:
            raise HTTPException(404)
        before, after = changed
        return choices(after, saved="saved", undo=after != before) if after.subscribed else left(after)

    def pause(tie: Tie, speak: list[str], weeks: object) -> HTMLResponse:
        try:
            paused = preferences.pause(database, tie, int(str(weeks)), "key", datetime.now(UTC), speak)
        except (NotOffered, ValueError):
            return choices(reader_of(tie, speak), 422, problem="unreadable")
        if paused is None:
            raise HTTPException(404)
        return choices(paused, saved="paused" if paused.paused_until else "resumed", undo=True)

    def move(tie: Tie, speak: list[str], typed: str) -> HTMLResponse:
        reader = reader_of(tie, speak)
        try:
            address, hashed = read_address(typed.strip())
            known = readdress.ask(
                database, tie, address, tokens.address_hash(hashed), reader.language, datetime.now(UTC)
            )
        except Unfit:
            return choices(reader, 422, problem="address", typed=typed[:254])
        except readdress.SameAddress:
            return choices(reader, 422, problem="same address", typed=typed[:254])
        if not known:
            raise HTTPException(404)
        return choices(reader, saved="moving")

    @router.api_route("/k/{token}/{slug}", methods=["GET", "HEAD"])
    def show(opened: Key, speak: Speak) -> HTMLResponse:
        tie, good = opened
        if not good:
            return closed(tie, speak)
        reader = reader_of(tie, speak)
        return choices(reader) if reader.subscribed else left(reader)

    @router.post("/k/{token}/{slug}")
    def change(opened: Key, speak: Speak, form: Form) -> HTMLResponse:
        tie, good = opened
        now = datetime.now(UTC)
        if form.get("action") == "send":
            answer = preferences.send_key(database, tie, now, speak)
            return closed(tie, speak, sent="now" if answer and answer[0] else "before")
        if not good:
            return closed(tie, speak)
        match form.get("action"):
            case "save":
                return save(tie, speak, form)
            case "restore":
                undone = preferences.take_back(database, tie, "key", now, speak)
                if undone is None:
                    raise HTTPException(404)
                return choices(undone[1], saved="undone") if undone[1].subscribed else left(undone[1])
            case "pause":
                return pause(tie, speak, form.get("weeks"))
            case "move":
                return move(tie, speak, str(form.get("address", "")))
            case "leave":
                leaving.leave(database, tie, "own page", now)
                return left(reader_of(tie, speak))
            case "leave-all":
                leaving.leave_all(database, tie, "key", now)
                return left(reader_of(tie, speak), every=True)
            case "undo":
                back = leaving.come_back(database, tie, "key", now)
                reader = reader_of(tie, speak)
                return pages.of(reader, "back", reader=reader) if back else left(reader)
            case "why":
                told = leaving.say_why(database, tie, str(form.get("why", "")), str(form.get("words", "")))
                return left(reader_of(tie, speak), thanks=told)
            case _:
                return choices(reader_of(tie, speak), 422, problem="unreadable")

    def data(reader: Profile, held: rights.Held, status: int = 200, problem: str = "") -> HTMLResponse:
        words = Words(reader, lambda message: pages.gettext(reader, message))
        told = {table: [words.told(row) for row in rows] for table, rows in held.items()}
        return pages.of(reader, "data", status, slug=reader.slug, held=told, problem=problem)

    def held(opened: Key) -> tuple[Tie, rights.Held]:
        tie, good = opened
        found = rights.export_of(database, tie.subscriber) if good else None
        if found is None:
            raise Closed(tie)
        return tie, found

    @router.api_route("/k/{token}/{slug}/data", methods=["GET", "HEAD"])
    def show_data(opened: Key, speak: Speak) -> HTMLResponse:
        try:
            tie, found = held(opened)
        except Closed as error:
            return closed(error.tie, speak)
        return data(reader_of(tie, speak), found)

    @router.api_route("/k/{token}/{slug}/data.json", methods=["GET", "HEAD"])
    def download(opened: Key, speak: Speak) -> Response:
        try:
            _, found = held(opened)
        except Closed as error:
            return closed(error.tie, speak)
        headers = PRIVATE | {"Content-Disposition": 'attachment; filename="my-data.json"'}
        return Response(rights.as_json(found), media_type="application/json", headers=headers)

    @router.post("/k/{token}/{slug}/data")
    def erase(opened: Key, speak: Speak, form: Form) -> HTMLResponse:
        tie, good = opened
        if not good:
            return closed(tie, speak)
        reader = reader_of(tie, speak)
        problem = "" if form.get("action") == "erase" and "sure" in form else "not sure"
        if not problem:
            try:
                rights.erase_subscriber(database, tie.subscriber, datetime.now(UTC))
                return pages.of(reader, "erased", languages=())  # this address leads nowhere from now on
            except rights.OnItsWay:
                problem = "on its way"
        found = rights.export_of(database, tie.subscriber) or {}
        return data(reader, found, 422 if problem == "not sure" else 503, problem)

    @router.api_route("/a/{token}", methods=["GET", "HEAD"])
    def ask_to_move(token: str, speak: Speak) -> HTMLResponse:
        return moved(readdress.look, token, speak)

    @router.post("/a/{token}")
    def agree_to_move(token: str, speak: Speak) -> HTMLResponse:
        return moved(readdress.confirm, token, speak)

    def moved(step: Callable[..., readdress.Move | None], token: str, speak: list[str]) -> HTMLResponse:
        pair = tokens.open_link(Purpose.address, token)
        found = step(database, pair[1], bool(pair[0]), speak, datetime.now(UTC)) if pair else None
        if found is None:
            raise HTTPException(404)
        return pages.of(found, "move", move=found)

    return router


def _as_filled_in(reader: Profile, form: FormData) -> Profile:
    """What the page shows where a form was not taken: what the reader had chosen, and not what is stored."""
    ticked = {str(bit) for bit in form.getlist("section")}
    languages = tuple(tag for tag in map(str, form.getlist("language")) if tag in reader.offered)
    zone = str(form.get("zone"))
    return replace(
        reader,
        sections=tuple(replace(section, followed=str(section.bit) in ticked) for section in reader.sections),
        languages=tuple(dict.fromkeys(languages)) or reader.languages,
        new_sections="new" in form,
        text_only="text" in form,
        monthly=form.get("frequency") == "monthly",
        time_zone=zone if zone in OFFERED else reader.time_zone,
        tracking="tracking" in form,
    )
