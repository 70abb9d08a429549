"""Contact notes of issues."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor
from mailer.domain.states import TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import Contact, ContactStory, ContactTranslation, Story
from mailer.store import issues, text_versions


def of_issue(session: Session, issue: int) -> list[tuple[Contact, dict[str, str], list[int]]]:
    """Return contact notes in print order, each with its texts by language and the ids of the stories it covers.

    Removed ones are not among them.
    """
    query = select(Contact).where(Contact.issue_id == issue, Contact.removed_at.is_(None))
    rows = session.scalars(query.order_by(Contact.story_id, Contact.position)).all()
    texts: dict[int, dict[str, str]] = defaultdict(dict)
    for row in session.scalars(
        select(ContactTranslation)
        .join(Contact, Contact.id == ContactTranslation.contact_id)
        .where(Contact.issue_id == issue)
    ):
        texts[row.contact_id][row.language] = row.text
    covered: dict[int, list[int]] = defaultdict(list)
    for link in session.scalars(
        select(ContactStory)
        .join(Contact, Contact.id == ContactStory.contact_id)
        .where(Contact.issue_id == issue)
        .order_by(ContactStory.story_id)
    ):
        covered[link.contact_id].append(link.story_id)
    return [(contact, texts[contact.id], covered[contact.id]) for contact in rows]


def after(session: Session, story: int) -> list[Contact]:
    """Return the contact notes printed after a story, in order."""
    query = select(Contact).where(Contact.story_id == story, Contact.removed_at.is_(None))
    return list(session.scalars(query.order_by(Contact.position)))


def texts_of(session: Session, contact: int) -> dict[str, str]:
    """Return language → text of a contact note, removed or not."""
    query = select(ContactTranslation).where(ContactTranslation.contact_id == contact)
    return {row.language: row.text for row in session.scalars(query.order_by(ContactTranslation.language))}


def removed(session: Session, story: int) -> list[Contact]:
    """Return the contact notes of a story whose removal can be undone, the latest removed first."""
    query = select(Contact).where(Contact.story_id == story, Contact.removed_at.is_not(None))
    return list(session.scalars(query.order_by(Contact.removed_at.desc(), Contact.id.desc())))


def stories_of(session: Session, contact: int) -> set[int]:
    """Return the stories that a contact note covers."""
    return {*session.scalars(select(ContactStory.story_id).where(ContactStory.contact_id == contact))}


def add(session: Session, story: Story, texts: Mapping[str, str], actor: Actor, *, card: int | None = None) -> Contact:
    """Print a contact note after a story, for it alone. Return it. ``card``: the one that it is a copy of."""
    contact = Contact(issue_id=story.issue_id, story_id=story.id, card_id=card)
    contact.position = next_position(session, story.id)
    session.add(contact)
    session.flush()
    session.add_all(ContactTranslation(contact_id=contact.id, language=tag, text=text) for tag, text in texts.items())
    set_stories(session, contact.id, [story.id])
    session.flush()
    record(session, contact, texts, actor, VersionKind.saved)
    return contact


def record(session: Session, contact: Contact, texts: Mapping[str, str], actor: Actor, kind: VersionKind) -> None:
    """Record versions of a note's texts, that of the source first, since the others are translations of it."""
    keys = [TextKey(contact.issue_id, TextSubject.contact, contact.id, tag) for tag in texts]
    for key in sorted(keys, key=lambda key: text_versions.source_language(session, key) != key.language):
        text_versions.record(session, key, {"text": texts[key.language]}, actor, kind)


def set_stories(session: Session, contact: int, stories: Iterable[int]) -> None:
    session.execute(delete(ContactStory).where(ContactStory.contact_id == contact))
    session.add_all(ContactStory(contact_id=contact, story_id=story) for story in stories)


def place_all(session: Session, story: Story, allowed: Collection[int]) -> None:
    """Print each contact note for this and other stories after the last that it covers among the allowed ones."""
    for contact, _, covered in of_issue(session, story.issue_id):
        targets = [id for id in covered if id in allowed]
        if story.id in (contact.story_id, *covered) and targets:
            place(session, contact, targets)


def place(session: Session, contact: Contact, targets: Collection[int]) -> None:
    """Print a contact note after the last of some stories."""
    print_order = [story.id for story, _ in issues.stories(session, contact.issue_id)]
    target = max(targets, key=print_order.index)
    if target != contact.story_id:
        contact.story_id, contact.position = target, next_position(session, target)
        session.flush()


def put_in_order(session: Session, contacts: Sequence[Contact]) -> None:
    """Put all contact notes after a story into an order. Those that are removed give up their positions."""
    for contact in contacts:
        contact.position = -contact.id
    session.flush()  # no two notes of a story have the same position at any time
    kept = [contact for contact in contacts if contact.removed_at is None]
    for position, contact in enumerate(kept):
        contact.position = position
    session.flush()


def next_position(session: Session, story: int) -> int:
    """Return the position of a further contact note after a story."""
    notes = after(session, story)
    return notes[-1].position + 1 if notes else 0


def remove_text(session: Session, contact: int, language: str) -> None:
    session.execute(
        delete(ContactTranslation).where(
            ContactTranslation.contact_id == contact, ContactTranslation.language == language
        )
    )


def delete_contact(session: Session, contact: int) -> None:
    session.execute(delete(Contact).where(Contact.id == contact))
