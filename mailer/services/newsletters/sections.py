"""Lists the sections of a newsletter, and withdraws one."""

from dataclasses import dataclass

from mailer.domain.errors import ChangeRefused
from mailer.store import newsletters, subscribers
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class SectionItem:
    """A section as it is listed. ``title`` is in the newsletter's default language or the nearest one."""

    key: str
    title: str
    offered: bool
    always_included: bool
    followers: int
    """Active subscribers who get it."""


def list_sections(database: Database, slug: str) -> list[SectionItem]:
    """Return the sections of a newsletter in print order. Raises NewsletterNotFound."""
    with database.transaction() as session:
        row = newsletters.get(session, slug)
        masks = subscribers.count_by_sections(session, row.id)
        return [
            SectionItem(
                section.key,
                row.localize(section.titles).text,
                section.offered,
                section.always_included,
                sum(count for mask, count in masks.items() if section.always_included or mask >> section.bit & 1),
            )
            for section in newsletters.sections(session, row.id)
        ]


def retire_section(database: Database, slug: str, key: str) -> None:
    """Offer a section to readers no longer. Those who follow it still get it, should an issue contain it.

    Raises NewsletterNotFound or ChangeRefused.
    """
    with database.transaction() as session:
        newsletter = newsletters.lock(session, newsletters.get(session, slug).id)
        sections = {section.key: section for section in newsletters.sections(session, newsletter.id)}
        if key not in sections:
            raise ChangeRefused(f"{slug} has no section {key}. It has {', '.join(sections) or 'none'}.")
        if sections[key].offered:
            sections[key].offered = False
            newsletter.revision += 1
