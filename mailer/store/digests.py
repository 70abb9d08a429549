"""What a digest is made of: the issues of a month, and the readers who want them in one mail."""

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
    """Issues that began to go out in that time, the oldest first: those that were cancelled on the way are not."""
    query = select(Issue).where(
        Issue.newsletter_id == newsletter,
        Issue.digest_month.is_(None),
        or_(Issue.state.in_((IssueState.sending, IssueState.paused, IssueState.sent)), was_sent()),
        Issue.frozen_at >= since,
        Issue.frozen_at < before,
    )
    return list(session.scalars(query.order_by(Issue.frozen_at, Issue.id)))


def copy_stories(session: Session, sources: Sequence[int], target: int) -> int:
    """Put the stories of some issues into another one, with their texts and contacts; returns how many."""
    position = 0
    for source in sources:
        copied: dict[int, int] = {}
        texts = issues.story_texts(session, source)
        for story, _ in issues.stories(session, source):
            position += 1
            made = Story(issue_id=target, section_id=story.section_id, position=position, picture_id=story.picture_id)
            session.add(made)
            session.flush()
            copied[story.id] = made.id
            for language, row in texts.get(story.id, {}).items():
                session.add(
                    StoryTranslation(
                        story_id=made.id,
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
        for contact, words, speaks_for in issues.contacts(session, source):
            note = Contact(issue_id=target, story_id=copied[contact.story_id], position=contact.position)
            session.add(note)
            session.flush()
            for language, said in words.items():
                session.add(ContactTranslation(contact_id=note.id, language=language, text=said))
            for story_id in speaks_for:
                session.add(ContactStory(contact_id=note.id, story_id=copied[story_id]))
    session.flush()
    return position
