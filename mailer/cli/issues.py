"""mailer issue … and mailer explain"""

import getpass
import json
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from mailer.bootstrap import Container
from mailer.cli.console import format_duration, make_console
from mailer.cli.errors import UsageError, describe
from mailer.domain.composition import IssueSource
from mailer.domain.document import MAX_DOCUMENT_BYTES, ParsedDocument, decode, parse
from mailer.domain.languages import canonical_tag
from mailer.domain.states import IssueState, MissingTranslationPolicy, check_transition
from mailer.domain.subscriber_fields import InvalidValue, read_address
from mailer.services.delivery import expand, resolve
from mailer.services.delivery import explain as explain_service
from mailer.services.issues import approve as approve_service
from mailer.services.issues import compile, document_import, report, schedule
from mailer.services.issues.report import IssueStatus
from mailer.settings import read_rate

commands = typer.Typer(no_args_is_help=True, help="Import, look over, approve, send and follow an issue.")

IssueId = Annotated[
    int, typer.Argument(metavar="N", min=1, max=2**31 - 1, help="The issue's id, as in `mailer issue list`.")
]
Actor = Annotated[str, typer.Option("--by", help="Who does this; stands in the issue's log.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_IN_PROGRESS_STATES = (IssueState.scheduled, IssueState.sending)


def current_user() -> str:
    """Who runs this, when --by does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "command line"


def _read_document(file: Path, language: str) -> ParsedDocument:
    with file.open("rb") as opened:
        return parse(decode(opened.read(MAX_DOCUMENT_BYTES + 1), file.stat().st_size), language)


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The newsletter as a Markdown document.")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")] = "",
    language: Annotated[str, typer.Option(help="The document's language, a tag such as en or sr-Latn.")] = "",
    number: Annotated[
        str, typer.Option(help="The issue's number, where the document's front matter has none.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what was understood.")] = False,
    as_json: JsonOption = False,
    actor: Actor = "",
) -> None:
    """Read a document into an issue: new, another language of it, or a correction."""
    tag = canonical_tag(language) if language else ""
    document = _read_document(file, tag or "en")
    tag = tag or canonical_tag(document.front_matter.get("language", "en"))
    if document.front_matter.get("language") and canonical_tag(document.front_matter["language"]) != tag:
        raise UsageError(
            f"{file.name} says that it is in {document.front_matter['language']}, but --language says {tag}."
        )
    if dry_run:
        _print_document(document, as_json)
        return
    if not newsletter:
        raise UsageError("Say for which newsletter: --newsletter SLUG (or only look, with --dry-run).")
    with Container() as parts:
        done = document_import.import_document(
            parts.database,
            document,
            newsletter,
            tag,
            number=number or file.stem.removesuffix(f".{tag}"),
            today=datetime.now(UTC).date(),
            picture_loader=parts.picture_loader(file.parent),
            actor=actor or current_user(),
        )
    unsure = [{"line": doubt.line, "why": doubt.message} for doubt in document.warnings]
    if as_json:
        shown = {name: getattr(done, name) for name in done.__slots__}
        print(json.dumps(shown | {"unsure": unsure}, ensure_ascii=False, indent=2))
        return
    what = "new" if done.new_issue else ("changed" if done.changed else "nothing new")
    print(
        f"Issue {done.issue} ({done.number}) in {done.language}: {what}. "
        f"{_count(done.sections, 'section', 'sections')}, {_count(done.stories, 'story', 'stories')}, "
        f"{_count(done.contacts, 'contact note', 'contact notes')}."
    )
    for title in done.new_sections:
        print(f"  new section: {title}")
    for headline in done.matched_by_position:
        print(f"  paired only by its place, please check: {headline}")
    for headline in done.unmatched:
        print(f"  no partner found, added as a story of its own: {headline}")
    for headline in done.not_in_file:
        print(f"  not in this file, kept: {headline}")
    for headline in done.untranslated:
        print(f"  still without a text in {done.language}: {headline}")
    _print_warnings(document)


def _print_document(document: ParsedDocument, as_json: bool) -> None:
    if as_json:
        print(json.dumps(document.as_dict(), ensure_ascii=False, indent=2))
        return
    stories = sum(len(section.stories) for section in document.sections)
    notes = sum(len(story.contacts) for section in document.sections for story in section.stories)
    print(
        f"{_count(len(document.sections), 'section', 'sections')}, {_count(stories, 'story', 'stories')}, "
        f"{_count(notes, 'contact note', 'contact notes')}. Nothing was written."
    )
    for section in document.sections:
        print(f"\n{section.title}")
        for story in section.stories:
            print(f"  {story.headline}")
            for line in story.datelines:
                print(f"    {line.text}")
            for note in story.contacts:
                print(f"    {note.text}{_applies_to(len(note.stories))}")
    print()
    _print_warnings(document)


def _applies_to(stories: int) -> str:
    """Which stories a contact note speaks for, where it is not only the one that it follows."""
    return f"  for this and {_count(stories - 1, 'story', 'stories')} above" if stories > 1 else ""


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number:,} {singular if number == 1 else plural}"


def _print_warnings(document: ParsedDocument) -> None:
    if document.warnings:
        print(f"Unsure in {_count(len(document.warnings), 'place', 'places')}; please check:")
    for doubt in document.warnings:
        print(f"  line {doubt.line}: {doubt.message}")


@commands.command("header-image")
def set_header_image(issue: IssueId, picture: Path, actor: Actor = "") -> None:
    """Give an issue the picture at its head."""
    with Container() as parts:
        fitted = parts.picture_loader(picture.parent)(picture.name)
        document_import.set_masthead(parts.database, issue, fitted, actor or current_user())
    print(f"Issue {issue}: masthead {fitted.width} × {fitted.height}.")


@commands.command("list")
def list_(as_json: JsonOption = False) -> None:
    """All issues, newest first."""
    with Container() as parts:
        rows = report.list_issues(parts.database)
    if as_json:
        shown = [
            {"issue": row[0], "newsletter": row[1], "number": row[2], "state": row[3], "goes_out": row[5]}
            for row in rows
        ]
        print(json.dumps(shown, ensure_ascii=False, indent=2, default=str))
        return
    if not rows:
        print("No issue yet. Begin with: mailer issue import FILE --newsletter SLUG --language en")
        return
    now = datetime.now(UTC)
    table = Table("issue", "newsletter", "number", "state", "sent")
    for id, slug, number, state, counts, at in rows:
        sent = f"{counts.sent:,} of {counts.candidates:,}" if counts.candidates else ""
        table.add_row(str(id), slug, number, state.value, " ".join(_send_time(at, now)) if at else sent)
    make_console().print(table)


def _send_time(at: datetime, now: datetime) -> tuple[str, str]:
    """When an issue goes out; if that has passed, nobody begins what is due."""
    late = (now - at).total_seconds()
    return (
        ("late", f"by {format_duration(late)}") if late > 2 else ("goes out", f"{at:%-d %B %Y at %H:%M} UTC")
    )


@commands.command("preview")
def preview(
    issue: IssueId,
    language: Annotated[str, typer.Option(help="The edition's language.")],
    sections: Annotated[str, typer.Option(help="Section keys, separated by commas; all without it.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Write the page here instead of printing the text.")
    ] = None,
) -> None:
    """Show an edition as its readers would get it."""
    with Container() as parts:
        mask = compile.section_mask(
            parts.database, issue, [key for key in sections.split(",") if key.strip()]
        )
        content, rendered = compile.preview(
            parts.database, parts.renderer, parts.urls, issue, canonical_tag(language), mask
        )
    if out:
        out.write_text(rendered.html, encoding="utf-8")
        print(f"{content.subject}\n{len(rendered.html.encode()) / 1000:.0f} kB of HTML in {out}")
    else:
        print(f"Subject: {content.subject}\n\n{rendered.text}")


@commands.command("check")
def check(issue: IssueId) -> None:
    """Look an issue over before approval: what is missing, and who would get what."""
    with Container() as parts:
        material = compile.load_issue(parts.database, parts.urls, issue)
        findings = approve_service.check(material, _render_errors(parts, material))
        counted = expand.count_audience(parts.database, issue)
    _print_findings(findings)
    getting = sum(readers for _, _, reason, readers in counted if reason is None)
    editions = sum(reason is None for _, _, reason, _ in counted)
    print(f"{getting:,} readers would get it now, in {editions} editions.")
    why: dict[str, int] = {}
    for _, _, reason, readers in counted:
        if reason:
            why[reason] = why.get(reason, 0) + readers
    for reason, readers in sorted(why.items()):
        print(f"  {readers:,} would not: {reason.replace('_', ' ')}")


def _render_errors(app: Container, material: IssueSource) -> list[tuple[str, str]]:
    return compile.render_errors(material, app.renderer, app.urls, app.settings.bounce_domain)


def _print_findings(findings: list[approve_service.ApprovalFinding]) -> None:
    for finding in findings:
        print(f"{'BLOCKS' if finding.blocks else 'note'}: {finding.message}")


@commands.command("missing-translations")
def set_missing_translations(issue: IssueId, missing: MissingTranslationPolicy, actor: Actor = "") -> None:
    """What becomes of a story without a translation: fallback, omit or block."""
    with Container() as parts:
        approve_service.set_missing_translation_policy(
            parts.database, issue, missing, actor or current_user()
        )
    print(f"Issue {issue}: {missing.value}.")


@commands.command("approve")
def approve(issue: IssueId, actor: Actor = "") -> None:
    """Approve an issue, if nothing blocks it."""
    with Container() as parts:
        material = compile.load_issue(parts.database, parts.urls, issue)
        findings = approve_service.approve(
            parts.database, material, actor or current_user(), _render_errors(parts, material)
        )
    _print_findings(findings)
    print(f"Issue {issue} is approved. Send it with: mailer issue send {issue}")


@commands.command("reopen")
def reopen(issue: IssueId, actor: Actor = "") -> None:
    """Take an approval back, so that the text can be changed."""
    with Container() as parts:
        was = report.status(parts.database, issue, datetime.now(UTC)).state
        schedule.reopen(parts.database, issue, actor or current_user())
    print(f"Issue {issue} is a draft{'; nothing was done' if was is IssueState.draft else ' again'}.")


def _parse_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.astimezone()
    except (ValueError, OverflowError):
        raise UsageError(f"“{text}” is not a time such as 2026-09-30T09:00+02:00.") from None
    return at


@commands.command("send")
def send(
    issue: IssueId,
    at: Annotated[
        str, typer.Option(help="When, such as 2026-09-30T09:00+02:00; this host's zone without an offset.")
    ] = "",
    local: Annotated[
        bool,
        typer.Option("--local", help="Take --at on each reader's own clock: nine o'clock where they are."),
    ] = False,
    actor: Actor = "",
) -> None:
    """Let an approved issue go out, now or at a time. Only writes that down: workers do the rest."""
    now = datetime.now(UTC)
    if local:
        _send_locally(issue, at, now, actor)
        return
    when = _parse_time(at) if at else now
    if at and (now - when).total_seconds() > 60:
        raise UsageError(f"{when:%-d %B %Y at %H:%M %Z} has passed. Leave --at away to send now.")
    with Container() as parts:
        schedule.schedule(parts.database, issue, when, actor or current_user())
    print(f"Issue {issue} goes out {'now' if not at else f'on {when:%-d %B %Y at %H:%M %Z}'}.")
    print(f"Follow it with: mailer issue status {issue}")


def _send_locally(issue: int, at: str, now: datetime, actor: str) -> None:
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        when = None
    if when is None or when.tzinfo is not None:
        raise UsageError("--local needs a time without an offset, such as --at 2026-09-30T09:00 --local.")
    if when.replace(tzinfo=timezone(timedelta(hours=-12))) < now:
        raise UsageError(
            f"{when:%-d %B %Y at %H:%M} has passed everywhere. Leave --at and --local away to send now."
        )
    with Container() as parts:
        schedule.schedule_local_time(parts.database, issue, when, actor or current_user())
    print(f"Issue {issue} goes out on {when:%-d %B %Y at %H:%M} where each reader is.")
    print(f"Follow it with: mailer issue status {issue}")


@commands.command("unschedule")
def unschedule(issue: IssueId, actor: Actor = "") -> None:
    """Take a scheduled issue back before its time."""
    with Container() as parts:
        schedule.unschedule(parts.database, issue, actor or current_user())
    print(f"Issue {issue} is approved, not scheduled.")


@commands.command("pause")
def pause(issue: IssueId, actor: Actor = "") -> None:
    """Stop an issue that is going out; resume continues it."""
    with Container() as parts:
        schedule.pause(parts.database, issue, actor or current_user())
    print(f"Issue {issue} is paused. Go on with: mailer issue resume {issue}")


@commands.command("resume")
def resume(issue: IssueId, actor: Actor = "") -> None:
    """Go on with a paused issue."""
    with Container() as parts:
        schedule.resume(parts.database, issue, actor or current_user())
    print(f"Issue {issue} goes on.")


@commands.command("rate")
def set_rate(
    issue: IssueId,
    rate: Annotated[str, typer.Argument(help="Such as 50/s, 600/min or 20000/h; none lifts the set_rate.")],
    actor: Actor = "",
) -> None:
    """Slow an issue down, also while it goes out."""
    try:
        most = read_rate("" if rate == "none" else rate)
    except ValueError as error:
        raise UsageError(f"{error}, nor none.") from None
    if rate != "none" and not most:
        raise UsageError(f"“{rate}” would send nothing. To stop it: mailer issue pause {issue}")
    with Container() as parts:
        schedule.set_max_rate(parts.database, issue, most or None, actor or current_user())
    print(f"Issue {issue}: {f'at most {most:g} messages a second' if most else 'no limit of its own'}.")


@commands.command("cancel")
def cancel(
    issue: IssueId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = "",
) -> None:
    """End an issue for good. Mail that went out stays out."""
    with Container() as parts:
        now = report.status(parts.database, issue, datetime.now(UTC))
        if now.state is not IssueState.cancelled:
            check_transition(issue, now.state, IssueState.cancelled)
        what = f"Cancel issue {issue}, {now.newsletter} {now.number}, for good?"
        if not yes and not typer.confirm(what):
            print("Nothing was done.")
            return
        left = schedule.cancel(parts.database, issue, actor or current_user(), datetime.now(UTC))
    print(f"Issue {issue} is cancelled; {left:,} readers do not get it.")


_NOT_RETRIED_REASONS = {
    "suppressed": "their address must not be mailed",
    "unsubscribed": "they have unsubscribed",
    "paused": "they have paused the newsletter",
    "digest_only": "they get one mail a month",
    "code": "they failed with another code",
}


@commands.command("retry")
def retry(
    issue: IssueId,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only what failed with this code, such as 5.7 or 552; several may be given."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = "",
) -> None:
    """Try again what failed, but for readers who must not be mailed any more."""
    codes, now = code or [], datetime.now(UTC)
    with Container() as parts:
        found = resolve.plan_retry(parts.database, issue, codes, now)
        if found.retried and not yes:
            _print_not_retried(found)
            if not typer.confirm(
                f"Try {_count(found.retried, 'failed delivery', 'failed deliveries')} again?"
            ):
                print("Nothing was done.")
                return
        done = resolve.retry(parts.database, issue, codes, actor or current_user(), now)
    if yes or not found.retried:
        _print_not_retried(done)
    if not done.retried:
        print("There is nothing to try again.")
        return
    print(f"{_count(done.retried, 'failed delivery is', 'failed deliveries are')} tried again.")
    if done.state is IssueState.paused:
        print(f"The issue is paused. Go on with: mailer issue resume {issue}")
    else:
        print(f"Follow it with: mailer issue status {issue}")


def _print_not_retried(plan: resolve.RetryPlan) -> None:
    for why, count in plan.not_retried.items():
        print(f"{_count(count, 'stays', 'stay')} failed: {_NOT_RETRIED_REASONS[why]}.")


def status_dict(status: IssueStatus) -> dict[str, Any]:
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
    }


def _status_table(status: IssueStatus, now: datetime) -> Table:
    counts = status.counts
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        "issue", f"{status.issue}  {status.newsletter} {status.number}  [bold]{status.state.value}[/]"
    )
    done = counts.candidates - counts.pending
    share = done / counts.candidates if counts.candidates else 0.0
    grid.add_row("progress", ProgressBar(total=max(counts.candidates, 1), completed=done, width=50))
    grid.add_row("", f"{done:,} of {counts.candidates:,} ({share:.0%}), {status.per_second:,.0f} a second")
    grid.add_row("sent", f"{counts.sent:,}")
    grid.add_row("failed", f"{counts.failed:,}")
    grid.add_row("skipped", f"{counts.skipped:,}")
    grid.add_row("pending", f"{counts.pending:,}")
    grid.add_row("uncertain", f"{counts.uncertain:,}")
    grid.add_row(
        "editions",
        f"{status.editions}" + (f" ({status.stale_editions} to render)" if status.stale_editions else ""),
    )
    if status.state is IssueState.scheduled and status.scheduled_at:
        grid.add_row(*_send_time(status.scheduled_at, now))
    return grid


@commands.command("status")
def status(
    issue: IssueId,
    as_json: JsonOption = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
) -> None:
    """How an issue is doing, live; ends when it is sent, paused or cancelled."""
    with Container() as parts:
        at = datetime.now(UTC)
        now = report.status(parts.database, issue, at)
        if as_json:
            print(json.dumps(status_dict(now), ensure_ascii=False, indent=2))
            return
        if once or not sys.stdout.isatty():
            make_console().print(_status_table(now, at))
        else:
            with Live(_status_table(now, at), console=make_console(), refresh_per_second=4) as live:
                while now.state in _IN_PROGRESS_STATES:
                    time.sleep(0.5)
                    at = datetime.now(UTC)
                    now = report.status(parts.database, issue, at)
                    live.update(_status_table(now, at))
        for reason, count in report.skipped_by_reason(parts.database, issue).items():
            print(f"skipped, {reason.replace('_', ' ')}: {count:,}")
    if now.counts.uncertain:
        print(f"Of the uncertain ones, look: mailer deliveries list --issue {issue}")
    if now.counts.failed:
        print(f"What failed can be tried again: mailer issue retry {issue}")


@commands.command("log")
def log(issue: IssueId) -> None:
    """Who did what to an issue, and when."""
    with Container() as parts:
        for at, actor, what, detail in report.events(parts.database, issue):
            print(f"{at:%Y-%m-%d %H:%M:%S}  {actor}  {what}  {detail}".rstrip())


@commands.command("audit")
def audit(issue: IssueId, as_json: JsonOption = False) -> None:
    """Prove that an issue's ledger adds up; exit status 1 and the offending rows when it does not."""
    with Container() as parts:
        wrong = report.audit(parts.database, issue)
        status = report.status(parts.database, issue, datetime.now(UTC))
        twice = report.count_resent(parts.database, issue)
    counts = status.counts
    if as_json:
        shown = status_dict(status) | {"resent": twice, "adds_up": not wrong}
        shown["findings"] = [finding._asdict() for finding in wrong]
        print(json.dumps(shown, ensure_ascii=False, indent=2))
        raise typer.Exit(1 if wrong else 0)
    print(
        f"{counts.candidates:,} candidates = {counts.sent:,} sent + {counts.failed:,} failed + {counts.skipped:,} "
        f"skipped + {counts.pending:,} pending + {counts.uncertain:,} uncertain"
    )
    if twice:
        print(
            f"{_count(twice, 'reader', 'readers')} may have it twice: sent once more, since nobody saw the outcome."
        )
    for finding in wrong:
        print(finding.message)
    if wrong:
        raise typer.Exit(1)
    print("The ledger adds up, reader by reader.")


def explain(issue: IssueId, address: str, as_json: JsonOption = False) -> None:
    """Why a reader got this edition at this time, or why not."""
    try:
        key = read_address(address)[1]
    except InvalidValue as error:
        raise UsageError(describe(error)) from None
    with Container() as parts:
        around = explain_service.SendContext(
            datetime.now(UTC), parts.relay_routes, parts.providers, parts.urls, parts.settings.bounce_domain
        )
        found = explain_service.explain(
            parts.database, issue, address, parts.tokens.address_hash(key), around
        )
    if as_json:
        shown = {name: getattr(found, name) for name in found.__slots__}
        print(json.dumps(shown, ensure_ascii=False, indent=2, default=str))
        return
    print(*found.sentences, sep="\n")
