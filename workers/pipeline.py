"""The whole way on one screen: tick finds due work and enqueues jobs; each task does one stage's share.

A job that is lost is enqueued again; one that comes twice does nothing.
"""

from mailer.services.delivery import dispatch
from mailer.services.delivery import expand as expand_service
from mailer.services.delivery.dispatch import Dispatcher
from mailer.services.issues import compile
from workers.app import celery_app, container

EDITIONS_PER_TRANSACTION = 32


@celery_app.task(time_limit=60, soft_time_limit=50)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Every second: start what is due, open what is ready, enqueue jobs, finish what is done."""
    app = container()
    _dispatcher().tick(app.clock.now(), app.settings.batch_size)


def _dispatcher() -> Dispatcher:
    app = container()
    return Dispatcher(app.database, app.traffic_shaper, app.metrics.queue_lengths, enqueue)


def enqueue(queue: str, id: int) -> None:
    """Put a job into a queue."""
    task = {"expand": expand, "compose": compose, "send": send, "retry": send}[queue]
    task.apply_async((id,), queue=queue)


# Each stage looks at its end whether the next one can begin: a small issue need not wait for three ticks.


@celery_app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def expand(issue: int) -> None:
    """Give every subscriber of an issue a delivery row."""
    app, expanded = container(), 0
    while some := expand_service.expand_next(app.database, issue, app.clock.now()):
        expanded += some
    if expanded:
        enqueue("compose", issue)


@celery_app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def compose(issue: int) -> None:
    """Render the editions that are not rendered yet."""
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
    if dispatch.open_for_sending(app.database, issue, now):
        _dispatcher().enqueue_batches(now)


@celery_app.task(time_limit=600, soft_time_limit=580)  # type: ignore[untyped-decorator]
def send(batch: int) -> None:
    """Send what is due in a batch."""
    app = container()
    if app.send_worker.send_batch(batch):
        dispatch.finish_done(app.database, app.clock.now())
