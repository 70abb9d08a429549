"""What holds relays and destinations back just now, and how much a relay that warms up has sent."""

from datetime import date, datetime

from sqlalchemy.orm import Mapped, mapped_column

from mailer.domain.throttling import Kind
from mailer.models.base import Base, enum_of


class Throttle(Base):
    """See mailer.domain.throttling. There is a row only for those that something holds back."""

    __tablename__ = "throttle"

    kind: Mapped[Kind] = mapped_column(enum_of(Kind, "throttle_kind"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    rate: Mapped[float | None]
    aim: Mapped[float | None]
    slowed_at: Mapped[datetime | None]
    shut_until: Mapped[datetime | None]
    trips: Mapped[int]
    probed_until: Mapped[datetime | None]
    by_hand: Mapped[bool]
    reason: Mapped[str]


class RelayDay(Base):
    """Messages handed to a relay that warms up, on one day of UTC."""

    __tablename__ = "relay_day"

    relay: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    handed: Mapped[int]


class MailDomain(Base):
    """A receiving domain and the mail server that DNS names for it, for those with many readers."""

    __tablename__ = "mail_domain"

    domain: Mapped[str] = mapped_column(primary_key=True)
    exchange: Mapped[str]
    looked_up_at: Mapped[datetime]
