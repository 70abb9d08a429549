"""Readers of a newsletter: the list, and one person's page with what staff can do for them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi.responses import StreamingResponse
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.domain.personal_data import PersonalDataTable
from mailer.domain.states import ListedState
from mailer.domain.subscriber_fields import InvalidValue, read_address, read_languages, read_name, read_time_zone, trim
from mailer.domain.suppressions import SuppressionReason
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.feedback import bounces, suppressions
from mailer.services.newsletters.catalogue import NewsletterSummary, find_newsletter
from mailer.services.subscribers import listing, personal_data, staff_changes
from mailer.services.subscribers.in_flight import wait_for_addresses
from mailer.web.dependencies import App, BigRowId, Now
from mailer.web.desk.issue import AddressViewer
from mailer.web.desk.newsletter import choose_newsletter
from mailer.web.staff import NewsletterOf, Page, PageOf, Requires, message_of
from mailer.web.staff_forms import StaffForm

SUBSCRIBERS = "/desk/newsletters/{newsletter}/subscribers"
PERSON = f"{SUBSCRIBERS}/{{subscriber}}"
PAGE_SIZE = 50
router = APIRouter(include_in_schema=False)
Steward = Annotated[Staff, Depends(Requires(Permission.change_subscribers))]


@dataclass(frozen=True, slots=True)
class Search:
    """Which readers of a newsletter somebody looks for, as the query of the page says."""

    newsletter: NewsletterSummary
    state: str
    language: str
    section: str
    q: str
    """Part of the address or name."""

    def filter(self, app: Container, after: int = 0) -> listing.SubscriberFilter:
        """Return the filter. What the page does not offer is left out."""
        mask = None
        if self.section:
            with suppress(InvalidValue):
                mask = staff_changes.section_parser(app.database, self.newsletter.slug).read(self.section)
        return listing.SubscriberFilter(
            state=next((known for known in ListedState if known == self.state), None),
            language=self.language if self.language in self.newsletter.languages else None,
            sections=mask,
            text=self.q or None,
            after=after,
        )


def _search(newsletter: NewsletterOf, state: str = "", language: str = "", section: str = "", q: str = "") -> Search:
    return Search(newsletter, state, language, section, " ".join(q.replace("\0", "").split())[:200])


SearchOf = Annotated[Search, Depends(_search)]


@router.get("/desk/readers")
def choose_list(app: App, page: PageOf, staff: AddressViewer) -> Response:
    return choose_newsletter(app, page, staff, Permission.read_addresses, SUBSCRIBERS)


@router.get(SUBSCRIBERS)
def list_page(
    app: App, page: PageOf, now: Now, staff: AddressViewer, search: SearchOf, after: int = 0, done: str = ""
) -> Response:
    newsletter = search.newsletter
    if "@" in search.q and (subscriber := _find(app, newsletter.slug, search.q)) is not None:
        return page.redirect(page.urls.path(PERSON, newsletter=newsletter.slug, subscriber=subscriber))
    only = search.filter(app, min(max(after, 0), 2**62))
    rows = listing.first_page(app.database, newsletter.slug, only, now, PAGE_SIZE)
    return page(
        "desk/subscribers",
        staff,
        newsletter=newsletter,
        rows=rows,
        states=list(ListedState),
        sections=staff_changes.section_titles(app.database, newsletter.slug),
        chosen=search,
        after=after,
        next_after=rows[-1].id if len(rows) == PAGE_SIZE else None,
        may_change=staff.may(Permission.change_subscribers, newsletter.id),
        done=done,
    )


def _find(app: Container, slug: str, address: str) -> int | None:
    try:
        key = read_address(trim(address))[1]
    except InvalidValue:
        return None
    return listing.find_subscriber(app.database, slug, app.tokens.address_hash(key))


@router.get(f"{SUBSCRIBERS}/export.csv")
def export_list(app: App, now: Now, staff: AddressViewer, search: SearchOf) -> Response:
    found, only = search.newsletter, search.filter(app)
    newsletter = found.slug
    parser = staff_changes.section_parser(app.database, newsletter)
    audit.record(app.database, staff, now, AuditAction.subscribers_exported, "newsletter", found.id)

    def lines() -> Iterator[str]:
        rows = listing.list_subscribers(app.database, newsletter, only, now)
        yield from listing.csv_lines(rows, parser)

    headers = {"Content-Disposition": f'attachment; filename="{newsletter}.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get(PERSON)
def person_page(
    app: App, page: PageOf, now: Now, staff: AddressViewer, newsletter: str, subscriber: BigRowId, done: str = ""
) -> Response:
    response = _person(app, page, staff, newsletter, subscriber, done=done)
    audit.record(app.database, staff, now, AuditAction.subscriber_opened, "subscriber", subscriber)
    return response


@router.get(f"{PERSON}/data.json")
def export_person(app: App, now: Now, staff: Steward, newsletter: str, subscriber: BigRowId) -> Response:
    data = personal_data.export_subscriber(app.database, subscriber)
    if data is None or not _is_of(data, newsletter):
        raise HTTPException(404)
    audit.record(app.database, staff, now, AuditAction.subscriber_opened, "subscriber", subscriber, {"exported": "all"})
    headers = {
        "Content-Disposition": f'attachment; filename="subscriber-{subscriber}.json"',
        "Cache-Control": "no-store",
    }
    return Response(personal_data.to_json(data), media_type="application/json", headers=headers)


@router.post(PERSON)
def change_person(
    app: App, page: PageOf, now: Now, staff: Steward, newsletter: str, subscriber: BigRowId, form: StaffForm
) -> Response:
    """Change preferences, unsubscribe, suppress, lift a suppression, or erase: each with a reason."""
    data = personal_data.export_subscriber(app.database, subscriber)
    if data is None or not _is_of(data, newsletter):
        raise HTTPException(404)
    address = str(data[PersonalDataTable.subscriber][0]["address"])
    address_hash = app.tokens.address_hash(read_address(address)[1])
    action, reason = str(form.get("action", "")), " ".join(str(form.get("reason", "")).split())[:300]
    if action not in ("preferences", "unsubscribe", "suppress", "lift", "erase"):
        raise HTTPException(400)
    if not reason:
        return _person(app, page, staff, newsletter, subscriber, error="reason", form=form, status=400)
    detail: dict[str, object] = {"did": action, "reason": reason}
    try:
        match action:
            case "preferences":
                values = _values(app, newsletter, form)
                differences = staff_changes.set_preferences(app.database, newsletter, address_hash, values, now)
                detail["fields"] = ", ".join(one.field for one in differences) or "none"
            case "unsubscribe":
                bounces.unsubscribe(app.database, newsletter, [address_hash], now)
                wait_for_addresses(app.database, [address_hash])
            case "suppress":
                suppressions.suppress_by_hand(app.database, address_hash, SuppressionReason.manual, reason, staff, now)
                wait_for_addresses(app.database, [address_hash])
            case "lift":
                if not suppressions.lift_by_hand(app.database, address_hash, reason, staff, now):
                    raise HTTPException(404)
            case _:
                if str(form.get("address", "")).strip().casefold() != address.casefold():
                    return _person(app, page, staff, newsletter, subscriber, error="address", form=form, status=400)
                personal_data.erase(app.database, address_hash, now)
    except (UserError, InvalidValue) as error:
        return _person(app, page, staff, newsletter, subscriber, error=message_of(error), form=form, status=409)
    if action not in ("suppress", "lift"):  # those are recorded with the change
        audit.record(app.database, staff, now, AuditAction.subscriber_changed, "subscriber", subscriber, detail)
    if action == "erase":
        return page.redirect(page.urls.path(SUBSCRIBERS, newsletter=newsletter), "erased")
    return page.redirect(page.urls.path(PERSON, newsletter=newsletter, subscriber=subscriber), action)


def _values(app: Container, newsletter: str, form: FormData) -> dict[str, object]:
    """Return the fields of Preferences in a form. Raises InvalidValue."""
    languages = read_languages(str(form.get("languages", ""))[:200])
    if not languages:
        raise InvalidValue("Give at least one language, such as: sr-Latn en")
    keys = [str(key) for key in form.getlist("section")]
    parser = staff_changes.section_parser(app.database, newsletter)
    return {
        "name": read_name(str(form.get("name", ""))[:200]),
        "languages": languages,
        "sections": parser.read(",".join([*keys, *(["future"] if form.get("future") else [])]) or "none"),
        "time_zone": read_time_zone(trim(str(form.get("time_zone", ""))[:60])),
    }


def _is_of(data: personal_data.PersonalData, slug: str) -> bool:
    return any(row["newsletter"] == slug for row in data[PersonalDataTable.subscriptions])


def _person(
    app: Container,
    page: Page,
    staff: Staff,
    newsletter: str,
    subscriber: int,
    *,
    done: str = "",
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    data = personal_data.export_subscriber(app.database, subscriber)
    if data is None or not _is_of(data, newsletter):
        raise HTTPException(404)
    found = find_newsletter(app.database, newsletter)
    assert found, "asked for by what the route requires"
    subscription = next(row for row in data[PersonalDataTable.subscriptions] if row["newsletter"] == newsletter)
    return page(
        "desk/subscriber",
        staff,
        status,
        newsletter=found,
        subscriber=subscriber,
        person=data[PersonalDataTable.subscriber][0],
        subscription=subscription,
        suppression=next(iter(data[PersonalDataTable.suppression]), None),
        sentences=personal_data.summarize(data),
        sections=staff_changes.section_titles(app.database, newsletter),
        may_change=staff.may(Permission.change_subscribers, found.id),
        done=done,
        error=error,
        form=form or FormData(),
    )
