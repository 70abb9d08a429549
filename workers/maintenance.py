"""What is not about one issue: notes to single readers, monthly digests, letting go of what is old."""

from mailer.services.delivery import monitor
from mailer.services.issues import digest
from mailer.services.maintenance import mx_records, retention
from workers.app import celery_app, container


@celery_app.task(time_limit=120, soft_time_limit=110)  # type: ignore[untyped-decorator]
def send_transactional() -> None:
    """Send confirmations and other mail to single readers; on a queue of its own, since somebody waits for it."""
    parts = container()
    while parts.transactional_sender.send_due(parts.clock.now()):
        pass


@celery_app.task(time_limit=3600, soft_time_limit=3500)  # type: ignore[untyped-decorator]
def run_maintenance() -> None:
    """Every hour: last month's digests, once; what is older than it may be kept, once a day; what DNS says of the
    domains of many readers."""
    parts = container()
    now = parts.clock.now()
    digest.create_due_digests(parts.database, now, parts.transactional_renderer.digest_texts)
    retention.run_if_due(parts.database, parts.retention_policy, now)
    monitor.delete_recovered(parts.database, now)
    if any(group.mx for group in parts.providers.configured):
        mx_records.refresh(parts.database, parts.mx_resolver.preferred_host, now)
