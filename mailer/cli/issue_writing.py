"""The commands of ``mailer issue`` that write an issue, up to its approval."""

import json
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
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
from mailer.domain.states import IssueState, MissingTranslationPolicy, check_editable

if TYPE_CHECKING:
    from mailer.domain.document import ParsedDocument
    from mailer.domain.findings import Finding
    from mailer.domain.network_checks import NetworkChecks
    from mailer.services.issues.check import IssueCheck

commands = typer.Typer()
story_commands = typer.Typer(no_args_is_help=True, help="List an issue's stories, and remove one.")
commands.add_typer(story_commands, name="story")

_MAX_FINDINGS_OF_A_KIND = 5
"""Findings of one kind in one language that are printed. An issue may have hundreds of editions."""


def _read_document(file: Path, language: str) -> "ParsedDocument":
    from mailer.domain.document import MAX_DOCUMENT_BYTES, decode, parse

    with file.open("rb") as stream:
        return parse(decode(stream.read(MAX_DOCUMENT_BYTES + 1), file.stat().st_size), language)


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The newsletter as a Markdown document.")],
    newsletter: Annotated[str, typer.Option(help="The newsletter's slug.")] = "",
    language: Annotated[str, typer.Option(help="The document's language tag, such as en or sr-Latn.")] = "",
    number: Annotated[str, typer.Option(help="The issue's number, if the document's front matter has none.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how the document is read.")] = False,
    new_sections: Annotated[
        bool, typer.Option("--new-sections", help="Make sections, for this issue, of unknown headings.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what the document no longer has without asking.")] = False,
    as_json: JsonOption = False,
    actor: Actor = "",
) -> None:
    """Import a document as a new issue, another language of one, or a correction."""
    from mailer.domain.languages import canonical_tag
    from mailer.services.issues import document_import

    tag = canonical_tag(language) if language else ""
    document = _read_document(file, tag or "en")
    tag = tag or canonical_tag(document.front_matter.get("language", "en"))
    if document.front_matter.get("language") and canonical_tag(document.front_matter["language"]) != tag:
        raise UsageError(
            f"{file.name} is in {document.front_matter['language']} by its front matter, but --language is {tag}."
        )
    if dry_run:
        _print_document(document, as_json)
        return
    if not newsletter:
        raise UsageError("Give the newsletter with --newsletter SLUG, or use --dry-run.")
    confirmed: Collection[int] | None = () if sys.stdin.isatty() and not yes else None
    with Container() as app:
        while True:
            try:
                result = document_import.import_document(
                    app.database,
                    document,
                    newsletter,
                    tag,
                    number=number or file.stem.removesuffix(f".{tag}"),
                    today=datetime.now(UTC).date(),
                    picture_loader=app.picture_loader(file.parent),
                    actor=actor or current_user(),
                    new_sections=new_sections,
                    confirmed_removals=confirmed,
                )
                break
            except document_import.UnconfirmedRemoval as removal:
                removed = removal.result.removed
                print(f"{file.name} no longer has {format_count(len(removed), 'story', 'stories')} of the issue:")
                for headline in removed:
                    print(f"  {headline}")
                if not typer.confirm("Remove them from the issue, with their translations?"):
                    print("Nothing was imported.")
                    return
                confirmed = removal.stories
    if as_json:
        warnings = [{"line": warning.line, "why": warning.message} for warning in document.warnings]
        fields = {name: getattr(result, name) for name in result.__slots__} | {"new_issue": result.new_issue}
        print(json.dumps(fields | {"unsure": warnings}, ensure_ascii=False, indent=2))
        return
    change = "new" if result.new_issue else ("changed" if result.changed else "unchanged")
    counts = _content_counts(result.sections, result.stories, result.contacts)
    print(f"Issue {result.issue} ({result.number}) in {result.language}: {change}. {counts}.")
    for label, items in (
        ("new section, for this issue", result.new_sections),
        ("removed", result.removed),
        ("removed contact note", result.removed_contacts),
        ("moved to another section", result.moved),
        ("matched only by position, please check", result.matched_by_position),
        ("no match, added as a new story", result.unmatched),
        ("not in this file, kept", result.not_in_file),
        (f"not translated into {result.language} yet", result.untranslated),
    ):
        for item in items:
            print(f"  {label}: {item}")
    if result.not_in_file:
        print(f"  (to remove one that was kept, see: mailer issue story list {result.issue})")
    _print_warnings(document)


def _print_document(document: "ParsedDocument", as_json: bool) -> None:
    if as_json:
        print(json.dumps(document.as_dict(), ensure_ascii=False, indent=2))
        return
    stories = sum(len(section.stories) for section in document.sections)
    notes = sum(len(story.contacts) for section in document.sections for story in section.stories)
    print(f"{_content_counts(len(document.sections), stories, notes)}. Nothing was imported.")
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


def _content_counts(sections: int, stories: int, contact_notes: int) -> str:
    return ", ".join(
        (
            format_count(sections, "section"),
            format_count(stories, "story", "stories"),
            format_count(contact_notes, "contact note"),
        )
    )


