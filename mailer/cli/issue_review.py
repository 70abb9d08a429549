"""Commands that look an issue over: preview, check, test and approval."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailer.bootstrap import Container
from mailer.cli.console import make_console
from mailer.cli.errors import UsageError, describe
from mailer.cli.options import Actor, IssueId, JsonOption, current_user
from mailer.domain.plurals import format_count
from mailer.domain.states import IssueState

if TYPE_CHECKING:
    from mailer.domain.findings import Finding
    from mailer.domain.network_checks import NetworkChecks
    from mailer.services.issues.check import IssueCheck

commands = typer.Typer()
_MAX_FINDINGS_OF_A_KIND = 5
"""Findings of one kind in one language that are printed. An issue may have hundreds of editions."""


@commands.command("preview")
def preview(
    issue: IssueId,
    language: Annotated[str, typer.Option(help="The edition's language.")],
    sections: Annotated[str, typer.Option(help="Section keys, separated by commas. Default: all.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write the HTML to this file instead of printing the text.")] = None,
) -> None:
    """Show an edition as its readers will get it."""
    from mailer.domain.languages import canonical_tag
    from mailer.services.issues import compile

    with Container() as app:
        mask = compile.section_mask(app.database, issue, [key for key in sections.split(",") if key.strip()])
        _, rendered = compile.preview(app.database, app.renderer, app.urls, issue, canonical_tag(language), mask)
    if out:
        out.write_text(rendered.html, encoding="utf-8")
        print(f"{rendered.subject}\n{len(rendered.html.encode()) / 1000:.0f} kB of HTML in {out}")
    else:
        print(f"Subject: {rendered.subject}\n\n{rendered.text}")


@commands.command("check")
def check(
    issue: IssueId,
    language: Annotated[
        str, typer.Option(help="Name stories in this language. Default: the newsletter's default language.")
    ] = "",
    editions: Annotated[bool, typer.Option("--editions", help="List every edition with its readers and size.")] = False,
    look_up: Annotated[
        bool, typer.Option("--look-up", help="First let a worker look up its links and the sender's DNS records.")
    ] = False,
    wait: Annotated[int, typer.Option(min=0, max=600, help="Seconds to wait for the worker.")] = 300,
    as_json: JsonOption = False,
) -> None:
    """Check an issue before approval: list problems, and who would get what."""
    from mailer.domain.languages import canonical_tag
    from mailer.services.delivery import expand
    from mailer.services.issues import check as check_service
    from mailer.services.issues import compile, network_checks

    with Container() as app:
        source = compile.load_issue(app.database, app.urls, issue)
        return_path = app.settings.bounce_domain or source.sender_domain
        if look_up:
            if not app.settings.network_checks:
                raise UsageError("MAILER_NETWORK_CHECKS is false, so workers look nothing up.")
            if not network_checks.is_running(app.database, issue):
                network_checks.request(app.database, issue, datetime.now(UTC))
            until = time.monotonic() + wait
            while network_checks.is_running(app.database, issue) and time.monotonic() < until:
                time.sleep(1)
        network = network_checks.load(app.database, source, return_path)
        compiler = compile.EditionCompiler(source, app.renderer, app.urls, app.settings.bounce_domain)
        audience = expand.count_audience(app.database, issue)
        result = check_service.check(source, compiler, audience, canonical_tag(language) if language else "", network)
    if as_json:
        print(json.dumps(_check_dict(issue, result, network), ensure_ascii=False, indent=2, default=str))
        return
    _print_findings(result.findings)
    _print_network(network)
    if app.settings.network_checks and not look_up and not network.running:
        print(f"Look them up: mailer issue check {issue} --look-up")
    _print_audience(result, every_edition=editions)


def _print_network(network: "NetworkChecks") -> None:
    from mailer.domain.network_checks import LookupKind, LookupOutcome

    links = network.count(LookupKind.link)
    words = {
        LookupOutcome.works: ("works", "work"),
        LookupOutcome.broken: ("does not work", "do not work"),
        LookupOutcome.unclear: ("could not be looked up", "could not be looked up"),
        LookupOutcome.not_checked: ("was not checked", "were not checked"),
        None: ("has not been looked up", "have not been looked up"),
    }
    counts = [format_count(links[outcome], *forms) for outcome, forms in words.items() if links[outcome]]
    when = f"looked up {network.looked_at:%-d %B %Y at %H:%M} UTC or later" if network.looked_at else "not looked up"
    print(f"{format_count(links.total(), 'link')}{': ' if counts else ''}{', '.join(counts)}.")
    print(f"Links, SPF, DKIM and DMARC: {when}.")
    if network.running:
        print("They are being looked up by a worker (mailer run).")


def _check_dict(issue: int, result: "IssueCheck", network: "NetworkChecks") -> dict[str, Any]:
    return {
        "issue": issue,
        "findings": [asdict(finding) for finding in result.findings],
        "network": [
            {"kind": kind, "target": target, "outcome": stored.result.outcome, "reason": stored.result.reason}
            | {"looked_at": stored.looked_at}
            for (kind, target), stored in network.results.items()
        ],
        "languages": [asdict(row) for row in result.languages],
        "editions": [asdict(row) for row in result.editions],
        "skipped": result.audience.skipped,
    }


def _print_findings(findings: "Sequence[Finding]") -> None:
    """Print a line for each finding, but of each kind in a language only the first ones."""
    shown: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for finding in findings:
        key = finding.kind, finding.languages
        shown[key] += 1
        if shown[key] <= _MAX_FINDINGS_OF_A_KIND:
            print(f"{'BLOCKS' if finding.blocks else finding.severity}: {finding.message}")
    if surplus := sum(count - _MAX_FINDINGS_OF_A_KIND for count in shown.values() if count > _MAX_FINDINGS_OF_A_KIND):
        print(f"{format_count(surplus, 'finding')} more of the same kinds; --json lists all.")


def _print_audience(result: "IssueCheck", *, every_edition: bool) -> None:
    from rich.table import Table

    from mailer.domain.labels import SKIP_REASON_LABELS

    if result.languages:
        table = Table(*("language", "stories", "words", "readers", "editions", "largest mail"))
        for row in result.languages:
            size = f"{row.max_html_bytes / 1000:.0f} kB" if row.max_html_bytes else ""
            counts = (row.stories, row.words, row.subscribers, row.editions)
            table.add_row(row.language, *(f"{count:,}" for count in counts), size)
        for column in table.columns[1:]:
            column.justify = "right"
        make_console().print(table)
    if every_edition:
        table = Table("language", "sections", "readers", "mail")
        for edition in result.editions:
            size = f"{edition.html_bytes / 1000:.0f} kB" if edition.html_bytes else ""
            table.add_row(edition.language, ", ".join(edition.sections), f"{edition.subscribers:,}", size)
        make_console().print(table)
    included = result.audience.subscribers
    count = format_count(len(result.editions), "edition")
    print(f"{format_count(included, 'reader')} would get it now, in {count}.")
    for reason, skipped in result.audience.skipped.items():
        print(f"  {skipped:,} would not: {SKIP_REASON_LABELS[reason]}")


@commands.command("test")
def send_test(
    issue: IssueId,
    to: Annotated[str, typer.Option(help="The address that the test goes to.")],
    language: Annotated[str, typer.Option(help="The edition's language. Default: the newsletter's.")] = "",
    sections: Annotated[str, typer.Option(help="Section keys, separated by commas. Default: all.")] = "",
    wait: Annotated[int, typer.Option(min=0, max=600, help="Seconds to wait for the relay's reply.")] = 10,
    actor: Actor = "",
) -> None:
    """Send an edition to one address, marked as a test. Workers send it, over the relay that readers' mail takes."""
    from mailer.domain.languages import canonical_tag
    from mailer.domain.subscriber_fields import InvalidValue, read_address
    from mailer.services.issues import compile
    from mailer.services.issues import send_test as service

    try:
        address, key = read_address(to)
    except InvalidValue as error:
        raise UsageError(describe(error)) from None
    with Container() as app:
        source = compile.load_issue(app.database, app.urls, issue)
        compiler = compile.EditionCompiler(
            source, app.renderer, app.urls, app.settings.bounce_domain, service.SUBJECT_PREFIX
        )
        keys = [key for key in sections.split(",") if key.strip()]
        edition = (
            canonical_tag(language) if language else source.language_rules.default_language,
            compile.section_mask(app.database, issue, keys),
        )
        (email,) = service.send_tests(
            app.database,
            source,
            compiler,
            app.urls,
            [edition],
            [service.Recipient(address, app.tokens.address_hash(key))],
            actor or current_user(),
            datetime.now(UTC),
        )
        until = time.monotonic() + wait
        while not ((progress := service.progress(app.database, email)).sent or progress.given_up):
            if time.monotonic() > until:
                print(f"The test waits to be sent to {address}. Workers send it: mailer run. {progress.reply}".rstrip())
                return
            time.sleep(0.2)
    if progress.given_up:
        raise UsageError(f"The test was not sent to {address}: {progress.reply}")
    print(f"The test was sent to {address}; the relay said: {progress.reply}")


@commands.command("approve")
def approve(issue: IssueId, actor: Actor = "") -> None:
    """Approve all languages of an issue unless a problem blocks it."""
    from mailer.services.issues import approve as approve_service
    from mailer.services.issues import compile

    with Container() as app:
        source = compile.load_issue(app.database, app.urls, issue)
        errors = compile.render_errors(source, app.renderer, app.urls, app.settings.bounce_domain)
        findings = approve_service.approve(app.database, source, actor or current_user(), errors)
    _print_findings(findings)
    print(f"Issue {issue} is approved. Send it with: mailer issue send {issue}")


@commands.command("reopen")
def reopen(issue: IssueId, actor: Actor = "") -> None:
    """Make an approved issue a draft again, so that the text can be changed."""
    from mailer.services.issues import report, schedule

    with Container() as app:
        previous = report.status(app.database, issue, datetime.now(UTC)).state
        schedule.reopen(app.database, issue, actor or current_user())
    if previous is IssueState.draft:
        print(f"Issue {issue} is already a draft.")
    else:
        print(f"Issue {issue} is a draft again.")
