"""Queues, workers, relays and receiving domains; suspending and releasing a relay or domain."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Response

from mailer.domain import urls
from mailer.domain.accounts import AuditAction
from mailer.domain.throttling import ThrottleScope
from mailer.services.accounts import audit
from mailer.services.delivery import monitor
from mailer.services.delivery.monitor import EndpointNotFound
from mailer.web.control import charts
from mailer.web.control.forms import read_reason
from mailer.web.control.snapshots import Operator, SnapshotsOf
from mailer.web.dependencies import App, Now
from mailer.web.staff import PageOf
from mailer.web.staff_forms import StaffForm

router = APIRouter(include_in_schema=False)
DURATIONS = {"30m": timedelta(minutes=30), "2h": timedelta(hours=2), "8h": timedelta(hours=8), "1d": timedelta(days=1)}
LONGEST = timedelta(days=365)
PERIODS = {"3": timedelta(hours=3), "24": timedelta(hours=24), "168": timedelta(days=7)}
"""What the chart shows, by hours."""


class SuspensionRefused(Exception):
    """The form is not complete. The argument names the message on the page."""


@router.get(urls.FLOW)
def flow(page: PageOf, staff: Operator, snapshots: SnapshotsOf) -> Response:
    return page("control/flow", staff, snapshot=snapshots.latest(), unknown="")


@router.get(urls.FIND_ENDPOINT)
def find(app: App, page: PageOf, staff: Operator, snapshots: SnapshotsOf, name: str = "") -> Response:
    wanted = name.strip()[:253].replace("\0", "")
    try:
        scope, found = monitor.find_endpoint(app.relay_routes, app.providers, wanted)
    except EndpointNotFound:
        return page("control/flow", staff, 404, snapshot=snapshots.latest(), unknown=wanted)
    return page.redirect(_address(page, scope, found))


@router.get(urls.ENDPOINT)
def endpoint(
    app: App,
    page: PageOf,
    staff: Operator,
    snapshots: SnapshotsOf,
    scope: str,
    name: str,
    done: str = "",
    hours: str = "3",
) -> Response:
    return _endpoint(app, page, staff, snapshots, _known(app, scope, name), done=done, hours=hours)


@router.post(urls.ENDPOINT)
def steer(
    app: App, page: PageOf, now: Now, staff: Operator, snapshots: SnapshotsOf, scope: str, name: str, form: StaffForm
) -> Response:
    kind, found = _known(app, scope, name)
    arguments = (app.database, app.relay_routes, app.providers, found)
    detail: dict[str, str] = {kind.value: found}
    match form.get("action"):
        case "suspend":
            try:
                until, reason = _end(form, now), read_reason(form)
                if not reason:
                    raise SuspensionRefused("no_reason")
            except SuspensionRefused as refusal:
                return _endpoint(app, page, staff, snapshots, (kind, found), error=str(refusal), form=form, status=400)
            result = monitor.suspend(*arguments, until, reason, now)
            action, done = AuditAction.relay_suspended, "suspended" if result.has_subscribers else "no_reader"
            detail |= {"until": f"{until:%Y-%m-%d %H:%M} UTC" if until else "released", "reason": reason}
        case "release":
            monitor.resume(*arguments, now)
            action, done = AuditAction.relay_released, "released"
        case _:
            raise HTTPException(400)
    audit.record(app.database, staff, now, action, detail=detail)
    snapshots.measure()
    return page.redirect(_address(page, kind, found), done)


def _known(app: App, scope: str, name: str) -> tuple[ThrottleScope, str]:
    """Return a relay, provider or domain by its address on this site. Raises HTTPException 404."""
    try:
        found = monitor.find_endpoint(app.relay_routes, app.providers, name[:253].replace("\0", ""))
    except EndpointNotFound:
        raise HTTPException(404) from None
    if found != (scope, name):
        raise HTTPException(404)
    return found


def _end(form: StaffForm, now: datetime) -> datetime | None:
    """Return when a suspension ends; None if someone releases it. Raises SuspensionRefused."""
    duration = str(form.get("for", ""))
    if duration in DURATIONS:
        return now + DURATIONS[duration]
    if duration == "released":
        return None
    try:
        until = datetime.fromisoformat(str(form.get("until", ""))[:30]).replace(tzinfo=UTC)
    except ValueError:
        raise SuspensionRefused("no_time") from None
    if until <= now:
        raise SuspensionRefused("past")
    if until > now + LONGEST:
        raise SuspensionRefused("too_long")
    return until


def _endpoint(
    app: App,
    page: PageOf,
    staff: Operator,
    snapshots: SnapshotsOf,
    found: tuple[ThrottleScope, str],
    *,
    done: str = "",
    hours: str = "3",
    error: str = "",
    form: StaffForm | None = None,
    status: int = 200,
) -> Response:
    scope, name = found
    snapshot = snapshots.latest()
    hours = hours if hours in PERIODS else "3"
    history = monitor.flow_history(app.database, scope, name, PERIODS[hours], snapshot.at)
    listed = snapshot.relays if scope is ThrottleScope.relay else snapshot.providers
    return page(
        "control/endpoint",
        staff,
        status,
        scope=scope,
        name=name,
        endpoint=next((line for line in listed if line.name == name), None),
        snapshot=snapshot,
        refusals=monitor.refusals(app.database, app.providers, scope, name),
        durations=DURATIONS,
        chart=charts.draw(history, snapshot.at, PERIODS[hours]),
        hours=hours,
        periods=PERIODS,
        done=done,
        error=error,
        form=form or {},
    )


def _address(page: PageOf, scope: ThrottleScope, name: str) -> str:
    return page.urls.path(urls.ENDPOINT, scope=scope.value, name=quote(name, safe=""))
