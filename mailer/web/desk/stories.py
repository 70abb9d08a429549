"""All stories of a newsletter: search, and use of one again."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Response

from mailer.adapters.markdown import inline_text
from mailer.domain.errors import QueryTimeout, UserError
from mailer.domain.permissions import Permission
from mailer.domain.search import MAX_QUERY_CHARS, StoryFilter
from mailer.services.accounts.staff import Staff
from mailer.services.issues import hold_over, story_search, use_again
from mailer.services.issues.story_search import MAX_PAGE, PAGE_SIZE, FoundPage
from mailer.web.dependencies import App, RowId
from mailer.web.desk.issue import ISSUE, Viewer, Writer
from mailer.web.forms import whole_number
from mailer.web.staff import NewsletterOf, Page, PageOf, message_of
from mailer.web.staff_forms import StaffForm

STORIES = "/desk/newsletters/{newsletter}/stories"
router = APIRouter(prefix=STORIES, include_in_schema=False)


@router.get("")
def stories_page(
    app: App,
    page: PageOf,
    staff: Viewer,
    newsletter: NewsletterOf,
    q: str = "",
    section: str = "",
    language: str = "",
    issue: str = "",
    picture: str = "",
    number: Annotated[int, Query(ge=1, le=MAX_PAGE, alias="page")] = 1,
) -> Response:
    return _page(app, page, staff, newsletter, (q, section, language, issue, picture), number)


@router.post("/{story}/use")
def use_story_again(
    app: App, page: PageOf, staff: Writer, newsletter: NewsletterOf, story: RowId, form: StaffForm
) -> Response:
    """Copy a story into a draft."""
    target = whole_number(str(form.get("target", "")))
    if target is None:
        raise HTTPException(400)
    try:
        copy = use_again.use_again(
            app.database,
            newsletter.id,
            story,
            target,
            str(form.get("section", "")),
            staff,
            as_drafts=form.get("status") != "ready",
        )
    except UserError as error:
        searched = tuple(str(form.get(name, "")) for name in ("q", "of_section", "language", "issue", "picture"))
        return _page(app, page, staff, newsletter, searched, 1, error=message_of(error), status=409)
    return page.redirect(page.urls.path(ISSUE, issue=target) + f"?done=copied&story={copy}")


def _page(
    app: App,
    page: Page,
    staff: Staff,
    newsletter: NewsletterOf,
    searched: tuple[str, ...],
    number: int,
    *,
    error: str = "",
    status: int = 200,
) -> Response:
    """Show a page of the stories that match: words, the key of a section, a language, an issue, whether pictured."""
    q, section, language, issue, picture = searched
    choices = story_search.choices(app.database, newsletter.id)
    only = StoryFilter(
        q[:MAX_QUERY_CHARS],
        next((id for id, key, _ in choices.sections if key == section), None),
        language if language in newsletter.languages else "",
        next((id for id, _ in choices.issues if str(id) == issue), None),
        bool(picture),
    )
    try:
        found = story_search.search(app.database, inline_text, app.urls, newsletter.id, only, number)
    except QueryTimeout:
        found, error, status = FoundPage((), False), "slow", 400
    may_write = staff.may(Permission.write, newsletter.id)
    return page(
        "desk/stories",
        staff,
        status,
        newsletter=newsletter,
        found=found,
        only=only,
        section=section if only.section else "",
        choices=choices,
        is_filtered=only != StoryFilter(),
        number=number,
        last_page=MAX_PAGE,
        max_stories=MAX_PAGE * PAGE_SIZE,
        drafts=hold_over.list_drafts(app.database, newsletter.id) if may_write else [],
        may_write=may_write,
        error=error,
    )
