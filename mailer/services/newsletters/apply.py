"""Creates a newsletter, or updates one, from its settings file."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from mailer.domain.accounts import THE_SERVICE
from mailer.domain.errors import ChangeRefused
from mailer.domain.newsletter import NewsletterSettings, SectionSettings
from mailer.domain.states import EDITABLE_STATES, InvalidIssueState, IssueAction, IssueEventKind, IssueState
from mailer.models import Newsletter
from mailer.store import approvals, audit_log, issues, newsletters
from mailer.store.database import Database, Session


class ApplyResult(StrEnum):
    """What applying settings did to a newsletter."""

    created = "created"
    changed = "changed"
    unchanged = "up to date"


_NOT_RENDERED = {
    "tracking",
    "quiet_from",
    "quiet_until",
    "digest_time",
    "time_zone",
    "max_late_hours",
    "four_eyes",
    "public",
    "uncertain_policy",
    "suppress_after_refused_issues",
    "suppress_after_refused_days",
    "seed_list",
}
"""Settings that appear in no edition and no header."""


def apply_newsletter(database: Database, settings: NewsletterSettings, *, force: bool = False) -> ApplyResult:
    """Create a newsletter or update it to the settings of a file. Return what was done.

    A change that affects editions withdraws approvals. Raises ChangeRefused if it would affect an issue that is being
    sent, or undo a change that was made at the desk after the file's revision, unless with ``force``.
    """
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, settings.slug)
        if newsletter is None:
            newsletter = Newsletter(**_values(settings))
            session.add(newsletter)
            session.flush()
            _apply_sections(session, newsletter, settings.sections, keep_titles=True)
            return ApplyResult.created
        newsletters.lock(session, newsletter.id)
        newer = newsletter.desk_revision > settings.revision
        if not change_newsletter(session, newsletter, settings, keep_titles=True):
            return ApplyResult.unchanged
        if newer and not force:
            raise ChangeRefused(_describe_newer_change(session, newsletter))
        return ApplyResult.changed


def change_newsletter(
    session: Session, newsletter: Newsletter, settings: NewsletterSettings, *, keep_titles: bool
) -> bool:
    """Update a locked newsletter to settings; return whether anything changed. Raises ChangeRefused.

    Sections missing from the settings are retired: they are not offered any more, and kept because readers follow them
    and old issues contain them. A section with a new key and the title of a missing one is that one, renamed.
    ``keep_titles``: titles in languages missing from the settings are kept too, because imported documents added them.
    """
    values = _values(settings)
    changed = _changed_fields(newsletter, values)
    for name in changed:
        setattr(newsletter, name, values[name])
    added, changed_visibly, changed_invisibly = _apply_sections(
        session, newsletter, settings.sections, keep_titles=keep_titles
    )
    if changed - _NOT_RENDERED or changed_visibly:
        _invalidate_issues(session, newsletter)
    if not (changed or added or changed_visibly or changed_invisibly):
        return False
    newsletter.revision += 1
    return True


def _values(settings: NewsletterSettings) -> dict[str, Any]:
    """Return the columns of a newsletter."""
    return settings.model_dump(exclude={"sections", "theme", "revision"}) | {"theme": settings.theme.model_dump()}


def _describe_newer_change(session: Session, newsletter: Newsletter) -> str:
    event = audit_log.last_change_of_newsletter(session, newsletter.id)
    who = f" by {event.actor} on {event.at:%Y-%m-%d at %H:%M} UTC" if event else ""
    return (
        f"{newsletter.slug} was changed at the desk{who}, after this file was written, and applying it would undo "
        f"that. Write the settings as they are now to another file with `mailer newsletter show {newsletter.slug}`, "
        "make your changes there and apply it. Or overwrite the changes of the desk with --force."
    )


def _changed_fields(row: object, values: Mapping[str, Any]) -> set[str]:
    return {name for name, value in values.items() if getattr(row, name) != value}


def _apply_sections(
    session: Session, newsletter: Newsletter, section_settings: Sequence[SectionSettings], *, keep_titles: bool
) -> tuple[bool, bool, bool]:
    """Add and update sections. Return (added, changed visibly, changed invisibly) as flags."""
    stored_sections = {section.key: section for section in newsletters.sections(session, newsletter.id)}
    missing = [stored_sections[key] for key in stored_sections.keys() - {section.key for section in section_settings}]
    added = changed_visibly = changed_invisibly = False
    for section in section_settings:
        renamed = [other for other in missing if other.titles.items() & section.titles.items()]
        if section.key not in stored_sections and len(renamed) == 1:
            missing.remove(renamed[0])
            stored_sections[section.key] = renamed[0]
    for retired in missing:
        changed_invisibly |= retired.offered
        retired.offered = False
    for position, section in enumerate(section_settings, start=1):
        values: dict[str, Any] = section.model_dump() | {"position": position, "offered": True}
        stored = stored_sections.get(section.key)
        if stored is None:
            newsletters.add_section(session, newsletter.id, **values)
            added = True
            continue
        if keep_titles:
            values["titles"] = stored.titles | values["titles"]
        changed = _changed_fields(stored, values)
        for name in changed:
            setattr(stored, name, values[name])
        invisible = {"key", "descriptions", "offered"}
        changed_visibly |= bool(changed - invisible)
        changed_invisibly |= bool(changed & invisible)
    return added, changed_visibly, changed_invisibly


def _invalidate_issues(session: Session, newsletter: Newsletter) -> None:
    for row in issues.lock_unfinished(session, newsletter.id):
        if row.digest_month and row.ready_at:
            continue  # it may wait for months for the end of a pause, and is sent as it was compiled
        if row.state in (IssueState.sending, IssueState.paused):
            raise InvalidIssueState(
                f"Issue {row.id} ({row.number}) is {row.state.value}, and this change would affect the emails that "
                "are not sent yet. Wait until it is sent, or cancel it.",
                row.id,
                (IssueAction.cancel,),
            )
        approvals.content_changed(session, row.id, THE_SERVICE, withdraw_all=True)
        # A digest needs no approval: it is compiled with the settings of its sending time.
        if row.state not in EDITABLE_STATES and row.digest_month is None:
            row.state, row.scheduled_at, row.local_time = IssueState.draft, None, None
            issues.log(session, row.id, THE_SERVICE, IssueEventKind.reopened, "the newsletter changed")
