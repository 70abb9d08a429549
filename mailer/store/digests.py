"""Digests: what subscribers who want one email a month have yet to get, and its copy in one issue.

A delivery that was skipped as ``digest_only`` waits for the next digest, and ``delivery.digest_id`` names the digest
that holds it. So each issue is in exactly one digest for a subscriber, however often they change their preferences.
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from mailer.domain.states import IssueState
from mailer.models import Contact, ContactStory, ContactTranslation, Issue, Story
from mailer.store import contacts, issues, stories
from mailer.store.issues import was_sent

MAX_SOURCES = 62
"""The number of bits in ``Edition.sources``."""
AWAITING = "skip_reason = 'digest_only' AND digest_id IS NULL"
HELD = "digest_id = :issue"


def sources_by_subscriber(condition: str) -> str:
    """Return a query for the mask of a digest's issues whose deliveries to a subscriber fulfil this condition."""
    return f"""
        SELECT subscriber_id,
            bit_or(CAST(1 AS bigint) << array_position(CAST(:digest_sources AS int[]), issue_id) - 1) AS sources
        FROM delivery WHERE issue_id = ANY(CAST(:digest_sources AS int[])) AND {condition} GROUP BY subscriber_id
    """


def exists(session: Session, newsletter: int, month: date) -> bool:
    query = select(Issue.id).where(Issue.newsletter_id == newsletter, Issue.digest_month == month)
    return session.scalar(query) is not None


def awaiting_issues(session: Session, newsletter: int, before: datetime) -> list[Issue]:
    """Return the issues that a digest has to hold for somebody, oldest first.

    They began before this time and have been sent, whether or not they were retried later.
    """
    query = f"""
        SELECT DISTINCT d.issue_id FROM delivery d
        JOIN subscription s ON s.newsletter_id = :newsletter AND s.subscriber_id = d.subscriber_id
        JOIN issue i ON i.id = d.issue_id AND i.newsletter_id = s.newsletter_id WHERE {AWAITING}
    """
    waiting = session.scalars(text(query), {"newsletter": newsletter}).all()
    sent = select(Issue).where(Issue.id.in_(waiting), Issue.frozen_at < before, was_sent())
    return list(session.scalars(sent.order_by(Issue.frozen_at, Issue.id).limit(MAX_SOURCES)))


def has_unfinished_issue(session: Session, newsletter: int, before: datetime) -> bool:
    """Return whether an issue that began before this time has not been sent completely yet."""
    query = select(Issue.id).where(
        Issue.newsletter_id == newsletter,
        Issue.digest_month.is_(None),
        Issue.state.in_((IssueState.sending, IssueState.paused)),
        Issue.frozen_at < before,
        Issue.finished_at.is_(None),
    )
    return session.scalar(query.limit(1)) is not None


def sources_for(session: Session, digest: Issue, subscriber: int) -> int:
    """Return the mask of the issues that a digest holds, or would hold, for a subscriber."""
    query = sources_by_subscriber(f"({AWAITING} OR {HELD}) AND subscriber_id = :subscriber")
    values = {"issue": digest.id, "digest_sources": digest.digest_source_ids, "subscriber": subscriber}
    row = session.execute(text(query), values).one_or_none()
    return row.sources if row else 0


def give_back(session: Session, digest: Issue) -> None:
    """Leave to the next digest what this one held for subscribers whose delivery was cancelled."""
    query = """
        UPDATE delivery w SET digest_id = NULL FROM delivery d
        WHERE w.issue_id = ANY(CAST(:digest_sources AS int[])) AND w.digest_id = :issue
          AND d.issue_id = :issue AND d.subscriber_id = w.subscriber_id AND d.skip_reason = 'cancelled'
    """
    session.execute(text(query), {"issue": digest.id, "digest_sources": digest.digest_source_ids})


def count_held(session: Session, issue: int) -> dict[int | None, int]:
    """Return digest → number of deliveries of an issue that it holds; under None, those that wait for a digest."""
    query = """
        SELECT digest_id, count(*) FROM delivery WHERE issue_id = :issue AND skip_reason = 'digest_only'
        GROUP BY 1 ORDER BY 1
    """
    return {row[0]: row[1] for row in session.execute(text(query), {"issue": issue})}


def source_numbers(session: Session, digest: Issue) -> list[str]:
    """Return the numbers of the issues that a digest holds, oldest first; none if the issue is no digest."""
    return [issues.by_id(session, source).number for source in digest.digest_source_ids]


def days_late(digest: Issue) -> int:
    """Return how many days after the end of its month a digest was made; 0 on the first two, since it may wait a day.

    It was made up after a standstill, or an issue that began in that month was sent late.
    """
    assert digest.digest_month
    days = (digest.created_at.astimezone(UTC).date() - digest.digest_month).days
    days -= monthrange(digest.digest_month.year, digest.digest_month.month)[1]
    return days if days > 1 else 0


def made_late(session: Session, since: datetime) -> list[Issue]:
    """Return the digests created since a time that were late."""
    query = select(Issue).where(Issue.digest_month.is_not(None), Issue.created_at >= since).order_by(Issue.id)
    return [digest for digest in session.scalars(query) if days_late(digest)]


def copy_stories(session: Session, sources: Sequence[int], target: int) -> int:
    """Copy the stories of some issues, with their texts and contacts, into another one; return how many."""
    position = 0
    for source in sources:
        copied: dict[int, int] = {}
        texts = issues.story_texts(session, source)
        for story, _ in issues.stories(session, source):
            position += 1
            copy = Story(
                issue_id=target,
                section_id=story.section_id,
                position=position,
                picture_id=story.picture_id,
                source_issue_id=source,
            )
            session.add(copy)
            session.flush()
            copied[story.id] = copy.id
            stories.copy_texts(session, texts.get(story.id, {}), copy.id)
        for contact, contact_texts, covered_stories in contacts.of_issue(session, source):
            contact_copy = Contact(issue_id=target, story_id=copied[contact.story_id], position=contact.position)
            session.add(contact_copy)
            session.flush()
            for language, contact_text in contact_texts.items():
                session.add(ContactTranslation(contact_id=contact_copy.id, language=language, text=contact_text))
            for story_id in covered_stories:
                session.add(ContactStory(contact_id=contact_copy.id, story_id=copied[story_id]))
    session.flush()
    return position
