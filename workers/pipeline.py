"""The sending pipeline: ``tick`` finds due work and enqueues jobs; each other task does a part of one stage.

A lost job is enqueued again, and a job that runs twice has no further effect.
"""

from mailer.services.delivery import bulk, dispatch
from mailer.services.delivery import expand as expand_service
from mailer.services.delivery.dispatch import Dispatcher
from mailer.services.issues import compile, network_checks
from workers.app import celery_app, container
from workers.maintenance import check_network

EDITIONS_PER_TRANSACTION = 32
ORDER_SECONDS = 0.5
"""For which unfinished orders on deliveries, all together, are worked on in every tick."""


@celery_app.task(time_limit=60, soft_time_limit=50)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Take issues on their way a step further, and carry on with orders on deliveries. Runs every second."""
    app = container()
    _dispatcher().tick(app.clock.now(), app.settings.batch_size)
    bulk.carry_on_all(app.database, app.clock.now(), seconds=ORDER_SECONDS)
    # One at a time: without a worker for the queue, jobs would accumulate.
    if app.settings.network_checks and not app.metrics.queue_lengths(["maintenance"]).get("maintenance"):
        issue = network_checks.next_waiting(app.database, app.clock.now())
        if issue is not None:
            check_network.apply_async((issue,))


def _dispatcher() -> Dispatcher:
    app = container()
    return Dispatcher(
        app.database,
        app.traffic_shaper,
        app.metrics.queue_lengths,
        app.tokens.address_hash,
        enqueue,
        app.send_limits.host_grace,
    )


def enqueue(queue: str, id: int) -> None:
    """Put a job into a queue."""
    task = {"expand": expand, "compose": compose, "send": send, "retry": send}[queue]
    task.apply_async((id,), queue=queue)


# Each stage checks at its end whether the next one can begin, so a small issue need not wait for three ticks.


@celery_app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def expand(issue: int) -> None:
    """Create the deliveries of an issue."""
    app, expanded = container(), 0
    while batch_count := expand_service.expand_next(app.database, issue, app.clock.now()):
        expanded += batch_count
    if expanded:
        enqueue("compose", issue)


@celery_app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def compose(issue: int) -> None:
    """Render the stale editions of an issue."""
    app = container()
    compile.render_stale(
        app.database,
        app.renderer,
        app.urls,
        app.settings.bounce_domain,
        issue,
        EDITIONS_PER_TRANSACTION,
    )
    now = app.clock.now()
    if dispatch.open_for_sending(app.database, issue, now, app.tokens.address_hash):
        _dispatcher().enqueue_batches(now)


@celery_app.task(time_limit=600, soft_time_limit=580)  # type: ignore[untyped-decorator]
def send(batch: int) -> None:
    """Send the due deliveries of a batch."""
    app = container()
    if app.send_worker.send_batch(batch):
        dispatch.finish_done(app.database, app.clock.now())
