"""Time zones: the names that are accepted, and when a local time comes.

They are read from the package ``tzdata`` alone, which is the same on every host of a release. PostgreSQL reads no time
zones: its data may be older, and it takes ``CET`` for a fixed offset.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

COMMON_TIME_ZONES = (
    "Pacific/Honolulu",
    "America/Los_Angeles",
    "America/Denver",
    "America/Mexico_City",
    "America/Chicago",
    "America/Bogota",
    "America/New_York",
    "America/Halifax",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/Argentina/Buenos_Aires",
    "UTC",
    "Europe/London",
    "Africa/Casablanca",
    "Africa/Lagos",
    "Europe/Paris",
    "Europe/Berlin",
    "Europe/Rome",
    "Europe/Madrid",
    "Europe/Vienna",
    "Europe/Zurich",
    "Europe/Ljubljana",
    "Europe/Zagreb",
    "Europe/Sarajevo",
    "Europe/Belgrade",
    "Europe/Podgorica",
    "Europe/Skopje",
    "Europe/Tirane",
    "Europe/Warsaw",
    "Africa/Johannesburg",
    "Africa/Cairo",
    "Europe/Athens",
    "Europe/Sofia",
    "Europe/Bucharest",
    "Europe/Chisinau",
    "Europe/Kyiv",
    "Europe/Istanbul",
    "Europe/Moscow",
    "Asia/Riyadh",
    "Africa/Nairobi",
    "Asia/Dubai",
    "Asia/Tehran",
    "Asia/Tashkent",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Dhaka",
    "Asia/Bangkok",
    "Asia/Shanghai",
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Pacific/Auckland",
)
"""The time zones offered to readers: one per commonly used local time, from west to east."""

_ABBREVIATIONS = {
    abbreviation: city
    for city, abbreviations in {
        "Europe/Paris": "CET CEST MET MEST MEZ MESZ",
        "Europe/Athens": "EET EEST",
        "Europe/Lisbon": "WET WEST",
        "Europe/London": "BST",
        "Europe/Moscow": "MSK",
        "America/New_York": "EST EDT EST5EDT",
        "America/Chicago": "CST CDT CST6CDT",
        "America/Denver": "MST MDT MST7MDT",
        "America/Los_Angeles": "PST PDT PST8PDT",
        "Pacific/Honolulu": "HST",
    }.items()
    for abbreviation in abbreviations.split()
}
"""To some programs they are an offset, to others a place with summer time, even those that the IANA database has."""
_DATA = files("tzdata")


@cache
def _accepted() -> dict[str, str]:
    """Return each accepted name in lower case → the name that is stored.

    Accepted are the names of places (``Area/City``), of countries (``Poland``, stored as the city) and of UTC.
    """
    lines = _DATA.joinpath("zoneinfo", "tzdata.zi").read_text().splitlines()
    links = {alias: zone for _, zone, alias in map(str.split, (line for line in lines if line.startswith("L ")))}
    links["Iceland"] = "Atlantic/Reykjavik"  # which is itself a link, to Abidjan
    accepted = {}
    for name in {*_DATA.joinpath("zones").read_text().split()} - _ABBREVIATIONS.keys() - {"Factory"}:
        zone = links.get(name, name)
        accepted[name.casefold()] = "UTC" if zone in ("Etc/UTC", "Etc/GMT") else name if "/" in name else zone
    return accepted


@cache
def known_time_zones() -> frozenset[str]:
    """Return the names of all time zones that a reader can have."""
    return frozenset(_accepted().values())


def find_time_zone(written: str) -> str | None:
    """Return the name of a time zone, whatever its case, or None if there is none or the name is ambiguous."""
    return _accepted().get(written.casefold().replace(" ", "_"))


@lru_cache(maxsize=1024)
def time_zone(name: str) -> ZoneInfo:
    """Return the rules of a time zone; UTC if there is none of this name."""
    if name not in known_time_zones():
        name = "UTC"
    with _DATA.joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?", re.IGNORECASE | re.ASCII)
_MIN_SIMILARITY = 0.8


def nearest_time_zone(written: str) -> str | None:
    """Return the time zone that is probably meant by a name that is none: ``Europe/Paris`` for ``CET``."""
    name = written.strip().replace(" ", "_")
    city = name.rpartition("/")[2].casefold()
    if found := _ABBREVIATIONS.get(name.upper()) or _by_city().get(city):
        return found
    if offset := _OFFSET.fullmatch(name):
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return _by_standard_offset().get(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    similar = get_close_matches(city, _by_city(), n=1, cutoff=_MIN_SIMILARITY) if len(city) <= 40 else []
    return _by_city()[similar[0]] if similar else None


@cache
def _by_city() -> dict[str, str]:
    names = (name for name in sorted(known_time_zones(), reverse=True) if not name.startswith("Etc/"))
    return {name.rpartition("/")[2].casefold(): name for name in names}


@cache
def _by_standard_offset() -> dict[timedelta, str]:
    """Return offset without summer time → a common time zone, one with summer time if there is any."""
    found: dict[timedelta, str] = {}
    for with_summer_time in (True, False):
        for name in sorted(COMMON_TIME_ZONES, key=lambda name: not name.startswith("Europe/")):
            offsets = {datetime(2026, month, 1, tzinfo=time_zone(name)).utcoffset() or timedelta(0) for month in (1, 7)}
            if (len(offsets) > 1) is with_summer_time:
                found.setdefault(min(offsets), name)
    return found


def to_utc(local: datetime, zone: tzinfo | None) -> datetime:
    """Return when a local time comes, in UTC; ``zone`` None is that of this host.

    By the rule of RFC 5545, section 3.3.5: a time that comes twice, because clocks are set back, is the first. One that
    does not come, because they are set forward, has the offset from before: 02:30 comes when clocks show 03:30.
    """
    return _occurrence(local, zone, fold=0)


def _occurrence(local: datetime, zone: tzinfo | None, fold: int) -> datetime:
    # Without a zone, astimezone() would take the offset from after a change.
    return datetime.fromtimestamp(local.replace(tzinfo=zone, fold=fold).timestamp(), UTC)


class ClockChange(StrEnum):
    """What a change of clocks does to a local time."""

    skipped = "skipped"
    """It does not come."""
    repeated = "repeated"
    """It comes twice."""


def clock_change(local: datetime, zone: tzinfo | None) -> ClockChange | None:
    """Return what a change of clocks does to a local time, or None. ``zone`` None is that of this host."""
    at = to_utc(local, zone)
    if at.astimezone(zone).replace(tzinfo=None) != local:
        return ClockChange.skipped
    return ClockChange.repeated if _occurrence(local, zone, fold=1) != at else None


def next_local_time(zone: tzinfo, after: datetime, shown: time) -> datetime:
    """Return the local time at which clocks in a time zone next show this, at or after a moment."""
    clock = after.astimezone(zone).replace(tzinfo=None)
    return datetime.combine(clock + timedelta(days=clock.time() > shown), shown)


QuietHours = tuple[time, time]
"""Start and end on a reader's clock. They may span midnight."""


def due_at(zone: tzinfo, now: datetime, local_time: datetime | None, quiet_hours: QuietHours | None) -> datetime:
    """Return when mail to a time zone is due, in UTC: at ``local_time`` there, and not in quiet hours.

    What is past is due now.
    """
    at = now.astimezone(UTC) if local_time is None else max(now, to_utc(local_time, zone)).astimezone(UTC)
    if quiet_hours is None:
        return at
    since, until = quiet_hours
    clock = at.astimezone(zone).replace(tzinfo=None)
    shown = clock.time()
    if not (since <= shown < until if since < until else shown >= since or shown < until):
        return at
    end = datetime.combine(clock + timedelta(days=shown >= until), until)
    first = to_utc(end, zone)
    # In the second of two equal hours, the end that came first is over.
    return first if first > at else _occurrence(end, zone, fold=1)


def due_times(now: datetime, local_time: datetime | None, quiet_hours: QuietHours | None) -> Mapping[str, datetime]:
    """Return time zone → when mail there is due, for every time zone."""
    return {name: due_at(time_zone(name), now, local_time, quiet_hours) for name in known_time_zones()}
