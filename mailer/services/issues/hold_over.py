"""Moves a story from one draft of a newsletter into another."""

from dataclasses import dataclass
from datetime import date

from mailer.domain.accounts import Actor
from mailer.domain.errors import ChangeRefused
from mailer.domain.states import IssueEventKind, StoryChangeKind, check_editable
from mailer.services.issues import edit, new_issue
from mailer.store import approvals, issues, newsletters, stories, story_changes
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft into which a story can go."""

    id: int
    number: str
    issue_date: date


def list_drafts(database: Database, newsletter: int) -> list[Draft]:
    """Return the drafts of a newsletter, the earliest first."""
    with database.transaction() as session:
        return [Draft(row.id, row.number, row.issue_date) for row in issues.drafts(session, newsletter)]


def find_issue(database: Database, issue: int, story: int) -> int | None:
    """Return the issue of the same newsletter as ``issue`` that a story is in now; None if it is in none."""
    with database.transaction() as session:
        found = stories.issue_of(session, story)
        if found is None or issues.by_id(session, found).newsletter_id != issues.by_id(session, issue).newsletter_id:
            return None
        return found


def hold_over(database: Database, issue: int, story: int, target: int | None, today: date, actor: Actor) -> Draft:
    """Move a story of a draft, with its texts, its picture and its contact notes, into another draft; return that.

    Without ``target``, the newsletter's next issue is begun for it. It goes to the end of its section. A contact note
    for several stories stays, and a copy goes along. Raises IssueNotFound, InvalidIssueState or ChangeRefused.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        newsletter = newsletters.lock(session, row.newsletter_id)
        if target is None:
            issues.lock_draft(session, issue, "its stories can no longer be held over")
            target = new_issue.begin_next(session, newsletter, today, actor).id
        locked = issues.lock_all(session, [issue, target])
        for id, one in locked.items():
            check_editable(id, one.state, "its stories can no longer be held over")
        if target == issue or locked[target].newsletter_id != row.newsletter_id:
            raise ChangeRefused("A story is held over into another draft of the same newsletter.")
        edit.check_room(session, locked[target])
        found = edit.find_story(session, issue, story)
        headline = edit.headline_of(session, row, found)
        change = story_changes.remember(session, found, headline, StoryChangeKind.held_over, actor)
        copied = stories.move_to_issue(session, found, target, actor)
        change.before = change.before | {"target": target, "copied_contacts": copied}
        for id in locked:
            approvals.content_changed(session, id, actor)
        numbers = {"from": locked[issue].number, "to": locked[target].number}
        for id in locked:
            detail = f"{numbers['from']} → {numbers['to']}: {headline}"
            issues.log(session, id, actor, IssueEventKind.story_held_over, detail, headline=headline, **numbers)
        return Draft(target, locked[target].number, locked[target].issue_date)
