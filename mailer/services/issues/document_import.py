"""Imports a document into an issue: front matter, sections, stories, pictures and contacts."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import PurePosixPath

from mailer.domain.accounts import Actor
from mailer.domain.document import ParsedDocument, ParsedStory, picture_paths, replace_pictures
from mailer.domain.errors import ChangeRefused
from mailer.domain.languages import canonical_tag, match_language
from mailer.domain.markdown import picture_reference
from mailer.domain.plurals import format_count
from mailer.domain.ports import PictureLoader, PictureStore, PreparedPicture
from mailer.domain.states import IssueEventKind, check_editable
from mailer.domain.text_tree import canonical, canonical_line
from mailer.models import Issue, Newsletter
from mailer.services.issues.document_writing import DocumentWriter, ImportResult, set_changed, write_front_matter
from mailer.store import approvals, issues, newsletters, picture_library, pictures
from mailer.store.database import Database, Session


class IssueChanged(ChangeRefused):
    """The issue was changed meanwhile. Look at what the import would do now."""


def import_document(
    database: Database,
    document: ParsedDocument,
    slug: str,
    language: str,
    *,
    number: str,
    today: date,
    picture_loader: PictureLoader,
    picture_store: PictureStore | None,
    actor: Actor,
    new_sections: bool = False,
    confirmed_removals: Collection[int] | None = None,
    dry_run: bool = False,
    revision: int | None = None,
) -> ImportResult:
    """Import a document into an issue in one transaction. Return what was done, or with ``dry_run`` what would be.

    ``number`` is the issue's number unless the front matter has one. A missing issue is created. In the issue's
    leading language the document is the whole issue: a story or contact note that it had and no longer has is removed,
    with its translations. ``new_sections`` makes sections, for this issue, of headings that the newsletter does not
    have. ``revision``, unless None, is the one that the issue must have, 0 if there must be none. Raises
    NewsletterNotFound, ChangeRefused, InvalidIssueState once the issue is approved, InvalidLanguageTag, IssueChanged,
    or UnconfirmedRemoval if a story outside ``confirmed_removals``, unless that is None, would be removed.
    """
    tag = canonical_tag(language)
    prepared = _load_pictures(document, picture_loader)
    ids = {} if dry_run else _store_pictures(database, prepared, picture_store)
    with suppress(_DryRun), database.transaction() as session:
        newsletter = newsletters.get(session, slug)
        if tag not in newsletter.languages:
            similar = match_language(tag, newsletter.languages)
            hint = f" Did you mean {similar}?" if similar else ""
            raise ChangeRefused(f"{slug} has no language {tag}; it has {', '.join(newsletter.languages)}.{hint}")
        number = document.front_matter.get("number", "").strip() or number
        newsletters.lock(session, newsletter.id)  # serializes the imports of a newsletter
        issue = issues.by_number(session, newsletter.id, number)
        previous_revision = 0
        if issue is not None:
            issues.lock(session, issue.id)  # reloads its state: it may just have been approved
            previous_revision = issue.revision
        if revision not in (None, previous_revision):
            raise IssueChanged(IssueChanged.__doc__)
        if issue is None:
            issue = Issue(newsletter_id=newsletter.id, number=number, issue_date=_issue_date(document) or today)
            session.add(issue)
            session.flush()
            issues.log(session, issue.id, actor, IssueEventKind.created)
        else:
            check_editable(issue.id, issue.state, "its text can no longer be changed")
        result = ImportResult(issue.id, number, tag, previous_revision)
        if dry_run:  # what the database forgets is in no other store
            ids = {path: pictures.save(session, picture, None) for path, picture in prepared.items()}
        _add_to_library(session, newsletter, tag, document, ids, actor)
        document = _as_stored(_with_references(document, prepared))
        result.changed += write_front_matter(session, issue, newsletter, document, tag, actor)
        writer = DocumentWriter(session, issue, newsletter, tag, prepared, ids, result, actor)
        writer.write(document, new_sections=new_sections, confirmed_removals=confirmed_removals)
        if writer.is_leading_language and (issue_date := _issue_date(document)):
            result.changed += set_changed(issue, {"issue_date": issue_date})
        if result.changed:
            issues.set_last_writer(session, issue.id, tag, actor)
            approvals.content_changed(session, issue.id, actor)
            detail = f"{tag}: {format_count(result.changed, 'text')}"
            if result.removed:
                detail += f"; removed: {'; '.join(result.removed)}"
            audited: dict[str, str | float] = {"language": tag, "texts": result.changed, "removed": len(result.removed)}
            issues.log(session, issue.id, actor, IssueEventKind.imported, detail, **audited)
        if dry_run:
            raise _DryRun
    return result


class _DryRun(Exception):
    """Rolls a transaction back."""


def _issue_date(document: ParsedDocument) -> date | None:
    text = document.front_matter.get("date")
    return date.fromisoformat(text) if text else None


def _load_pictures(document: ParsedDocument, load: PictureLoader) -> dict[str, PreparedPicture]:
    """Return the pictures of a document by path. Raises ChangeRefused with all that cannot be used."""
    pictures, problems = {}, []
    stories = [story for section in document.sections for story in section.stories]
    paths = [story.picture.path for story in stories if story.picture]
    for text in (document.intro, *(story.body for story in stories)):
        paths += picture_paths(text)
    for path in dict.fromkeys(paths):
        try:
            pictures[path] = load(path)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ChangeRefused("\n".join(problems))
    return pictures


def _store_pictures(
    database: Database, prepared: Mapping[str, PreparedPicture], picture_store: PictureStore | None
) -> dict[str, int]:
    """Store the pictures of a document, before its issue is locked. Return path → id."""
    ids = {}
    for path, picture in prepared.items():
        with database.transaction() as session:
            ids[path] = pictures.save(session, picture, picture_store)
    return ids


def _add_to_library(
    session: Session, newsletter: Newsletter, tag: str, document: ParsedDocument, ids: Mapping[str, int], actor: Actor
) -> None:
    """Put the pictures of a document into the newsletter's library. ``ids``: path → id."""
    stories = [story for section in document.sections for story in section.stories]
    alts = {story.picture.path: story.picture.alt for story in stories if story.picture}
    for path, id in ids.items():
        picture_library.add(session, newsletter.id, id, PurePosixPath(path).name, actor, {tag: alts.get(path, "")})


def _with_references(document: ParsedDocument, prepared: Mapping[str, PreparedPicture]) -> ParsedDocument:
    """Return a document with references to the stored pictures inside its texts."""

    def reference(path: str) -> str:
        return picture_reference(prepared[path].sha256)

    sections = tuple(
        replace(
            section,
            stories=tuple(replace(story, body=replace_pictures(story.body, reference)) for story in section.stories),
        )
        for section in document.sections
    )
    return replace(document, intro=replace_pictures(document.intro, reference), sections=sections)


def _as_stored(document: ParsedDocument) -> ParsedDocument:
    """Return a document whose texts are written as the editor writes them."""

    def stored(story: ParsedStory) -> ParsedStory:
        return replace(
            story,
            headline=canonical_line(story.headline),
            body=canonical(story.body),
            contacts=tuple(replace(note, text=canonical(note.text)) for note in story.contacts),
            link=story.link and replace(story.link, label=canonical_line(story.link.label)),
        )

    sections = (replace(section, stories=tuple(map(stored, section.stories))) for section in document.sections)
    return replace(document, sections=tuple(sections))
