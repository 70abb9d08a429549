"""The approval of an issue, language by language: allows or refuses sending, by the rules of ``issue_check``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mailer.domain.accounts import Actor
from mailer.domain.composition import IssueSource
from mailer.domain.errors import UserError
from mailer.domain.findings import Finding
from mailer.domain.issue_check import check_issue
from mailer.domain.states import (
    IssueEventKind,
    IssueState,
    MissingTranslationPolicy,
    check_transition,
)
from mailer.models import IssueTranslation
from mailer.store import approvals, issues, newsletters
from mailer.store.database import Database


class NotApproved(UserError, ValueError):
    """The issue cannot be approved. The message lists the reasons."""


class TextChanged(NotApproved):
    """The issue is not as it was seen."""


@dataclass(frozen=True, slots=True)
class LanguageApproval:
    """Whether a language of an issue is approved, and by whom."""

    language: str
    fingerprint: bytes
    """Of what its editions show now."""
    actor: str
    """Who approved it last; empty if nobody has."""
    at: datetime | None
    withdrawn_at: datetime | None
    """When it was changed after that."""
    withdrawn_by: str
    """Who changed it; empty if the newsletter's settings did."""
    last_writer: str
    """Who changed its texts last."""
    wrote_last: bool
    """Whether who asks changed it last, and the newsletter wants somebody else to approve it."""

    @property
    def standing(self) -> bool:
        return self.at is not None and self.withdrawn_at is None


def load(database: Database, issue: int, actor: Actor) -> list[LanguageApproval]:
    """Return the languages of an issue, and whether ``actor`` may approve each. Raises IssueNotFound."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        fronts, known = issues.front_matter(session, issue), approvals.of_issue(session, issue)
        found = []
        for language, fingerprint in approvals.load_fingerprints(session, row).items():
            last, front = known.get(language), fronts[language]
            found.append(
                LanguageApproval(
                    language,
                    fingerprint,
                    issues.actor_name(session, last) if last else "",
                    last.at if last else None,
                    last.withdrawn_at if last else None,
                    last.withdrawn_by if last else "",
                    front.imported_by,
                    newsletter.four_eyes and _wrote_last(front, actor),
                )
            )
        return found


def _wrote_last(front: IssueTranslation, actor: Actor) -> bool:
    """Return whether ``actor`` changed a language's texts last."""
    if isinstance(actor, str):
        return front.imported_by_id is None and front.imported_by == actor
    return front.imported_by_id == actor.account


def approve(
    database: Database,
    source: IssueSource,
    actor: Actor,
    render_errors: Sequence[tuple[str, str]] = (),
    seen: Mapping[str, bytes] | None = None,
) -> list[Finding]:
    """Approve languages of an issue; with the last of them the issue is approved. Return its findings.

    ``seen``: language → fingerprint of what was looked at; None for all languages as they are in ``source``.
    ``render_errors`` as for ``check_issue``. Raises NotApproved if a finding about these languages or the issue blocks,
    or if the newsletter asks for somebody else; TextChanged if a language is not as it was seen; and InvalidIssueState
    if an issue in its state cannot be approved.
    """
    findings = check_issue(source, render_errors=render_errors)
    languages = source.language_rules.languages
    wanted = languages if seen is None else [tag for tag in languages if tag in seen]
    if seen and len(wanted) < len(seen):
        raise TextChanged(f"Issue {source.issue} has no text in {', '.join(seen.keys() - set(languages))} any more.")
    with database.transaction() as session:
        row = issues.lock(session, source.issue)
        if row.revision != source.revision:
            raise TextChanged(f"Issue {source.issue} was changed during the check. Check it again.")
        if row.state in (IssueState.approved, IssueState.scheduled):
            return findings
        check_transition(row.id, row.state, IssueState.approved)
        now = approvals.load_fingerprints(session, row)
        if seen and any(now[tag] != seen[tag] for tag in wanted):
            raise TextChanged(f"Issue {source.issue} was changed meanwhile. Look it over again.")
        known = approvals.of_issue(session, row.id)
        standing = {
            tag for tag, last in known.items() if last.withdrawn_at is None and last.fingerprint == now.get(tag)
        }
        new = [tag for tag in wanted if tag not in standing]
        complete = standing | set(new) >= set(languages)
        reasons = [
            finding.message
            for finding in findings
            if finding.blocks and (complete or not finding.languages or set(finding.languages) & set(new))
        ]
        if newsletters.by_id(session, row.newsletter_id).four_eyes:
            fronts = issues.front_matter(session, row.id)
            reasons += [
                f"{tag}: you changed this text last, and somebody else approves it."
                for tag in new
                if _wrote_last(fronts[tag], actor)
            ]
        if reasons:
            raise NotApproved("\n".join([f"Issue {source.issue} cannot be approved:", *reasons]))
        for tag in new:
            approvals.approve(session, row.id, tag, now[tag], actor)
        if complete:
            row.state = IssueState.approved
        if new or complete:
            detail = f"{', '.join(new)}: revision {row.revision}".removeprefix(": ")
            issues.log(
                session,
                row.id,
                actor,
                IssueEventKind.approved,
                detail,
                languages=", ".join(new),
                revision=row.revision,
            )
    return findings


def set_missing_translation_policy(
    database: Database, issue: int, policy: MissingTranslationPolicy, actor: Actor
) -> None:
    """Set how stories without a translation are handled.

    Raises InvalidIssueState once the issue is approved.
    """
    with database.transaction() as session:
        row = issues.lock_draft(session, issue, "its policy can no longer be changed")
        if row.missing_translations is not policy:
            row.missing_translations = policy
            approvals.content_changed(session, issue, actor)
            issues.log(session, issue, actor, IssueEventKind.policy, policy.value, policy=policy.value)
