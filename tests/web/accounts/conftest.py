"""Fixtures for the pages on which staff sign in."""

from tests.support.staff_fixtures import app, client

__all__ = ["app", "client"]
