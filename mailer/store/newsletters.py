"""Newsletters and sections."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from mailer.domain.errors import ChangeRefused, NewsletterNotFound
from mailer.domain.localized import ui_language, ui_languages
from mailer.domain.page_frame import PageFrame
from mailer.domain.text_overrides import overrides_for
from mailer.models import Newsletter, Section

MAX_SECTIONS = 62
"""The number of section bits in a mask."""


def by_slug(session: Session, slug: str) -> Newsletter | None:
    if "\0" in slug:  # possible in a URL, but not in PostgreSQL text
        return None
    return session.scalar(select(Newsletter).where(Newsletter.slug == slug))


def get(session: Session, slug: str) -> Newsletter:
    """Return a newsletter. Raises NewsletterNotFound."""
    if found := by_slug(session, slug):
        return found
    raise NewsletterNotFound(slug, session.scalars(select(Newsletter.slug).order_by(Newsletter.slug)).all())


def by_id(session: Session, newsletter: int) -> Newsletter:
    return session.get_one(Newsletter, newsletter)


def lock(session: Session, newsletter: int) -> Newsletter:
    """Lock a newsletter against other changes until the transaction ends; return it.

    Rows that refer to it can still be inserted, since others do that while they hold an issue.
    """
    return session.get_one(Newsletter, newsletter, with_for_update={"key_share": True}, populate_existing=True)


def list_all(session: Session) -> list[Newsletter]:
    return list(session.scalars(select(Newsletter).order_by(Newsletter.slug)))


def first_id(session: Session) -> int | None:
    """Return the oldest newsletter, or None if there is none yet."""
    return session.scalar(select(func.min(Newsletter.id)))


def sections(session: Session, newsletter: int) -> list[Section]:
    """Return a newsletter's sections in print order."""
    return list(
        session.scalars(
            select(Section).where(Section.newsletter_id == newsletter).order_by(Section.position, Section.id)
        )
    )


def offered_sections(session: Session, newsletter: int) -> list[Section]:
    """Return the sections that readers can choose, in print order."""
    return [section for section in sections(session, newsletter) if section.offered]


def add_section(session: Session, newsletter: int, **values: Any) -> Section:
    """Add a section with the lowest bit that no section of this newsletter ever had.

    Raises ChangeRefused if no bit is left.
    """
    highest = session.scalar(select(func.max(Section.bit)).where(Section.newsletter_id == newsletter))
    bit = 0 if highest is None else highest + 1
    if bit >= MAX_SECTIONS:
        raise ChangeRefused(
            f"A newsletter can have at most {MAX_SECTIONS} sections, including removed ones. "
            f"“{values['key']}” would exceed this limit."
        )
    section = Section(newsletter_id=newsletter, bit=bit, **values)
    session.add(section)
    session.flush()
    return section


def always_mask(session: Session, newsletter: int) -> int:
    """Return the mask of the sections that every subscriber gets."""
    query = select(Section.bit).where(Section.newsletter_id == newsletter, Section.always_included)
    return sum(1 << bit for bit in session.scalars(query))


def page_frame(newsletter: Newsletter, preferred_languages: Sequence[str], content_language: str = "") -> PageFrame:
    """Return the frame of a newsletter's pages for a person with these languages in order of preference.

    ``content_language`` is the language of the newsletter's own texts, if it differs from the page's.
    """
    chains, default = newsletter.fallbacks, newsletter.default_language
    language = ui_language(preferred_languages, newsletter.languages, chains, default)
    shown = content_language or language
    return PageFrame(
        slug=newsletter.slug,
        name=newsletter.localize(newsletter.names, shown),
        language=language,
        ui_languages=ui_languages(newsletter.languages),
        archive_slug=newsletter.slug if newsletter.public else "",
        postal_address=newsletter.postal_address,
        theme={name: str(value) for name, value in newsletter.theme.items()},
        text_overrides=overrides_for(newsletter.text_overrides, shown),
        content_language=shown,
        fallbacks=chains,
        default_language=default,
    )
