"""The approval of an issue: checks every edition, then allows or refuses sending."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.composition import IssueSource, StorySource
from mailer.domain.editions import language_shown, missing_languages
from mailer.domain.errors import UserError
from mailer.domain.markdown import find_problems
from mailer.domain.states import (
    IssueEventKind,
    IssueState,
    MissingTranslationPolicy,
    check_editable,
    check_transition,
)
from mailer.store import issues
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class ApprovalFinding:
    """A problem of an issue. ``blocks``: the issue cannot be approved until it is fixed."""

    blocks: bool
    message: str


class NotApproved(UserError, ValueError):
    """The issue cannot be approved. The message lists the reasons."""


def check(source: IssueSource, render_errors: Sequence[tuple[str, str]] = ()) -> list[ApprovalFinding]:
    """Return the problems of an issue, the blocking ones first.

    ``render_errors`` are (language, message) pairs from ``compile.render_errors``.
    """
    findings: list[ApprovalFinding] = []

    def add(blocks: bool, message: str) -> None:
        findings.append(ApprovalFinding(blocks, message))

    for language, error in render_errors:
        add(True, f"{language}: {error}")
    rules = source.language_rules
    if not source.stories:
        add(True, "The issue has no stories.")
    if not rules.languages:
        add(True, "No language has a subject and an introduction.")
    if not source.postal_address.strip():
        add(True, "The newsletter has no postal address; every email must contain one.")
    if rules.default_language not in rules.languages and rules.languages:
        add(False, f"The issue has no text in {rules.default_language}, the newsletter's default language.")
    for language in rules.languages:
        front_matter = source.front_matter[language]
        if not front_matter.subject.strip():
            add(True, f"{language}: the subject is empty.")
        if not front_matter.preheader.strip():
            add(False, f"{language}: the preheader is empty; inboxes will show the first words of the text.")
        for problem in find_problems(front_matter.intro):
            add(problem.blocks, f"{language}, the introduction: {problem.message}")
    headlines_by_effect: dict[tuple[str, str], list[str]] = {}
    headlines = {story.story: _headline(story, rules.default_language) for story in source.stories}
    story_languages = {story.story: story for story in source.story_languages()}
    for story_id, language in missing_languages(source.story_languages(), rules):
        effect = "will be shown in another language, with a label"
        if rules.missing_translations is MissingTranslationPolicy.block:
            effect = "must be translated first"
        elif language_shown(story_languages[story_id], language, rules) is None:
            effect = "will be left out"
        headlines_by_effect.setdefault((language, effect), []).append(headlines[story_id])
    stories = "1 story" if len(source.stories) == 1 else f"{len(source.stories)} stories"
    for (language, effect), missing in headlines_by_effect.items():
        add(
            rules.missing_translations is MissingTranslationPolicy.block,
            f"{language}: {len(missing)} of {stories} {effect}: {'; '.join(missing)}.",
        )
    for story in source.stories:
        for language, text in story.texts.items():
            if story.picture and not text.alt.strip():
                add(False, f"{language}: the picture of “{text.headline}” has no alt text.")
            if not text.headline.strip():
                add(True, f"{language}: a story has no headline.")
            for part in (text.headline, text.body, *text.contacts):
                for problem in find_problems(part):
                    add(problem.blocks, f"{language}, “{text.headline}”: {problem.message}")
    return sorted(findings, key=lambda finding: not finding.blocks)


def approve(
    database: Database, source: IssueSource, actor: str, render_errors: Sequence[tuple[str, str]] = ()
) -> list[ApprovalFinding]:
    """Approve an issue. Return its findings; ``render_errors`` as for ``check``.

    Raises NotApproved if a finding blocks or the issue was changed since ``source`` was loaded, and
    InvalidIssueState if an issue in its state cannot be approved.
    """
    findings = check(source, render_errors)
    blocking = [finding.message for finding in findings if finding.blocks]
    if blocking:
        raise NotApproved("\n".join([f"Issue {source.issue} cannot be approved:", *blocking]))
    with database.transaction() as session:
        row = issues.lock(session, source.issue)
        if row.revision != source.revision:
            raise NotApproved(f"Issue {source.issue} was changed during the check. Check it again.")
        if row.state not in (IssueState.approved, IssueState.scheduled):
            check_transition(row.id, row.state, IssueState.approved)
            row.state = IssueState.approved
            issues.log(session, row.id, actor, IssueEventKind.approved, f"revision {row.revision}")
    return findings


def set_missing_translation_policy(
    database: Database, issue: int, policy: MissingTranslationPolicy, actor: str
) -> None:
    """Set how stories without a translation are handled.

    Raises InvalidIssueState once the issue is approved.
    """
    with database.transaction() as session:
        row = issues.lock(session, issue)
        check_editable(issue, row.state, "its policy can no longer be changed")
        if row.missing_translations is not policy:
            row.missing_translations = policy
            issues.bump_revision(session, issue)
            issues.log(session, issue, actor, IssueEventKind.policy, policy.value)


def _headline(story: StorySource, language: str) -> str:
    """Return a story's headline in ``language``, else in the first language that it has."""
    texts = story.texts
    text = texts.get(language) or (texts[min(texts)] if texts else None)
    return text.headline if text else "?"
