"""Tasks beside the sending of issues: transactional emails, monthly digests, retention, lookups in the network."""

import threading

from mailer.services.delivery import monitor
from mailer.services.issues import compile, digest, edit, network_checks, report, text_requests
from mailer.services.maintenance import mx_records, pictures, retention
from mailer.services.newsletters import address_book
from mailer.services.subscribers import import_jobs
from workers.app import celery_app, container

_counting = threading.Lock()


@celery_app.task(time_limit=120, soft_time_limit=110)  # type: ignore[untyped-decorator]
def send_transactional() -> None:
    """Send due transactional emails. They have their own queue, since people wait for them."""
    app = container()
    while app.transactional_sender.send_due(app.clock.now()):
        pass


@celery_app.task(time_limit=3600, soft_time_limit=3500)  # type: ignore[untyped-decorator]
def run_maintenance() -> None:
    """Create due digests, send reminders, delete what is not needed and refresh MX records. Runs every hour."""
    app = container()
    now = app.clock.now()
    for issue in digest.create_due_digests(app.database, now, app.transactional_renderer.digest_texts):
        digest.look_over(app.database, app.renderer, app.urls, app.settings.bounce_domain, issue)
    text_requests.remind_due(app.database, now)
    new_day = retention.run_if_due(app.database, app.retention_policy, now) is not None
    monitor.delete_recovered(app.database, now)
    monitor.delete_old_samples(app.database, now)
    import_jobs.delete_old(app.database, now)
    network_checks.delete_old(app.database, now)
    edit.forget_old_changes(app.database)
    address_book.forget_removed(app.database, now)
    if any(provider.mx for provider in app.providers.configured):
        mx_records.refresh(app.database, app.mx_resolver.preferred_host, now)
    if new_day:
        pictures.delete_unused(app.database, app.picture_store, now)  # last, since the picture store may be down


@celery_app.task(time_limit=7200, soft_time_limit=7100)  # type: ignore[untyped-decorator]
def import_lists() -> None:
    """Look over and import the lists that staff uploaded. Only one worker at a time is at it."""
    app = container()
    while import_jobs.run_next(app.database, app.settings.state_dir, app.tokens.hmac_pads(), app.clock):
        pass


@celery_app.task(time_limit=60, soft_time_limit=50)  # type: ignore[untyped-decorator]
def record_flow() -> None:
    """Keep a sample of the flow, for charts. Runs every minute."""
    app = container()
    now = app.clock.now()
    snapshot = monitor.snapshot(app.database, app.metrics, app.relay_routes, app.providers, now)
    monitor.record_flow(app.database, snapshot)


@celery_app.task(time_limit=600, soft_time_limit=580)  # type: ignore[untyped-decorator]
def count_reports() -> None:
    """Count what the reports of issues on their way show. Runs every minute, unless it still runs."""
    if not _counting.acquire(blocking=False):
        return
    try:
        app = container()
        report.count_ahead(app.database, app.clock.now())
    finally:
        _counting.release()


@celery_app.task(time_limit=330, soft_time_limit=320)  # type: ignore[untyped-decorator]
def check_network(issue: int) -> None:
    """Look up the links of an issue and the DNS records of its sender, if somebody ordered it."""
    app = container()
    source = compile.load_issue(app.database, app.urls, issue)
    return_path = app.settings.bounce_domain or source.sender_domain
    network_checks.look_up(app.database, source, return_path, app.network_tools, app.clock)
