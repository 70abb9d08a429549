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
from mailer.bootstrap import Container
from mailer.domain.locales import native_name
from mailer.domain.subscriber_fields import InvalidValue, read_address
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.domain.time_zones import COMMON_TIME_ZONES
from mailer.services.subscribers import change_address, personal_data, preferences, unsubscribe
from mailer.services.subscribers.preferences import NothingChosen, NotOffered, Preferences, Profile
from mailer.web.pages import N_, PRIVATE_HEADERS, Pages
from mailer.web.public.mail_links import PostedForm, RequestedLanguages
from mailer.web.public.personal_data import RowDescriber

_MIN_LANGUAGE_FIELDS = 3
"""Lists of languages on the page; more where the reader has more languages."""
_TRACKING_WORDING = N_("I agree that you record which emails I open and which links I click.")
"""What the box for tracking says; the translation of it is kept with the consent."""


class LinkExpired(Exception):
    """The link of a reader's own page opens no more."""

    def __init__(self, ref: SubscriptionRef) -> None:
        super().__init__()
        self.ref = ref


def manage_router(app: Container, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database, tokens = app.database, app.tokens

    def key(token: str, slug: str) -> tuple[SubscriptionRef, bool]:
        pair = tokens.read_link_token(Purpose.magic_link, token)
        if pair is None:
            raise HTTPException(404)
        made = datetime.fromtimestamp(pair[0], UTC)
        found = preferences.check_magic_link(database, made, pair[1], slug, datetime.now(UTC))
        if found is None:
            raise HTTPException(404)
        return found

    Key = Annotated[tuple[SubscriptionRef, bool], Depends(key)]

    def reader_of(tie: SubscriptionRef, speak: list[str]) -> Profile:
        found = preferences.profile(database, tie, datetime.now(UTC), speak, "key")
        if found is None:
            raise HTTPException(404)
        return found

    def closed(tie: SubscriptionRef, speak: list[str], sent: str = "") -> HTMLResponse:
        reader = reader_of(tie, speak)
        return pages.render_for(reader, "link_expired", 200 if sent else 410, reader=reader, sent=sent)

    def left(reader: Profile, thanks: bool = False, every: bool = False) -> HTMLResponse:
        values = {"thanks": thanks, "every": every, "reasons": unsubscribe.REASONS}
        return pages.render_for(
            reader, "unsubscribed", reader=reader, longest=unsubscribe.MAX_COMMENT_LENGTH, **values
        )

    def choices(
        reader: Profile,
        status: int = 200,
        saved: str = "",
        problem: str = "",
        undo: bool = False,
        typed: str = "",
    ) -> HTMLResponse:
        followed = tuple(s.title.text for s in reader.sections if s.followed or s.always_included)
        places = [
            *reader.languages,
            *[""] * (min(_MIN_LANGUAGE_FIELDS, len(reader.offered_languages)) - len(reader.languages)),
        ]
        zones = dict.fromkeys([*COMMON_TIME_ZONES, reader.time_zone])
        return pages.render_for(
            reader,
            "preferences",
            status,
            reader=reader,
            saved=saved,
            problem=problem,
            undo=undo,
            places=places,
            zones=sorted(zones, key=lambda zone: cldr.zone_name(zone, reader.language, date.today())),
            pauses=preferences.PAUSE_WEEKS,
            tracking_wording=pages.gettext(reader, _TRACKING_WORDING),
            section_titles=cldr.join_items(followed, reader.language),
            language_names=cldr.join_items(tuple(map(native_name, reader.languages)), reader.language),
            typed=typed,
        )

    def save(tie: SubscriptionRef, speak: list[str], form: PostedForm) -> HTMLResponse:
        reader = reader_of(tie, speak)
        frequency = form.get("frequency")
        asks = reader.offers_tracking
        try:
            if frequency not in (None, "each", "monthly"):
                raise NotOffered("A choice names no frequency.")
            wanted = Preferences(
                sections=[int(str(bit)) for bit in form.getlist("section")],
                languages=[str(tag) for tag in form.getlist("language") if tag],
                new_sections="new" in form,
                text_only="text" in form,
                time_zone=str(form["zone"]) if "zone" in form else None,
                monthly=frequency == "monthly" if frequency else None,
                tracking="tracking" in form if asks else None,
                tracking_wording=pages.gettext(reader, _TRACKING_WORDING),
                language=reader.language,
            )
            changed = preferences.save(database, tie, wanted, datetime.now(UTC), speak)
        except NothingChosen:
            return choices(_with_form_values(reader, form), 422, problem="no sections")
        except (NotOffered, ValueError):  # ValueError: a section that is no number
            return choices(reader, 422, problem="unreadable")
        if changed is None:
            raise HTTPException(404)
        before, after = changed
        return choices(after, saved="saved", undo=after != before) if after.subscribed else left(after)

    def pause(tie: SubscriptionRef, speak: list[str], weeks: object) -> HTMLResponse:
        try:
            paused = preferences.pause(database, tie, int(str(weeks)), "key", datetime.now(UTC), speak)
        except (NotOffered, ValueError):
            return choices(reader_of(tie, speak), 422, problem="unreadable")
        if paused is None:
            raise HTTPException(404)
        return choices(paused, saved="paused" if paused.paused_until else "resumed", undo=True)

    def move(tie: SubscriptionRef, speak: list[str], typed: str) -> HTMLResponse:
        reader = reader_of(tie, speak)
        try:
            address, hashed = read_address(typed.strip())
            known = change_address.request(
                database, tie, address, tokens.address_hash(hashed), reader.language, datetime.now(UTC)
            )
        except InvalidValue:
            return choices(reader, 422, problem="address", typed=typed[:254])
        except change_address.SameAddress:
            return choices(reader, 422, problem="same address", typed=typed[:254])
        if not known:
            raise HTTPException(404)
        return choices(reader, saved="moving")

    @router.api_route("/k/{token}/{slug}", methods=["GET", "HEAD"])
    def show(opened: Key, speak: RequestedLanguages) -> HTMLResponse:
        tie, good = opened
        if not good:
            return closed(tie, speak)
        reader = reader_of(tie, speak)
        return choices(reader) if reader.subscribed else left(reader)

    @router.post("/k/{token}/{slug}")
    def change(opened: Key, speak: RequestedLanguages, form: PostedForm) -> HTMLResponse:
        tie, good = opened
        now = datetime.now(UTC)
        if form.get("action") == "send":
            answer = preferences.send_magic_link(database, tie, now, speak)
            return closed(tie, speak, sent="now" if answer and answer[0] else "before")
        if not good:
            return closed(tie, speak)
        match form.get("action"):
            case "save":
                return save(tie, speak, form)
            case "restore":
                undone = preferences.undo(database, tie, "key", now, speak)
                if undone is None:
                    raise HTTPException(404)
                return choices(undone[1], saved="undone") if undone[1].subscribed else left(undone[1])
            case "pause":
                return pause(tie, speak, form.get("weeks"))
            case "move":
                return move(tie, speak, str(form.get("address", "")))
            case "leave":
                unsubscribe.unsubscribe(database, tie, "own page", now)
                return left(reader_of(tie, speak))
            case "leave-all":
                unsubscribe.unsubscribe_all(database, tie, "key", now)
                return left(reader_of(tie, speak), every=True)
            case "undo":
                back = unsubscribe.resubscribe(database, tie, "key", now)
                reader = reader_of(tie, speak)
                return pages.render_for(reader, "resubscribed", reader=reader) if back else left(reader)
            case "why":
                told = unsubscribe.record_reason(
                    database, tie, str(form.get("why", "")), str(form.get("words", ""))
                )
                return left(reader_of(tie, speak), thanks=told)
            case _:
                return choices(reader_of(tie, speak), 422, problem="unreadable")

    def data(
        reader: Profile, held: personal_data.PersonalData, status: int = 200, problem: str = ""
    ) -> HTMLResponse:
        words = RowDescriber(reader, lambda message: pages.gettext(reader, message))
        told = {table: [words.describe(row) for row in rows] for table, rows in held.items()}
        return pages.render_for(reader, "personal_data", status, slug=reader.slug, held=told, problem=problem)

    def held(opened: Key) -> tuple[SubscriptionRef, personal_data.PersonalData]:
        tie, good = opened
        found = personal_data.export_subscriber(database, tie.subscriber) if good else None
        if found is None:
            raise LinkExpired(tie)
        return tie, found

    @router.api_route("/k/{token}/{slug}/data", methods=["GET", "HEAD"])
    def show_data(opened: Key, speak: RequestedLanguages) -> HTMLResponse:
        try:
            tie, found = held(opened)
        except LinkExpired as error:
            return closed(error.ref, speak)
        return data(reader_of(tie, speak), found)

    @router.api_route("/k/{token}/{slug}/data.json", methods=["GET", "HEAD"])
    def download(opened: Key, speak: RequestedLanguages) -> Response:
        try:
            _, found = held(opened)
        except LinkExpired as error:
            return closed(error.ref, speak)
        headers = PRIVATE_HEADERS | {"Content-Disposition": 'attachment; filename="my-data.json"'}
        return Response(personal_data.to_json(found), media_type="application/json", headers=headers)

    @router.post("/k/{token}/{slug}/data")
    def erase(opened: Key, speak: RequestedLanguages, form: PostedForm) -> HTMLResponse:
        tie, good = opened
        if not good:
            return closed(tie, speak)
        reader = reader_of(tie, speak)
        problem = "" if form.get("action") == "erase" and "sure" in form else "not sure"
        if not problem:
            try:
                personal_data.erase_subscriber(database, tie.subscriber, datetime.now(UTC))
                return pages.render_for(
                    reader, "erased", languages=()
                )  # this address leads nowhere from now on
            except personal_data.MailInTransit:
                problem = "on its way"
        found = personal_data.export_subscriber(database, tie.subscriber) or {}
        return data(reader, found, 422 if problem == "not sure" else 503, problem)

    @router.api_route("/a/{token}", methods=["GET", "HEAD"])
    def ask_to_move(token: str, speak: RequestedLanguages) -> HTMLResponse:
        return moved(change_address.view, token, speak)

    @router.post("/a/{token}")
    def agree_to_move(token: str, speak: RequestedLanguages) -> HTMLResponse:
        return moved(change_address.confirm, token, speak)

    def moved(
        step: Callable[..., change_address.AddressChangePage | None], token: str, speak: list[str]
    ) -> HTMLResponse:
        pair = tokens.read_link_token(Purpose.change_address, token)
        found = step(database, pair[1], bool(pair[0]), speak, datetime.now(UTC)) if pair else None
        if found is None:
            raise HTTPException(404)
        return pages.render_for(found, "change_address", move=found)

    return router


def _with_form_values(profile: Profile, form: FormData) -> Profile:
    """What the page shows where a form was not taken: what the reader had chosen, and not what is stored."""
    ticked = {str(bit) for bit in form.getlist("section")}
    languages = tuple(tag for tag in map(str, form.getlist("language")) if tag in profile.offered_languages)
    zone = str(form.get("zone"))
    return replace(
        profile,
        sections=tuple(replace(section, followed=str(section.bit) in ticked) for section in profile.sections),
        languages=tuple(dict.fromkeys(languages)) or profile.languages,
        new_sections="new" in form,
        text_only="text" in form,
        monthly=form.get("frequency") == "monthly",
        time_zone=zone if zone in COMMON_TIME_ZONES else profile.time_zone,
        tracking="tracking" in form,
    )
