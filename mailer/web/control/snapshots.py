"""The present status of the service, measured at most once a second however many look at it."""

import threading
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from mailer.bootstrap import Container
from mailer.domain.permissions import Permission
from mailer.domain.queue_status import QueueSnapshot
from mailer.services.accounts.staff import Staff
from mailer.services.delivery import monitor
from mailer.web.staff import Requires

FRESH_FOR = timedelta(seconds=1)
RATES_OVER = timedelta(seconds=20)
"""The longest time over which rates are measured."""


class Snapshots:
    """Keeps the snapshots of the last seconds, for rates. Thread-safe."""

    def __init__(self, app: Container) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._recent: list[QueueSnapshot] = []

    def latest(self) -> QueueSnapshot:
        with self._lock:
            now = self._app.clock.now()
            if self._recent and now - self._recent[-1].at < FRESH_FOR:
                return self._recent[-1]
            self._recent = [earlier for earlier in self._recent if now - earlier.at <= RATES_OVER]
            return self._measure()

    def measure(self) -> QueueSnapshot:
        """Return what is true now, after an action."""
        with self._lock:
            return self._measure()

    def _measure(self) -> QueueSnapshot:
        app, previous = self._app, self._recent[0] if self._recent else None
        measured = monitor.snapshot(
            app.database, app.metrics, app.relay_routes, app.providers, app.clock.now(), previous
        )
        self._recent.append(measured)
        return measured


async def _snapshots(request: Request) -> Snapshots:
    snapshots: Snapshots = request.app.state.snapshots
    return snapshots


SnapshotsOf = Annotated[Snapshots, Depends(_snapshots)]


def _service_wide(staff: Annotated[Staff, Depends(Requires(Permission.operate))]) -> Staff:
    """Return somebody who operates the whole service: queues and relays belong to no single newsletter."""
    if not staff.may(Permission.operate):
        raise HTTPException(403)
    return staff


Operator = Annotated[Staff, Depends(_service_wide)]
