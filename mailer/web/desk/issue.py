"""What the pages of an issue share: who may use them, and how each answers to an order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol
from urllib.parse import quote

from fastapi import Depends, HTTPException, Response
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.errors import UserError
from mailer.domain.permissions import Permission
from mailer.services.accounts import audit
from mailer.services.accounts.staff import Staff
from mailer.services.issues import hold_over
from mailer.services.issues.plan import IssueHead, load_head
from mailer.services.subscribers.listing import find_of_any_newsletter
from mailer.web.dependencies import App, Now
from mailer.web.forms import whole_number
from mailer.web.staff import Page, PageMoved, PageOf, Requires, message_of

ISSUE = "/desk/issues/{issue}"
Viewer = Annotated[Staff, Depends(Requires(Permission.read_issues))]
Writer = Annotated[Staff, Depends(Requires(Permission.write))]
Translator = Annotated[Staff, Depends(Requires(Permission.translate_texts))]
Approver = Annotated[Staff, Depends(Requires(Permission.approve))]
Scheduler = Annotated[Staff, Depends(Requires(Permission.schedule))]
AddressViewer = Annotated[Staff, Depends(Requires(Permission.read_addresses))]
Reporter = Annotated[Staff, Depends(Requires(Permission.read_reports))]


class ShowPage(Protocol):
    """Shows a page of an issue, with what went wrong."""

    def __call__(self, visit: "Visit", staff: Staff, /, *, error: str, status: int) -> Response: ...


@dataclass(frozen=True, slots=True)
class Visit:
    """A request for a page of one issue."""

    app: Container
    page: Page
    now: datetime
    issue: int

    def head(self) -> IssueHead:
        return load_head(self.app.database, self.issue)

    def go_to(self, tab: str, done: str) -> Response:
        """Go to a tab of the issue after a form, such as ``/send``. ``done`` names a message there."""
        return self.page.redirect(self.page.urls.path(ISSUE + tab, issue=self.issue), done)

    def not_here(self, story: int) -> Exception:
        """Return what to raise for a story that is not in the issue: if it was held over, its page is elsewhere."""
        request, issue = self.page.request, hold_over.find_issue(self.app.database, self.issue, story)
        if issue is None or request.method != "GET":
            return HTTPException(404)
        below = quote(request.scope["path"].split("/", 4)[4])
        query = f"?{request.url.query}" if request.url.query else ""
        return PageMoved(f"{self.page.urls.path(ISSUE, issue=issue)}/{below}{query}")

    def record(self, staff: Staff, action: AuditAction, detail: Mapping[str, Any] | None = None) -> None:
        audit.record(self.app.database, staff, self.now, action, "issue", self.issue, detail)

    def record_opened(self, staff: Staff, address_hash: bytes) -> None:
        """Record that somebody looks at what became of this issue for a reader, if there is one with this address."""
        subscriber = find_of_any_newsletter(self.app.database, address_hash)
        if subscriber is not None:
            opened, detail = AuditAction.subscriber_opened, {"issue": self.issue}
            audit.record(self.app.database, staff, self.now, opened, "subscriber", subscriber, detail)

    def carry_out(
        self,
        staff: Staff,
        order: Callable[[], object],
        *,
        refused: ShowPage,
        then: str,
        done: str,
    ) -> Response:
        """Carry out an order and go to a tab. If it is refused, show the page ``refused`` with the reason.

        The order writes to the issue's log and the audit log itself, in its transaction.
        """
        try:
            order()
        except UserError as error:
            return refused(self, staff, error=message_of(error), status=409)
        return self.go_to(then, done)


def _visit(app: App, page: PageOf, now: Now, issue: int) -> Visit:
    return Visit(app, page, now, issue)


VisitOf = Annotated[Visit, Depends(_visit)]


def read_step(form: FormData) -> int:
    """Return by how many places something is to be moved: one up, one down, or none."""
    return {"up": -1, "down": 1}.get(str(form.get("step", "")), 0)


def read_revision(form: FormData) -> int:
    """Return the revision of the issue that a form was shown with. Raises HTTPException 400."""
    revision = whole_number(str(form.get("revision", "")))
    if revision is None:
        raise HTTPException(400)
    return revision
