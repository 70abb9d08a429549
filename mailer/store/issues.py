"""Issues, what is in them, and their event log."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.orm import Session

from mailer.domain.accounts import ISSUE_ACTIONS, THE_SERVICE, Actor, account_of, name_of
from mailer.domain.errors import IssueNotFound
from mailer.domain.states import (
    EDITABLE_STATES,
    IssueEventKind,
    IssueState,
    PauseReason,
    TranslationStatus,
    check_editable,
)
from mailer.models import (
    Issue,
    IssueApproval,
    IssueEvent,
    IssueTranslation,
    Newsletter,
    Section,
    Story,
    StoryChange,
    StoryTranslation,
    TextVersion,
)
from mailer.store import accounts, audit_log, newsletters

PRINT_ORDER = (
    func.array_position(Issue.section_order, Section.id),
    Section.position,
    Section.id,
    Story.position,
    Story.id,
)
"""Orders the stories of an issue, in a query of issues, sections and stories."""


def find(session: Session, issue: int) -> Issue | None:
    return session.get(Issue, issue)


def by_id(session: Session, issue: int) -> Issue:
    """Return the issue. Raises IssueNotFound."""
    if (row := find(session, issue)) is None:
        raise IssueNotFound(issue)
    return row


def lock(session: Session, issue: int) -> Issue:
    """Lock an issue against other changes until the transaction ends; return it. Raises IssueNotFound.

    Lock it before any of its batches. Rows that refer to the issue can still be inserted, since workers do that while
    holding a batch.
    """
    row = session.get(Issue, issue, with_for_update={"key_share": True}, populate_existing=True)
    if row is None:
        raise IssueNotFound(issue)
    return row


def lock_draft(session: Session, issue: int, consequence: str) -> Issue:
    """Lock an issue whose content can be changed; return it. Raises IssueNotFound, and InvalidIssueState otherwise.

    ``consequence`` completes its message: see ``check_editable``.
    """
    row = lock(session, issue)
    check_editable(issue, row.state, consequence)
    return row


def lock_all(session: Session, ids: Iterable[int]) -> dict[int, Issue]:
    """Lock several issues as ``lock`` does, always in the same order. Raises IssueNotFound."""
    return {id: lock(session, id) for id in sorted(set(ids))}


def database_time(session: Session) -> datetime:
    """Return the time of PostgreSQL's clock."""
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now


def state(session: Session, issue: int) -> IssueState:
    """Return the issue's state as currently committed."""
    return session.scalars(select(Issue.state).where(Issue.id == issue)).one()


def max_rates(session: Session) -> dict[int, float]:
    """Return issue → messages per second, for issues in sending that have a rate limit."""
    query = select(Issue.id, Issue.max_rate).where(Issue.max_rate.is_not(None), Issue.state == IssueState.sending)
    return {id: float(rate) for id, rate in session.execute(query) if rate}


def pause(session: Session, issue: Issue, reason: PauseReason, actor: Actor, detail: str = "") -> None:
    """Pause a locked issue and log it."""
    issue.state, issue.pause_reason = IssueState.paused, reason
    log(session, issue.id, actor, IssueEventKind.paused, detail, reason=detail)


def last_pause(session: Session, issue: int) -> IssueEvent | None:
    """Return the latest pause in the issue's log: who paused it, and details of why."""
    query = select(IssueEvent).where(IssueEvent.issue_id == issue, IssueEvent.kind == IssueEventKind.paused)
    return session.scalars(query.order_by(IssueEvent.id.desc()).limit(1)).first()


def by_number(session: Session, newsletter: int, number: str) -> Issue | None:
    """Return the issue with this number that is not cancelled."""
    query = select(Issue).where(Issue.newsletter_id == newsletter, Issue.number == number)
    return session.scalar(query.where(Issue.state != IssueState.cancelled))


def list_all(session: Session) -> list[tuple[Issue, str]]:
    """Return every issue with its newsletter's slug, newest first."""
    query = select(Issue, Newsletter.slug).join(Newsletter, Newsletter.id == Issue.newsletter_id)
    return [(issue, slug) for issue, slug in session.execute(query.order_by(Issue.id.desc()))]


