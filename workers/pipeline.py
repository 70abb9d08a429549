"""The whole way on one screen: tick finds due work and hands out hints; each task does one stage's share.

A hint that is lost is handed out again; one that comes twice does nothing.
"""

from datetime import UTC, datetime, timedelta

from mailer.services import compose as composing
from mailer.services import expand as expanding
from mailer.services import schedule
from workers.app import app, mailer

HINTS_AHEAD = 64
"""Batches hinted and not yet claimed: enough that no worker waits for the next tick."""
HINT_AGAIN = timedelta(seconds=15)
EDITIONS_AT_ONCE = 32


@app.task(time_limit=60, soft_time_limit=50)  # type: ignore[untyped-decorator]
def tick() -> None:
    """Every second: begin what is due, open what is ready, hand out batches, close what is done."""
    parts, now = mailer(), datetime.now(UTC)
    schedule.begin_due(parts.database, now, parts.settings.batch_size)
    for issue in schedule.preparing(parts.database):
        if not expanding.settle(parts.database, issue, now):
            # Where nobody takes them they would pile up: Redis keeps also those that have expired.
            hints = parts.telemetry.hints(["expand", "compose"])
            if hints.get("expand", 0) < HINTS_AHEAD:
                expand.delay(issue)
            if hints.get("compose", 0) < HINTS_AHEAD:
                compose.delay(issue)
    hand_out(now)
    schedule.finish_done(parts.database, now)
    schedule.finish_cancelled(parts.database, now)


def hand_out(now: datetime) -> None:
    """Tell workers of the batches that are due; while no relay can be used, nothing moves."""
    parts = mailer()
    if parts.gate.is_shut():
        return
    # Where sending is slow, a hint can wait in its queue for longer than it takes until it is given again.
    hints = parts.telemetry.hints(["send", "retry"])
    first, retry = (hints.get(queue, 0) < HINTS_AHEAD for queue in ("send", "retry"))
    for batch, again in schedule.hand_out(
        parts.database, now, HINT_AGAIN, HINTS_AHEAD, first=first, retry=retry
    ):
        send.apply_async((batch,), queue="retry" if again else "send")


# Whoever ends a stage looks whether the next one can begin: a small issue need not wait for three ticks.


@app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def expand(issue: int) -> None:
    """Give every reader of an issue a delivery row."""
    expanded = 0
    while some := expanding.expand_some(mailer().database, issue, datetime.now(UTC)):
        expanded += some
    if expanded:
        compose.delay(issue)


@app.task(time_limit=300, soft_time_limit=280)  # type: ignore[untyped-decorator]
def compose(issue: int) -> None:
    """Render the editions that are not rendered yet."""
    parts = mailer()
    composing.render_stale(
        parts.database, parts.renderer, parts.links, parts.settings.bounce_domain, issue, EDITIONS_AT_ONCE
    )
    now = datetime.now(UTC)
    if expanding.settle(parts.database, issue, now):
        hand_out(now)


@app.task(time_limit=600, soft_time_limit=580)  # type: ignore[untyped-decorator]
def send(batch: int) -> None:
    """Send what is due in a batch."""
    if mailer().sender.send_batch(batch):
        schedule.finish_done(mailer().database, datetime.now(UTC))
