"""Names of time zones, and when a local time comes."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from time import tzset

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.subscriber_fields import InvalidValue, read_time_zone
from mailer.domain.time_zones import (
    COMMON_TIME_ZONES,
    ClockChange,
    clock_change,
    due_at,
    due_times,
    known_time_zones,
    time_zone,
    to_utc,
)

BELGRADE, NEW_YORK, LORD_HOWE = map(time_zone, ("Europe/Belgrade", "America/New_York", "Australia/Lord_Howe"))


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("", "UTC"),
        ("europe/BELGRADE", "Europe/Belgrade"),
        ("America/New York", "America/New_York"),
        ("Europe/Kiev", "Europe/Kiev"),
        ("US/Pacific", "US/Pacific"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        ("Poland", "Europe/Warsaw"),
        ("PRC", "Asia/Shanghai"),
        ("Iceland", "Atlantic/Reykjavik"),
        *((name, "UTC") for name in ("UTC", "GMT", "Zulu", "Etc/UTC", "Etc/GMT", "etc/uct", "GMT0")),
    ],
)
def test_time_zones_are_read(written: str, stored: str) -> None:
    assert read_time_zone(written) == stored
    assert stored in known_time_zones()


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        *((name, "Europe/Paris") for name in ("CET", "cest", "MET", "MEZ", "UTC+1", "GMT+01:00", "+0100")),
        *((name, "Europe/Athens") for name in ("EET", "EEST", "UTC+2")),
        *((name, "Europe/Lisbon") for name in ("WET", "WEST")),
        *((name, "America/New_York") for name in ("EST", "EDT", "EST5EDT", "New York", "UTC-5")),
        *((name, "America/Los_Angeles") for name in ("PST", "PST8PDT")),
        *((name, "Pacific/Honolulu") for name in ("HST", "-10:00")),
        *((name, "America/Vancouver") for name in ("Vancouver", "Europe/Vancouver", "America/Vancuver")),
        ("Sarajevo", "Europe/Sarajevo"),
        ("+05:30", "Asia/Kolkata"),
    ],
)
def test_other_names_are_refused_with_a_city(written: str, nearest: str) -> None:
    with pytest.raises(InvalidValue, match=f"is not the time zone of a place: write {nearest}, or a nearer city$"):
        read_time_zone(written)


@pytest.mark.parametrize("written", ["localtime", "Factory", "posixrules", "Nowhere", "../../etc/passwd", "x" * 10**6])
def test_names_that_mean_nothing_are_refused(written: str) -> None:
    with pytest.raises(InvalidValue, match="is not a time zone such as Europe/Paris"):
        read_time_zone(written)


def test_every_accepted_time_zone_has_rules() -> None:
    assert known_time_zones() >= set(COMMON_TIME_ZONES)
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    for name in known_time_zones():
        assert time_zone(name).key == name
        assert abs(now.astimezone(time_zone(name)).utcoffset() or timedelta(0)) <= timedelta(hours=14)
    assert time_zone("CET") is not None
    assert time_zone("Nowhere/Else").key == "UTC"


@pytest.mark.parametrize(
    ("local", "zone", "change", "at"),
    [
        # The examples of RFC 5545, section 3.3.5.
        (datetime(2007, 11, 4, 1, 30), NEW_YORK, ClockChange.repeated, datetime(2007, 11, 4, 5, 30, tzinfo=UTC)),
        (datetime(2007, 3, 11, 2, 30), NEW_YORK, ClockChange.skipped, datetime(2007, 3, 11, 7, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 1, 59), BELGRADE, None, datetime(2026, 10, 24, 23, 59, tzinfo=UTC)),
        (datetime(2026, 10, 25, 2, 0), BELGRADE, ClockChange.repeated, datetime(2026, 10, 25, 0, 0, tzinfo=UTC)),
        (datetime(2026, 10, 25, 3, 0), BELGRADE, None, datetime(2026, 10, 25, 2, 0, tzinfo=UTC)),
        (datetime(2026, 3, 29, 3, 0), BELGRADE, None, datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        (datetime(2026, 10, 4, 2, 10), LORD_HOWE, ClockChange.skipped, datetime(2026, 10, 3, 15, 40, tzinfo=UTC)),
        (datetime(2026, 4, 5, 1, 45), LORD_HOWE, ClockChange.repeated, datetime(2026, 4, 4, 14, 45, tzinfo=UTC)),
    ],
)
def test_local_times_follow_rfc_5545(local: datetime, zone: tzinfo, change: ClockChange | None, at: datetime) -> None:
    assert (to_utc(local, zone), clock_change(local, zone)) == (at, change)
    assert to_utc(local.replace(fold=1), zone) == at, "whatever fold says"


@pytest.fixture
def in_belgrade(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The host is in Belgrade."""
    with monkeypatch.context() as changes:
        changes.setenv("TZ", "Europe/Belgrade")
        tzset()
        yield
    tzset()


def test_the_hosts_own_time_follows_the_same_rule(in_belgrade: None) -> None:
    for minutes in range(0, 2 * 365 * 24 * 60, 29):
        local = datetime(2025, 1, 1) + timedelta(minutes=minutes)
        assert to_utc(local, None) == to_utc(local, BELGRADE)
        assert clock_change(local, None) == clock_change(local, BELGRADE)


def in_quiet(clock: time, since: time, until: time) -> bool:
    return since <= clock < until if since < until else clock >= since or clock < until


MINUTES = st.times().map(lambda at: at.replace(second=0, microsecond=0))


@given(
    since=MINUTES,
    until=MINUTES,
    minute=st.integers(0, 60 * 48),
    zone=st.sampled_from([BELGRADE, LORD_HOWE]),
    day=st.sampled_from([datetime(2026, 3, 28), datetime(2026, 4, 4), datetime(2026, 10, 3), datetime(2026, 10, 24)]),
)
def test_nothing_is_due_in_quiet_hours(since: time, until: time, minute: int, zone: tzinfo, day: datetime) -> None:
    if since == until:
        return
    now = day.replace(tzinfo=UTC) + timedelta(minutes=minute)
    at = due_at(zone, now, None, (since, until))
    if not in_quiet(now.astimezone(zone).time(), since, until):
        assert at == now
        return
    assert now < at <= now + timedelta(hours=25)
    shown = at.astimezone(zone)
    assert shown.time() == until or clock_change(datetime.combine(shown, until), zone) is ClockChange.skipped
    for earlier in range(int((at - now) / timedelta(minutes=1))):
        assert (now + timedelta(minutes=earlier)).astimezone(zone).time() != until, "the first that comes"


def test_every_time_zone_has_a_due_time() -> None:
    now = datetime(2026, 12, 1, 8, tzinfo=UTC)
    found = due_times(now, datetime(2026, 12, 1, 9), None)
    assert found.keys() == known_time_zones()
    assert found["Europe/Belgrade"] == found["Asia/Tokyo"] == now
    assert found["America/Vancouver"] == now + timedelta(hours=8)
