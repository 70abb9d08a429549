"""Fixtures for the pages of the desk."""

from tests.support.staff_fixtures import app, client

__all__ = ["app", "client"]
