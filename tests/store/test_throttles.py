"""Throttles of relays and providers."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from mailer.bootstrap import Container
from mailer.domain.throttling import ThrottleScope, ThrottleState
from mailer.store import throttles
from tests.support.locks import wait_for_lock


def test_waiting_update_is_applied_after_the_other_one(app: Container) -> None:
    opened = partial(ThrottleState.trip, now=datetime.now(UTC), reason="refused")
    waiting: list[Future[ThrottleState]] = []

    def open_it() -> ThrottleState:
        with app.database.transaction() as session:
            return throttles.update(session, ThrottleScope.provider, "a.example", opened)[1]

    open_it()
    with ThreadPoolExecutor(1) as pool:
        with app.database.transaction() as session:

            def freed(held: ThrottleState) -> ThrottleState:
                waiting.append(pool.submit(open_it))
                wait_for_lock(session, waiting[0])
                return held.close()

            throttles.update(session, ThrottleScope.provider, "a.example", freed)
        assert waiting[0].result(10).trips == 1
