"""The commands of ``mailer issue`` that write an issue."""

import json
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mailer.bootstrap import Container
from mailer.cli.console import make_console
from mailer.cli.errors import UsageError
from mailer.cli.options import Actor, IssueId, JsonOption, current_user
from mailer.domain.plurals import format_count
from mailer.domain.states import MissingTranslationPolicy, check_editable

if TYPE_CHECKING:
    from mailer.domain.document import ParsedDocument

commands = typer.Typer()
story_commands = typer.Typer(no_args_is_help=True, help="List an issue's stories, and remove one.")
commands.add_typer(story_commands, name="story")


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
    from mailer.services.issues.document_writing import UnconfirmedRemoval

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
                    picture_store=app.picture_store,
                    actor=actor or current_user(),
                    new_sections=new_sections,
                    confirmed_removals=confirmed,
                )
                break
            except UnconfirmedRemoval as removal:
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
        ("section title not kept, since another approved issue shows the section", result.titles_not_kept),
        ("no match, added as a new story", result.unmatched),
        ("not in this file, kept", result.not_in_file),
        (f"not translated into {result.language} yet", result.untranslated),
    ):
        for item in items:
            print(f"  {label}: {item}")
    if result.not_in_file:
        print(f"  (to remove one that was kept, see: mailer issue story list {result.issue})")
    _print_warnings(document)


@commands.command("new")
def new(
    newsletter: Annotated[str, typer.Argument(help="The newsletter's slug.")],
    number: Annotated[str, typer.Option(help="Without it, the one after the last issue's.")] = "",
    issue_date: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Without it, moved on from the last issues.")
    ] = None,
    blank: Annotated[bool, typer.Option("--blank", help="Take over nothing from the last issue.")] = False,
    actor: Actor = "",
) -> None:
    """Begin an issue to be written at the desk, from the last one with its contact notes and its header image."""
    from mailer.services.issues import new_issue
    from mailer.services.newsletters.catalogue import get_newsletter

    with Container() as app:
        found = get_newsletter(app.database, newsletter)
        proposal = new_issue.propose(app.database, found.id, datetime.now(UTC).date())
        wanted = new_issue.NewIssue(
            number or proposal.number,
            issue_date.date() if issue_date else proposal.issue_date,
            from_last=not blank,
            contact_notes=not blank,
            header_image=not blank,
        )
        issue = new_issue.begin(app.database, found.id, wanted, actor or current_user())
    print(f"Issue {issue} ({wanted.number}) of {newsletter}, dated {wanted.issue_date}.")


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
        new = issue_pictures.NewPicture(image, picture.name)
        issue_pictures.set_header_image(app.database, issue, new, actor or current_user(), app.picture_store)
    print(f"Issue {issue}: header image of {image.width} × {image.height} pixels.")


@commands.command("missing-translations")
def set_missing_translations(issue: IssueId, missing: MissingTranslationPolicy, actor: Actor = "") -> None:
    """Set how to handle stories without a translation: fallback, omit or block."""
    from mailer.services.issues import approve as approve_service

    with Container() as app:
        approve_service.set_missing_translation_policy(app.database, issue, missing, actor or current_user())
    print(f"Issue {issue}: {missing.value} for stories without a translation.")
