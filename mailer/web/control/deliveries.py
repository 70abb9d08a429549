"""Deliveries by issue, state, reply, domain, relay and age: retrying failed ones, and resolving uncertain ones."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Response
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.domain.errors import IssueNotFound, QueryTimeout, UserError
from mailer.domain.outcomes import redact_addresses
from mailer.domain.permissions import Permission
from mailer.domain.resolution import Resolution, reply_pattern
from mailer.domain.states import DeliveryState
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import bulk, monitor, resolve
from mailer.services.delivery.bulk import DeliveryFilter, NumberChanged, Place
from mailer.services.issues import plan, report
from mailer.web.control.forms import read_reason
from mailer.web.control.snapshots import Operator
from mailer.web.dependencies import App, Now, RowId
from mailer.web.forms import whole_number
from mailer.web.staff import Page, PageOf
from mailer.web.staff_forms import StaffForm

router = APIRouter(include_in_schema=False)
ORDER = f"{urls.DELIVERIES}/order"
ORDER_PROGRESS = f"{urls.DELIVERIES}/orders/{{order}}"
RESOLVE = f"{urls.DELIVERIES_OF_ISSUE}/resolve"
PAGE_SIZE = 100
ISSUES_OFFERED = 30
STATES = (
    DeliveryState.uncertain,
    DeliveryState.failed,
    DeliveryState.pending,
    DeliveryState.sending,
    DeliveryState.skipped,
    DeliveryState.sent,
)
OUTCOMES = (Resolution.sent, Resolution.failed, Resolution.resend)
AGES = {
    "10m": timedelta(minutes=10),
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
}
WORK_SECONDS = 0.8
"""For which the page works on an order before it shows how far it is."""


@dataclass(frozen=True, slots=True)
class Search:
    """Which deliveries somebody looks for, as the query of the page says."""

    issue: str = ""
    state: str = ""
    code: str = ""
    domain: str = ""
    relay: str = ""
    age: str = ""

    @property
    def query(self) -> str:
        """The query of the page, with what was chosen."""
        return urlencode({name: getattr(self, name) for name in self.__slots__ if getattr(self, name)})

    def filter(self, app: Container, now: datetime) -> DeliveryFilter:
        """Return the filter. Raises UserError for a code or a domain that cannot be."""
        domains: tuple[str, ...] = ()
        if self.domain:
            _, found = monitor.find_endpoint((), app.providers, self.domain)
            domains = tuple(domain.lower() for domain in app.providers.domains(found))
        patterns = tuple(pattern for code in self.code.split() if (pattern := reply_pattern([code])))
        return DeliveryFilter(
            int(self.issue) if self.issue else None,
            next((known for known in STATES if known == self.state), None),
            patterns,
            domains,
            self.relay,
            now - AGES[self.age] if self.age in AGES else None,
        )


def _search(
    issue: str = "", state: str = "", code: str = "", domain: str = "", relay: str = "", age: str = ""
) -> Search:
    issue = issue.strip()
    known_issue = "" if whole_number(issue) is None else issue
    code, domain, relay = (" ".join(value.replace("\0", "").split())[:253] for value in (code[:40], domain, relay))
    return Search(known_issue, state[:20], code, domain, relay, age[:4])


SearchOf = Annotated[Search, Depends(_search)]


@router.get(urls.DELIVERIES)
def list_page(
    app: App, page: PageOf, now: Now, staff: Operator, search: SearchOf, after: str = "", number: int = -1
) -> Response:
    """Show the deliveries that match, or the uncertain ones."""
    heads = [head for head in plan.list_heads(app.database, None, limit=ISSUES_OFFERED) if head.counts.candidates]
    if not heads:
        return page("control/no_deliveries", staff)
    if search == Search():
        search = Search(state=DeliveryState.uncertain.value)
    place = re.fullmatch("([0-9]{1,9})-([0-9]{1,18})", after)
    rows, error = [], ""
    try:
        only = search.filter(app, now)
        rows = bulk.list_page(app.database, only, Place(int(place[1]), int(place[2])) if place else None, PAGE_SIZE)
    except UserError as refusal:
        error = str(refusal)
    except QueryTimeout:
        error = "slow"
    head = next((known for known in heads if str(known.id) == search.issue), None)
    if search.issue and head is None:
        heads.append(head := _load_head(app, int(search.issue)))
    failed = search.state == DeliveryState.failed
    return page(
        "control/deliveries",
        staff,
        400 if error else 200,
        search=search,
        head=head,
        heads=heads,
        rows=rows,
        after=f"{rows[-1].delivery.issue}-{rows[-1].delivery.subscriber}" if len(rows) == PAGE_SIZE else "",
        states=STATES,
        ages=AGES,
        relays=[route.relay for route in app.relay_routes],
        failures=report.failures(app.database, head.id) if head and failed and not search.code else [],
        may_read=staff.may(Permission.read_addresses),
        redact=redact_addresses,
        number=number,
        error=error,
    )


@router.get(ORDER)
def ask(app: App, page: PageOf, now: Now, staff: Operator, search: SearchOf, action: str = "") -> Response:
    return _ask(app, page, now, staff, search, _read_action(action))


@router.post(ORDER)
def order(app: App, page: PageOf, now: Now, staff: Operator, search: SearchOf, form: StaffForm) -> Response:
    """Order an action on all deliveries that match."""
    action = _read_action(str(form.get("action", "")))
    reason, number = read_reason(form), whole_number(str(form.get("number", "")))
    if not reason:
        return _ask(app, page, now, staff, search, action, error="no_reason", form=form, status=400)
    try:
        only = search.filter(app, now)
        expected = -1 if number is None else number
        described = {name: getattr(search, name) for name in ("code", "domain", "relay", "age")}
        described = {name: value for name, value in described.items() if value}
        placed = bulk.place_order(app.database, only, action, expected, staff, reason, now, described=described)
    except NumberChanged:
        return _ask(app, page, now, staff, search, action, error="changed", form=form, status=409)
    except UserError as refusal:
        return _ask(app, page, now, staff, search, action, error=str(refusal), form=form, status=409)
    bulk.carry_on(app.database, placed, now, seconds=WORK_SECONDS)
    return page.redirect(page.urls.path(ORDER_PROGRESS, order=placed))


@router.get(ORDER_PROGRESS)
def progress(app: App, page: PageOf, staff: Operator, order: RowId) -> Response:
    found = bulk.find_order(app.database, order)
    if found is None:
        raise HTTPException(404)
    return page("control/delivery_order", staff, order=found)


def _load_head(app: Container, issue: int) -> plan.IssueHead:
    try:
        return plan.load_head(app.database, issue)
    except IssueNotFound:
        raise HTTPException(404) from None


def _read_action(name: str) -> Resolution:
    """Return what is ordered. Raises HTTPException 400 if it is nothing that can be."""
    action = next((known for known in bulk.STATES if known == name), None)
    if action is None:
        raise HTTPException(400)
    return action


def _ask(
    app: Container,
    page: Page,
    now: datetime,
    staff: Staff,
    search: Search,
    action: Resolution,
    *,
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    chosen = None
    try:
        only = search.filter(app, now)
        if only.state is not bulk.STATES[action]:
            raise HTTPException(400)
        chosen = bulk.count(app.database, only, action, now)
    except UserError as refusal:
        error, status = error or str(refusal), max(status, 400)
    except QueryTimeout:
        error, status = error or "slow", max(status, 400)
    return page(
        "control/order", staff, status, search=search, action=action, chosen=chosen, error=error, form=form or {}
    )


@router.get(urls.DELIVERIES_OF_ISSUE)
def of_issue(page: PageOf, staff: Operator, issue: int) -> Response:
    """Go to the uncertain deliveries of an issue."""
    return page.redirect(f"{page.urls.path(urls.DELIVERIES)}?issue={issue}&state={DeliveryState.uncertain}")


@router.post(RESOLVE)
def resolve_uncertain(app: App, page: PageOf, now: Now, staff: Operator, issue: int, form: StaffForm) -> Response:
    """Resolve chosen uncertain deliveries: the first form chooses them, the second has their number and a reason."""
    outcome = next((known for known in OUTCOMES if known == form.get("outcome")), None)
    if outcome is None:
        raise HTTPException(400)
    asked_for = {str(one) for one in form.getlist("subscriber")}
    uncertain = [row.subscriber for row in resolve.preview(app.database, issue, None)]
    chosen = [one for one in uncertain if str(one) in asked_for]
    reason = read_reason(form)
    error = ""
    if form.get("sure"):
        if str(len(chosen)) == form.get("number") and reason:
            try:
                number = resolve.resolve(app.database, issue, chosen, outcome, staff, reason, now)
            except UserError as refusal:
                error = str(refusal)
            else:
                to = f"{page.urls.path(urls.DELIVERIES)}?issue={issue}&state={DeliveryState.uncertain}"
                return page.redirect(f"{to}&number={number}")
        else:
            error = "changed" if reason else "no_reason"
    return page(
        "control/resolve",
        staff,
        409 if error else 200,
        head=plan.load_head(app.database, issue),
        chosen=chosen,
        outcome=outcome,
        reason=reason,
        error=error,
    )
