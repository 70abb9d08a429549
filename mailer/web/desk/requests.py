"""Texts of an issue that somebody was asked for: who still owes what, asking, reminding and withdrawing."""

from collections.abc import Callable
from datetime import date, timedelta

from fastapi import APIRouter, HTTPException, Response
from starlette.datastructures import FormData

from mailer.domain.errors import ChangeRefused, UserError
from mailer.domain.permissions import Permission
from mailer.domain.staff_texts import gettext
from mailer.domain.states import EDITABLE_STATES
from mailer.domain.text_difference import differences
from mailer.domain.text_requests import MAX_DAYS_AHEAD, RequestState, TextTask
from mailer.services.accounts.staff import Staff
from mailer.services.issues import contributions, text_request_list, text_requests
from mailer.services.issues.text_requests import NewRequest, RequestGone
from mailer.web.dependencies import BigRowId
from mailer.web.desk.issue import ISSUE, Viewer, Visit, VisitOf, Writer
from mailer.web.desk.text_form import BASE, match
from mailer.web.forms import whole_number
from mailer.web.staff import message_of
from mailer.web.staff_forms import StaffForm

router = APIRouter(prefix=ISSUE + "/requests", include_in_schema=False)
_USUAL_DAYS = 7
"""How far ahead the form proposes that a text is due."""
_OVER = (RequestState.done, RequestState.withdrawn)


@router.get("")
def requests_page(
    visit: VisitOf, staff: Viewer, language: str = "", show: str = "", text: str = "", into: str = "", done: str = ""
) -> Response:
    """Show who owes what. ``text`` and ``into``: for which text and language the form below is to ask."""
    form = FormData([("text", text[:20]), ("language", into[:35])])
    return _page(visit, staff, form=form, language=language, show_all=show == "all", done=done)


@router.post("")
def ask(visit: VisitOf, staff: Writer, form: StaffForm) -> Response:
    try:
        wanted = _read(form)
        text_requests.ask(visit.app.database, visit.issue, wanted, staff, visit.app.tokens.address_hash, visit.now)
    except UserError as error:
        status = 400 if isinstance(error, ChangeRefused) else 409  # the issue is no draft any more
        return _page(visit, staff, form=form, error=message_of(error), status=status)
    return visit.go_to("/requests", "asked")


@router.get("/{request_id}")
def request_page(visit: VisitOf, staff: Viewer, request_id: BigRowId, done: str = "") -> Response:
    return _request_page(visit, staff, request_id, done=done)


@router.post("/{request_id}/remind")
def remind(visit: VisitOf, staff: Writer, request_id: BigRowId, _: StaffForm) -> Response:
    def order() -> None:
        text_requests.remind(visit.app.database, visit.issue, request_id, staff, visit.now)

    return _carry_out(visit, staff, request_id, order, f"/requests/{request_id}", "reminded")


@router.post("/{request_id}/withdraw")
def withdraw(visit: VisitOf, staff: Writer, request_id: BigRowId, _: StaffForm) -> Response:
    def order() -> None:
        text_requests.withdraw(visit.app.database, visit.issue, request_id, staff, visit.now)

    return _carry_out(visit, staff, request_id, order, "/requests", "withdrawn")


@router.post("/{request_id}/done")
def finish_own(visit: VisitOf, staff: Viewer, request_id: BigRowId, _: StaffForm) -> Response:
    """End a request to whoever is signed in: the text was ready all along."""

    def order() -> None:
        text_requests.finish_own(visit.app.database, visit.issue, request_id, staff, visit.now)

    return _carry_out(visit, staff, request_id, order, f"/requests/{request_id}", "done")


@router.post("/{request_id}/send-back")
def send_back(visit: VisitOf, staff: Writer, request_id: BigRowId, form: StaffForm) -> Response:
    words = str(form.get("words", ""))

    def order() -> None:
        text_requests.send_back(visit.app.database, visit.issue, request_id, words, staff, visit.now)

    return _carry_out(visit, staff, request_id, order, "/requests", "sent_back", words=words)


