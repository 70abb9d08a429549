"""The first page of the control room: whether anything needs somebody, and the issues in flight."""

from fastapi import APIRouter, Response

from mailer.domain import urls
from mailer.domain.conditions import Severity, list_conditions
from mailer.web.control.snapshots import Operator, SnapshotsOf
from mailer.web.staff import PageOf

router = APIRouter(include_in_schema=False)


@router.get(urls.CONTROL_ROOM)
def tonight(page: PageOf, staff: Operator, snapshots: SnapshotsOf) -> Response:
    snapshot = snapshots.latest()
    conditions = list_conditions(snapshot)
    return page(
        "control/tonight",
        staff,
        snapshot=snapshot,
        urgent=[condition for condition in conditions if condition.severity is Severity.act],
        watched=[condition for condition in conditions if condition.severity is Severity.watch],
    )
