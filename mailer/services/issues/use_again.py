"""Copies a story of an earlier issue into a draft."""

from mailer.domain.accounts import Actor
from mailer.domain.errors import ChangeRefused
from mailer.domain.states import IssueEventKind, TextSubject, TranslationStatus, VersionKind, check_editable
from mailer.domain.versions import TextKey
from mailer.models import Story
from mailer.services.issues import edit
from mailer.store import approvals, issues, stories, text_versions
from mailer.store.database import Database


def use_again(
    database: Database, newsletter: int, story: int, target: int, section: str, actor: Actor, *, as_drafts: bool
) -> int:
    """Copy a story with its translations and its picture to the end of a section of a draft. Return the copy's id.

    ``section`` is a key, empty for the story's own. The texts are drafts if ``as_drafts``, else as they are; those
    that their source has outrun are drafts in any case. Raises IssueNotFound, InvalidIssueState or ChangeRefused.
    """
    with database.transaction() as session:
        row = issues.lock(session, target)
        found = session.get(Story, story)
        source = issues.by_id(session, found.issue_id) if found else None
        if found is None or source is None or {row.newsletter_id, source.newsletter_id} != {newsletter}:
            raise ChangeRefused("There is no such story any more.")
        check_editable(target, row.state, "no story can be added to it")
        edit.check_room(session, row)
        keys = {one.key: one.id for one in issues.sections(session, row)}
        if section and section not in keys:
            raise ChangeRefused(f"There is no section {section}.")
        headline = edit.headline_of(session, source, found)
        language = text_versions.source_language(session, TextKey(source.id, TextSubject.story, story, ""))
        copy = stories.add(
            session,
            target,
            keys.get(section, found.section_id),
            picture_id=found.picture_id,
            source_language=language,
            copied_from_id=story,
        )
        texts = issues.story_texts(session, source.id).get(story, {})
        outrun = {key.language for key in text_versions.stale(session, source.id) if key.subject_id == story}
        for tag in sorted(texts, key=lambda tag: tag != language):  # the source first: translations are made from it
            status = TranslationStatus.draft if as_drafts or tag in outrun else None
            (text,) = stories.copy_texts(session, {tag: texts[tag]}, copy.id, status)
            key = TextKey(target, TextSubject.story, copy.id, tag)
            text_versions.record(session, key, text_versions.content_of(text), actor, VersionKind.saved)
        approvals.content_changed(session, target, actor)
        detail = f"{source.number}: {headline}"
        audited = {"headline": headline, "from": source.number}
        issues.log(session, target, actor, IssueEventKind.story_copied, detail, **audited)
        return copy.id
