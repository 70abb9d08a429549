"""A page with every component of the pages for staff, for designers and tests. It is served in development only."""

from fastapi import APIRouter, Response

from mailer.domain import urls
from mailer.web.staff import PageOf, SignedIn

router = APIRouter(include_in_schema=False)


@router.get(urls.COMPONENTS)
def components(page: PageOf, staff: SignedIn) -> Response:
    return page("desk/components", staff)
