"""Fixtures for tests of issues."""

from collections.abc import Callable

import pytest


@pytest.fixture
def issue(import_issue: Callable[..., int]) -> int:
    """The sample issue as a draft in two languages."""
    return import_issue("en", "fr")
