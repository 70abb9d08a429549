"""The manage page behind a magic link: preferences, newsletters, change of address, and export and erasure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import HTMLResponse
from starlette.datastructures import FormData

from mailer.adapters.tokens import Purpose
from mailer.domain import urls
from mailer.domain.consents import ConsentChannel
from mailer.domain.subscriber_fields import InvalidValue, read_address
from mailer.domain.subscription_ref import LinkKind
from mailer.services.subscribers import change_address, personal_data, preferences
from mailer.services.subscribers.change_address import AddressChangePage
from mailer.services.subscribers.personal_data import PersonalData
from mailer.services.subscribers.preferences import Profile
from mailer.services.subscribers.request_limits import RateLimited
from mailer.web.dependencies import App, Now, PostedForm, PostedFrom, PublicPages, RequestedLanguages
from mailer.web.pages import PRIVATE_HEADERS
from mailer.web.public.personal_data import RowDescriber
from mailer.web.public.subscription import (
    ACTIONS,
    Visit,
    choices_page,
    load_profile,
    render,
    request_confirmation,
    request_magic_link,
)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _MagicLink:
    visit: Visit
    valid: bool
    """Whether it has not expired."""


def _magic_link(
    app: App,
    pages: PublicPages,
    languages: RequestedLanguages,
    now: Now,
    requester: PostedFrom,
    token: str,
    slug: str,
) -> _MagicLink:
    token_values = app.tokens.read_link_token(Purpose.magic_link, token)
    if token_values is None:
        raise HTTPException(404)
    created_at = datetime.fromtimestamp(token_values[0], UTC)
    link_target = preferences.check_magic_link(app.database, created_at, token_values[1], slug, now)
    if link_target is None:
        raise HTTPException(404)
    ref, valid = link_target
    visit = Visit(app, pages, ref, LinkKind.magic, ConsentChannel.manage_page, languages, now, requester)
    return _MagicLink(visit, valid)


MagicLink = Annotated[_MagicLink, Depends(_magic_link)]


@router.api_route(urls.MANAGE, methods=["GET", "HEAD"])
def show_manage_page(link: MagicLink) -> HTMLResponse:
    return choices_page(link.visit, load_profile(link.visit)) if link.valid else _expired(link.visit)


@router.post(urls.MANAGE)
def post_manage_page(link: MagicLink, form: PostedForm) -> HTMLResponse:
    visit = link.visit
    if form.get("action") == "send":
        return _send_link(visit, request_magic_link)
    if not link.valid and form.get("action") == "reconfirm":
        return _send_link(visit, request_confirmation)
    if not link.valid:
        return _expired(visit)
    if action := _ACTIONS.get(str(form.get("action"))):
        return action(visit, form)
    return choices_page(visit, load_profile(visit), 422, problem="unreadable")


def _expired(visit: Visit) -> HTMLResponse:
    return render(visit, "link_expired", load_profile(visit), 410, sent="", problem="")


def _send_link(visit: Visit, request: Callable[[Visit], tuple[str, Profile]]) -> HTMLResponse:
    try:
        sent, profile = request(visit)
    except RateLimited:
        return render(visit, "link_expired", load_profile(visit), 429, sent="", problem="too many")
    if profile.bounced_at and request is request_magic_link:
        return _expired(visit)
    return render(visit, "link_expired", profile, sent=sent, problem="")


def _request_address_change(visit: Visit, form: FormData) -> HTMLResponse:
    profile, typed = load_profile(visit), str(form.get("address", ""))
    try:
        address, key = read_address(typed.strip())
        address_hash = visit.app.tokens.address_hash(key)
        exists = change_address.request(
            visit.app.database,
            visit.ref,
            address,
            address_hash,
            profile.frame.language,
            visit.now,
            hash_mailbox=visit.app.tokens.mailbox_hash,
            requester=visit.requester,
        )
    except InvalidValue:
        return choices_page(visit, profile, 422, problem="address", typed=typed)
    except RateLimited:
        return choices_page(visit, profile, 429, problem="too many", typed=typed)
    except change_address.SameAddress:
        return choices_page(visit, profile, 422, problem="same address", typed=typed)
    if not exists:
        raise HTTPException(404)
    return choices_page(visit, profile, saved="moving")


_ACTIONS = ACTIONS | {"change-address": _request_address_change}


@router.api_route(urls.PERSONAL_DATA, methods=["GET", "HEAD"])
def show_personal_data(link: MagicLink) -> HTMLResponse:
    data = _stored_data(link)
    return _expired(link.visit) if data is None else _personal_data_page(link.visit, data)


@router.api_route(urls.PERSONAL_DATA_JSON, methods=["GET", "HEAD"])
def download_personal_data(link: MagicLink) -> Response:
    data = _stored_data(link)
    if data is None:
        return _expired(link.visit)
    headers = PRIVATE_HEADERS | {"Content-Disposition": 'attachment; filename="my-data.json"'}
    return Response(personal_data.to_json(data), media_type="application/json", headers=headers)


@router.post(urls.PERSONAL_DATA)
def erase_personal_data(link: MagicLink, form: PostedForm) -> HTMLResponse:
    visit = link.visit
    if not link.valid:
        return _expired(visit)
    profile = load_profile(visit)
    problem = "" if form.get("action") == "erase" and "sure" in form else "not sure"
    if not problem:
        try:
            personal_data.erase_subscriber(visit.app.database, visit.ref.subscriber, visit.now)
            # The link no longer works, so the page has no language links.
            return render(visit, "erased", profile, languages=())
        except personal_data.MailInTransit:
            problem = "on its way"
    data = personal_data.export_subscriber(visit.app.database, visit.ref.subscriber) or {}
    return _personal_data_page(visit, data, 422 if problem == "not sure" else 503, problem)


def _stored_data(link: _MagicLink) -> PersonalData | None:
    if not link.valid:
        return None
    return personal_data.export_subscriber(link.visit.app.database, link.visit.ref.subscriber)


def _personal_data_page(visit: Visit, data: PersonalData, status: int = 200, problem: str = "") -> HTMLResponse:
    profile = load_profile(visit)
    describer = RowDescriber(profile, lambda message: visit.pages.gettext(profile.frame, message), visit.now.date())
    rows = {table: [describer.describe(row) for row in table_rows] for table, table_rows in data.items()}
    return render(visit, "personal_data", profile, status, slug=profile.frame.slug, held=rows, problem=problem)


@router.api_route(urls.CHANGE_ADDRESS, methods=["GET", "HEAD"])
def show_address_change(
    app: App, pages: PublicPages, languages: RequestedLanguages, now: Now, token: str
) -> HTMLResponse:
    return _address_change(change_address.view, app, pages, languages, now, token)


@router.post(urls.CHANGE_ADDRESS)
def confirm_address_change(
    app: App, pages: PublicPages, languages: RequestedLanguages, now: Now, token: str
) -> HTMLResponse:
    return _address_change(change_address.confirm, app, pages, languages, now, token)


def _address_change(
    step: Callable[..., AddressChangePage | None],
    app: App,
    pages: PublicPages,
    languages: list[str],
    now: datetime,
    token: str,
) -> HTMLResponse:
    token_values = app.tokens.read_link_token(Purpose.change_address, token)
    page = step(app.database, token_values[1], bool(token_values[0]), languages, now) if token_values else None
    if page is None:
        raise HTTPException(404)
    return pages.render_for(page.frame, "change_address", change=page)
