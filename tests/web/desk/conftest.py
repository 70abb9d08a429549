"""Fixtures for the pages of the desk."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from mailer.bootstrap import Container
from mailer.domain.permissions import Role
from mailer.services.issues import plan
from tests.support.staff import add_account, sign_in
from tests.support.staff_fixtures import app, client

__all__ = ["app", "client"]


@pytest.fixture
def issue(app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]) -> int:
    """The sample issue as a draft in two languages, with three readers."""
    number = import_issue("en", "fr")
    add_subscribers("""
        ada@example.org;en;
        jeanne@example.org;fr;water-and-rivers
        leila@example.org;ar;
    """)
    return number


@pytest.fixture
def story(app: Container, issue: int) -> int:
    """The first story of the issue."""
    return plan.load_plan(app.database, app.urls, issue).planned_stories[0].id


@pytest.fixture
def coordinator(app: Container, client: TestClient, issue: int) -> int:
    account = add_account(app, "amina@example.org", Role.coordinator)
    sign_in(client, "amina@example.org")
    return account
