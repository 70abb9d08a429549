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

from mailer.bootstrap import Mailer
from mailer.cli.errors import Misuse, sentence
from mailer.cli.screen import console, span
from mailer.domain.composition import IssueMaterial
from mailer.domain.document import LIMIT, Document, decode, parse
from mailer.domain.languages import canonical
from mailer.domain.states import IssueState, MissingPolicy, check_move
from mailer.domain.subscribers import Unfit, read_address
from mailer.services import approve as approving
from mailer.services import author, compose, expand, report, schedule, settle
from mailer.services import explain as explaining
from mailer.services.report import Status
from mailer.settings import read_rate

app = typer.Typer(no_args_is_help=True, help="Import, look over, approve, send and follow an issue.")

Number = Annotated[
    int, typer.Argument(metavar="N", min=1, max=2**31 - 1, help="The issue's id, as in `mailer issue list`.")
]
By = Annotated[str, typer.Option("--by", help="Who does this; stands in the issue's log.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_OPEN = (IssueState.scheduled, IssueState.sending)


def whoever() -> str:
    """Who runs this, when --by does not say."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "command line"


def _read(file: Path, language: str) -> Document:
    with file.open("rb") as opened:
        return parse(decode(opened.read(LIMIT + 1), file.stat().st_size), language)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The newsletter as a Markdown document.")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")] = "",
    language: Annotated[str, typer.Option(help="The document's language, a tag such as en or sr-Latn.")] = "",
    number: Annotated[
        str, typer.Option(help="The issue's number, where the document's front matter has none.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what was understood.")] = False,
    as_json: Json = False,
    by: By = "",
) -> None:
    """Read a document into an issue: new, another language of it, or a correction."""
    tag = canonical(language) if language else ""
    document = _read(file, tag or "en")
    tag = tag or canonical(document.front.get("language", "en"))
    if document.front.get("language") and canonical(document.front["language"]) != tag:
        raise Misuse(
            f"{file.name} says that it is in {document.front['language']}, but --language says {tag}."
        )
    if dry_run:
        _tell(document, as_json)
        return
    if not newsletter:
        raise Misuse("Say for which newsletter: --newsletter SLUG (or only look, with --dry-run).")
    with Mailer() as parts:
        done = author.import_document(
            parts.database,
            document,
            newsletter,
            tag,
            number=number or file.stem.removesuffix(f".{tag}"),
            today=datetime.now(UTC).date(),
            pictures=parts.picture_from(file.parent),
            actor=by or whoever(),
        )
    unsure = [{"line": doubt.line, "why": doubt.why} for doubt in document.unsure]
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
    for headline in done.by_order:
        print(f"  paired only by its place, please check: {headline}")
    for headline in done.unpaired:
        print(f"  no partner found, added as a story of its own: {headline}")
    for headline in done.not_in_file:
        print(f"  not in this file, kept: {headline}")
    for headline in done.still_missing:
        print(f"  still without a text in {done.language}: {headline}")
    _doubts(document)


def _tell(document: Document, as_json: bool) -> None:
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
                print(f"    {note.text}{_spoken_for(len(note.stories))}")
    print()
    _doubts(document)


def _spoken_for(stories: int) -> str:
    """Which stories a contact note speaks for, where it is not only the one that it follows."""
    return f"  for this and {_count(stories - 1, 'story', 'stories')} above" if stories > 1 else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _doubts(document: Document) -> None:
    if document.unsure:
        print(f"Unsure in {_count(len(document.unsure), 'place', 'places')}; please check:")
    for doubt in document.unsure:
        print(f"  line {doubt.line}: {doubt.why}")


@app.command("masthead")
def masthead(issue: Number, picture: Path, by: By = "") -> None:
    """Give an issue the picture at its head."""
    with Mailer() as parts:
        fitted = parts.picture_from(picture.parent)(picture.name)
        author.set_masthead(parts.database, issue, fitted, by or whoever())
    print(f"Issue {issue}: masthead {fitted.width} × {fitted.height}.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """All issues, newest first."""
    with Mailer() as parts:
        rows = report.listing(parts.database)
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
        table.add_row(str(id), slug, number, state.value, " ".join(_goes_out(at, now)) if at else sent)
    console().print(table)


def _goes_out(at: datetime, now: datetime) -> tuple[str, str]:
    """When an issue goes out; if that has passed, nobody begins what is due."""
    late = (now - at).total_seconds()
    return ("late", f"by {span(late)}") if late > 2 else ("goes out", f"{at:%-d %B %Y at %H:%M} UTC")


@app.command("preview")
def preview(
    issue: Number,
    language: Annotated[str, typer.Option(help="The edition's language.")],
    sections: Annotated[str, typer.Option(help="Section keys, separated by commas; all without it.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Write the page here instead of printing the text.")
    ] = None,
) -> None:
    """Show an edition as its readers would get it."""
    with Mailer() as parts:
        mask = compose.mask_of(parts.database, issue, [key for key in sections.split(",") if key.strip()])
        content, rendered = compose.preview(
            parts.database, parts.renderer, parts.links, issue, canonical(language), mask
        )
    if out:
        out.write_text(rendered.html, encoding="utf-8")
        print(f"{content.subject}\n{len(rendered.html.encode()) / 1000:.0f} kB of HTML in {out}")
    else:
        print(f"Subject: {content.subject}\n\n{rendered.text}")


@app.command("check")
def check(issue: Number) -> None:
    """Look an issue over before approval: what is missing, and who would get what."""
    with Mailer() as parts:
        material = compose.load(parts.database, parts.links, issue)
        findings = approving.look_over(material, _faults(parts, material))
        counted = expand.count_audience(parts.database, issue)
    _findings(findings)
    getting = sum(readers for _, _, reason, readers in counted if reason is None)
    editions = sum(reason is None for _, _, reason, _ in counted)
    print(f"{getting:,} readers would get it now, in {editions} editions.")
    why: dict[str, int] = {}
    for _, _, reason, readers in counted:
        if reason:
            why[reason] = why.get(reason, 0) + readers
    for reason, readers in sorted(why.items()):
        print(f"  {readers:,} would not: {reason.replace('_', ' ')}")


def _faults(parts: Mailer, material: IssueMaterial) -> list[tuple[str, str]]:
    return compose.faults(material, parts.renderer, parts.links, parts.settings.bounce_domain)


def _findings(findings: list[approving.Finding]) -> None:
    for finding in findings:
        print(f"{'BLOCKS' if finding.blocks else 'note'}: {finding.what}")


@app.command("policy")
def policy(issue: Number, missing: MissingPolicy, by: By = "") -> None:
    """What becomes of a story without a translation: fall_back, leave_out or block."""
    with Mailer() as parts:
        approving.set_policy(parts.database, issue, missing, by or whoever())
    print(f"Issue {issue}: {missing.value}.")


@app.command("approve")
def approve(issue: Number, by: By = "") -> None:
    """Approve an issue, if nothing blocks it."""
    with Mailer() as parts:
        material = compose.load(parts.database, parts.links, issue)
        findings = approving.approve(parts.database, material, by or whoever(), _faults(parts, material))
    _findings(findings)
    print(f"Issue {issue} is approved. Send it with: mailer issue send {issue}")


@app.command("reopen")
def reopen(issue: Number, by: By = "") -> None:
    """Take an approval back, so that the text can be changed."""
    with Mailer() as parts:
        was = report.status(parts.database, issue, datetime.now(UTC)).state
        schedule.reopen(parts.database, issue, by or whoever())
    print(f"Issue {issue} is a draft{'; nothing was done' if was is IssueState.draft else ' again'}.")


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.astimezone()
    except (ValueError, OverflowError):
        raise Misuse(f"“{text}” is not a time such as 2026-09-30T09:00+02:00.") from None
    return at


@app.command("send")
def send(
    issue: Number,
    at: Annotated[
        str, typer.Option(help="When, such as 2026-09-30T09:00+02:00; this host's zone without an offset.")
    ] = "",
    local: Annotated[
        bool,
        typer.Option("--local", help="Take --at on each reader's own clock: nine o'clock where they are."),
    ] = False,
    by: By = "",
) -> None:
    """Let an approved issue go out, now or at a time. Only writes that down: workers do the rest."""
    now = datetime.now(UTC)
    if local:
        _send_locally(issue, at, now, by)
        return
    when = _time(at) if at else now
    if at and (now - when).total_seconds() > 60:
        raise Misuse(f"{when:%-d %B %Y at %H:%M %Z} has passed. Leave --at away to send now.")
    with Mailer() as parts:
        schedule.schedule(parts.database, issue, when, by or whoever())
    print(f"Issue {issue} goes out {'now' if not at else f'on {when:%-d %B %Y at %H:%M %Z}'}.")
    print(f"Follow it with: mailer issue status {issue}")


def _send_locally(issue: int, at: str, now: datetime, by: str) -> None:
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        when = None
    if when is None or when.tzinfo is not None:
        raise Misuse("--local needs a time without an offset, such as --at 2026-09-30T09:00 --local.")
    if when.replace(tzinfo=timezone(timedelta(hours=-12))) < now:
        raise Misuse(
            f"{when:%-d %B %Y at %H:%M} has passed everywhere. Leave --at and --local away to send now."
        )
    with Mailer() as parts:
        schedule.schedule_locally(parts.database, issue, when, by or whoever())
    print(f"Issue {issue} goes out on {when:%-d %B %Y at %H:%M} where each reader is.")
    print(f"Follow it with: mailer issue status {issue}")


@app.command("unschedule")
def unschedule(issue: Number, by: By = "") -> None:
    """Take a scheduled issue back before its time."""
    with Mailer() as parts:
        schedule.unschedule(parts.database, issue, by or whoever())
    print(f"Issue {issue} is approved, not scheduled.")


@app.command("pause")
def pause(issue: Number, by: By = "") -> None:
    """Stop an issue that is going out; resume continues it."""
    with Mailer() as parts:
        schedule.pause(parts.database, issue, by or whoever())
    print(f"Issue {issue} is paused. Go on with: mailer issue resume {issue}")


@app.command("resume")
def resume(issue: Number, by: By = "") -> None:
    """Go on with a paused issue."""
    with Mailer() as parts:
        schedule.resume(parts.database, issue, by or whoever())
    print(f"Issue {issue} goes on.")


@app.command("limit")
def limit(
    issue: Number,
    rate: Annotated[str, typer.Argument(help="Such as 50/s, 600/min or 20000/h; none lifts the limit.")],
    by: By = "",
) -> None:
    """Slow an issue down, also while it goes out."""
    try:
        most = read_rate("" if rate == "none" else rate)
    except ValueError as error:
        raise Misuse(f"{error}, nor none.") from None
    if rate != "none" and not most:
        raise Misuse(f"“{rate}” would send nothing. To stop it: mailer issue pause {issue}")
    with Mailer() as parts:
        schedule.limit(parts.database, issue, most or None, by or whoever())
    print(f"Issue {issue}: {f'at most {most:g} messages a second' if most else 'no limit of its own'}.")


@app.command("cancel")
def cancel(
    issue: Number,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: By = "",
) -> None:
    """End an issue for good. Mail that went out stays out."""
    with Mailer() as parts:
        now = report.status(parts.database, issue, datetime.now(UTC))
        if now.state is not IssueState.cancelled:
            check_move(issue, now.state, IssueState.cancelled)
        what = f"Cancel issue {issue}, {now.newsletter} {now.number}, for good?"
        if not yes and not typer.confirm(what):
            print("Nothing was done.")
            return
        left = schedule.cancel(parts.database, issue, by or whoever(), datetime.now(UTC))
    print(f"Issue {issue} is cancelled; {left:,} readers do not get it.")


_STAYS = {
    "suppressed": "their address must not be mailed",
    "unsubscribed": "they have unsubscribed",
    "paused": "they have paused the newsletter",
    "monthly": "they get one mail a month",
    "code": "they failed with another code",
}


@app.command("retry")
def retry(
    issue: Number,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only what failed with this code, such as 5.7 or 552; several may be given."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: By = "",
) -> None:
    """Try again what failed, but for readers who must not be mailed any more."""
    codes, now = code or [], datetime.now(UTC)
    with Mailer() as parts:
        found = settle.retriable(parts.database, issue, codes, now)
        if found.tried and not yes:
            _stay(found)
            if not typer.confirm(f"Try {_count(found.tried, 'failed delivery', 'failed deliveries')} again?"):
                print("Nothing was done.")
                return
        done = settle.retry(parts.database, issue, codes, by or whoever(), now)
    if yes or not found.tried:
        _stay(done)
    if not done.tried:
        print("There is nothing to try again.")
        return
    print(f"{_count(done.tried, 'failed delivery is', 'failed deliveries are')} tried again.")
    if done.state is IssueState.paused:
        print(f"The issue is paused. Go on with: mailer issue resume {issue}")
    else:
        print(f"Follow it with: mailer issue status {issue}")


def _stay(found: settle.Retry) -> None:
    for why, count in found.left.items():
        print(f"{_count(count, 'stays', 'stay')} failed: {_STAYS[why]}.")


def status_dict(status: Status) -> dict[str, Any]:
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


def _drawn(status: Status, now: datetime) -> Table:
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
        "editions", f"{status.editions}" + (f" ({status.to_render} to render)" if status.to_render else "")
    )
    if status.state is IssueState.scheduled and status.scheduled_at:
        grid.add_row(*_goes_out(status.scheduled_at, now))
    return grid


@app.command("status")
def status(
    issue: Number,
    as_json: Json = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
) -> None:
    """How an issue is doing, live; ends when it is sent, paused or cancelled."""
    with Mailer() as parts:
        at = datetime.now(UTC)
        now = report.status(parts.database, issue, at)
        if as_json:
            print(json.dumps(status_dict(now), ensure_ascii=False, indent=2))
            return
        if once or not sys.stdout.isatty():
            console().print(_drawn(now, at))
        else:
            with Live(_drawn(now, at), console=console(), refresh_per_second=4) as live:
                while now.state in _OPEN:
                    time.sleep(0.5)
                    at = datetime.now(UTC)
                    now = report.status(parts.database, issue, at)
                    live.update(_drawn(now, at))
        for reason, count in report.skipped(parts.database, issue).items():
            print(f"skipped, {reason.replace('_', ' ')}: {count:,}")
    if now.counts.uncertain:
        print(f"Of the uncertain ones, look: mailer deliveries list --issue {issue}")
    if now.counts.failed:
        print(f"What failed can be tried again: mailer issue retry {issue}")


@app.command("log")
def log(issue: Number) -> None:
    """Who did what to an issue, and when."""
    with Mailer() as parts:
        for at, actor, what, detail in report.events(parts.database, issue):
            print(f"{at:%Y-%m-%d %H:%M:%S}  {actor}  {what}  {detail}".rstrip())


@app.command("audit")
def audit(issue: Number, as_json: Json = False) -> None:
    """Prove that an issue's ledger adds up; exit status 1 and the offending rows when it does not."""
    with Mailer() as parts:
        wrong = report.audit(parts.database, issue)
        status = report.status(parts.database, issue, datetime.now(UTC))
        twice = report.resent(parts.database, issue)
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
        print(finding.what)
    if wrong:
        raise typer.Exit(1)
    print("The ledger adds up, reader by reader.")


def explain(issue: Number, address: str, as_json: Json = False) -> None:
    """Why a reader got this edition at this time, or why not."""
    try:
        key = read_address(address)[1]
    except Unfit as error:
        raise Misuse(sentence(error)) from None
    with Mailer() as parts:
        around = explaining.Around(
            datetime.now(UTC), parts.routes, parts.destinations, parts.links, parts.settings.bounce_domain
        )
        found = explaining.explain(parts.database, issue, address, parts.tokens.address_hash(key), around)
    if as_json:
        shown = {name: getattr(found, name) for name in found.__slots__}
        print(json.dumps(shown, ensure_ascii=False, indent=2, default=str))
        return
    print(*found.sentences, sep="\n")
