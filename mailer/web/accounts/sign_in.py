"""Signing in and out, by password or OpenID Connect, the second factor, and choosing a password by a link."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from starlette.background import BackgroundTask
from starlette.datastructures import FormData

from mailer.adapters.openid import ATTEMPT_LIFETIME, Cancelled, IdentityRejected, OpenIdProvider, ProviderDown
from mailer.adapters.passwords import PasswordsBusy
from mailer.adapters.tokens import Purpose
from mailer.domain import urls
from mailer.domain.accounts import PasswordRefused
from mailer.services.accounts import people
from mailer.services.accounts.people import LinkExpired
from mailer.services.accounts.sign_in import CodeRefused, IdentityRefused, SignInRefused, TooManyTries
from mailer.web.dependencies import App, Now
from mailer.web.staff import Anyone, Page, PageOf, SignedIn, VisitorOf
from mailer.web.staff_forms import COOKIE, Kept, StaffForm, form_token, is_local_path, read_sign_in_form, session_token

router = APIRouter(include_in_schema=False)
open_to_anyone = [Depends(Anyone())]
PlainForm = Annotated[FormData, Depends(read_sign_in_form)]
"""A form before there is a session."""
OPENID_COOKIE = "__Host-openid"
_log = logging.getLogger(__name__)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@router.get(urls.SIGN_IN, dependencies=open_to_anyone)
def sign_in_page(page: PageOf, next: str = "") -> Response:
    return page("accounts/sign_in", None, kept=None, next=next if is_local_path(next) else "", error="", address="")


@router.post(urls.SIGN_IN, dependencies=open_to_anyone)
def sign_in(app: App, page: PageOf, now: Now, visitor: VisitorOf, form: PlainForm) -> Response:
    kept, next_path = Kept.of(form), str(form.get("next", ""))
    address = str(form.get("address", ""))[:320]
    if not _keeps_cookies(page):
        return _again(page, kept, next_path, address, "no_https", 400)
    try:
        token, needs_code = app.sign_in.sign_in(address, str(form.get("password", "")), visitor, now)
    except SignInRefused:
        return _again(page, kept, next_path, address, "refused", 403)
    except TooManyTries:
        return _again(page, kept, next_path, address, "too_many", 429)
    except PasswordsBusy:
        return _again(page, kept, next_path, address, "busy", 503)
    return _signed_in(page, kept, next_path, token, needs_code=needs_code)


def _provider(app: App) -> OpenIdProvider:
    if app.openid_provider is None:
        raise HTTPException(404)
    return app.openid_provider


ProviderOf = Annotated[OpenIdProvider, Depends(_provider)]


@router.get(urls.SIGN_IN_OPENID, dependencies=open_to_anyone)
def begin_openid(
    app: App, provider: ProviderOf, page: PageOf, now: Now, visitor: VisitorOf, next: str = ""
) -> Response:
    """Send the browser to the provider. It is a link, because a form may lead to our own pages only."""
    next = next if is_local_path(next) else ""
    if not _keeps_cookies(page):
        return _again(page, None, next, "", "no_https", 400)
    if not app.sign_in.may_ask(visitor, now):
        return _again(page, None, next, "", "too_many", 429)
    try:
        url, kept = provider.begin(next)
    except ProviderDown as error:
        return _provider_down(page, next, error)
    response = page.redirect(url)
    _set_cookie(response, kept, OPENID_COOKIE, int(ATTEMPT_LIFETIME.total_seconds()))
    return response


@router.get(urls.OPENID_CALLBACK, dependencies=open_to_anyone)
def finish_openid(
    app: App, provider: ProviderOf, page: PageOf, now: Now, visitor: VisitorOf, request: Request
) -> Response:
    """Sign in whom the provider sends back."""
    try:
        identity, next_path = provider.finish(request.cookies.get(OPENID_COOKIE, ""), dict(request.query_params))
        token, needs_code = app.sign_in.sign_in_with_identity(identity, visitor, now)
    except ProviderDown as error:
        response = _provider_down(page, "", error)
    except Cancelled:
        response = _again(page, None, "", "", "openid_cancelled", 403)
    except IdentityRejected as error:
        _log.warning("Nobody is signed in by OpenID Connect: %s", error)
        response = _again(page, None, "", "", "openid_rejected", 403)
    except IdentityRefused as error:
        response = _again(page, None, "", identity.address[:320], f"openid_{error.problem}", 403)
    else:
        response = _signed_in(page, None, next_path, token, needs_code=needs_code)
    _delete_cookie(response, OPENID_COOKIE)
    return response


@router.get(urls.SIGN_IN_CONTINUE)
def signed_in_elsewhere(page: PageOf, staff: SignedIn) -> Response:
    """Tell somebody who signed in in a second tab that the form in the first one can be sent now."""
    return page("accounts/continue", None)


@router.post(urls.SIGN_IN_CONTINUE, dependencies=open_to_anyone)
def go_on_after_signing_in(
    app: App, page: PageOf, now: Now, visitor: VisitorOf, request: Request, form: PlainForm
) -> Response:
    kept, next_path = Kept.of(form), str(form.get("next", ""))
    token = session_token(request)
    staff = app.sign_in.load(token, visitor.network, now)
    if staff is None or staff.needs_code:
        return _again(page, kept, next_path, "", "not_yet", 403)
    return _go_on(page, kept, next_path, token)


@router.post(urls.SIGN_IN_CODE, dependencies=open_to_anyone)
def enter_code(app: App, page: PageOf, now: Now, visitor: VisitorOf, request: Request, form: PlainForm) -> Response:
    kept, next_path = Kept.of(form), str(form.get("next", ""))
    try:
        token = app.sign_in.enter_code(session_token(request), str(form.get("code", ""))[:40], visitor, now)
    except CodeRefused:
        return page("accounts/code", None, 403, kept=kept, next=next_path, error="refused")
    except TooManyTries:
        return _again(page, kept, next_path, "", "too_many", 429)
    except SignInRefused:
        return _again(page, kept, next_path, "", "expired", 403)
    response = _go_on(page, kept, next_path, token)
    _set_cookie(response, token)
    return response


@router.post(urls.SIGN_OUT)
def sign_out(app: App, page: PageOf, now: Now, staff: SignedIn, _: StaffForm) -> Response:
    app.sign_in.sign_out(staff, now)
    response = page.redirect(page.urls.path(urls.SIGN_IN))
    _delete_cookie(response, COOKIE)
    return response


@router.get(urls.FORGOTTEN_PASSWORD, dependencies=open_to_anyone)
def forgotten_page(page: PageOf) -> Response:
    return page("accounts/forgotten", None, sent=False)


@router.post(urls.FORGOTTEN_PASSWORD, dependencies=open_to_anyone)
def request_reset(app: App, page: PageOf, now: Now, visitor: VisitorOf, form: PlainForm) -> Response:
    response = page("accounts/forgotten", None, sent=True)
    if app.sign_in.may_ask(visitor, now):
        # After the answer, so that its time does not tell whether there is such an account.
        response.background = BackgroundTask(
            people.request_reset, app.database, str(form.get("address", ""))[:320], now
        )
    return response


@router.get(urls.CHOOSE_PASSWORD, dependencies=open_to_anyone)
def choose_password_page(app: App, page: PageOf, now: Now, token: str) -> Response:
    try:
        invitation = people.open_link(app.database, _link(app, token), now)
    except LinkExpired:
        return page("accounts/link_expired", None, 410)
    return page("accounts/choose_password", None, invitation=invitation, error="", token=token)


@router.post(urls.CHOOSE_PASSWORD, dependencies=open_to_anyone)
def choose_password(app: App, page: PageOf, now: Now, token: str, form: PlainForm) -> Response:
    link = _link(app, token)
    try:
        invitation = people.open_link(app.database, link, now)
        address = people.choose_password(app.database, app.passwords, link, str(form.get("password", "")), now)
    except LinkExpired:
        return page("accounts/link_expired", None, 410)
    except PasswordRefused as error:
        return page("accounts/choose_password", None, 400, invitation=invitation, error=str(error), token=token)
    return page("accounts/sign_in", None, kept=None, next="", error="chosen", address=address)


def _link(app: App, token: str) -> int:
    values = app.tokens.read_link_token(Purpose.account_link, token)
    if values is None:
        raise HTTPException(404)
    return values[1]


def _again(page: Page, kept: Kept | None, next_path: str, address: str, error: str, status: int) -> Response:
    next_path = next_path if is_local_path(next_path) else ""
    return page("accounts/sign_in", None, status, kept=kept, next=next_path, error=error, address=address)


def _signed_in(page: Page, kept: Kept | None, next_path: str, token: str, *, needs_code: bool) -> Response:
    if needs_code:
        response: Response = page("accounts/code", None, kept=kept, next=next_path, error="")
    else:
        response = _go_on(page, kept, next_path, token)
    _set_cookie(response, token)
    return response


def _provider_down(page: Page, next_path: str, error: ProviderDown) -> Response:
    _log.warning("The provider of OpenID Connect cannot be asked: %s", error)
    return _again(page, None, next_path, "", "openid_down", 503)


def _keeps_cookies(page: Page) -> bool:
    """Return whether browsers keep our cookies, which are for HTTPS or the same machine."""
    return page.urls.origin.startswith("https:") or page.urls.origin.split("//")[1].startswith(_LOOPBACK)


def _go_on(page: Page, kept: Kept | None, next_path: str, token: str) -> Response:
    """Go where somebody wanted to go, or offer to send what they had filled in."""
    if kept and kept.fields:
        return page("accounts/go_on", None, kept=kept, kept_token=form_token(token))
    return page.redirect(page.urls.path("") + (next_path if is_local_path(next_path) else urls.DESK))


def _set_cookie(response: Response, value: str, name: str = COOKIE, max_age_seconds: int | None = None) -> None:
    response.set_cookie(name, value, max_age_seconds, path="/", secure=True, httponly=True, samesite="lax")


def _delete_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=True, httponly=True, samesite="lax")
