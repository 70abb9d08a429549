"""What holds relays and destinations back."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from mailer.bootstrap import Mailer
from mailer.domain.throttling import Kind, Throttle
from mailer.store import throttles
from tests.locks import wait_for_a_lock


def test_who_waits_while_another_frees_it_changes_it_all_the_same(parts: Mailer) -> None:
    opened = partial(Throttle.opened, now=datetime.now(UTC), reason="refused")
    waiting: list[Future[Throttle]] = []

    def open_it() -> Throttle:
        with parts.database.transaction() as session:
            return throttles.change(session, Kind.destination, "a.example", opened)[1]

    open_it()
    with ThreadPoolExecutor(1) as pool:
        with parts.database.transaction() as session:

            def freed(held: Throttle) -> Throttle:
                waiting.append(pool.submit(open_it))
                wait_for_a_lock(session, waiting[0])
                return held.closed()

            throttles.change(session, Kind.destination, "a.example", freed)
        assert waiting[0].result(10).trips == 1
