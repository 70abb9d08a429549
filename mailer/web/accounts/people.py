"""Colleagues: invitations, roles, accounts kept out, and the audit log."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.domain.accounts import AccountLinkKind, AuditAction
from mailer.domain.permissions import Permission, Role, RoleGrant
from mailer.services.accounts import audit, people
from mailer.services.accounts.people import AccountRefused, LinkExpired
from mailer.services.accounts.staff import Staff
from mailer.services.newsletters.catalogue import NewsletterSummary, list_newsletters
from mailer.web.dependencies import App, BigRowId, Now, RowId
from mailer.web.forms import whole_number
from mailer.web.staff import PageOf, Requires
from mailer.web.staff_forms import StaffForm

router = APIRouter(include_in_schema=False)
Administrator = Annotated[Staff, Depends(Requires(Permission.manage_accounts))]
AuditViewer = Annotated[Staff, Depends(Requires(Permission.read_audit_log))]
PERSON = f"{urls.PEOPLE}/{{account}}"


def _service_wide(staff: Administrator) -> Staff:
    """Return an administrator of the whole service: accounts belong to no single newsletter."""
    if not staff.may(Permission.manage_accounts):
        raise HTTPException(403)
    return staff


ServiceAdministrator = Annotated[Staff, Depends(_service_wide)]


@router.get(urls.PEOPLE)
def people_page(
    app: App, page: PageOf, now: Now, staff: ServiceAdministrator, done: str = "", link: str = ""
) -> Response:
    return _list(app, page, staff, done=done, link=_invitation_url(app, now, link))


@router.post(urls.PEOPLE)
def invite(app: App, page: PageOf, now: Now, staff: ServiceAdministrator, form: StaffForm) -> Response:
    newsletters = list_newsletters(app.database)
    try:
        link = people.invite(
            app.database,
            staff,
            str(form.get("address", ""))[:320],
            str(form.get("name", ""))[:200],
            _grants(form, newsletters),
            now,
        )
    except AccountRefused as error:
        return _list(app, page, staff, error=str(error), form=form, status=400)
    return page.redirect(f"{page.urls.path(urls.PEOPLE)}?link={link}", "invited")


@router.get(PERSON)
def person_page(app: App, page: PageOf, staff: ServiceAdministrator, account: RowId, done: str = "") -> Response:
    return _person(app, page, staff, account, done=done)


@router.post(PERSON)
def change_person(
    app: App, page: PageOf, now: Now, staff: ServiceAdministrator, account: RowId, form: StaffForm
) -> Response:
    action = str(form.get("action", ""))
    done = action
    if people.person(app.database, account) is None:
        raise HTTPException(404)
    try:
        match action:
            case "roles":
                grants = _grants(form, list_newsletters(app.database))
                if not grants:
                    raise AccountRefused("Choose at least one role. To keep somebody out, disable the account.")
                people.set_roles(app.database, staff, account, grants, now)
            case "disable":
                people.disable(app.database, staff, account, now)
            case "enable":
                people.enable(app.database, staff, account, now)
            case "sessions":
                people.end_sessions(app.database, staff, account, now)
            case "unlink":
                people.unlink(app.database, staff, account, now)
            case "invite":
                link = people.invite_again(app.database, staff, account, now)
                return page.redirect(f"{page.urls.path(urls.PEOPLE)}?link={link}", "invited")
            case _:
                raise HTTPException(400)
    except AccountRefused as error:
        return _person(app, page, staff, account, error=str(error), status=400)
    return page.redirect(page.urls.path(PERSON, account=account), done)


@router.get(urls.AUDIT_LOG)
def audit_log(
    app: App, page: PageOf, staff: AuditViewer, action: str = "", actor: str = "", before: BigRowId | None = None
) -> Response:
    if not staff.may(Permission.read_audit_log):
        raise HTTPException(403)
    chosen = next((known for known in AuditAction if known == action), None)
    events = audit.search(app.database, chosen, actor[:100].replace("\0", ""), before)
    return page(
        "accounts/audit_log",
        staff,
        events=events,
        actions=sorted(AuditAction),
        action=action,
        actor=actor,
        older=events[-1].id if len(events) == audit.PAGE_SIZE else None,
    )


def _invitation_url(app: Container, now: datetime, link: str) -> str:
    """Return the URL of an invitation, to be handed over by other means than mail; empty for any other link.

    A link to a new password is its owner's alone: with it, an administrator could sign in as somebody else.
    """
    id = whole_number(link, max_digits=18)
    if id is None:
        return ""
    try:
        kind = people.open_link(app.database, id, now).kind
    except LinkExpired:
        return ""
    return app.urls.account_link_url(id) if kind is AccountLinkKind.invitation else ""


def _list(
    app: App,
    page: PageOf,
    staff: Staff,
    *,
    done: str = "",
    link: str = "",
    error: str = "",
    form: FormData | None = None,
    status: int = 200,
) -> Response:
    return page(
        "accounts/people",
        staff,
        status,
        people=people.list_people(app.database),
        newsletters=list_newsletters(app.database),
        roles=list(Role),
        done=done,
        link=link,
        error=error,
        form=form or FormData(),
    )


def _person(
    app: App, page: PageOf, staff: Staff, account: int, *, done: str = "", error: str = "", status: int = 200
) -> Response:
    person = people.person(app.database, account)
    if person is None:
        raise HTTPException(404)
    return page(
        "accounts/person",
        staff,
        status,
        person=person,
        newsletters=list_newsletters(app.database),
        roles=list(Role),
        done=done,
        error=error,
    )


def _grants(form: FormData, newsletters: list[NewsletterSummary]) -> list[RoleGrant]:
    """Read fields such as ``role:all:author`` and ``languages:3:translator``."""
    grants = []
    scopes = [("all", None), *((str(newsletter.id), newsletter.id) for newsletter in newsletters)]
    languages_of: dict[int | None, list[str]] = {
        newsletter.id: list(newsletter.languages) for newsletter in newsletters
    }
    languages_of[None] = sorted({tag for newsletter in newsletters for tag in newsletter.languages})
    for name, newsletter in scopes:
        for role in Role:
            if form.get(f"role:{name}:{role}"):
                chosen = [str(tag) for tag in form.getlist(f"languages:{name}:{role}")]
                languages = tuple(tag for tag in languages_of[newsletter] if tag in chosen)
                grants.append(RoleGrant(role, newsletter, languages))
    return grants
