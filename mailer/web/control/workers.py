"""A worker: what it does, and orders to it or to all workers of its host."""

from urllib.parse import quote

from fastapi import APIRouter, HTTPException, Response
from starlette.datastructures import FormData

from mailer.domain import urls
from mailer.domain.accounts import AuditAction
from mailer.domain.metrics import QUEUES, host_of
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import worker_orders
from mailer.web.control.forms import read_reason
from mailer.web.control.snapshots import Operator, Snapshots, SnapshotsOf
from mailer.web.dependencies import App, Now
from mailer.web.staff import Page, PageOf
from mailer.web.staff_forms import StaffForm

router = APIRouter(include_in_schema=False)


@router.get(urls.WORKER)
def worker_page(page: PageOf, staff: Operator, snapshots: SnapshotsOf, name: str, done: str = "") -> Response:
    return _page(page, staff, snapshots, name, done=done)


@router.post(urls.WORKER)
def order(
    app: App, page: PageOf, now: Now, staff: Operator, snapshots: SnapshotsOf, name: str, form: StaffForm
) -> Response:
    """Drain the worker or its host, or take such an order back."""
    whom = (host_of(name) if form.get("host") else "") or name
    if not _is_known(snapshots, name):
        raise HTTPException(404)
    detail = {"worker": whom}
    match form.get("action"):
        case "drain":
            reason = read_reason(form)
            if not reason:
                return _page(page, staff, snapshots, name, error="no_reason", form=form, status=400)
            worker_orders.drain(app.database, whom, staff.name, reason, now)
            action, done = AuditAction.worker_drained, "drained"
            detail["reason"] = reason
        case "release":
            worker_orders.release(app.database, whom)
            action, done = AuditAction.worker_released, "released"
        case _:
            raise HTTPException(400)
    audit.record(app.database, staff, now, action, detail=detail)
    snapshots.measure()
    if not _is_known(snapshots, name):
        return page.redirect(page.urls.path(urls.FLOW))
    return page.redirect(page.urls.path(urls.WORKER, name=quote(name, safe="")), done)


def _is_known(snapshots: Snapshots, name: str) -> bool:
    snapshot = snapshots.latest()
    return any(worker.name == name for worker in snapshot.workers) or any(
        order.name == name for order in snapshot.drain_orders
    )


def _page(
    page: Page,
    staff: Staff,
    snapshots: Snapshots,
    name: str,
    *,
    done: str = "",
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    if not _is_known(snapshots, name):
        raise HTTPException(404)
    snapshot = snapshots.latest()
    host = host_of(name)

    def is_drained(worker: str) -> bool:
        return any(order.covers(worker) for order in snapshot.drain_orders)

    def left_alone(drained: set[str]) -> list[str]:
        """Return the queues that nobody takes from without these workers."""
        taking = [one for one in snapshot.workers if one.name not in drained and not is_drained(one.name)]
        lost = {queue for one in snapshot.workers if one.name in drained for queue in one.queues}
        return [queue for queue in QUEUES if queue in lost and not any(queue in one.queues for one in taking)]

    of_host = {one.name for one in snapshot.workers if host and host_of(one.name) == host}
    return page(
        "control/worker",
        staff,
        status,
        name=name,
        host=host,
        worker=next((one for one in snapshot.workers if one.name == name), None),
        of_host=len(of_host),
        orders=[one for one in snapshot.drain_orders if one.name in (name, host)],
        left_alone=left_alone({name}),
        left_alone_by_host=left_alone(of_host),
        snapshot=snapshot,
        done=done,
        error=error,
        form=form or {},
    )