@router.post("/{request_id}/take-in")
def take_in(visit: VisitOf, staff: Writer, request_id: BigRowId, form: StaffForm) -> Response:
    """Make what was handed in the text of the issue, if this still is as it was compared."""
    base = match(BASE, form.get("base"))

    def order() -> None:
        contributions.take_in(visit.app.database, visit.issue, request_id, base, staff, visit.now)

    return _carry_out(visit, staff, request_id, order, "/requests", "taken_in")


def _carry_out(
    visit: Visit, staff: Staff, request_id: int, order: Callable[[], None], then: str, done: str, *, words: str = ""
) -> Response:
    """Carry out an order about a request and go to a tab, or show the request with the reason why not."""
    try:
        order()
    except RequestGone:
        raise HTTPException(404) from None
    except UserError as error:
        return _request_page(visit, staff, request_id, words=words, error=message_of(error), status=409)
    return visit.go_to(then, done)


def _read(form: FormData) -> NewRequest:
    """Return what a form asks for. Raises ChangeRefused."""
    text = str(form.get("text", ""))
    story = whole_number(text)
    if text != "front" and story is None:
        raise ChangeRefused(gettext("Choose a text."))
    task = next((known for known in TextTask if known == form.get("task")), None)
    if task is None:
        raise ChangeRefused(gettext("Choose whether it is to be written or translated."))
    try:
        due_on = date.fromisoformat(str(form.get("due_on", ""))[:10])
    except ValueError:
        raise ChangeRefused(gettext("Give the day on which the text is due.")) from None
    return NewRequest(
        story=story,
        language=str(form.get("language", "")),
        task=task,
        account=whole_number(str(form.get("account", ""))),
        name=str(form.get("name", "")),
        address=str(form.get("address", "")),
        due_on=due_on,
        words=str(form.get("words", "")),
    )


def _page(
    visit: Visit,
    staff: Staff,
    /,
    *,
    form: FormData,
    language: str = "",
    show_all: bool = False,
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    database, head = visit.app.database, visit.head()
    requests = text_request_list.list_requests(database, visit.issue, visit.now)
    today = visit.now.date()
    return visit.page(
        "desk/requests",
        staff,
        status,
        head=head,
        requests=[
            request
            for request in requests
            if (show_all or request.state not in _OVER) and (not language or request.key.language == language)
        ],
        over=sum(request.state in _OVER for request in requests),
        asked_languages=[tag for tag in head.languages if any(one.key.language == tag for one in requests)],
        chosen_language=language,
        show_all=show_all,
        may_write=staff.may(Permission.write, head.newsletter),
        editable=head.state in EDITABLE_STATES,
        stories=text_request_list.list_stories(database, visit.issue),
        proposed_language=next((tag for tag in head.languages if tag not in head.complete_languages), ""),
        colleagues=text_request_list.list_colleagues(database, head.newsletter),
        proposed_day=today + timedelta(days=_USUAL_DAYS),
        last_day=today + timedelta(days=MAX_DAYS_AHEAD),
        today=today,
        form=form,
        done=done,
        error=error,
    )


def _request_page(
    visit: Visit,
    staff: Staff,
    request_id: int,
    /,
    *,
    words: str = "",
    done: str = "",
    error: str = "",
    status: int = 200,
) -> Response:
    try:
        request = text_request_list.load(visit.app.database, visit.issue, request_id, visit.now)
    except RequestGone:
        raise HTTPException(404) from None
    head = visit.head()
    comparison = contributions.compare(visit.app.database, visit.issue, request_id)
    return visit.page(
        "desk/request",
        staff,
        status,
        head=head,
        request=request,
        comparison=comparison,
        changes=differences(comparison.present.content, comparison.contributed) if comparison else [],
        own=request.account == staff.account,
        may_write=staff.may(Permission.write, head.newsletter),
        editable=head.state in EDITABLE_STATES,
        words=words,
        done=done,
        error=error,
    )
