"""PostgreSQL chooses how it answers; what a statement promises has to hold by whatever plan."""

import pytest
from sqlalchemy import text

from mailer.store.database import Session

by_whatever_plan = pytest.mark.parametrize(
    "without",
    [(), ("hashjoin", "mergejoin", "hashagg", "sort", "material")],
    ids=["as it likes", "in nested loops"],
)


def forbid(session: Session, without: tuple[str, ...]) -> None:
    """Until the transaction ends, plan ``without`` these."""
    for way in without:
        session.execute(text(f"SET LOCAL enable_{way} = off"))
