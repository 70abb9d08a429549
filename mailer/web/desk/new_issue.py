"""The page on which an issue is begun, blank or from the last one."""

from datetime import date

from fastapi import APIRouter, Response

from mailer.domain.errors import UserError
from mailer.domain.issue_numbers import MAX_NUMBER_CHARS
from mailer.services.issues import new_issue
from mailer.services.issues.new_issue import NewIssue
from mailer.web.dependencies import App, Now
from mailer.web.desk.issue import ISSUE, Writer
from mailer.web.staff import NewsletterOf, PageOf, message_of
from mailer.web.staff_forms import StaffForm

NEW_ISSUE = "/desk/newsletters/{newsletter}/new-issue"
router = APIRouter(prefix=NEW_ISSUE, include_in_schema=False)


@router.get("")
def new_issue_page(app: App, page: PageOf, staff: Writer, now: Now, newsletter: NewsletterOf) -> Response:
    proposal = new_issue.propose(app.database, newsletter.id, now.date())
    wanted = NewIssue(
        proposal.number,
        proposal.issue_date,
        from_last=proposal.last is not None,
        contact_notes=proposal.contact_notes > 0,
        header_image=proposal.has_header_image,
    )
    return page("desk/new_issue", staff, newsletter=newsletter, proposal=proposal, wanted=wanted, error="")


@router.post("")
def begin(app: App, page: PageOf, staff: Writer, now: Now, newsletter: NewsletterOf, form: StaffForm) -> Response:
    proposal = new_issue.propose(app.database, newsletter.id, now.date())
    error = ""
    try:
        issue_date = date.fromisoformat(str(form.get("date", "")))
    except ValueError:
        error, issue_date = "date", proposal.issue_date
    wanted = NewIssue(
        str(form.get("number", ""))[: MAX_NUMBER_CHARS + 1],
        issue_date,
        from_last=form.get("begin") == "last",
        contact_notes="contact_notes" in form,
        header_image="header_image" in form,
    )
    if not error:
        try:
            issue = new_issue.begin(app.database, newsletter.id, wanted, staff)
            return page.redirect(page.urls.path(ISSUE, issue=issue), "begun")
        except new_issue.NumberTaken:
            error = "taken"
        except UserError as problem:
            error = message_of(problem)
    return page("desk/new_issue", staff, 400, newsletter=newsletter, proposal=proposal, wanted=wanted, error=error)
