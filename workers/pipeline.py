"""The whole way on one screen: tick finds due work and hands out hints; each task does one stage's share.

A hint that is lost is handed out again; one that comes twice does nothing.
"""

from datetime import datetime, timedelta

from mailer.services.delivery import dispatch
from mailer.services.delivery import expand as expand_service
from mailer.services.issues import compile
from workers.app import celery_app, container

MAX_ENQUEUED_JOBS = 64
"""Batches hinted and not yet claimed: enough that no worker waits for the next tick."""
REENQUEUE_AFTER = timedelta(seconds=15)
EDITIONS_PER_TRANSACTION = 32


@celery_app.task(time_limit=60, soft_time_limit=50)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Every second: begin what is due, open what is ready, hand out batches, close what is done."""
    parts = container()
    now = parts.clock.now()
    dispatch.start_due(parts.database, now, parts.settings.batch_size)
    for issue in dispatch.list_preparing(parts.database):
        if not dispatch.open_for_sending(parts.database, issue, now):
            # Where nobody takes them they would pile up: Redis keeps also those that have expired.
            hints = parts.metrics.queue_lengths(["expand", "compose"])
            if hints.get("expand", 0) < MAX_ENQUEUED_JOBS:
                expand.delay(issue)
            if hints.get("compose", 0) < MAX_ENQUEUED_JOBS:
                compose.delay(issue)
    enqueue_due_batches(now)
    dispatch.finish_done(parts.database, now)
    dispatch.finish_cancelled(parts.database, now)


def enqueue_due_batches(now: datetime) -> None:
    """Tell workers of the batches that are due; while no relay can be used, nothing moves."""
    parts = container()
    if parts.traffic_shaper.all_relays_blocked():
        return
    # Where sending is slow, a hint can wait in its queue for longer than it takes until it is given again.
    hints = parts.metrics.queue_lengths(["send", "retry"])
    first, retry = (hints.get(queue, 0) < MAX_ENQUEUED_JOBS for queue in ("send", "retry"))
    for batch, again in dispatch.enqueue_due(
        parts.database,
        now,
        REENQUEUE_AFTER,
        MAX_ENQUEUED_JOBS,
        send_queue_has_room=first,
        retry_queue_has_room=retry,
    ):
        send.apply_async((batch,), queue="retry" if again else "send")


# Whoever ends a stage looks whether the next one can begin: a small issue need not wait for three ticks.


@celery_app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def expand(issue: int) -> None:
    """Give every reader of an issue a delivery row."""
    expanded = 0
    while some := expand_service.expand_next(container().database, issue, container().clock.now()):
        expanded += some
    if expanded:
        compose.delay(issue)


@celery_app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def compose(issue: int) -> None:
    """Render the editions that are not rendered yet."""
    parts = container()
    compile.render_stale(
        parts.database,
        parts.renderer,
        parts.urls,
        parts.settings.bounce_domain,
        issue,
        EDITIONS_PER_TRANSACTION,
    )
    now = container().clock.now()
    if dispatch.open_for_sending(parts.database, issue, now):
        enqueue_due_batches(now)


@celery_app.task(time_limit=600, soft_time_limit=580)  # type: ignore[untyped-decorator]
def send(batch: int) -> None:
    """Send what is due in a batch."""
    if container().send_worker.send_batch(batch):
        dispatch.finish_done(container().database, container().clock.now())
