"""PostgreSQL chooses how it answers; what a statement promises has to hold by whatever plan."""

import pytest
from sqlalchemy import text

from mailer.store.database import Session

with_each_plan = pytest.mark.parametrize(
    "without",
    [(), ("hashjoin", "mergejoin", "hashagg", "sort", "material")],
    ids=["as it likes", "in nested loops"],
)


def disable_plans(session: Session, plan_types: tuple[str, ...]) -> None:
    """Until the transaction ends, plan ``without`` these."""
    for way in plan_types:
        session.execute(text(f"SET LOCAL enable_{way} = off"))
