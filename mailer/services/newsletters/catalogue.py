"""The newsletters, in short."""

from dataclasses import dataclass

from mailer.models import Newsletter
from mailer.store import newsletters
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class NewsletterSummary:
    id: int
    slug: str
    name: str
    languages: tuple[str, ...]
    default_language: str


def list_newsletters(database: Database) -> list[NewsletterSummary]:
    with database.transaction() as session:
        return [_summarize(row) for row in newsletters.list_all(session)]


def find_newsletter(database: Database, slug: str) -> NewsletterSummary | None:
    with database.transaction() as session:
        row = newsletters.by_slug(session, slug)
        return _summarize(row) if row else None


def get_newsletter(database: Database, slug: str) -> NewsletterSummary:
    """Return a newsletter. Raises NewsletterNotFound."""
    with database.transaction() as session:
        return _summarize(newsletters.get(session, slug))


def _summarize(row: Newsletter) -> NewsletterSummary:
    name = row.localize(row.names).text
    return NewsletterSummary(row.id, row.slug, name, tuple(row.languages), row.default_language)
