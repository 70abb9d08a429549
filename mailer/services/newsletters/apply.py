"""A newsletter itself: its settings and sections, as a file of them says."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from mailer.domain.newsletter import ChangeRefused, NewsletterSettings, SectionSettings
from mailer.domain.states import EDITABLE_STATES, IssueState
from mailer.models import Newsletter
from mailer.store import issues, newsletters
from mailer.store.database import Database, Session


class ApplyResult(StrEnum):
    created = "made"
    changed = "changed"
    unchanged = "up to date"


_NOT_RENDERED = {"tracking", "quiet_from", "quiet_until", "public", "uncertain_policy"}
"""Settings that no edition prints and none of its headers says."""


def apply_newsletter(database: Database, settings: NewsletterSettings) -> ApplyResult:
    """Make a newsletter, or bring an existing one in line with its settings. Raises Refused.

    A section that the settings no longer name is kept: readers follow it, and old issues hold it. So are titles
    in languages that the settings do not name: documents brought them. Where editions would look different,
    approvals are taken back, and an issue that is going out refuses the change.
    """
    values = settings.model_dump(exclude={"sections", "theme"}) | {"theme": settings.theme.model_dump()}
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, settings.slug)
        if newsletter is None:
            newsletter = Newsletter(**values)
            session.add(newsletter)
            session.flush()
            _apply_sections(session, newsletter, settings.sections)
            return ApplyResult.created
        newsletters.lock(session, newsletter.id)
        different = _changed_fields(newsletter, values)
        for name in different:
            setattr(newsletter, name, values[name])
        added, seen, unseen = _apply_sections(session, newsletter, settings.sections)
        if different - _NOT_RENDERED or seen:
            _invalidate_issues(session, newsletter)
        return ApplyResult.changed if different or added or seen or unseen else ApplyResult.unchanged


def _changed_fields(row: object, values: Mapping[str, Any]) -> set[str]:
    return {name for name, value in values.items() if getattr(row, name) != value}


def _apply_sections(
    session: Session, newsletter: Newsletter, section_settings: Sequence[SectionSettings]
) -> tuple[bool, bool, bool]:
    """Whether sections were added, changed so that editions look different, and changed otherwise."""
    known = {section.key: section for section in newsletters.sections(session, newsletter.id)}
    added = seen = unseen = False
    for position, section in enumerate(section_settings, start=1):
        values: dict[str, Any] = section.model_dump() | {"position": position}
        found = known.get(section.key)
        if found is None:
            newsletters.add_section(session, newsletter.id, **values)
            added = True
            continue
        values["titles"] = found.titles | values["titles"]
        different = _changed_fields(found, values)
        for name in different:
            setattr(found, name, values[name])
        seen |= bool(different - {"descriptions"})
        unseen |= "descriptions" in different
    return added, seen, unseen


def _invalidate_issues(session: Session, newsletter: Newsletter) -> None:
    for row in issues.lock_unfinished(session, newsletter.id):
        if row.state in (IssueState.sending, IssueState.paused):
            raise ChangeRefused(
                f"Issue {row.id} ({row.number}) is {row.state.value}, and this would change what the rest of its "
                f"readers get. Wait until it is sent, or cancel it: mailer issue cancel {row.id}."
            )
        issues.bump_revision(session, row.id)
        # Nobody approves a digest, and it is made with what holds when it goes out.
        if row.state not in EDITABLE_STATES and row.digest_month is None:
            row.state, row.scheduled_at, row.local_time = IssueState.draft, None, None
            issues.log(session, row.id, "mailer", "reopened", "the newsletter changed")
