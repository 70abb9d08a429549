"""Throttles of relays and destinations, usage of relays in warm-up, orders to workers, and mail servers of domains."""

from datetime import date, datetime

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.throttling import ThrottleScope
from mailer.models.base import Base, enum_of


class Throttle(Base):
    """A throttle: see mailer.domain.throttling. Only relays and destinations that are limited have a row."""

    __tablename__ = "throttle"

    scope: Mapped[ThrottleScope] = mapped_column(enum_of(ThrottleScope, "throttle_scope"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    rate: Mapped[float | None]
    target_rate: Mapped[float | None]
    slowed_at: Mapped[datetime | None]
    open_until: Mapped[datetime | None]
    open_since: Mapped[datetime | None]
    trips: Mapped[int]
    probe_lease_until: Mapped[datetime | None]
    manual: Mapped[bool]
    reason: Mapped[str]


class RelayDailyUsage(Base):
    """Number of messages submitted to a relay in warm-up on one day (UTC)."""

    __tablename__ = "relay_daily_usage"

    relay: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    sent: Mapped[int]


class FlowSample(Base):
    """What went through a relay, a provider or a queue in one minute, and what waited for it."""

    __tablename__ = "flow_sample"

    kind: Mapped[str] = mapped_column(primary_key=True)
    """A ThrottleScope, or ``queue``."""
    name: Mapped[str] = mapped_column(primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True, index=True)
    waiting: Mapped[int] = mapped_column(BigInteger)
    rate: Mapped[float | None]
    """Messages a second; None if Redis did not answer."""
    deferral_rate: Mapped[float | None]
    rate_limit: Mapped[float | None]


class DrainOrder(Base):
    """An order to a worker, or to all workers of a host, to take no more tasks until the order is taken back."""

    __tablename__ = "drain_order"

    name: Mapped[str] = mapped_column(primary_key=True)
    """The worker's, such as ``send@mail-1``, or the host's."""
    ordered_by: Mapped[str]
    ordered_at: Mapped[datetime]
    reason: Mapped[str]


class MailDomain(Base):
    """The preferred MX host of a receiving domain with many subscribers."""

    __tablename__ = "mail_domain"

    domain: Mapped[str] = mapped_column(primary_key=True)
    mx_host: Mapped[str]
    looked_up_at: Mapped[datetime]
