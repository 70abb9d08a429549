"""The pages behind the links in any email: unsubscribing, and the preferences that the email itself shows.

Emails are forwarded, so these pages mask the address, and changes are confirmed by email. GET changes nothing. POST
needs only the link, without cookies or a login.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import HTMLResponse

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.domain import urls
from mailer.domain.consents import ConsentChannel
from mailer.domain.subscription_ref import LinkKind, SubscriptionRef
from mailer.services.subscribers import unsubscribe
from mailer.web.dependencies import App, Now, PostedForm, PostedFrom, PublicPages, RequestedLanguages
from mailer.web.public.subscription import (
    ACTIONS,
    Visit,
    choices_page,
    load_profile,
    send_magic_link,
    unsubscribed_page,
)

router = APIRouter(include_in_schema=False)
_ACTIONS = ACTIONS | {"send": send_magic_link}


def _unsubscribe_visit(
    app: App, pages: PublicPages, languages: RequestedLanguages, now: Now, requester: PostedFrom, token: str
) -> Visit:
    ref = _read_token(app, token, Purpose.unsubscribe, Purpose.unsubscribe_newsletter)
    return Visit(app, pages, ref, LinkKind.mail, ConsentChannel.unsubscribe_page, languages, now, requester)


def _preferences_visit(
    app: App, pages: PublicPages, languages: RequestedLanguages, now: Now, requester: PostedFrom, token: str
) -> Visit:
    ref = _read_token(app, token, Purpose.preferences, Purpose.preferences_newsletter)
    return Visit(app, pages, ref, LinkKind.mail, ConsentChannel.preferences_page, languages, now, requester)


def _read_token(app: Container, token: str, issue_purpose: Purpose, newsletter_purpose: Purpose) -> SubscriptionRef:
    if pair := app.tokens.read_link_token(issue_purpose, token):
        return unsubscribe.current_ref(app.database, SubscriptionRef(pair[1], issue=pair[0]))
    if pair := app.tokens.read_link_token(newsletter_purpose, token):
        return unsubscribe.current_ref(app.database, SubscriptionRef(pair[1], newsletter=pair[0]))
    raise HTTPException(404)


UnsubscribeVisit = Annotated[Visit, Depends(_unsubscribe_visit)]
PreferencesVisit = Annotated[Visit, Depends(_preferences_visit)]


@router.api_route(urls.UNSUBSCRIBE, methods=["GET", "HEAD"])
def show_unsubscribe(visit: UnsubscribeVisit) -> HTMLResponse:
    return choices_page(visit, load_profile(visit), template="unsubscribe")


@router.post(urls.UNSUBSCRIBE)
def post_unsubscribe(visit: UnsubscribeVisit, form: PostedForm) -> HTMLResponse:
    """Handle the buttons of the page. Any other POST is a one-click unsubscribe (RFC 8058)."""
    if action := _ACTIONS.get(str(form.get("action"))):
        return action(visit, form)
    unsubscribe.unsubscribe(visit.app.database, visit.ref, ConsentChannel.one_click, visit.now)
    return unsubscribed_page(visit, load_profile(visit))


@router.api_route(urls.PREFERENCES, methods=["GET", "HEAD"])
def show_preferences(visit: PreferencesVisit) -> HTMLResponse:
    return choices_page(visit, load_profile(visit))


@router.post(urls.PREFERENCES)
def post_preferences(visit: PreferencesVisit, form: PostedForm) -> HTMLResponse:
    if action := _ACTIONS.get(str(form.get("action"))):
        return action(visit, form)
    return choices_page(visit, load_profile(visit), 422, problem="unreadable")
