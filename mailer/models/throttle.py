"""What holds relays and destinations back just now, and how much a relay that warms up has sent."""

from datetime import date, datetime

from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.throttling import ThrottleScope
from mailer.models.base import Base, enum_of


class Throttle(Base):
    """See mailer.domain.throttling. There is a row only for those that something holds back."""

    __tablename__ = "throttle"

    scope: Mapped[ThrottleScope] = mapped_column(enum_of(ThrottleScope, "throttle_scope"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    rate: Mapped[float | None]
    target_rate: Mapped[float | None]
    slowed_at: Mapped[datetime | None]
    open_until: Mapped[datetime | None]
    trips: Mapped[int]
    probe_lease_until: Mapped[datetime | None]
    manual: Mapped[bool]
    reason: Mapped[str]


class RelayDailyUsage(Base):
    """Messages handed to a relay that warms up, on one day of UTC."""

    __tablename__ = "relay_daily_usage"

    relay: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    sent: Mapped[int]


class MailDomain(Base):
    """A receiving domain and the mail server that DNS names for it, for those with many readers."""

    __tablename__ = "mail_domain"

    domain: Mapped[str] = mapped_column(primary_key=True)
    mx_host: Mapped[str]
    looked_up_at: Mapped[datetime]
