"""The commands of ``mailer issue`` that send an issue and follow it, and ``mailer explain``."""

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailer.bootstrap import Container
from mailer.cli.console import format_duration, make_console
from mailer.cli.errors import UsageError, describe
from mailer.cli.options import Actor, IssueId, JsonOption, current_user
from mailer.domain.plurals import format_count
from mailer.domain.states import DeliveryState, IssueState, SkipReason, check_transition

if TYPE_CHECKING:
    from rich.table import Table

    from mailer.domain.time_zones import ClockChange
    from mailer.services.delivery.resolve import RetryPlan
    from mailer.services.issues.report import IssueStatus

commands = typer.Typer()

_IN_PROGRESS_STATES = (IssueState.scheduled, IssueState.sending)


@commands.command("list")
def list_(as_json: JsonOption = False) -> None:
    """List all issues, newest first."""
    from rich.markup import escape
    from rich.table import Table

    from mailer.services.issues import report

    with Container() as app:
        rows = report.list_issues(app.database)
    if as_json:
        listing = [
            {
                "issue": id,
                "newsletter": slug,
                "number": number,
                "state": state,
                "goes_out": at,
                "waiting": waiting,
                "digest_of": digest_of,
            }
            for id, slug, number, state, _, at, waiting, digest_of in rows
        ]
        print(json.dumps(listing, ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        print("There are no issues yet. Start with: mailer issue import FILE --newsletter SLUG --language en")
        return
    now = datetime.now(UTC)
    table = Table("issue", "newsletter", "number", "state", "sent")
    for id, slug, number, state, counts, at, waiting, digest_of in rows:
        number = f"{number}, digest of {', '.join(digest_of)}" if digest_of else number
        sent = f"{counts.sent:,} of {counts.candidates:,}" if counts.candidates else ""
        table.add_row(
            str(id), slug, escape(number), state.value, " ".join(_send_time(at, now, waiting)) if at else sent
        )
    make_console().print(table)


def _send_time(at: datetime, now: datetime, waiting: bool) -> tuple[str, str]:
    """Return when a scheduled issue starts, or by how much it is late, as a label and a text."""
    late = (now - at).total_seconds()
    if late > 2:
        return "late", f"by {format_duration(late)}{', waits to be sent' if waiting else ''}"
    return "starts", f"{at:%-d %B %Y at %H:%M} UTC"


@commands.command("send")
def send(
    issue: IssueId,
    at: Annotated[
        str,
        typer.Option(help="Start time, such as 2026-09-30T09:00+02:00. Without an offset: local time of this host."),
    ] = "",
    local: Annotated[
        bool,
        typer.Option("--local", help="Read --at in each reader's time zone."),
    ] = False,
    actor: Actor = "",
) -> None:
    """Schedule an approved issue, now or for a given time. Workers send it in the background."""
    from mailer.services.issues import schedule

    now = datetime.now(UTC)
    if local:
        _send_locally(issue, at, now, actor)
        return
    when, remark = _read_time(at) if at else (now, "")
    if at and (now - when).total_seconds() > 60:
        raise UsageError(f"{when:%-d %B %Y at %H:%M %Z} is in the past. Omit --at to send now.")
    with Container() as app:
        schedule.schedule(app.database, issue, when, actor or current_user())
    in_utc = f" ({when.astimezone(UTC):%-d %B, %H:%M} UTC)" if when.utcoffset() else ""
    print(f"Issue {issue} will be sent {f'on {when:%-d %B %Y at %H:%M %Z}{in_utc}' if at else 'now'}.")
    if remark:
        print(remark)
    print(f"Follow it with: mailer issue status {issue}")


def _read_time(text: str) -> tuple[datetime, str]:
    """Return a time, and a remark if clocks are changed then. Without an offset, it is a time of this host."""
    from mailer.domain.time_zones import clock_change, to_utc

    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"“{text}” is not a time such as 2026-09-30T09:00+02:00.") from None
    try:
        shown = to_utc(written, written.tzinfo).astimezone(written.tzinfo)
        change = clock_change(written, None) if written.tzinfo is None else None
    except (ValueError, OverflowError):
        raise UsageError(f"{text} is at the end of all dates. Give one within two years from now.") from None
    return shown, _describe_clock_change(change, written, shown, "on this host") if change else ""


def _describe_clock_change(change: "ClockChange", local: datetime, shown: datetime, where: str) -> str:
    if change == "skipped":
        return (
            f"Note: {where}, clocks are set forward then and never show {local:%H:%M}. "
            f"It goes out when they show {shown:%H:%M}."
        )
    return f"Note: {where}, clocks are set back then and show {local:%H:%M} twice. It goes out the first time."


def _send_locally(issue: int, at: str, now: datetime, actor: str) -> None:
    from mailer.domain.time_zones import time_zone, to_utc
    from mailer.services.issues import schedule

    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        when = None
    if when is None or when.tzinfo is not None:
        raise UsageError("--local needs a time without an offset, such as --at 2026-09-30T09:00 --local.")
    if schedule.has_passed_everywhere(when, now):
        raise UsageError(f"{when:%-d %B %Y at %H:%M} has passed in every time zone. Omit --at and --local to send now.")
    with Container() as app:
        schedule.schedule_local_time(app.database, issue, when, actor or current_user())
        changes = schedule.clock_changes(app.database, issue, when)
    print(f"Issue {issue} will be sent on {when:%-d %B %Y at %H:%M} in each reader's time zone.")
    remarks: dict[tuple[ClockChange, datetime], list[str]] = {}
    for name, change in changes.items():
        shown = to_utc(when, time_zone(name)).astimezone(time_zone(name)).replace(tzinfo=None)
        remarks.setdefault((change, shown), []).append(name)
    for (change, shown), names in remarks.items():
        more = f" and {format_count(len(names) - 3, 'other time zone')}" if len(names) > 4 else ""
        where = ", ".join(names[:3] if more else names) + more
        print(_describe_clock_change(change, when, shown, f"in {where}"))
    print(f"Follow it with: mailer issue status {issue}")


@commands.command("unschedule")
def unschedule(issue: IssueId, actor: Actor = "") -> None:
    """Cancel the schedule of an issue that has not started."""
    from mailer.services.issues import schedule

    with Container() as app:
        schedule.unschedule(app.database, issue, actor or current_user())
    print(f"Issue {issue} is approved and no longer scheduled.")


@commands.command("pause")
def pause(issue: IssueId, actor: Actor = "") -> None:
    """Pause an issue that is being sent."""
    from mailer.services.issues import schedule

    with Container() as app:
        schedule.pause(app.database, issue, actor or current_user())
    print(f"Issue {issue} is paused. Resume it with: mailer issue resume {issue}")


@commands.command("resume")
def resume(issue: IssueId, actor: Actor = "") -> None:
    """Resume a paused issue."""
    from mailer.services.issues import schedule

    with Container() as app:
        schedule.resume(app.database, issue, actor or current_user())
    print(f"Issue {issue} is resumed.")


@commands.command("rate")
def set_rate(
    issue: IssueId,
    rate: Annotated[str, typer.Argument(help="Such as 50/s, 600/min or 20000/h; none removes the limit.")],
    actor: Actor = "",
) -> None:
    """Limit the sending rate of an issue, even while it is being sent."""
    from mailer.services.issues import schedule
    from mailer.settings_values import read_rate

    try:
        max_rate = read_rate("" if rate == "none" else rate)
    except ValueError as error:
        raise UsageError(f"{error}. Use none to remove the limit.") from None
    if rate != "none" and not max_rate:
        raise UsageError(f"“{rate}” would send nothing. Pause the issue with: mailer issue pause {issue}")
    with Container() as app:
        schedule.set_max_rate(app.database, issue, max_rate or None, actor or current_user())
    unit = "message" if max_rate == 1 else "messages"
    print(f"Issue {issue}: {f'at most {max_rate:g} {unit} a second' if max_rate else 'no rate limit'}.")


@commands.command("cancel")
def cancel(
    issue: IssueId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = "",
) -> None:
    """Cancel an issue permanently. Mail already sent is not affected."""
    from mailer.services.issues import report, schedule

    with Container() as app:
        status = report.status(app.database, issue, datetime.now(UTC))
        if status.state is not IssueState.cancelled:
            check_transition(issue, status.state, IssueState.cancelled)
        question = f"Cancel issue {issue} ({status.newsletter} {status.number}) permanently?"
        if not yes and not typer.confirm(question):
            print("Nothing was done.")
            return
        unsent = schedule.cancel(app.database, issue, actor or current_user(), datetime.now(UTC))
    print(f"Issue {issue} is cancelled. {format_count(unsent, 'reader')} will not get it.")


@commands.command("retry")
def retry(
    issue: IssueId,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only deliveries that failed with this code, such as 5.7 or 552. Repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = "",
) -> None:
    """Retry failed deliveries, except to readers who have since unsubscribed or been suppressed."""
    from mailer.services.delivery import resolve

    codes, now = code or [], datetime.now(UTC)
    with Container() as app:
        plan = resolve.plan_retry(app.database, issue, codes, now)
        if plan.retried and not yes:
            _print_not_retried(plan)
            if not typer.confirm(f"Retry {format_count(plan.retried, 'failed delivery', 'failed deliveries')}?"):
                print("Nothing was done.")
                return
        result = resolve.retry(app.database, issue, codes, actor or current_user(), now)
    if yes or not plan.retried:
        _print_not_retried(result)
    if not result.retried:
        print("There is nothing to retry.")
        return
    print(f"Retrying {format_count(result.retried, 'failed delivery', 'failed deliveries')}.")
    if result.state is IssueState.paused:
        print(f"The issue is paused. Resume it with: mailer issue resume {issue}")
    else:
        print(f"Follow it with: mailer issue status {issue}")


def _print_not_retried(plan: "RetryPlan") -> None:
    from mailer.domain.labels import SKIP_REASON_CAUSES

    causes: dict[str, int] = {SKIP_REASON_CAUSES[reason]: number for reason, number in plan.ineligible.items()}
    if plan.other_code:
        causes["it failed with another code" if plan.other_code == 1 else "they failed with another code"] = (
            plan.other_code
        )
    for cause, number in causes.items():
        deliveries = format_count(number, "delivery is", "deliveries are")
        print(f"{deliveries} not retried: {cause}.")


def status_dict(status: "IssueStatus") -> dict[str, Any]:
    """Return an issue's status as ``mailer issue status --json`` prints it."""
    counts = status.counts
    return {
        "issue": status.issue,
        "newsletter": status.newsletter,
        "number": status.number,
        "state": status.state.value,
        "candidates": counts.candidates,
        "sent": counts.sent,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "pending": counts.pending,
        "uncertain": counts.uncertain,
        "editions": status.editions,
        "per_second": round(status.per_second, 1),
        "bounced": status.bounced,
    }


def _status_table(status: "IssueStatus", now: datetime) -> "Table":
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    counts = status.counts
    grid = Table.grid(padding=(0, 2))
    grid.add_row("issue", f"{status.issue}  {status.newsletter} {escape(status.number)}  [bold]{status.state.value}[/]")
    if status.digest_of:
        grid.add_row("digest of", escape(", ".join(status.digest_of)))
    done = counts.candidates - counts.pending
    share = done / counts.candidates if counts.candidates else 0.0
    grid.add_row("progress", ProgressBar(total=max(counts.candidates, 1), completed=done, width=50))
    grid.add_row("", f"{done:,} of {counts.candidates:,} ({share:.0%}), {status.per_second:,.0f} a second")
    grid.add_row("sent", f"{counts.sent:,}" + (f" ({status.bounced:,} came back)" if status.bounced else ""))
    grid.add_row("failed", f"{counts.failed:,}")
    grid.add_row("skipped", f"{counts.skipped:,}")
    grid.add_row("pending", f"{counts.pending:,}")
    grid.add_row("uncertain", f"{counts.uncertain:,}")
    grid.add_row(
        "editions",
        f"{status.editions}" + (f" ({status.stale_editions} to render)" if status.stale_editions else ""),
    )
    if status.state is IssueState.scheduled and status.scheduled_at:
        grid.add_row(*_send_time(status.scheduled_at, now, status.waiting))
    return grid


def _describe_digests(app: Container, issue: int) -> str:
    """Return how many readers get an issue in which digest."""
    from mailer.services.issues import report

    parts = [
        f"{count:,} in digest {digest}" if digest else f"{format_count(count, 'waits', 'wait')} for the next digest"
        for digest, count in report.held_by_digests(app.database, issue).items()
    ]
    return f" ({', '.join(parts)})"


@commands.command("status")
def status(
    issue: IssueId,
    as_json: JsonOption = False,
    once: Annotated[bool, typer.Option("--once", help="Print the status once and exit.")] = False,
) -> None:
    """Show an issue's progress live, until it is sent, paused or cancelled."""
    from rich.live import Live

    from mailer.domain.labels import SKIP_REASON_LABELS
    from mailer.services.issues import report

    with Container() as app:
        at = datetime.now(UTC)
        now = report.status(app.database, issue, at)
        if as_json:
            print(json.dumps(status_dict(now), ensure_ascii=False, indent=2))
            return
        if once or not sys.stdout.isatty():
            make_console().print(_status_table(now, at))
        else:
            with Live(_status_table(now, at), console=make_console(), refresh_per_second=4) as live:
                while now.state in _IN_PROGRESS_STATES and not now.waiting:
                    time.sleep(0.5)
                    at = datetime.now(UTC)
                    now = report.status(app.database, issue, at)
                    live.update(_status_table(now, at))
        for reason, count in report.skipped_by_reason(app.database, issue).items():
            details = _describe_digests(app, issue) if reason is SkipReason.digest_only else ""
            print(f"skipped, {SKIP_REASON_LABELS[reason]}: {count:,}{details}")
    if now.waiting:
        print(
            f"It is so late that it waits. Send it now with: mailer issue send {issue}, or give another time with --at."
        )
    if now.counts.uncertain:
        print(f"List the uncertain deliveries with: mailer deliveries list --issue {issue}")
    if now.counts.failed:
        print(f"Retry the failed deliveries with: mailer issue retry {issue}")


@commands.command("log")
def log(issue: IssueId) -> None:
    """Show who changed an issue and when."""
    from mailer.services.issues import report

    with Container() as app:
        for at, actor, event, detail in report.events(app.database, issue):
            print(f"{at:%Y-%m-%d %H:%M:%S}  {actor or 'the service'}  {event}  {detail}".rstrip())


@commands.command("audit")
def audit(issue: IssueId, as_json: JsonOption = False) -> None:
    """Check that an issue's ledger adds up. List wrong rows and exit with status 1 if it does not."""
    from mailer.services.issues import report

    with Container() as app:
        findings = report.audit(app.database, issue)
        status = report.status(app.database, issue, datetime.now(UTC))
        resent = report.count_resent(app.database, issue)
    counts = status.counts
    if as_json:
        result = status_dict(status) | {"resent": resent, "adds_up": not findings}
        result["findings"] = [finding._asdict() for finding in findings]
        print(json.dumps(result, ensure_ascii=False, indent=2))
        raise typer.Exit(1 if findings else 0)
    print(
        f"{counts.candidates:,} candidates = {counts.sent:,} sent + {counts.failed:,} failed + {counts.skipped:,} "
        f"skipped + {counts.pending:,} pending + {counts.uncertain:,} uncertain"
    )
    if resent:
        print(f"{format_count(resent, 'reader')} may have received it twice: uncertain, then sent again.")
    if status.bounced:
        print(f"{format_count(status.bounced, 'email')} came back.")
    for finding in findings:
        print(finding.message)
    if findings:
        raise typer.Exit(1)
    print("The ledger adds up for every reader.")


def explain(issue: IssueId, address: str, as_json: JsonOption = False) -> None:
    """Explain why a reader got this edition when they did, or why not."""
    from mailer.domain.subscriber_fields import InvalidValue, read_address
    from mailer.services.delivery import explain as explain_service

    try:
        key = read_address(address)[1]
    except InvalidValue as error:
        raise UsageError(describe(error)) from None
    with Container() as app:
        context = explain_service.SendContext(
            datetime.now(UTC), app.relay_routes, app.providers, app.urls, app.settings.bounce_domain
        )
        explanation = explain_service.explain(app.database, issue, address, app.tokens.address_hash(key), context)
    if as_json:
        fields = {name: getattr(explanation, name) for name in explanation.__slots__}
        print(json.dumps(fields, ensure_ascii=False, indent=2, default=str))
        return
    print(*explanation.sentences, sep="\n")
    if explanation.state == DeliveryState.uncertain:
        print(
            "Once you know the outcome, for example from the relay's log, resolve it: "
            f"mailer deliveries resolve {issue} {address} --as sent, --as failed or --as resend."
        )
