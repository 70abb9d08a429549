"""Samples of the flow, one a minute for each relay, provider and queue."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.queue_status import FlowPoint, FlowRow
from mailer.models import FlowSample


def add(session: Session, rows: Sequence[FlowRow]) -> None:
    """Keep samples. Of those that several schedulers take in a minute the first one stays."""
    if rows:
        session.execute(insert(FlowSample).values([asdict(row) for row in rows]).on_conflict_do_nothing())


def history(session: Session, kind: str, name: str, since: datetime, minutes: int) -> list[FlowPoint]:
    """Return means over that many minutes each, the oldest first. Times without a sample are absent."""
    query = """
        SELECT date_bin(make_interval(mins => :minutes), minute, TIMESTAMPTZ '2026-01-01T00:00Z') AS at,
            avg(rate), avg(deferral_rate), max(waiting), avg(rate_limit)
        FROM flow_sample WHERE kind = :kind AND name = :name AND minute >= :since GROUP BY 1 ORDER BY 1
    """
    values = {"kind": kind, "name": name, "since": since, "minutes": minutes}
    return [FlowPoint(*row) for row in session.execute(text(query), values)]


def delete_before(session: Session, before: datetime) -> None:
    session.execute(text("DELETE FROM flow_sample WHERE minute < :before"), {"before": before})
