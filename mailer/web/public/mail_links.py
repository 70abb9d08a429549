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
from mailer.bootstrap import Container
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.services.subscribers import preferences, unsubscribe
from mailer.services.subscribers.preferences import NothingChosen, NotOffered, Profile
from mailer.web.forms import read_form
from mailer.web.negotiation import requested_languages
from mailer.web.pages import Pages

RequestedLanguages = Annotated[list[str], Depends(requested_languages)]
PostedForm = Annotated[FormData, Depends(read_form)]


def mail_links_router(app: Container, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database = app.database
    ToLeave = Annotated[
        SubscriptionRef, Depends(_ref_from_token(app, Purpose.unsubscribe, Purpose.unsubscribe_newsletter))
    ]
    ToChoose = Annotated[
        SubscriptionRef, Depends(_ref_from_token(app, Purpose.preferences, Purpose.preferences_newsletter))
    ]

    def page(name: str, reader: Profile | None, status: int = 200, **values: object) -> HTMLResponse:
        if reader is None:
            raise HTTPException(404)
        return pages.render_for(reader, name, status, reader=reader, **values)

    def reader_of(tie: SubscriptionRef, speak: list[str]) -> Profile:
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
        values = {"problem": problem, "pauses": preferences.PAUSE_WEEKS, "sent": sent, "ticked": ticked}
        return page(name, reader, status, **values)

    def left(reader: Profile, thanks: bool = False, every: bool = False) -> HTMLResponse:
        longest = unsubscribe.MAX_COMMENT_LENGTH
        return page(
            "unsubscribed", reader, thanks=thanks, every=every, reasons=unsubscribe.REASONS, longest=longest
        )

    def leave_all(tie: SubscriptionRef, speak: list[str]) -> HTMLResponse:
        unsubscribe.unsubscribe_all(database, tie, "mail", datetime.now(UTC))
        return left(reader_of(tie, speak), every=True)

    def leave(tie: SubscriptionRef, speak: list[str], how: str) -> HTMLResponse:
        unsubscribe.unsubscribe(database, tie, how, datetime.now(UTC))
        return left(reader_of(tie, speak))

    def come_back(tie: SubscriptionRef, speak: list[str]) -> HTMLResponse:
        back = unsubscribe.resubscribe(database, tie, "mail", datetime.now(UTC))
        reader = reader_of(tie, speak)
        return page("resubscribed", reader) if back else left(reader)

    def say_why(tie: SubscriptionRef, speak: list[str], form: FormData) -> HTMLResponse:
        told = unsubscribe.record_reason(database, tie, str(form.get("why", "")), str(form.get("words", "")))
        reader = reader_of(tie, speak)
        return entry("unsubscribe", reader) if reader.subscribed else left(reader, thanks=told)

    def less(tie: SubscriptionRef, speak: list[str], form: FormData, name: str) -> HTMLResponse:
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
                        cldr.join_items(tuple(title.text for title in dropped[0]), reader.language)
                        if dropped
                        else ""
                    )
                    return page("reduced", dropped[1] if dropped else None, what="dropped", titles=titles)
                case "monthly":
                    return page("reduced", preferences.set_monthly(database, tie, now, speak), what="monthly")
                case "pause":
                    weeks = int(str(form.get("weeks", "")))
                    paused = preferences.pause(database, tie, max(weeks, 1), "mail", now, speak)
                    return page("reduced", paused, what="paused")
                case _:
                    undone = preferences.undo(database, tie, "mail", now, speak)
                    return page("reduced", undone[1] if undone else None, what="undone")
        except NothingChosen:
            return entry(name, reader, 422, problem="no sections", ticked=bits)
        except (NotOffered, ValueError):  # ValueError: what should be a number is none
            return entry(name, reader, 422, problem="unreadable")

    @router.api_route("/u/{token}", methods=["GET", "HEAD"])
    def ask_to_leave(tie: ToLeave, speak: RequestedLanguages) -> HTMLResponse:
        return entry("unsubscribe", reader_of(tie, speak))

    @router.post("/u/{token}")
    def post_unsubscribe(tie: ToLeave, speak: RequestedLanguages, form: PostedForm) -> HTMLResponse:
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
                return less(tie, speak, form, "unsubscribe")
            case _:
                return leave(tie, speak, "one click")

    @router.api_route("/p/{token}", methods=["GET", "HEAD"])
    def show_ways(tie: ToChoose, speak: RequestedLanguages) -> HTMLResponse:
        return entry("mail_options", reader_of(tie, speak))

    @router.post("/p/{token}")
    def take_way(tie: ToChoose, speak: RequestedLanguages, form: PostedForm) -> HTMLResponse:
        match form.get("action"):
            case "send":
                answer = preferences.send_magic_link(database, tie, datetime.now(UTC), speak)
                if answer is None:
                    raise HTTPException(404)
                return entry("mail_options", answer[1], sent="now" if answer[0] else "before")
            case "leave":
                return leave(tie, speak, "preferences page")
            case "leave-all":
                return leave_all(tie, speak)
            case "undo":
                return come_back(tie, speak)
            case "why":
                return say_why(tie, speak, form)
            case "drop" | "monthly" | "pause" | "restore":
                return less(tie, speak, form, "mail_options")
            case _:
                return entry("mail_options", reader_of(tie, speak), 422, problem="unreadable")

    return router


def _ref_from_token(
    app: Container, issue_purpose: Purpose, newsletter_purpose: Purpose
) -> Callable[[str], SubscriptionRef]:
    database, tokens = app.database, app.tokens

    def opened(token: str) -> SubscriptionRef:
        if pair := tokens.read_link_token(issue_purpose, token):
            return unsubscribe.current_ref(database, SubscriptionRef(pair[1], issue=pair[0]))
        if pair := tokens.read_link_token(newsletter_purpose, token):
            return unsubscribe.current_ref(database, SubscriptionRef(pair[1], newsletter=pair[0]))
        raise HTTPException(404)

    return opened
