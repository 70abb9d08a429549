"""My account: password, second factor, sessions and language."""

import re

import segno
from fastapi import APIRouter, Response
from markupsafe import Markup

from mailer.domain import urls
from mailer.domain.accounts import PasswordRefused
from mailer.services.accounts import people
from mailer.services.accounts.sign_in import CodeRefused, SignInRefused, TooManyTries
from mailer.services.accounts.staff import Staff
from mailer.web.dependencies import App, Now
from mailer.web.forms import whole_number
from mailer.web.staff import STAFF_LANGUAGES, PageOf, SignedIn, VisitorOf
from mailer.web.staff_forms import StaffForm

router = APIRouter(include_in_schema=False)
PASSWORD = f"{urls.MY_ACCOUNT}/password"
SECOND_FACTOR = f"{urls.MY_ACCOUNT}/second-factor"


@router.get(urls.MY_ACCOUNT)
def account_page(app: App, page: PageOf, now: Now, staff: SignedIn, done: str = "") -> Response:
    return _render(app, page, now, staff, done=done)


@router.post(PASSWORD)
def change_password(app: App, page: PageOf, now: Now, staff: SignedIn, visitor: VisitorOf, form: StaffForm) -> Response:
    try:
        app.sign_in.change_password(
            staff, str(form.get("old_password", "")), str(form.get("password", "")), visitor, now
        )
    except (PasswordRefused, SignInRefused, TooManyTries) as error:
        return _render(app, page, now, staff, password_error=str(error), status=400)
    return page.redirect(page.urls.path(urls.MY_ACCOUNT), "password")


@router.post(f"{urls.MY_ACCOUNT}/language")
def set_language(app: App, page: PageOf, staff: SignedIn, form: StaffForm) -> Response:
    language = str(form.get("language", ""))
    if language in STAFF_LANGUAGES:
        people.set_language(app.database, staff.account, language)
    return page.redirect(page.urls.path(urls.MY_ACCOUNT), "language")


@router.post(f"{urls.MY_ACCOUNT}/sessions")
def end_session(app: App, page: PageOf, now: Now, staff: SignedIn, form: StaffForm) -> Response:
    session = whole_number(str(form.get("session", "")), max_digits=18)
    if session is not None:
        app.sign_in.end_session(staff, session, now)
    return page.redirect(page.urls.path(urls.MY_ACCOUNT), "session")


@router.post(f"{SECOND_FACTOR}/begin")
def begin_second_factor(
    app: App, page: PageOf, now: Now, staff: SignedIn, visitor: VisitorOf, form: StaffForm
) -> Response:
    try:
        uri = app.sign_in.begin_second_factor(staff, str(form.get("password", "")), visitor, now)
    except (SignInRefused, TooManyTries) as error:
        return _render(app, page, now, staff, factor_error=str(error), status=400)
    return page("accounts/second_factor", staff, setup=_setup(uri), error=False)


@router.post(SECOND_FACTOR)
def confirm_second_factor(app: App, page: PageOf, now: Now, staff: SignedIn, form: StaffForm) -> Response:
    try:
        codes = app.sign_in.confirm_second_factor(staff, str(form.get("code", ""))[:40], now)
    except CodeRefused:
        uri = app.sign_in.second_factor_uri(staff)
        if not uri:
            return page.redirect(page.urls.path(urls.MY_ACCOUNT))
        return page("accounts/second_factor", staff, 400, setup=_setup(uri), error=True)
    return page("accounts/recovery_codes", staff, codes=codes)


@router.post(f"{SECOND_FACTOR}/off")
def turn_off_second_factor(
    app: App, page: PageOf, now: Now, staff: SignedIn, visitor: VisitorOf, form: StaffForm
) -> Response:
    try:
        app.sign_in.turn_off_second_factor(staff, str(form.get("password", "")), visitor, now)
    except (SignInRefused, TooManyTries) as error:
        return _render(app, page, now, staff, factor_error=str(error), status=400)
    return page.redirect(page.urls.path(urls.MY_ACCOUNT), "second_factor_off")


def _setup(uri: str) -> dict[str, str]:
    """Return the QR code, as inline SVG without styles, and the secret for typing."""
    code = segno.make(uri, error="m").svg_inline(scale=5, border=3, svgclass="qr", lineclass=None, omitsize=False)
    secret = re.search(r"secret=([A-Z2-7]+)", uri)
    assert secret
    return {"qr": Markup(code), "secret": " ".join(re.findall("....", secret[1]))}  # noqa: S704


def _render(
    app: App,
    page: PageOf,
    now: Now,
    staff: Staff,
    *,
    status: int = 200,
    done: str = "",
    password_error: str = "",
    factor_error: str = "",
) -> Response:
    return page(
        "accounts/account",
        staff,
        status,
        sessions=app.sign_in.sessions(staff, now),
        codes_left=app.sign_in.recovery_codes_left(staff),
        done=done,
        password_error=password_error,
        factor_error=factor_error,
    )
