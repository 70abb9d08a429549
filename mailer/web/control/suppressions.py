"""Addresses that get no mail: the list, the evidence for each, and adding and lifting them by hand."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Response
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.domain.outcomes import redact_addresses
from mailer.domain.permissions import Permission
from mailer.domain.subscriber_fields import MAX_ADDRESS_OCTETS, InvalidValue, read_address, trim
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.accounts.staff import Staff
from mailer.services.feedback import suppressions
from mailer.services.feedback.suppressions import SuppressionFilter, SuppressionKey
from mailer.services.subscribers.in_flight import wait_for_addresses
from mailer.web.control.forms import read_reason
from mailer.web.control.snapshots import Operator
from mailer.web.dependencies import App, Now
from mailer.web.staff import Page, PageOf
from mailer.web.staff_forms import StaffForm

router = APIRouter(include_in_schema=False)
PAGE_SIZE = 50
GIVEN_REASONS = (SuppressionReason.manual, SuppressionReason.complaint, SuppressionReason.hard_bounce)
"""Those that staff can give. The others say what else has happened."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Filters(NamedTuple):
    """What the page was asked for, as text."""

    reason: str = ""
    source: str = ""
    since: str = ""
    address: str = ""


@router.get(urls.SUPPRESSIONS)
def list_page(
    app: App,
    page: PageOf,
    staff: Operator,
    reason: str = "",
    source: str = "",
    since: str = "",
    address: str = "",
    after: str = "",
    done: str = "",
) -> Response:
    filters = Filters(reason[:40], source[:40], since[:10], address.strip()[: MAX_ADDRESS_OCTETS + 1])
    return _list(app, page, staff, filters, after=after, done=done)


@router.post(urls.SUPPRESSIONS)
def suppress(app: App, page: PageOf, now: Now, staff: Operator, form: StaffForm) -> Response:
    """Suppress an address."""
    why = next((known for known in GIVEN_REASONS if known == form.get("why")), None)
    if why is None:
        raise HTTPException(400)
    reason = read_reason(form)
    try:
        address_hash = _hash(app, str(form.get("address", "")))
    except InvalidValue:
        return _list(app, page, staff, Filters(), error="address", form=form, status=400)
    if not reason:
        return _list(app, page, staff, Filters(), error="no_reason", form=form, status=400)
    suppressions.suppress_by_hand(app.database, address_hash, why, reason, staff, now)
    wait_for_addresses(app.database, [address_hash])
    return page.redirect(_address(page, address_hash), "suppressed")


@router.get(urls.SUPPRESSION)
def suppression_page(app: App, page: PageOf, staff: Operator, key: str, done: str = "") -> Response:
    return _one(app, page, staff, _read_hash(key), done=done)


@router.post(urls.SUPPRESSION)
def lift(app: App, page: PageOf, now: Now, staff: Operator, key: str, form: StaffForm) -> Response:
    """Lift a suppression. This subscribes nobody."""
    address_hash, reason = _read_hash(key), read_reason(form)
    if not reason:
        return _one(app, page, staff, address_hash, error="no_reason", status=400)
    if not suppressions.lift_by_hand(app.database, address_hash, reason, staff, now):
        raise HTTPException(404)
    return page.redirect(page.urls.path(urls.SUPPRESSIONS), "lifted")


def _hash(app: Container, address: str) -> bytes:
    return app.tokens.address_hash(read_address(trim(address[: MAX_ADDRESS_OCTETS + 1]))[1])


def _read_hash(key: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{32}", key):
        raise HTTPException(404)
    return bytes.fromhex(key)


def _address(page: Page, address_hash: bytes) -> str:
    return page.urls.path(urls.SUPPRESSION, key=address_hash.hex())


def _read_after(text: str) -> SuppressionKey | None:
    match = re.fullmatch("([0-9]{1,17})-([0-9a-f]{32})", text)
    return SuppressionKey(_EPOCH + timedelta(microseconds=int(match[1])), bytes.fromhex(match[2])) if match else None


def _list(
    app: Container,
    page: Page,
    staff: Staff,
    filters: Filters,
    *,
    after: str = "",
    done: str = "",
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    only: SuppressionFilter | None = None
    try:
        since = datetime.combine(date.fromisoformat(filters.since), time(), UTC) if filters.since else None
        only = SuppressionFilter(
            next((known for known in SuppressionReason if known == filters.reason), None),
            next((known for known in SuppressionSource if known == filters.source), None),
            since,
            _hash(app, filters.address) if filters.address else None,
        )
    except InvalidValue:
        error, status = error or "search", max(status, 400)
    except ValueError:
        error, status = error or "since", max(status, 400)
    rows = suppressions.list_page(app.database, only, _read_after(after), PAGE_SIZE) if only else []
    last = rows[-1] if len(rows) == PAGE_SIZE else None
    query = {name: value for name, value in filters._asdict().items() if value}
    if last:
        query["after"] = f"{(last.at - _EPOCH) // timedelta(microseconds=1)}-{last.address_hash.hex()}"
    return page(
        "control/suppressions",
        staff,
        status,
        rows=rows,
        filters=filters,
        older=urlencode(query) if last else "",
        reasons=list(SuppressionReason),
        sources=list(SuppressionSource),
        given_reasons=GIVEN_REASONS,
        may_read=staff.may(Permission.read_addresses),
        redact=redact_addresses,
        done=done,
        error=error,
        form=form or {},
    )


def _one(
    app: Container, page: Page, staff: Staff, address_hash: bytes, *, done: str = "", error: str = "", status: int = 200
) -> Response:
    found = suppressions.find(app.database, address_hash)
    if found is None:
        raise HTTPException(404)
    return page(
        "control/suppression",
        staff,
        status,
        one=found,
        may_read=staff.may(Permission.read_addresses),
        redact=redact_addresses,
        done=done,
        error=error,
    )
