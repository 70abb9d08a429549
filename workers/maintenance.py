"""What is not about one issue: notes to single readers, monthly digests, letting go of what is old."""

from datetime import UTC, datetime

from mailer.services.delivery import monitor, transactional
from mailer.services.issues import digest
from mailer.services.maintenance import mx_records, retention
from workers.app import celery_app, container

EMAILS_PER_RUN = 50


@celery_app.task(time_limit=120, soft_time_limit=110)  # type: ignore[untyped-decorator]
def send_transactional() -> None:
    """Send confirmations and other mail to single readers; on a queue of its own, since somebody waits for it."""
    parts = container()
    while transactional.send_due(
        parts.database,
        parts.smtp_pool,
        parts.relay_routes,
        parts.limiter,
        parts.transactional_renderer,
        parts.urls,
        parts.signer,
        parts.settings.bounce_domain,
        datetime.now(UTC),
        EMAILS_PER_RUN,
    ):
        pass


@celery_app.task(time_limit=3600, soft_time_limit=3500)  # type: ignore[untyped-decorator]
def run_maintenance() -> None:
    """Every hour: last month's digests, once; what is older than it may be kept, once a day; what DNS says of the
    domains of many readers."""
    parts, now = container(), datetime.now(UTC)
    digest.create_due_digests(parts.database, now, parts.transactional_renderer.digest_texts)
    retention.run_if_due(parts.database, parts.retention_policy, now)
    monitor.delete_recovered(parts.database, now)
    if any(group.mx for group in parts.providers.configured):
        mx_records.refresh(parts.database, parts.mx_resolver.preferred_host, now)
