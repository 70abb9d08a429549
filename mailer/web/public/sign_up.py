"""Subscribing: the form of a newsletter, also from other sites, and the page that confirms it."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.datastructures import FormData

from mailer.adapters import cldr
from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.domain.email_addresses import strip_subaddress
from mailer.domain.locales import native_name
from mailer.domain.subscriber_fields import MAX_TEXT_CHARS, InvalidValue, read_address, read_display_name
from mailer.domain.typos import suggestion
from mailer.services.subscribers import sign_up
from mailer.services.subscribers.sign_up import (
    NothingChosen,
    NotOffered,
    RateLimited,
    SignupForm,
    SignupPage,
)
from mailer.web.negotiation import accepted_languages as wanted_languages
from mailer.web.pages import CSP, N_, Pages
from mailer.web.public.mail_links import PostedForm

_MIN_LANGUAGE_FIELDS = 3
_CONSENT_WORDING = N_(
    "Send me %(newsletter)s by email. I can unsubscribe at any time, using the link in every email."
)
"""What one agrees to by sending the form; the translation of it is kept with the consent."""
_MIN_FILL_SECONDS = 8
"""Seconds that somebody without script takes at least to fill in the form."""
_NONCE_LIFETIME_SECONDS = 6 * 3600
"""Seconds."""
_CSP_WITH_SCRIPT = CSP.replace("default-src 'none'", "default-src 'none'; script-src 'self'")

AcceptedLanguages = Annotated[list[str], Depends(wanted_languages)]


def sign_up_router(app: Container, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database, tokens = app.database, app.tokens
    bits = app.settings.subscribe_pow_bits

    def offer_of(slug: str, speak: Sequence[str]) -> SignupPage:
        found = sign_up.signup_page(database, slug, speak)
        if found is None:
            raise HTTPException(404)
        return found

    def form_page(
        offer: SignupPage, status: int = 200, problem: str = "", form: FormData | None = None
    ) -> HTMLResponse:
        """The form, with what was filled in already."""
        chosen = {str(bit) for bit in form.getlist("section")} if form else set()
        everything = not form or "some" not in form
        languages = [str(tag) for tag in form.getlist("language") if tag] if form else []
        places = [tag for tag in languages if tag in offer.offered_languages][:_MIN_LANGUAGE_FIELDS] or list(
            offer.languages
        )
        return pages.render_for(
            offer,
            "subscribe",
            status,
            _CSP_WITH_SCRIPT if bits else CSP,
            offer=offer,
            problem=problem,
            address=str(form.get("address", ""))[:254] if form else "",
            given_name=str(form.get("name", ""))[:MAX_TEXT_CHARS] if form else "",
            followed={s.bit: everything or str(s.bit) in chosen for s in offer.sections},
            new=everything or bool(form and "new" in form),
            places=[*places, *[""] * (min(_MIN_LANGUAGE_FIELDS, len(offer.offered_languages)) - len(places))],
            agreement=pages.gettext(offer, _CONSENT_WORDING, newsletter=offer.name.text),
            ticket=_ticket(),
            bits=bits,
        )

    def _ticket() -> str:
        now = int(datetime.now(UTC).timestamp())
        return tokens.make_link_token(Purpose.form_nonce, now, secrets.randbits(62) + 1)

    def refused(form: FormData, network: bytes, now: datetime) -> str:
        """Why a form is not taken; empty when it shows work done by the browser, or took as long as a person
        takes, which a network may do a few times an hour. Each showing of the form counts once."""
        if not bits:
            return ""
        ticket = str(form.get("ticket", ""))
        pair = tokens.read_link_token(Purpose.form_nonce, ticket)
        age = now.timestamp() - pair[0] if pair else 0.0
        if not pair or age > _NONCE_LIFETIME_SECONDS:
            return "wait"
        worked = verify_proof_of_work(ticket, str(form.get("answer", "")), bits)
        if not worked and age < _MIN_FILL_SECONDS:
            return "wait"
        if not sign_up.claim_nonce(database, ticket.encode(), now):
            return "wait"
        return "" if worked or sign_up.allow_without_proof_of_work(database, network, now) else "too many"

    @router.api_route("/subscribe/{slug}", methods=["GET", "HEAD"])
    def show(slug: str, speak: AcceptedLanguages) -> HTMLResponse:
        return form_page(offer_of(slug, speak))

    @router.api_route("/subscribe/{slug}/form", methods=["GET", "HEAD"])
    def snippet(slug: str, speak: AcceptedLanguages) -> PlainTextResponse:
        """The form as plain HTML, to be pasted into another site."""
        offer = offer_of(slug, speak)
        html = pages.render_for(
            offer,
            "embedded_form",
            offer=offer,
            target=app.urls.page_url(f"subscribe/{slug}?lang={offer.language}"),
            agreement=pages.gettext(offer, _CONSENT_WORDING, newsletter=offer.name.text),
        ).body
        return PlainTextResponse(bytes(html).decode().strip() + "\n")

    @router.post("/subscribe/{slug}")
    def ask(request: Request, slug: str, speak: AcceptedLanguages, form: PostedForm) -> HTMLResponse:
        offer, now = offer_of(slug, speak), datetime.now(UTC)
        host = request.client.host if request.client else ""
        network = tokens.network_hash(host)
        if "speak" in form:  # another language for the page, and nothing else
            return form_page(offer, form=form)
        try:
            address, key = read_address(str(form.get("address", "")).strip())
        except InvalidValue:
            return form_page(offer, 422, "address", form)
        if form.get("url"):  # nobody sees this field but robots
            return answer(offer, address, form)
        if problem := refused(form, network, now):
            return form_page(offer, 429 if problem == "too many" else 422, problem, form)
        # A form that shows no sections means all of them.
        shown = "some" in form or "section" in form
        try:
            sections = [int(str(bit)) for bit in form.getlist("section")]
            offer = (
                sign_up.request(
                    database,
                    slug,
                    SignupForm(
                        address=address,
                        address_hash=tokens.address_hash(key),
                        mailbox_hash=tokens.address_hash(strip_subaddress(key)),
                        network_hash=network,
                        name=read_display_name(str(form.get("name", ""))),
                        languages=[str(tag) for tag in form.getlist("language") if tag] or offer.languages,
                        sections=sections if shown else [s.bit for s in offer.sections],
                        new_sections="new" in form or not shown,
                        wording=pages.gettext(offer, _CONSENT_WORDING, newsletter=offer.name.text),
                        channel="form on another site" if "embedded" in form else "subscribe page",
                        isp_hash=tokens.isp_hash(host),
                    ),
                    speak,
                    now,
                )
                or offer
            )
        except NothingChosen:
            return form_page(offer, 422, "no sections", form)
        except (NotOffered, ValueError):
            return form_page(offer, 422, "unreadable", form)
        except RateLimited:
            return form_page(offer, 429, "too many", form)
        return answer(offer, address, form)

    def answer(offer: SignupPage, address: str, form: FormData) -> HTMLResponse:
        """The same for everybody, whatever is known of the address."""
        meant = suggestion(address)
        kept = [
            (name, str(value)) for name, value in form.multi_items() if name in ("section", "language", "new")
        ]
        if "some" in form:
            kept.append(("some", "yes"))
        hidden = [*kept, ("name", str(form.get("name", ""))[:MAX_TEXT_CHARS]), ("ticket", _ticket())]
        # In another language there would be nothing but an empty form.
        return pages.render_for(
            offer, "subscribe_sent", languages=(), address=address, meant=meant, hidden=hidden
        )

    @router.api_route("/c/{token}", methods=["GET", "HEAD"])
    def look(token: str, speak: AcceptedLanguages, request: Request) -> HTMLResponse:
        found = sign_up.view(database, signup(token), _link_language(speak, request), datetime.now(UTC))
        return confirmation(found)

    @router.post("/c/{token}")
    def confirm(token: str, speak: AcceptedLanguages, request: Request) -> HTMLResponse:
        found = sign_up.confirm(database, signup(token), _link_language(speak, request), datetime.now(UTC))
        return confirmation(found)

    def signup(token: str) -> int:
        pair = tokens.read_link_token(Purpose.confirm, token)
        if pair is None:
            raise HTTPException(404)
        return pair[1]

    def confirmation(found: sign_up.ConfirmationPage | None) -> HTMLResponse:
        if found is None:
            raise HTTPException(404)
        offer = found.signup_page
        return pages.render_for(
            offer,
            "confirm",
            confirmed=found.confirmed,
            section_titles=cldr.join_items(found.section_titles, offer.language),
            language_names=cldr.join_items(tuple(map(native_name, found.languages)), offer.language),
        )

    return router


def _link_language(languages: list[str], request: Request) -> list[str]:
    """The language that a link of the page asks for; else the sign-up's own, not the browser's."""
    return languages[:1] if "lang" in request.query_params else []


def verify_proof_of_work(nonce: str, answer: str, bits: int) -> bool:
    """Whether SHA-256 of ``ticket:answer`` begins with so many zero bits."""
    digest = hashlib.sha256(f"{nonce}:{answer}".encode()).digest()
    return len(answer) <= 20 and int.from_bytes(digest, "big") >> (256 - bits) == 0