def page(session: Session, newsletters: Iterable[int] | None, limit: int, before: int | None) -> list[Issue]:
    """Return issues of these newsletters (None for all), the newest first, with ids below ``before``."""
    query = select(Issue)
    if newsletters is not None:
        query = query.where(Issue.newsletter_id.in_(list(newsletters)))
    if before is not None:
        query = query.where(Issue.id < before)
    return list(session.scalars(query.order_by(Issue.id.desc()).limit(limit)))


def latest(session: Session, newsletter: int, limit: int) -> list[Issue]:
    """Return the issues of a newsletter with the latest dates, the latest first; no digests and no cancelled ones."""
    query = select(Issue).where(
        Issue.newsletter_id == newsletter, Issue.digest_month.is_(None), Issue.state != IssueState.cancelled
    )
    return list(session.scalars(query.order_by(Issue.issue_date.desc(), Issue.id.desc()).limit(limit)))


def drafts(session: Session, newsletter: int) -> list[Issue]:
    """Return the issues of a newsletter whose texts can be changed, the earliest first."""
    query = select(Issue).where(Issue.newsletter_id == newsletter, Issue.state.in_(EDITABLE_STATES))
    return list(session.scalars(query.order_by(Issue.issue_date, Issue.id)))


def count_drafts(session: Session, newsletter: int) -> int:
    query = select(func.count()).where(Issue.newsletter_id == newsletter, Issue.state.in_(EDITABLE_STATES))
    return session.scalar(query) or 0


def going_out(session: Session, newsletters: Iterable[int] | None, start: datetime, end: datetime) -> list[Issue]:
    """Return issues of these newsletters (None for all) that are scheduled or began to be sent in a time."""
    planned = (Issue.state == IssueState.scheduled) & Issue.scheduled_at.between(start, end)
    states = (IssueState.sending, IssueState.paused, IssueState.sent)
    query = select(Issue).where(planned | (Issue.state.in_(states) & Issue.ready_at.between(start, end)))
    if newsletters is not None:
        query = query.where(Issue.newsletter_id.in_(list(newsletters)))
    return list(session.scalars(query.order_by(Issue.id)))


def sent_up_to(session: Session, issue: int, limit: int) -> list[Issue]:
    """Return an issue and those of its newsletter whose sending began before it, the newest first; no digests."""
    row = by_id(session, issue)
    if row.ready_at is None:
        return []
    query = select(Issue).where(
        Issue.newsletter_id == row.newsletter_id, Issue.ready_at <= row.ready_at, Issue.digest_month.is_(None)
    )
    return list(session.scalars(query.order_by(Issue.ready_at.desc(), Issue.id.desc()).limit(limit)))


def count_ready_texts(session: Session, ids: Sequence[int]) -> dict[int, tuple[dict[str, int], int]]:
    """Return issue → (language → number of its texts that are ready, front matter included; number of stories)."""
    ready: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    fronts = select(IssueTranslation.issue_id, IssueTranslation.language).where(
        IssueTranslation.issue_id.in_(ids), IssueTranslation.status == TranslationStatus.ready
    )
    for issue, language in session.execute(fronts):
        ready[issue][language] += 1
    texts = (
        select(Story.issue_id, StoryTranslation.language, func.count())
        .join(StoryTranslation, StoryTranslation.story_id == Story.id)
        .where(Story.issue_id.in_(ids), StoryTranslation.status == TranslationStatus.ready)
        .group_by(Story.issue_id, StoryTranslation.language)
    )
    for issue, language, count in session.execute(texts):
        ready[issue][language] += count
    counts = select(Story.issue_id, func.count()).where(Story.issue_id.in_(ids)).group_by(Story.issue_id)
    stories = {row[0]: row[1] for row in session.execute(counts)}
    return {issue: (dict(ready[issue]), stories.get(issue, 0)) for issue in ids}


def last_writers(session: Session, ids: Sequence[int]) -> dict[int, dict[str, int | None]]:
    """Return issue → (language whose front matter is ready → the account that changed its texts last)."""
    query = select(IssueTranslation.issue_id, IssueTranslation.language, IssueTranslation.imported_by_id)
    query = query.where(IssueTranslation.issue_id.in_(ids), IssueTranslation.status == TranslationStatus.ready)
    found: dict[int, dict[str, int | None]] = defaultdict(dict)
    for issue, language, account in session.execute(query):
        found[issue][language] = account
    return found


