"""Approvals of the languages of an issue, each for exactly what its readers get."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor, account_of, name_of
from mailer.domain.composition import IssueSource
from mailer.domain.content import EditionUrls
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.states import EDITABLE_STATES, IssueEventKind, IssueState
from mailer.models import Issue, IssueApproval, Story
from mailer.store import issues
from mailer.store.issue_source import load_issue_source


@dataclass(frozen=True, slots=True)
class _PictureNames:
    """Stands in for the URLs of pictures: an approval outlives a change of the service's address."""

    def picture_url(self, sha256: str, media_type: str) -> str:
        return sha256


def load_fingerprints(session: Session, issue: Issue) -> dict[str, bytes]:
    """Return language → hash of all that its editions can show, stories in fallback languages included."""
    source = load_issue_source(session, issue, _PictureNames())
    return {language: _fingerprint(source, language) for language in source.language_rules.languages}


def _fingerprint(source: IssueSource, language: str) -> bytes:
    content = source.compose(language, ALL_SECTIONS, EditionUrls(""))
    return sha256(repr((source.language_rules.missing_translations, content)).encode()).digest()


def of_issue(session: Session, issue: int) -> dict[str, IssueApproval]:
    """Return language → its last approval, which may be withdrawn."""
    query = select(IssueApproval).where(IssueApproval.issue_id == issue)
    return {row.language: row for row in session.scalars(query)}


def standing(session: Session, ids: Sequence[int]) -> dict[int, set[str]]:
    """Return issue → the languages that are approved as they are."""
    query = select(IssueApproval.issue_id, IssueApproval.language)
    query = query.where(IssueApproval.issue_id.in_(ids), IssueApproval.withdrawn_at.is_(None))
    found: dict[int, set[str]] = defaultdict(set)
    for issue, language in session.execute(query):
        found[issue].add(language)
    return found


def approved_sections(session: Session, newsletter: int, *, except_issue: int) -> set[int]:
    """Return the sections with stories of other unfinished issues that are approved in a language or altogether."""
    standing = select(IssueApproval).where(IssueApproval.issue_id == Issue.id, IssueApproval.withdrawn_at.is_(None))
    query = select(Story.section_id).join(Issue, Issue.id == Story.issue_id)
    query = query.where(
        Issue.newsletter_id == newsletter,
        Issue.id != except_issue,
        Issue.state.not_in((IssueState.sent, IssueState.cancelled)),
        or_(Issue.state.not_in(EDITABLE_STATES), standing.exists()),
    )
    return set(session.scalars(query.distinct()))


def approve(session: Session, issue: int, language: str, fingerprint: bytes, actor: Actor) -> None:
    """Approve a language in place of an earlier approval."""
    session.merge(
        IssueApproval(
            issue_id=issue,
            language=language,
            fingerprint=fingerprint,
            at=func.clock_timestamp(),
            account_id=account_of(actor),
            actor=name_of(actor),
            withdrawn_at=None,
            withdrawn_by="",
        )
    )


def content_changed(
    session: Session,
    issue: int,
    actor: Actor,
    *,
    withdraw_all: bool = False,
    languages: Collection[str] | None = None,
) -> None:
    """Make rendered editions of an issue stale, and withdraw the approvals of languages that are not as approved.

    Every change of content calls this. ``withdraw_all`` also withdraws the approvals of languages that read the same.
    ``languages``: only a text was written, which only these show. If none of them is approved, the issue is not
    composed, so that a text can be saved every second.
    """
    issues.bump_revision(session, issue, only_text=languages is not None)
    approved = {tag: row.fingerprint for tag, row in of_issue(session, issue).items() if row.withdrawn_at is None}
    if languages is not None:
        approved = {tag: fingerprint for tag, fingerprint in approved.items() if tag in languages}
    if not approved:
        return
    now = {} if withdraw_all else load_fingerprints(session, issues.by_id(session, issue))
    withdraw(session, issue, [tag for tag, fingerprint in approved.items() if now.get(tag) != fingerprint], actor)


def withdraw(session: Session, issue: int, languages: Collection[str], actor: Actor) -> None:
    """Withdraw approvals, and log it."""
    if not languages:
        return
    session.execute(
        update(IssueApproval)
        .where(IssueApproval.issue_id == issue, IssueApproval.language.in_(languages))
        .values(withdrawn_at=func.clock_timestamp(), withdrawn_by=name_of(actor))
    )
    issues.log(session, issue, actor, IssueEventKind.approval_withdrawn, ", ".join(sorted(languages)))
