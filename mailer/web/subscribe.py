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
from mailer.bootstrap import Mailer
from mailer.domain.addresses import without_tag
from mailer.domain.locales import native_name
from mailer.domain.subscribers import LONGEST, Unfit, read_address, read_given_name
from mailer.domain.typos import suggestion
from mailer.services import subscribe
from mailer.services.subscribe import NothingChosen, NotOffered, Offer, TooMany, Wanted
from mailer.web.negotiation import wanted as wanted_languages
from mailer.web.pages import N_, POLICY, Pages
from mailer.web.readers import Form

_PLACES = 3
_AGREEMENT = N_(
    "Send me %(newsletter)s by email. I can unsubscribe at any time, using the link in every email."
)
"""What one agrees to by sending the form; the translation of it is kept with the consent."""
_SLOWEST_ROBOT = 8
"""Seconds that somebody without script takes at least to fill in the form."""
_TICKET_LASTS = 6 * 3600
"""Seconds."""
_POLICY_WITH_SCRIPT = POLICY.replace("default-src 'none'", "default-src 'none'; script-src 'self'")

Speak = Annotated[list[str], Depends(wanted_languages)]


def subscribe_router(parts: Mailer, pages: Pages) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    database, tokens = parts.database, parts.tokens
    bits = parts.settings.subscribe_challenge

    def offer_of(slug: str, speak: Sequence[str]) -> Offer:
        found = subscribe.offer(database, slug, speak)
        if found is None:
            raise HTTPException(404)
        return found

    def form_page(
        offer: Offer, status: int = 200, problem: str = "", form: FormData | None = None
    ) -> HTMLResponse:
        """The form, with what was filled in already."""
        chosen = {str(bit) for bit in form.getlist("section")} if form else set()
        everything = not form or "some" not in form
        languages = [str(tag) for tag in form.getlist("language") if tag] if form else []
        places = [tag for tag in languages if tag in offer.offered][:_PLACES] or list(offer.languages)
        return pages.of(
            offer,
            "subscribe",
            status,
            _POLICY_WITH_SCRIPT if bits else POLICY,
            offer=offer,
            problem=problem,
            address=str(form.get("address", ""))[:254] if form else "",
            given_name=str(form.get("name", ""))[:LONGEST] if form else "",
            followed={s.bit: everything or str(s.bit) in chosen for s in offer.sections},
            new=everything or bool(form and "new" in form),
            places=[*places, *[""] * (min(_PLACES, len(offer.offered)) - len(places))],
            agreement=pages.gettext(offer, _AGREEMENT, newsletter=offer.name.text),
            ticket=_ticket(),
            bits=bits,
        )

    def _ticket() -> str:
        now = int(datetime.now(UTC).timestamp())
        return tokens.link(Purpose.ticket, now, secrets.randbits(62) + 1)

    def refused(form: FormData, network: bytes, now: datetime) -> str:
        """Why a form is not taken; empty when it shows work done by the browser, or took as long as a person
        takes, which a network may do a few times an hour. Each showing of the form counts once."""
        if not bits:
            return ""
        ticket = str(form.get("ticket", ""))
        pair = tokens.open_link(Purpose.ticket, ticket)
        age = now.timestamp() - pair[0] if pair else 0.0
        if not pair or age > _TICKET_LASTS:
            return "wait"
        worked = solved(ticket, str(form.get("answer", "")), bits)
        if not worked and age < _SLOWEST_ROBOT:
            return "wait"
        if not subscribe.first_use(database, ticket.encode(), now):
            return "wait"
        return "" if worked or subscribe.may_wait(database, network, now) else "too many"

    @router.api_route("/subscribe/{slug}", methods=["GET", "HEAD"])
    def show(slug: str, speak: Speak) -> HTMLResponse:
        return form_page(offer_of(slug, speak))

    @router.api_route("/subscribe/{slug}/form", methods=["GET", "HEAD"])
    def snippet(slug: str, speak: Speak) -> PlainTextResponse:
        """The form as plain HTML, to be pasted into another site."""
        offer = offer_of(slug, speak)
        html = pages.of(
            offer,
            "form",
            offer=offer,
            target=parts.links.reader_page(f"subscribe/{slug}?lang={offer.language}"),
            agreement=pages.gettext(offer, _AGREEMENT, newsletter=offer.name.text),
        ).body
        return PlainTextResponse(bytes(html).decode().strip() + "\n")

    @router.post("/subscribe/{slug}")
    def ask(request: Request, slug: str, speak: Speak, form: Form) -> HTMLResponse:
        offer, now = offer_of(slug, speak), datetime.now(UTC)
        host = request.client.host if request.client else ""
        network = tokens.network_hash(host)
        if "speak" in form:  # another language for the page, and nothing else
            return form_page(offer, form=form)
        try:
            address, key = read_address(str(form.get("address", "")).strip())
        except Unfit:
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
                subscribe.ask(
                    database,
                    slug,
                    Wanted(
                        address=address,
                        address_hash=tokens.address_hash(key),
                        mailbox=tokens.address_hash(without_tag(key)),
                        network=network,
                        name=read_given_name(str(form.get("name", ""))),
                        languages=[str(tag) for tag in form.getlist("language") if tag] or offer.languages,
                        sections=sections if shown else [s.bit for s in offer.sections],
                        new_sections="new" in form or not shown,
                        wording=pages.gettext(offer, _AGREEMENT, newsletter=offer.name.text),
                        source="form on another site" if "embedded" in form else "subscribe page",
                        provider=tokens.provider_hash(host),
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
        except TooMany:
            return form_page(offer, 429, "too many", form)
        return answer(offer, address, form)

    def answer(offer: Offer, address: str, form: FormData) -> HTMLResponse:
        """The same for everybody, whatever is known of the address."""
        meant = suggestion(address)
        kept = [
            (name, str(value)) for name, value in form.multi_items() if name in ("section", "language", "new")
        ]
        if "some" in form:
            kept.append(("some", "yes"))
        hidden = [*kept, ("name", str(form.get("name", ""))[:LONGEST]), ("ticket", _ticket())]
        # In another language there would be nothing but an empty form.
        return pages.of(offer, "asked", languages=(), address=address, meant=meant, hidden=hidden)

    @router.api_route("/c/{token}", methods=["GET", "HEAD"])
    def look(token: str, speak: Speak, request: Request) -> HTMLResponse:
        found = subscribe.look(database, signup(token), _of_link(speak, request), datetime.now(UTC))
        return confirmation(found)

    @router.post("/c/{token}")
    def confirm(token: str, speak: Speak, request: Request) -> HTMLResponse:
        found = subscribe.confirm(database, signup(token), _of_link(speak, request), datetime.now(UTC))
        return confirmation(found)

    def signup(token: str) -> int:
        pair = tokens.open_link(Purpose.confirm, token)
        if pair is None:
            raise HTTPException(404)
        return pair[1]

    def confirmation(found: subscribe.Confirmation | None) -> HTMLResponse:
        if found is None:
            raise HTTPException(404)
        offer = found.offer
        return pages.of(
            offer,
            "confirm",
            confirmed=found.confirmed,
            section_titles=cldr.listed(found.titles, offer.language),
            language_names=cldr.listed(tuple(map(native_name, found.languages)), offer.language),
        )

    return router


def _of_link(speak: list[str], request: Request) -> list[str]:
    """The language that a link of the page asks for; else the sign-up's own, not the browser's."""
    return speak[:1] if "lang" in request.query_params else []


def solved(ticket: str, answer: str, bits: int) -> bool:
    """Whether SHA-256 of ``ticket:answer`` begins with so many zero bits."""
    digest = hashlib.sha256(f"{ticket}:{answer}".encode()).digest()
    return len(answer) <= 20 and int.from_bytes(digest, "big") >> (256 - bits) == 0
