"""What workers have looked up in the network for the check of issues."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.network_checks import LookupKind, LookupOutcome
from mailer.models.base import Base, enum_of


class NetworkLookup(Base):
    """The last result for a web address or a sender's domain, whatever issue it was looked up for."""

    __tablename__ = "network_lookup"

    kind: Mapped[LookupKind] = mapped_column(enum_of(LookupKind, "lookup_kind"), primary_key=True)
    target: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[LookupOutcome] = mapped_column(enum_of(LookupOutcome, "lookup_outcome"))
    reason: Mapped[Any] = mapped_column(JSONB)
    """As ``mailer.domain.staff_texts.to_json`` has it."""
    looked_at: Mapped[datetime]

    __table_args__ = (CheckConstraint("octet_length(target) <= 2000", name="target"),)


class IssueLookup(Base):
    """Somebody's order to look up what an issue links to. A worker claims it."""

    __tablename__ = "issue_lookup"

    issue_id: Mapped[int] = mapped_column(ForeignKey("issue.id", ondelete="CASCADE"), primary_key=True)
    requested_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "requested_at", postgresql_where=text("finished_at IS NULL")),)
