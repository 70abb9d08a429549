"""Runs tests with different query plans, because a statement must be correct with any plan."""

import pytest
from sqlalchemy import text

from mailer.store.database import Session

with_each_plan = pytest.mark.parametrize(
    "without",
    [(), ("hashjoin", "mergejoin", "hashagg", "sort", "material")],
    ids=["as it likes", "in nested loops"],
)


def disable_plans(session: Session, plan_types: tuple[str, ...]) -> None:
    """Disable these plan types until the end of the transaction."""
    for plan_type in plan_types:
        session.execute(text(f"SET LOCAL enable_{plan_type} = off"))
