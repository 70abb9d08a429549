"""Every page for staff declares what it needs, and is closed to everybody else."""

from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount

from mailer.bootstrap import Container
from mailer.domain.permissions import ROLE_PERMISSIONS, Permission, Role
from mailer.web.app import create_app
from mailer.web.live import LiveStreams
from mailer.web.staff import Anyone, Requires
from mailer.web.staff_forms import FORM_TOKEN, is_staff_path
from tests.support.clock import StoppedClock
from tests.support.staff import SAME_ORIGIN, add_account, form_token_of, sign_in


@pytest.fixture
def web_app(make_app: Callable[..., Container]) -> FastAPI:
    web_app = create_app(make_app({"public_url": "https://news.example.org"}, clock=StoppedClock()))
    web_app.state.live_streams = LiveStreams(stream_seconds=0)
    return web_app


@pytest.fixture
def client(web_app: FastAPI) -> Iterator[TestClient]:
    with TestClient(web_app, base_url="https://testserver", follow_redirects=False) as made:
        yield made


def staff_routes(web_app: FastAPI) -> list[APIRoute]:
    modules = ("mailer.web.accounts.", "mailer.web.desk.", "mailer.web.control.")
    assert all(isinstance(route, (APIRoute, Mount)) for route in web_app.routes), "routes inside others are not seen"
    found = [
        route
        for route in web_app.routes
        if isinstance(route, APIRoute) and (is_staff_path(route.path) or route.endpoint.__module__.startswith(modules))
    ]
    assert len(found) > 20
    return found


def guards(dependant: Dependant) -> list[Requires | Anyone]:
    """Return what a route demands of a visitor, through all that it depends on."""
    found = [dependant.call] if isinstance(dependant.call, (Requires, Anyone)) else []
    return [*found, *(guard for inner in dependant.dependencies for guard in guards(inner))]


def reads_checked_form(dependant: Dependant) -> bool:
    name = getattr(dependant.call, "__name__", "")
    readers = ("_checked_form", "_checked_body", "_read_upload", "_read_pictures")
    return name in readers or any(map(reads_checked_form, dependant.dependencies))


def test_every_route_declares_what_it_needs(web_app: FastAPI) -> None:
    for route in staff_routes(web_app):
        assert guards(route.dependant), f"{route.path} is open to anybody"


def test_every_form_of_a_session_is_checked(web_app: FastAPI) -> None:
    for route in staff_routes(web_app):
        unsafe = (route.methods or set()) - {"GET", "HEAD"}
        of_session = any(isinstance(guard, Requires) for guard in guards(route.dependant))
        if unsafe and of_session:
            assert reads_checked_form(route.dependant), f"{unsafe} {route.path} takes any form"


def test_few_routes_are_open_to_anyone(web_app: FastAPI) -> None:
    routes = staff_routes(web_app)
    for_anyone = {route.path for route in routes if all(isinstance(g, Anyone) for g in guards(route.dependant))}
    openid = {"/sign-in/openid", "/sign-in/openid/callback"}
    sign_in = {"/sign-in", "/sign-in/code", "/sign-in/continue", "/sign-in/forgotten", "/w/{token}"}
    by_link = {f"/t/{{token}}{order}" for order in ("", "/text", "/heartbeat", "/dateline", "/document", "/hand-in")}
    assert for_anyone == sign_in | openid | by_link


def _address(route: APIRoute, issue: int) -> str:
    names = {"issue": issue, "account": 1}
    path = route.path
    for name in route.param_convertors:
        path = path.replace(f"{{{name}}}", str(names.get(name, 1)))
    return path


@pytest.mark.parametrize("role", [None, *Role])
def test_each_role_reaches_exactly_what_it_may(
    client: TestClient, web_app: FastAPI, import_issue: Callable[..., int], role: Role | None
) -> None:
    """Nobody is asked to sign in; a role without the permission is refused; nothing else than these."""
    app = web_app.state.container
    issue = import_issue("en")
    token = ""
    if role:
        add_account(app, "somebody@example.org", role)
        sign_in(client, "somebody@example.org")
        token = form_token_of(client.get("/account").text)
    allowed = ROLE_PERMISSIONS[role] if role else frozenset[Permission]()
    routes = staff_routes(web_app)
    # Signing out ends the session, so it comes last.
    for route in sorted(routes, key=lambda route: route.path == "/sign-out"):
        needed = [guard.permission for guard in guards(route.dependant) if isinstance(guard, Requires)]
        if not needed:
            continue
        for method in (route.methods or set()) - {"HEAD"}:
            data = {FORM_TOKEN: token} if method == "POST" else None
            answer = client.request(method, _address(route, issue), data=data, headers=SAME_ORIGIN)
            where = f"{role} {method} {route.path}: {answer.status_code}"
            if role is None:
                assert answer.status_code in (303, 401), where
                assert answer.status_code == 401 or answer.headers["location"].startswith("/sign-in"), where
            elif any(permission is not None and permission not in allowed for permission in needed):
                assert answer.status_code in (403, 404), where
            else:
                assert answer.status_code not in (401, 403), where
                assert answer.status_code < 500, where


def test_the_page_of_components_is_for_development(client: TestClient, make_app: Callable[..., Container]) -> None:
    add_account(client.app.state.container, "somebody@example.org", Role.translator)  # type: ignore[attr-defined]
    sign_in(client, "somebody@example.org")
    assert client.get("/desk/components").status_code == 404
    settings = {"public_url": "https://news.example.org", "web_components": True}
    with TestClient(create_app(make_app(settings)), follow_redirects=False) as development:
        assert development.get("/desk/components").status_code == 303