def _applies_to(stories: int) -> str:
    """Return which stories a contact note covers, or an empty string for its own story only."""
    return f"  for this and {format_count(stories - 1, 'story', 'stories')} above" if stories > 1 else ""


def _print_warnings(document: "ParsedDocument") -> None:
    if document.warnings:
        print(f"{format_count(len(document.warnings), 'passage')} to check:")
    for warning in document.warnings:
        print(f"  line {warning.line}: {warning.message}")


@story_commands.command("list")
def list_stories(issue: IssueId, as_json: JsonOption = False) -> None:
    """List an issue's stories with their ids, sections and languages."""
    from rich.markup import escape
    from rich.table import Table

    from mailer.services.issues import edit

    with Container() as app:
        stories = edit.list_stories(app.database, issue)
    if as_json:
        listing = [
            {"story": s.story, "section": s.section, "headline": s.headline.text, "languages": s.languages}
            for s in stories
        ]
        print(json.dumps(listing, ensure_ascii=False, indent=2))
        return
    if not stories:
        print(f"Issue {issue} has no stories.")
        return
    table = Table("story", "section", "headline", "languages")
    for s in stories:
        table.add_row(str(s.story), s.section, escape(s.headline.text), " ".join(s.languages))
    make_console().print(table)


@story_commands.command("remove")
def remove_story(
    issue: IssueId,
    story: Annotated[int, typer.Argument(metavar="STORY", min=1, help="As in `mailer issue story list N`.")],
    language: Annotated[str, typer.Option(help="Remove only its text in this language.")] = "",
    actor: Actor = "",
) -> None:
    """Remove a story from a draft, in all languages or in one."""
    from mailer.domain.languages import canonical_tag
    from mailer.services.issues import edit

    tag = canonical_tag(language) if language else ""
    with Container() as app:
        headline = edit.remove_story(app.database, issue, story, tag, actor or current_user())
    print(f"Issue {issue}: removed “{headline}”{f' in {tag}' if tag else ''}.")


@commands.command("delete")
def delete(
    issue: IssueId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    actor: Actor = "",
) -> None:
    """Delete a draft with its texts and its log. Its number can be used again."""
    from mailer.services.issues import edit, report

    with Container() as app:
        status = report.status(app.database, issue, datetime.now(UTC))
        check_editable(issue, status.state, "only a draft can be deleted")
        question = f"Delete issue {issue} ({status.newsletter} {status.number}) with all its texts?"
        if not yes and not typer.confirm(question):
            print("Nothing was done.")
            return
        edit.delete_draft(app.database, issue, actor or current_user())
    print(f"Issue {issue} is deleted.")


@commands.command("header-image")
def set_header_image(issue: IssueId, picture: Path, actor: Actor = "") -> None:
    """Set an issue's header image."""
    from mailer.services.issues import issue_pictures

    with Container() as app:
        image = app.picture_loader(picture.parent)(picture.name)
        issue_pictures.set_header_image(app.database, issue, image, actor or current_user())
    print(f"Issue {issue}: header image of {image.width} × {image.height} pixels.")


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
            network_checks.request(app.database, issue, datetime.now(UTC))
            until = time.monotonic() + wait
            while network_checks.load(app.database, source, return_path).running and time.monotonic() < until:
                time.sleep(0.2)
        network = network_checks.load(app.database, source, return_path)
        compiler = compile.EditionCompiler(source, app.renderer, app.urls, app.settings.bounce_domain)
        audience = expand.count_audience(app.database, issue)
        result = check_service.check(source, compiler, audience, canonical_tag(language) if language else "", network)
    if as_json:
        print(json.dumps(_check_dict(issue, result, network), ensure_ascii=False, indent=2, default=str))
        return
    _print_findings(result.findings)
    _print_network(issue, network)
    _print_audience(result, every_edition=editions)


def _print_network(issue: int, network: "NetworkChecks") -> None:
    from mailer.domain.network_checks import LookupKind, LookupOutcome

    links = network.count(LookupKind.link)
    words = {
        LookupOutcome.works: "work",
        LookupOutcome.broken: "do not work",
        LookupOutcome.unclear: "could not be looked up",
        LookupOutcome.not_checked: "were not checked",
        None: "have not been looked up",
    }
    counts = [f"{links[outcome]:,} {text}" for outcome, text in words.items() if links[outcome]]
    when = f"looked up {network.looked_at:%-d %B %Y at %H:%M} UTC or later" if network.looked_at else "not looked up"
    print(f"{format_count(links.total(), 'link')}{': ' if counts else ''}{', '.join(counts)}.")
    print(f"Links, SPF, DKIM and DMARC: {when}. Look them up: mailer issue check {issue} --look-up")
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


@commands.command("missing-translations")
def set_missing_translations(issue: IssueId, missing: MissingTranslationPolicy, actor: Actor = "") -> None:
    """Set how to handle stories without a translation: fallback, omit or block."""
    from mailer.services.issues import approve as approve_service

    with Container() as app:
        approve_service.set_missing_translation_policy(app.database, issue, missing, actor or current_user())
    print(f"Issue {issue}: {missing.value} for stories without a translation.")


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
