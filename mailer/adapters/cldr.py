"""Formats dates, lists, and names of languages and time zones in a language (Unicode CLDR)."""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time, format_timedelta, get_timezone_location
from babel.lists import format_list
from babel.numbers import format_decimal

from mailer.domain.content import Dateline, DateRange
from mailer.domain.locales import tag_and_parents
from mailer.domain.staff_texts import LanguageTag
from mailer.domain.time_zones import time_zone
from mailer.language_data import languages


@lru_cache(maxsize=4096)
def format_day(on: date, language: str) -> str:
    """Return a date such as ``30 September 2026``."""
    locale = _locale(language)
    return _format(on, locale.date_formats["long"].pattern, locale)


def format_moment(at: datetime, language: str) -> str:
    """Return day and time in UTC, such as ``Thu 1 Oct 2026, 09:00 UTC``."""
    return f"{format_local_moment(at.astimezone(UTC), language)} UTC"


def format_local_moment(at: datetime, language: str) -> str:
    """Return day and time as they stand, such as ``Thu 1 Oct 2026, 09:00``."""
    at, locale = at.replace(tzinfo=None), _locale(language)
    return f"{format_skeleton('yMMMEd', at, locale=locale)}, {format_time(at, 'HH:mm', locale=locale)}"


def format_weekday(on: date, language: str) -> str:
    """Return a weekday such as ``Wed``."""
    return str(format_date(on, "ccc", locale=_locale(language)))


def format_duration(duration: timedelta | float, language: str) -> str:
    """Return a duration, or a number of seconds, in the largest unit that it holds twice: ``90 seconds``."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    return format_timedelta(max(0, round(seconds)), threshold=2, locale=_locale(language))


def format_number(number: float, language: str) -> str:
    """Return a number with the language's separators."""
    return format_decimal(number, locale=_locale(language))


def format_value(value: int | float | date | LanguageTag, language: str) -> str:
    """Return a value in a text for staff: a number, a day, or the name of a language."""
    if isinstance(value, LanguageTag):
        return language_name(str(value), language)
    return format_day(value, language) if isinstance(value, date) else format_number(value, language)


@lru_cache(maxsize=4096)
def format_date_range(span: DateRange, language: str) -> str:
    """Return a day, or a range in its shortest form: ``12–14 July 2026``, ``30 July – 2 August 2026``."""
    if span.start == span.end:
        return format_day(span.start, language)
    locale = _locale(language)
    if span.start.year != span.end.year:
        field = "y"
    elif span.start.month != span.end.month:
        field = "M"
    else:
        field = "d"
    formats = locale.interval_formats
    first, last = (formats.get("yMMMMd") or formats["yMMMd"])[field]
    # Most languages have intervals with short months only; those with full months are derived (UTS 35, part 4).
    halves = ((span.start, _with_full_months(first, locale)), (span.end, _with_full_months(last, locale)))
    return "".join(_format(on, pattern, locale) for on, pattern in halves)


def format_dateline(dateline: Dateline, language: str) -> str:
    """Return the dates and the place, or the text as written if it has no dates."""
    if not dateline.dates:
        return dateline.text
    # Not a comma, which looks wrong after a year with a full stop (Serbian, Croatian).
    return " · ".join(
        [*(format_date_range(span, language) for span in dateline.dates), *filter(None, [dateline.place])]
    )


def compose_dateline(span: DateRange, place: str, language: str) -> str:
    """Return dates and place as authors write them, which the import of a document understands."""
    return ", ".join(filter(None, [format_date_range(span, language), place]))


@lru_cache(maxsize=4096)
def join_items(items: tuple[str, ...], language: str) -> str:
    """Return a list such as ``News, Health and Trade``, or an empty string if there are no items."""
    return format_list(items, locale=_locale(language))


def join_titles(titles: Iterable[str]) -> str:
    """Return titles of sections as a list. Many contain "and" or a comma, so another sign separates them."""
    return " · ".join(titles)


@lru_cache(maxsize=4096)
def language_name(named: str, language: str) -> str:
    """Return the name of language ``named`` in ``language``, such as ``српски (ћирилица)``. Both are BCP 47 tags.

    Returns the tag if CLDR has no name.
    """
    locale = _locale(language)
    known = languages().get(str(locale).replace("_", "-")) or languages().get(locale.language)
    if known and named in known.house_names:
        return known.house_names[named]
    try:
        return Locale.parse(named, sep="-").get_display_name(locale) or named
    except UnknownLocaleError:
        return named


@lru_cache(maxsize=4096)
def zone_name(zone: str, language: str, on: date) -> str:
    """Return a time zone's city and its offset from UTC on a day: ``Paris (UTC+1)``."""
    tz = time_zone(zone)
    offset = datetime.combine(on, time(12), tz).utcoffset() or timedelta(0)
    minutes = int(offset / timedelta(minutes=1))
    if not minutes and zone in ("UTC", "Etc/UTC"):
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    sign = "−" if minutes < 0 else "+"
    utc_offset = f"UTC{sign}{hours}:{rest:02}" if rest else f"UTC{sign}{hours}" if minutes else "UTC"
    return f"{get_timezone_location(tz, locale=_locale(language), return_city=True)} ({utc_offset})"


def format_month(on: date, language: str) -> str:
    """Return a month such as ``September 2026``."""
    return format_skeleton("yMMMM", on, locale=_locale(language))


def _format(on: date, pattern: str, locale: Locale) -> str:
    """Format a date. In French the first of a month is an ordinal, which CLDR does not support."""
    if locale.language == "fr" and on.day == 1:
        pattern = re.sub(r"\bd\b", "d'er'", pattern)
    return format_date(on, pattern, locale=locale)


def _with_full_months(pattern: str, locale: Locale) -> str:
    """Return an interval pattern with full months, and days and years as in the language's long date format.

    Interval patterns differ from it: Croatian ones have a zero before the day, and Bosnian ones lack the full stop
    after the first day and year.
    """
    long_pattern = locale.date_formats["long"].pattern
    if "dd" not in long_pattern:
        pattern = pattern.replace("dd", "d")
    for field in "dy":
        if f"{field}." in long_pattern:
            pattern = re.sub(rf"{field}(?![{field}.])", f"{field}.", pattern)
    return re.sub(r"(?<![ML])([ML])\1\1(?!\1)", r"\1\1\1\1", pattern)


@lru_cache(maxsize=256)
def _locale(language: str) -> Locale:
    """Return the locale of the tag or its nearest parent. ``en`` is British English, with the day first."""
    for tag in tag_and_parents(language):
        try:
            return Locale.parse("en-GB" if tag == "en" else tag, sep="-")
        except UnknownLocaleError:
            continue
    return Locale("en", "GB")
