"""The home page of the desk: what waits, and the issues."""

from fastapi import APIRouter, Response

from mailer.domain import urls
from mailer.domain.permissions import Permission
from mailer.domain.states import EDITABLE_STATES, IssueState
from mailer.services.accounts.staff import Staff
from mailer.services.issues import text_request_list
from mailer.services.issues.plan import IssueHead, list_heads
from mailer.services.newsletters.catalogue import list_newsletters
from mailer.web.dependencies import App, Now, RowId
from mailer.web.desk.issue import Viewer
from mailer.web.staff import PageOf

router = APIRouter(include_in_schema=False)
PAGE_SIZE = 30


@router.get(urls.DESK)
def home(app: App, page: PageOf, now: Now, staff: Viewer, before: RowId | None = None, done: str = "") -> Response:
    allowed = staff.newsletters(Permission.read_issues)
    heads = list_heads(app.database, allowed, limit=PAGE_SIZE, before=before)
    known = [row for row in list_newsletters(app.database) if allowed is None or row.id in allowed]
    return page(
        "desk/home",
        staff,
        heads=heads,
        waiting=[(head, step) for head in heads if (step := next_step(head, staff))],
        own_texts=text_request_list.list_own(app.database, staff.account, now) if before is None else [],
        handed_in=text_request_list.count_handed_in(
            app.database, [head.id for head in heads if staff.may(Permission.write, head.newsletter)]
        ),
        newsletters=known,
        older=heads[-1].id if len(heads) == PAGE_SIZE else None,
        done=done,
    )


def next_step(head: IssueHead, staff: Staff) -> str:
    """Return what an issue needs next if this account can do it, else an empty string."""

    def may(permission: Permission) -> bool:
        return staff.may(permission, head.newsletter)

    if head.state in EDITABLE_STATES:
        if len(head.complete_languages) < len(head.languages) and may(Permission.translate_texts):
            return "write"
        to_approve = [
            tag
            for tag in head.complete_languages
            if tag in head.last_writers
            and tag not in head.approved_languages
            and staff.may(Permission.approve, head.newsletter, tag)
            and not (head.four_eyes and head.last_writers[tag] == staff.account)
        ]
        return "approve" if to_approve else ""
    if head.state is IssueState.approved and may(Permission.schedule):
        return "schedule"
    if head.state is IssueState.paused and may(Permission.schedule):
        return "resume"
    return ""
