"""Digests: the issues of a month, copied into one issue for monthly subscribers."""

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from mailer.domain.states import IssueState
from mailer.models import Contact, ContactStory, ContactTranslation, Issue, Story, StoryTranslation
from mailer.store import issues
from mailer.store.issues import was_sent


def exists(session: Session, newsletter: int, month: date) -> bool:
    query = select(Issue.id).where(Issue.newsletter_id == newsletter, Issue.digest_month == month)
    return session.scalar(query) is not None


def has_monthly_subscribers(session: Session, newsletter: int) -> bool:
    query = """
        SELECT EXISTS (SELECT FROM subscription
            WHERE newsletter_id = :newsletter AND state = 'active' AND frequency = 'monthly')
    """
    return bool(session.scalar(text(query), {"newsletter": newsletter}))


def source_issues(session: Session, newsletter: int, since: datetime, before: datetime) -> list[Issue]:
    """Return the issues whose sending began in this period, oldest first, without issues cancelled while sending."""
    query = select(Issue).where(
        Issue.newsletter_id == newsletter,
        Issue.digest_month.is_(None),
        or_(Issue.state.in_((IssueState.sending, IssueState.paused, IssueState.sent)), was_sent()),
        Issue.frozen_at >= since,
        Issue.frozen_at < before,
    )
    return list(session.scalars(query.order_by(Issue.frozen_at, Issue.id)))


def copy_stories(session: Session, sources: Sequence[int], target: int) -> int:
    """Copy the stories of some issues, with their texts and contacts, into another one; return how many."""
    position = 0
    for source in sources:
        copied: dict[int, int] = {}
        texts = issues.story_texts(session, source)
        for story, _ in issues.stories(session, source):
            position += 1
            copy = Story(issue_id=target, section_id=story.section_id, position=position, picture_id=story.picture_id)
            session.add(copy)
            session.flush()
            copied[story.id] = copy.id
            for language, row in texts.get(story.id, {}).items():
                session.add(
                    StoryTranslation(
                        story_id=copy.id,
                        language=language,
                        status=row.status,
                        headline=row.headline,
                        datelines=row.datelines,
                        body=row.body,
                        alt=row.alt,
                        link=row.link,
                        link_label=row.link_label,
                    )
                )
        for contact, contact_texts, covered_stories in issues.contacts(session, source):
            contact_copy = Contact(issue_id=target, story_id=copied[contact.story_id], position=contact.position)
            session.add(contact_copy)
            session.flush()
            for language, contact_text in contact_texts.items():
                session.add(ContactTranslation(contact_id=contact_copy.id, language=language, text=contact_text))
            for story_id in covered_stories:
                session.add(ContactStory(contact_id=contact_copy.id, story_id=copied[story_id]))
    session.flush()
    return position
