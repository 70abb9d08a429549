"""Archive: what anybody may read on the web who has the address of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.wording import Wording, page_language, spoken, worded
from mailer.store import editions, issues, newsletters
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class EditionPage:
    html: str
    language: str


@dataclass(frozen=True, slots=True)
class PictureFile:
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Publication:
    """A newsletter as it is introduced to somebody who wants certain languages."""

    name: Wording
    tagline: Wording
    website: str


@dataclass(frozen=True, slots=True)
class Publications:
    language: str
    """In which to speak to that person."""
    page_languages: tuple[str, ...]
    """In which the page can be had."""
    publications: tuple[Publication, ...]


def edition_page(database: Database, issue: int, edition: int) -> EditionPage | None:
    """The web view of an edition: a whole HTML document without anything of a reader in it. None when there
    is none, or it is not rendered yet."""
    with database.transaction() as session:
        row = editions.by_id(session, edition)
        if row is None or row.issue_id != issue or not row.html:
            return None
        return EditionPage(row.html, row.language)


def picture(database: Database, prefix: str) -> PictureFile | None:
    """A picture by the first 32 hexadecimal digits of its SHA-256."""
    with database.transaction() as session:
        row = issues.picture_by_prefix(session, prefix)
        return PictureFile(row.media_type, row.data) if row else None


def publications(database: Database, wanted: Sequence[str]) -> Publications:
    """Every newsletter, for somebody who wants these languages, best first."""
    with database.transaction() as session:
        rows = [
            row
            for slug in newsletters.slugs(session)
            if (row := newsletters.by_slug(session, slug)) is not None
        ]
        offered = tuple(dict.fromkeys(tag for row in rows for tag in row.languages))
        language = page_language(wanted, offered, {}, rows[0].default_language if rows else "en")
        return Publications(
            language,
            spoken(offered),
            tuple(
                Publication(
                    worded(row.names, language, row.fallbacks, row.default_language),
                    worded(row.taglines, language, row.fallbacks, row.default_language),
                    row.website,
                )
                for row in rows
            ),
        )