def in_state(session: Session, states: Iterable[IssueState]) -> list[Issue]:
    return list(session.scalars(select(Issue).where(Issue.state.in_(list(states))).order_by(Issue.id)))


def lock_unfinished(session: Session, newsletter: int) -> list[Issue]:
    """Lock a newsletter's issues that are neither sent nor cancelled until the transaction ends; return them."""
    over = (IssueState.sent, IssueState.cancelled)
    query = select(Issue).where(Issue.newsletter_id == newsletter, Issue.state.not_in(over))
    return list(
        session.scalars(
            query.order_by(Issue.id).with_for_update(key_share=True),
            execution_options={"populate_existing": True},
        )
    )


def approved_numbers(session: Session, newsletter: int) -> list[str]:
    """Return the numbers of a newsletter's issues that are approved and have not begun."""
    states = (IssueState.approved, IssueState.scheduled)
    query = select(Issue.number).where(
        Issue.newsletter_id == newsletter, Issue.state.in_(states), Issue.digest_month.is_(None)
    )
    return list(session.scalars(query.order_by(Issue.id)))


def due(session: Session, now: datetime) -> list[int]:
    """Return scheduled issues whose time has come, earliest first."""
    query = select(Issue.id).where(Issue.state == IssueState.scheduled, Issue.scheduled_at <= now)
    return list(session.scalars(query.order_by(Issue.scheduled_at)))


def is_waiting(session: Session, issue: int) -> bool:
    """Return whether a scheduled issue is too late, and waits until somebody schedules it again."""
    kinds = (IssueEventKind.scheduled, IssueEventKind.late)
    query = select(IssueEvent.kind).where(IssueEvent.issue_id == issue, IssueEvent.kind.in_(kinds))
    return session.scalar(query.order_by(IssueEvent.id.desc()).limit(1)) is IssueEventKind.late


def last_scheduled(session: Session, issue: int) -> datetime | None:
    """Return when somebody last scheduled an issue; None for a digest."""
    query = select(func.max(IssueEvent.at)).where(
        IssueEvent.issue_id == issue, IssueEvent.kind == IssueEventKind.scheduled
    )
    return session.scalar(query)


def unsent_since(session: Session, now: datetime) -> list[tuple[int, datetime]]:
    """Return issues of which nothing has been sent, though it was due longer ago than their newsletter allows.

    With each, since when. Not among them are digests, issues that were resumed, and those of which a worker is sending
    a batch.
    """
    query = """
        SELECT i.id, due.since FROM issue i JOIN newsletter n ON n.id = i.newsletter_id, LATERAL (
            SELECT CASE WHEN i.ready_at IS NULL THEN i.frozen_at ELSE min(b.due_at) END AS since
            FROM batch b WHERE b.issue_id = i.id AND b.state <> 'done'
        ) due
        WHERE i.state = 'sending' AND i.digest_month IS NULL AND due.since < :now - n.max_late_hours * interval '1 hour'
          AND NOT EXISTS (SELECT FROM batch b WHERE b.issue_id = i.id AND (b.state = 'sending' OR b.is_retry
              OR b.sent > 0 OR b.failed > 0 OR b.uncertain > 0))
          AND NOT EXISTS (SELECT FROM issue_event e WHERE e.issue_id = i.id AND e.kind IN ('resumed', 'retried'))
    """
    return [(row.id, row.since) for row in session.execute(text(query), {"now": now})]


def bump_revision(session: Session, issue: int, *, only_text: bool = False) -> None:
    """Make rendered editions stale. Changes of content call ``approvals.content_changed`` instead."""
    now = {"revision": Issue.revision + 1}
    if not only_text:
        now["plan_revision"] = Issue.revision + 1
    session.execute(update(Issue).where(Issue.id == issue).values(now))


def was_sent() -> ColumnElement[bool]:
    """Return an SQL condition: the issue was sent completely at least once, whether or not it was retried later."""
    return Issue.id.in_(select(IssueEvent.issue_id).where(IssueEvent.kind == IssueEventKind.sent))


