"""Approve: look an issue over, every edition of it, and let it be sent or not."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.composition import IssueSource
from mailer.domain.editions import language_shown, missing_languages
from mailer.domain.states import (
    EDITABLE_STATES,
    InvalidIssueState,
    IssueState,
    MissingTranslationPolicy,
    check_transition,
)
from mailer.store import issues
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class ApprovalFinding:
    """Something a coordinator should know before the issue goes out. ``blocks``: it cannot go out so."""

    blocks: bool
    message: str


class NotApproved(ValueError):
    """The issue cannot be approved as it is; the message lists why."""


def check(source: IssueSource, render_errors: Sequence[tuple[str, str]] = ()) -> list[ApprovalFinding]:
    """What is wrong or worth knowing, the blocking ones first. ``faults``: (language, why) of what cannot be
    printed."""
    found: list[ApprovalFinding] = []

    def add(blocks: bool, what: str) -> None:
        found.append(ApprovalFinding(blocks, what))

    for language, why in render_errors:
        add(True, f"{language}: {why}")
    rules = source.language_rules
    if not source.stories:
        add(True, "It has no story.")
    if not rules.languages:
        add(True, "No language has a subject and an introduction.")
    if not source.postal_address.strip():
        add(True, "The newsletter has no postal address; no mail may go out without one.")
    if rules.default_language not in rules.languages and rules.languages:
        add(False, f"The newsletter's default language {rules.default_language} is missing.")
    for language in rules.languages:
        front = source.front_matter[language]
        if not front.subject.strip():
            add(True, f"{language}: the subject is empty.")
        if not front.preheader.strip():
            add(False, f"{language}: there is no preheader; inboxes will show the first words instead.")
    gaps = missing_languages(source.story_languages(), rules)
    by_fate: dict[tuple[str, str], list[str]] = {}
    headline = {
        story.story: next((text.headline for text in story.texts.values()), "?") for story in source.stories
    }
    texts = {story.story: story for story in source.story_languages()}
    for gap, language in gaps:
        fate = "will be shown in another language, with a label"
        if rules.missing_translations is MissingTranslationPolicy.block:
            fate = "must be translated first"
        elif language_shown(texts[gap], language, rules) is None:
            fate = "will be left out"
        by_fate.setdefault((language, fate), []).append(headline[gap])
    for (language, what), headlines in by_fate.items():
        add(
            rules.missing_translations is MissingTranslationPolicy.block,
            f"{language}: {len(headlines)} of {len(source.stories)} stories {what}: {'; '.join(headlines)}.",
        )
    for story in source.stories:
        for language, text in story.texts.items():
            if story.picture and not text.alt.strip():
                add(False, f"{language}: the picture of “{text.headline}” has no alt text.")
            if not text.headline.strip():
                add(True, f"{language}: a story has no headline.")
    return sorted(found, key=lambda finding: not finding.blocks)


def approve(
    database: Database, source: IssueSource, actor: str, render_errors: Sequence[tuple[str, str]] = ()
) -> list[ApprovalFinding]:
    """Approve an issue; returns what is worth knowing. ``faults`` as for ``look_over``.

    Raises NotApproved or WrongState.
    """
    findings = check(source, render_errors)
    blocking = [finding.message for finding in findings if finding.blocks]
    if blocking:
        raise NotApproved("\n".join([f"Issue {source.issue} cannot be approved:", *blocking]))
    with database.transaction() as session:
        row = issues.lock(session, source.issue)
        if row.revision != source.revision:
            raise NotApproved(f"Issue {source.issue} was changed while it was being looked over. Look again.")
        if row.state not in (IssueState.approved, IssueState.scheduled):
            check_transition(row.id, row.state, IssueState.approved)
            row.state = IssueState.approved
            issues.log(session, row.id, actor, "approved", f"revision {row.revision}")
    return findings


def set_missing_translation_policy(
    database: Database, issue: int, policy: MissingTranslationPolicy, actor: str
) -> None:
    """What happens to stories without a translation. Raises WrongState once the issue is approved."""
    with database.transaction() as session:
        row = issues.lock(session, issue)
        if row.state not in EDITABLE_STATES:
            raise InvalidIssueState(f"Issue {issue} is {row.state.value}, and what it shows stands fast.")
        if row.missing_translations is not policy:
            row.missing_translations = policy
            issues.bump_revision(session, issue)
            issues.log(session, issue, actor, "policy", policy.value)
