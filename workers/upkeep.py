"""What is not about one issue: notes to single readers, monthly digests, letting go of what is old."""

from datetime import UTC, datetime

from mailer.services import destinations, digest, notes, retention, watch
from workers.app import app, mailer

NOTES_AT_ONCE = 50


@app.task(time_limit=120, soft_time_limit=110)  # type: ignore[untyped-decorator]
def send_notes() -> None:
    """Send confirmations and other mail to single readers; on a queue of its own, since somebody waits for it."""
    parts = mailer()
    while notes.send_due(
        parts.database,
        parts.outbox,
        parts.routes,
        parts.limiter,
        parts.note_renderer,
        parts.links,
        parts.signer,
        parts.settings.bounce_domain,
        datetime.now(UTC),
        NOTES_AT_ONCE,
    ):
        pass


@app.task(time_limit=3600, soft_time_limit=3500)  # type: ignore[untyped-decorator]
def keep_house() -> None:
    """Every hour: last month's digests, once; what is older than it may be kept, once a day; what DNS says of the
    domains of many readers."""
    parts, now = mailer(), datetime.now(UTC)
    digest.make_due(parts.database, now, parts.note_renderer.month_words)
    retention.sweep_if_due(parts.database, parts.keep, now)
    watch.forget_recovered(parts.database, now)
    if any(group.mx for group in parts.destinations.groups):
        destinations.learn(parts.database, parts.mail_servers.preferred, now)