def log(
    session: Session, issue: int, actor: Actor, kind: IssueEventKind, detail: str = "", **audited: str | float
) -> None:
    """Write a line of the issue's log; and of the audit log, with details of its own, if a person caused it."""
    account = account_of(actor)
    session.add(IssueEvent(issue_id=issue, account_id=account, actor=name_of(actor), kind=kind, detail=detail))
    if kind in ISSUE_ACTIONS and actor != THE_SERVICE:
        audit_log.record(
            session, None, actor, ISSUE_ACTIONS[kind], object_kind="issue", object_id=issue, detail=audited
        )


def has_event(session: Session, issue: int, kind: IssueEventKind) -> bool:
    """Return whether this ever happened to an issue."""
    query = select(IssueEvent.id).where(IssueEvent.issue_id == issue, IssueEvent.kind == kind)
    return session.scalar(select(query.exists())) or False


def actor_name(session: Session, event: IssueEvent | IssueApproval | StoryChange | TextVersion) -> str:
    """Return the present name of who did something. Empty for the service itself."""
    account = accounts.find(session, event.account_id) if event.account_id else None
    return account.name if account else event.actor


def events(session: Session, issue: int) -> list[IssueEvent]:
    return list(session.scalars(select(IssueEvent).where(IssueEvent.issue_id == issue).order_by(IssueEvent.id)))


def on_their_way(session: Session, since: datetime) -> list[int]:
    """Return the issues that are being sent or paused, or were finished after a time."""
    in_flight = Issue.state.in_([IssueState.sending, IssueState.paused])
    return list(session.scalars(select(Issue.id).where(in_flight | (Issue.finished_at > since)).order_by(Issue.id)))


def front_matter(session: Session, issue: int) -> dict[str, IssueTranslation]:
    query = select(IssueTranslation).where(IssueTranslation.issue_id == issue)
    return {row.language: row for row in session.scalars(query)}


def set_last_writer(session: Session, issue: int, language: str, actor: Actor) -> None:
    """Note who changed the texts of a language last, if it has front matter."""
    front = session.get(IssueTranslation, (issue, language))
    if front is not None:
        front.imported_by_id = account_of(actor)
        front.imported_by = name_of(actor)


def leading_language(session: Session, newsletter: Newsletter, issue: int) -> str:
    """Return the first of the newsletter's languages, its default one before others, that has front matter.

    Return the default language if there is no front matter yet.
    """
    languages = front_matter(session, issue).keys()
    rank = [newsletter.default_language, *newsletter.languages]
    return next((language for language in rank if language in languages), newsletter.default_language)


def stories(session: Session, issue: int) -> list[tuple[Story, Section]]:
    """Return stories with their sections in print order: by section, then by position."""
    query = (
        select(Story, Section)
        .join(Section, Section.id == Story.section_id)
        .join(Issue, Issue.id == Story.issue_id)
        .where(Story.issue_id == issue)
        .order_by(*PRINT_ORDER)
    )
    return [(story, section) for story, section in session.execute(query)]


def sections(session: Session, issue: Issue) -> list[Section]:
    """Return the sections of an issue's newsletter in the issue's print order."""
    rank = {id: place for place, id in enumerate(issue.section_order)}
    of_newsletter = newsletters.sections(session, issue.newsletter_id)
    return sorted(of_newsletter, key=lambda section: rank.get(section.id, len(rank)))


def story_texts(session: Session, issue: int) -> dict[int, dict[str, StoryTranslation]]:
    """Return story → language → translation."""
    query = select(StoryTranslation).join(Story, Story.id == StoryTranslation.story_id)
    translations: dict[int, dict[str, StoryTranslation]] = defaultdict(dict)
    for row in session.scalars(query.where(Story.issue_id == issue)):
        translations[row.story_id][row.language] = row
    return translations


def ready_languages(texts: dict[str, StoryTranslation]) -> frozenset[str]:
    return frozenset(language for language, text in texts.items() if text.status is TranslationStatus.ready)


def delete_draft(session: Session, issue: int) -> None:
    """Delete an issue that was never sent to anybody, with its texts and its log."""
    session.execute(delete(Story).where(Story.issue_id == issue))
    for model in (IssueTranslation, IssueApproval, IssueEvent):
        session.execute(delete(model).where(model.issue_id == issue))
    session.execute(delete(Issue).where(Issue.id == issue))
