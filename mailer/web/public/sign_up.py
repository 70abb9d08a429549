"""The sign-up form, also for embedding in other sites, and the confirmation page."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.domain.consents import ConsentChannel
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.locales import native_name
from mailer.domain.localized import N_
from mailer.domain.preferences import NothingChosen, NotOffered, Preferences, section_mask
from mailer.domain.subscriber_fields import InvalidValue, read_address, read_form_name
from mailer.domain.typos import suggestion
from mailer.services.subscribers import sign_up
from mailer.services.subscribers.request_limits import RateLimited
from mailer.services.subscribers.sign_up import ConfirmationPage, SignupForm, SignupPage
from mailer.web.dependencies import (
    AcceptedLanguages,
    App,
    Now,
    PostedForm,
    PostedFrom,
    PublicPages,
    RequestedLanguages,
)
from mailer.web.pages import CSP, Pages
from mailer.web.public.subscription import MIN_LANGUAGE_FIELDS, language_places

_CONSENT_WORDING = N_("Send me %(newsletter)s by email. I can unsubscribe at any time, using the link in every email.")
"""The consent text of the form. Its translation is stored with the consent."""
_MIN_FILL_SECONDS = 8
"""The minimum time for filling in the form without proof of work."""
_NONCE_LIFETIME_SECONDS = 6 * 3600
_CSP_WITH_SCRIPT = CSP.replace("default-src 'none'", "default-src 'none'; script-src 'self'")

router = APIRouter(include_in_schema=False)


@router.api_route(urls.SUBSCRIBE, methods=["GET", "HEAD"])
def show_form(app: App, pages: PublicPages, languages: AcceptedLanguages, slug: str) -> HTMLResponse:
    return _form_page(app, pages, _signup_page(app, slug, languages))


@router.api_route(urls.EMBEDDED_FORM, methods=["GET", "HEAD"])
def show_embedded_form(app: App, pages: PublicPages, languages: AcceptedLanguages, slug: str) -> PlainTextResponse:
    """Return the form as plain HTML for embedding in another site."""
    offer = _signup_page(app, slug, languages)
    html = pages.render_for(
        offer.frame,
        "embedded_form",
        offer=offer,
        target=app.urls.absolute(app.urls.subscribe(slug, offer.frame.language)),
        agreement=_consent_wording(pages, offer),
    ).body
    return PlainTextResponse(bytes(html).decode().strip() + "\n")


@router.post(urls.SUBSCRIBE)
def post_form(
    app: App,
    pages: PublicPages,
    languages: AcceptedLanguages,
    now: Now,
    slug: str,
    form: PostedForm,
    requester: PostedFrom,
) -> HTMLResponse:
    offer = _signup_page(app, slug, languages)
    if "speak" in form:  # only switches the language of the page
        return _form_page(app, pages, offer, form=form)
    try:
        address, key = read_address(str(form.get("address", "")).strip())
    except InvalidValue:
        return _form_page(app, pages, offer, 422, "address", form)
    if form.get("url"):  # a hidden field that only robots fill in
        return _sent_page(app, pages, offer, address, form)
    if problem := _bulk_problem(app, form, requester.network_hash, now):
        return _form_page(app, pages, offer, 429 if problem == "too many" else 422, problem, form)
    try:
        signup = SignupForm(
            address=address,
            address_hash=app.tokens.address_hash(key),
            mailbox_hash=app.tokens.mailbox_hash(address),
            requester=requester,
            preferences=_read_preferences(offer, form),
            wording=_consent_wording(pages, offer),
            channel=ConsentChannel.embedded_form if "embedded" in form else ConsentChannel.sign_up_form,
        )
        offer = sign_up.request(app.database, slug, signup, languages, now) or offer
    except NothingChosen:
        return _form_page(app, pages, offer, 422, "no sections", form)
    except (NotOffered, ValueError):  # ValueError: a section that is not a number
        return _form_page(app, pages, offer, 422, "unreadable", form)
    except RateLimited:
        return _form_page(app, pages, offer, 429, "too many", form)
    return _sent_page(app, pages, offer, address, form)


def _signup_page(app: Container, slug: str, languages: Sequence[str]) -> SignupPage:
    page = sign_up.signup_page(app.database, slug, languages)
    if page is None:
        raise HTTPException(404)
    return page


def _read_preferences(offer: SignupPage, form: FormData) -> Preferences:
    """Return the preferences in a form. A form without section fields selects all sections.

    Raises NotOffered, NothingChosen or ValueError.
    """
    shows_sections = "some" in form or "section" in form
    bits = [int(str(bit)) for bit in form.getlist("section")]
    return Preferences(
        name=read_form_name(str(form.get("name", ""))),
        languages=tuple(str(tag) for tag in form.getlist("language") if tag) or offer.languages,
        sections=section_mask(
            bits if shows_sections else [section.bit for section in offer.sections],
            offer.sections,
            new_sections="new" in form or not shows_sections,
            current=0 if shows_sections else ALL_SECTIONS,
        ),
    )


def _consent_wording(pages: Pages, offer: SignupPage) -> str:
    return pages.gettext(offer.frame, _CONSENT_WORDING, newsletter=offer.frame.name.text)


def _form_page(
    app: Container,
    pages: Pages,
    offer: SignupPage,
    status: int = 200,
    problem: str = "",
    form: FormData | None = None,
) -> HTMLResponse:
    """Return the form page, with the values already entered."""
    bits = app.settings.subscribe_pow_bits
    chosen_bits = {str(bit) for bit in form.getlist("section")} if form else set()
    all_sections = not form or "some" not in form
    languages = [str(tag) for tag in form.getlist("language") if tag] if form else []
    filled_in = [tag for tag in languages if tag in offer.offered_languages][:MIN_LANGUAGE_FIELDS]
    return pages.render_for(
        offer.frame,
        "subscribe",
        status,
        _CSP_WITH_SCRIPT if bits else CSP,
        offer=offer,
        problem=problem,
        address=str(form.get("address", "")) if form else "",
        given_name=str(form.get("name", "")) if form else "",
        followed={s.bit: all_sections or str(s.bit) in chosen_bits for s in offer.sections},
        new=all_sections or bool(form and "new" in form),
        places=language_places(filled_in or offer.languages, offer.offered_languages),
        agreement=_consent_wording(pages, offer),
        ticket=_new_nonce(app),
        bits=bits,
    )


def _new_nonce(app: Container) -> str:
    now = int(app.clock.now().timestamp())
    return app.tokens.make_link_token(Purpose.form_nonce, now, secrets.randbits(62) + 1)


def _bulk_problem(app: Container, form: FormData, network_hash: bytes, now: datetime) -> str:
    """Return why a form may be one of many sent by a program; empty if it is accepted.

    Proof of work is a cost for each form, and no proof of a person. A form is accepted with it or, a few times per
    hour and network, if filling it in took long enough.
    Each nonce can be used once.
    """
    bits = app.settings.subscribe_pow_bits
    if not bits:
        return ""
    nonce = str(form.get("ticket", ""))
    token_values = app.tokens.read_link_token(Purpose.form_nonce, nonce)
    age = now.timestamp() - token_values[0] if token_values else 0.0
    if not token_values or age > _NONCE_LIFETIME_SECONDS:
        return "wait"
    has_proof = verify_proof_of_work(nonce, str(form.get("answer", "")), bits)
    if not has_proof and age < _MIN_FILL_SECONDS:
        return "wait"
    if not sign_up.claim_nonce(app.database, nonce.encode(), now):
        return "wait"
    allowed = has_proof or sign_up.allow_without_proof_of_work(app.database, network_hash, now)
    return "" if allowed else "too many"


def _sent_page(app: Container, pages: Pages, offer: SignupPage, address: str, form: FormData) -> HTMLResponse:
    """Return the page after a sign-up. It is the same whether the address is subscribed or not."""
    kept = [(name, str(value)) for name, value in form.multi_items() if name in ("section", "language", "new")]
    if "some" in form:
        kept.append(("some", "yes"))
    hidden = [*kept, ("name", str(form.get("name", ""))), ("ticket", _new_nonce(app))]
    # No language links: they would lead to an empty form.
    return pages.render_for(
        offer.frame,
        "subscribe_sent",
        languages=(),
        address=address,
        meant=suggestion(address),
        hidden=hidden,
    )


@router.api_route(urls.CONFIRM, methods=["GET", "HEAD"])
def show_confirmation(
    app: App, pages: PublicPages, languages: RequestedLanguages, now: Now, token: str
) -> HTMLResponse:
    return _confirmation(pages, sign_up.view(app.database, _read_token(app, token), languages, now))


@router.post(urls.CONFIRM)
def confirm(app: App, pages: PublicPages, languages: RequestedLanguages, now: Now, token: str) -> HTMLResponse:
    return _confirmation(pages, sign_up.confirm(app.database, _read_token(app, token), languages, now))


def _read_token(app: Container, token: str) -> int:
    token_values = app.tokens.read_link_token(Purpose.confirm, token)
    if token_values is None:
        raise HTTPException(404)
    return token_values[1]


def _confirmation(pages: Pages, page: ConfirmationPage | None) -> HTMLResponse:
    if page is None:
        raise HTTPException(404)
    frame = page.signup_page.frame
    return pages.render_for(
        frame,
        "confirm",
        confirmed=page.confirmed,
        section_titles=cldr.join_titles(page.section_titles),
        language_names=cldr.join_items(tuple(map(native_name, page.languages)), frame.language),
    )


def verify_proof_of_work(nonce: str, answer: str, bits: int) -> bool:
    """Return whether the SHA-256 of ``nonce:answer`` begins with ``bits`` zero bits."""
    digest = hashlib.sha256(f"{nonce}:{answer}".encode()).digest()
    return len(answer) <= 20 and int.from_bytes(digest, "big") >> (256 - bits) == 0
