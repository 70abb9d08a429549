"""Days, lists and the names of languages, as a reader's language writes them (Unicode CLDR)."""

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, get_timezone_location
from babel.lists import format_list

from mailer.domain.content import Dateline, DateRange
from mailer.domain.locales import tag_and_parents
from mailer.language_data import languages


@lru_cache(maxsize=4096)
def format_day(on: date, language: str) -> str:
    """One day in full: ``30 September 2026``."""
    locale = _locale(language)
    return _written(on, locale.date_formats["long"].pattern, locale)


@lru_cache(maxsize=4096)
def format_date_range(span: DateRange, language: str) -> str:
    """A day, or a range as short as it can be said: ``12–14 July 2026``, ``30 July – 2 August 2026``."""
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
    # Most languages list intervals with short months only; wider ones follow from them (UTS 35, part 4).
    halves = ((span.start, _with_full_months(first, locale)), (span.end, _with_full_months(last, locale)))
    return "".join(_written(on, pattern, locale) for on, pattern in halves)


def format_dateline(dateline: Dateline, language: str) -> str:
    """When and where, in words; the dateline as written where it could not be read as dates."""
    if not dateline.dates:
        return dateline.text
    # No comma: a year that ends in a full stop (Serbian, Croatian) goes badly with one.
    return " · ".join(
        [*(format_date_range(span, language) for span in dateline.dates), *filter(None, [dateline.place])]
    )


@lru_cache(maxsize=4096)
def join_items(items: tuple[str, ...], language: str) -> str:
    """``News, Health and Trade``; an empty string for no items."""
    return format_list(items, locale=_locale(language))


@lru_cache(maxsize=4096)
def language_name(named: str, language: str) -> str:
    """What the second language calls the first, both BCP 47 tags: ``српски (ћирилица)``. The tag itself
    where CLDR has no name."""
    locale = _locale(language)
    own = languages().get(str(locale).replace("_", "-")) or languages().get(locale.language)
    if own and named in own.house_names:
        return own.house_names[named]
    try:
        return Locale.parse(named, sep="-").get_display_name(locale) or named
    except UnknownLocaleError:
        return named


@lru_cache(maxsize=4096)
def zone_name(zone: str, language: str, on: date) -> str:
    """A time zone by its city and its difference to UTC on that day: ``Paris (UTC+1)``."""
    tz = ZoneInfo(zone)
    offset = datetime.combine(on, time(12), tz).utcoffset() or timedelta(0)
    minutes = int(offset / timedelta(minutes=1))
    if not minutes and zone in ("UTC", "Etc/UTC"):
        return "UTC"
    hours, rest = divmod(abs(minutes), 60)
    sign = "−" if minutes < 0 else "+"
    difference = f"UTC{sign}{hours}:{rest:02}" if rest else f"UTC{sign}{hours}" if minutes else "UTC"
    return f"{get_timezone_location(tz, locale=_locale(language), return_city=True)} ({difference})"


def format_month(on: date, language: str) -> str:
    """``September 2026``"""
    return format_skeleton("yMMMM", on, locale=_locale(language))


def _written(on: date, pattern: str, locale: Locale) -> str:
    """French has an ordinal for the first of a month, which CLDR does not know."""
    if locale.language == "fr" and on.day == 1:
        pattern = re.sub(r"\bd\b", "d'er'", pattern)
    return format_date(on, pattern, locale=locale)


def _with_full_months(pattern: str, locale: Locale) -> str:
    """With months in full, and days and years as the language writes them beside such months: Croatian intervals
    alone have a zero before the day, Bosnian ones alone lack the full stop after the first day and year."""
    whole = locale.date_formats["long"].pattern
    if "dd" not in whole:
        pattern = pattern.replace("dd", "d")
    for field in "dy":
        if f"{field}." in whole:
            pattern = re.sub(rf"{field}(?![{field}.])", f"{field}.", pattern)
    return re.sub(r"(?<![ML])([ML])\1\1(?!\1)", r"\1\1\1\1", pattern)


@lru_cache(maxsize=256)
def _locale(language: str) -> Locale:
    """The locale of the tag or of the nearest wider one; English is the international one, day first."""
    for tag in tag_and_parents(language):
        try:
            return Locale.parse("en-GB" if tag == "en" else tag, sep="-")
        except UnknownLocaleError:
            continue
    return Locale("en", "GB")
