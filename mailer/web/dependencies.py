"""The dependencies of handlers, as parameter types for FastAPI (``Depends``)."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from pydantic import Field
from starlette.datastructures import FormData

from mailer.bootstrap import Container
from mailer.services.subscribers.request_limits import Requester
from mailer.web.forms import read_form
from mailer.web.negotiation import accepted_languages, requested_languages
from mailer.web.pages import Pages
from mailer.web.public.archive_pages import ArchivePages


async def _container(request: Request) -> Container:
    container: Container = request.app.state.container
    return container


async def _pages(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


async def _archive_pages(request: Request) -> ArchivePages:
    pages: ArchivePages = request.app.state.archive_pages
    return pages


async def _accepted_languages(request: Request) -> list[str]:
    return accepted_languages(request)


async def _requested_languages(request: Request) -> list[str]:
    return requested_languages(request)


App = Annotated[Container, Depends(_container)]


async def current_time(app: App) -> datetime:
    return app.clock.now()


async def _requester(request: Request, app: App) -> Requester:
    return app.requester(request.client.host if request.client else "")


PublicPages = Annotated[Pages, Depends(_pages)]
OpenPages = Annotated[ArchivePages, Depends(_archive_pages)]
RowId = Annotated[int, Field(ge=1, lt=2**31)]
"""The id of a row that PostgreSQL numbers with integers, in a path or query. Any other is not found."""
BigRowId = Annotated[int, Field(ge=1, lt=2**63)]
Now = Annotated[datetime, Depends(current_time)]
AcceptedLanguages = Annotated[list[str], Depends(_accepted_languages)]
"""From the URL (``?lang=…``), then from the browser's settings."""
RequestedLanguages = Annotated[list[str], Depends(_requested_languages)]
"""Only from the URL (``?lang=…``)."""
PostedFrom = Annotated[Requester, Depends(_requester)]
PostedForm = Annotated[FormData, Depends(read_form)]
