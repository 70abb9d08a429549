"""The approval of an issue: allows or refuses sending, by the rules of ``mailer.domain.issue_check``."""

from collections.abc import Sequence

from mailer.domain.accounts import Actor
from mailer.domain.composition import IssueSource
from mailer.domain.errors import UserError
from mailer.domain.issue_check import Finding, check_issue
from mailer.domain.states import (
    IssueEventKind,
    IssueState,
    MissingTranslationPolicy,
    check_editable,
    check_transition,
)
from mailer.store import issues
from mailer.store.database import Database


class NotApproved(UserError, ValueError):
    """The issue cannot be approved. The message lists the reasons."""


def approve(
    database: Database, source: IssueSource, actor: Actor, render_errors: Sequence[tuple[str, str]] = ()
) -> list[Finding]:
    """Approve an issue. Return its findings; ``render_errors`` as for ``check_issue``.

    Raises NotApproved if a finding blocks or the issue was changed since ``source`` was loaded, and
    InvalidIssueState if an issue in its state cannot be approved.
    """
    findings = check_issue(source, render_errors=render_errors)
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
            issues.log(
                session, row.id, actor, IssueEventKind.approved, f"revision {row.revision}", revision=row.revision
            )
    return findings


def set_missing_translation_policy(
    database: Database, issue: int, policy: MissingTranslationPolicy, actor: Actor
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
            issues.log(session, issue, actor, IssueEventKind.policy, policy.value, policy=policy.value)
