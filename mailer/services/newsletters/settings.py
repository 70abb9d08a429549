"""Changes of a newsletter's settings by staff: with the same rules as for a file, and none over another's unseen."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from mailer.domain.accounts import Actor, AuditAction
from mailer.domain.newsletter import NewsletterSettings, SectionSettings
from mailer.domain.newsletter_check import OverrideErrors, check_newsletter
from mailer.models import Newsletter
from mailer.services.newsletters.apply import change_newsletter
from mailer.store import audit_log, issues, newsletters
from mailer.store.database import Database, Session

Values = dict[str, Any]
"""Settings as in a file, with times and choices as text."""

_AUDITED_CHARS = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting before and after a change, as text."""

    path: str
    """As in a file, with a section's key: ``names.fr``, ``sections.news.colour``."""
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class LastChange:
    """Who changed the settings at the desk most recently, and when."""

    actor: str
    at: datetime
    detail: Mapping[str, str]
    """Path of a setting → before → after."""


class SettingsChanged(Exception):
    """Somebody else has changed what a form shows since it was opened. Nothing is saved."""

    def __init__(self, differences: tuple[Difference, ...], last_change: LastChange | None) -> None:
        super().__init__("the settings were changed in the meantime")
        self.differences = differences
        """From what is stored now to what was to be saved."""
        self.last_change = last_change


def load_settings(database: Database, slug: str) -> NewsletterSettings:
    """Return a newsletter's settings as a file would give them, with the sections that readers can choose.

    Raises NewsletterNotFound.
    """
    with database.transaction() as session:
        return _load(session, newsletters.get(session, slug))


def retired_sections(database: Database, slug: str) -> list[SectionSettings]:
    """Return the sections that readers can no longer choose. Raises NewsletterNotFound."""
    with database.transaction() as session:
        rows = newsletters.sections(session, newsletters.get(session, slug).id)
        return [
            SectionSettings.model_validate({name: getattr(row, name) for name in SectionSettings.model_fields})
            for row in rows
            if not row.offered
        ]


def fingerprint(part: object) -> str:
    """Return a short hash of what a form shows, by which a change in the meantime is noticed."""
    return sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]


def save_settings(
    database: Database,
    slug: str,
    edit: Callable[[Values], None],
    override_errors: OverrideErrors,
    actor: Actor,
    *,
    shown: str,
    part: Callable[[Values], object],
) -> tuple[Difference, ...]:
    """Change a newsletter's settings with ``edit``; return what has changed. The audit log has it before and after.

    ``part`` returns what the form shows of the settings, and ``shown`` is its fingerprint when the form was opened.
    Raises NewsletterNotFound, NewsletterError, ChangeRefused, and SettingsChanged if the part is another one now.
    """
    with database.transaction() as session:
        newsletter = newsletters.lock(session, newsletters.get(session, slug).id)
        stored = _load(session, newsletter)
        values = stored.model_dump(mode="json")
        is_as_shown = fingerprint(part(values)) == shown
        edit(values)
        # A replaced text may have left the catalogue since. It must not stand in the way of other changes.
        known = set(override_errors(stored.text_overrides))
        wanted = check_newsletter(values, lambda own: (found for found in override_errors(own) if found not in known))
        differences = find_differences(stored, wanted)
        if not is_as_shown:
            raise SettingsChanged(differences, _last_change(session, newsletter.id))
        if change_newsletter(session, newsletter, wanted, keep_titles=False):
            newsletter.desk_revision = newsletter.revision
            detail = {d.path: f"{_shorten(d.before)} → {_shorten(d.after)}" for d in differences}
            audit_log.record(
                session,
                None,
                actor,
                AuditAction.newsletter_changed,
                object_kind="newsletter",
                object_id=newsletter.id,
                detail=detail,
            )
        return differences


def _shorten(value: str) -> str:
    return f"{value[:_AUDITED_CHARS]}…" if len(value) > _AUDITED_CHARS else value or "–"


def _load(session: Session, row: Newsletter) -> NewsletterSettings:
    sections = [
        {name: getattr(section, name) for name in SectionSettings.model_fields}
        for section in newsletters.offered_sections(session, row.id)
    ]
    values = {name: getattr(row, name) for name in NewsletterSettings.model_fields if name != "sections"}
    return NewsletterSettings.model_validate(values | {"sections": sections})


def approved_issues(database: Database, newsletter: int) -> list[str]:
    """Return the numbers of the issues whose approval a change withdraws if their readers see it."""
    with database.transaction() as session:
        return issues.approved_numbers(session, newsletter)


def load_last_change(database: Database, newsletter: int) -> LastChange | None:
    """Return the latest change at the desk."""
    with database.transaction() as session:
        return _last_change(session, newsletter)


def _last_change(session: Session, newsletter: int) -> LastChange | None:
    event = audit_log.last_change_of_newsletter(session, newsletter)
    return LastChange(event.actor, event.at, event.detail) if event else None


def find_differences(before: NewsletterSettings, after: NewsletterSettings) -> tuple[Difference, ...]:
    """Return the settings that differ, in the order of the file."""
    old, new = _flatten(before), _flatten(after)
    return tuple(
        Difference(path, old.get(path, ""), new.get(path, ""))
        for path in {**new, **old}
        if old.get(path, "") != new.get(path, "")
    )


def _flatten(settings: NewsletterSettings) -> dict[str, str]:
    """Return path → value as text. A section is named by its key."""
    values = settings.model_dump(mode="json", exclude={"revision"})
    sections = values.pop("sections")
    flat = dict(_flat_items(values, ""))
    flat["sections"] = ", ".join(section["key"] for section in sections)
    for section in sections:
        flat |= dict(_flat_items(section, f"sections.{section['key']}."))
    return flat


def _flat_items(values: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    items = []
    for name, value in values.items():
        if isinstance(value, dict):
            items += _flat_items(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            items.append((f"{prefix}{name}", ", ".join(value)))
        else:
            items.append((f"{prefix}{name}", "" if value is None else str(value)))
    return items
