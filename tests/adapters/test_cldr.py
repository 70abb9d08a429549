"""Dates, lists and names as each language writes them."""

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.adapters.cldr import (
    compose_dateline,
    format_date_range,
    format_dateline,
    format_day,
    join_items,
    join_titles,
    language_name,
    zone_name,
)
from mailer.domain.content import Dateline, DateRange
from mailer.domain.document.datelines import read_datelines
from mailer.language_data import languages

JULY = DateRange(date(2026, 7, 12), date(2026, 7, 14))
SUMMER = DateRange(date(2026, 7, 30), date(2026, 8, 2))
WINTER = DateRange(date(2026, 12, 30), date(2027, 1, 2))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "12–14 July 2026"),
        ("fr", "12–14 juillet 2026"),
        ("es", "12–14 de julio de 2026"),
        ("de", "12.–14. Juli 2026"),
        ("hr", "12. – 14. srpnja 2026."),
        ("sr-Cyrl", "12.–14. јул 2026."),
        ("sr-Latn", "12.–14. jul 2026."),
        ("el", "12–14 Ιουλίου 2026"),
        ("uk", "12–14 липня 2026 р."),
        ("ar", "12–14 يوليو 2026"),
    ],
)
def test_days_of_one_month(language: str, expected: str) -> None:
    assert " ".join(format_date_range(JULY, language).replace("\u2009", " ").split()) == expected


def test_days_across_months_and_years() -> None:
    assert format_date_range(SUMMER, "en").split() == ["30", "July", "–", "2", "August", "2026"]
    assert format_date_range(WINTER, "en").split() == ["30", "December", "2026", "–", "2", "January", "2027"]
    assert format_date_range(SUMMER, "hr").split() == ["30.", "srpnja", "–", "2.", "kolovoza", "2026."]
    assert format_date_range(DateRange(date(2026, 9, 30), date(2026, 9, 30)), "en") == format_day(
        date(2026, 9, 30), "en"
    )


@given(st.sampled_from(sorted(languages())), st.dates(date(2000, 1, 1), date(2050, 1, 1)), st.integers(1, 500))
def test_a_range_names_both_days_and_the_year(language: str, start: date, length: int) -> None:
    end = date.fromordinal(start.toordinal() + length)
    words = format_date_range(DateRange(start, end), language)
    assert str(start.day) in words and str(end.day) in words and str(end.year) in words
    assert "MM" not in words and "y" not in words.split()


@given(
    st.sampled_from(sorted(languages())),
    st.dates(date(1990, 1, 1), date(2150, 1, 1)),
    st.integers(0, 400).map(lambda days: timedelta(days)),
    st.sampled_from(["", "Mavrovo", "Port Selin, Marenia"]),
)
def test_a_composed_dateline_is_read_as_its_dates_and_its_place(
    language: str, start: date, length: timedelta, place: str
) -> None:
    span = DateRange(start, start + length)
    line = compose_dateline(span, place, language)
    assert read_datelines(line, language) == ([Dateline(line, (span,), place)], []), line


def test_a_dateline_joins_its_ranges_and_its_place() -> None:
    assert format_dateline(Dateline("as written", (JULY,), "Mirova"), "en") == "12–14 July 2026 · Mirova"
    assert format_dateline(Dateline("as written", (JULY,), "ميروفا"), "ar") == "12–14 يوليو 2026 · ميروفا"
    assert format_dateline(Dateline("as written"), "en") == "as written"
    assert format_dateline(Dateline("", (JULY,)), "en") == "12–14 July 2026"


def test_the_first_of_a_month_is_an_ordinal_in_french() -> None:
    assert format_day(date(2026, 9, 1), "fr") == "1er septembre 2026"
    assert format_day(date(2026, 9, 11), "fr-CA") == "11 septembre 2026"
    assert format_date_range(DateRange(date(2026, 9, 1), date(2026, 9, 3)), "fr") == "1er–3 septembre 2026"
    assert format_date_range(DateRange(date(2026, 8, 31), date(2026, 9, 1)), "fr").split()[-3:] == [
        "1er",
        "septembre",
        "2026",
    ]
    assert format_day(date(2026, 9, 1), "es") == "1 de septiembre de 2026"


@pytest.mark.parametrize("language", ["bs", "hr", "sr-Cyrl", "sr-Latn"])
def test_each_day_and_year_has_its_full_stop(language: str) -> None:
    for span in (JULY, SUMMER, WINTER):
        numbers = re.findall(r"\d+.?", format_date_range(span, language))
        assert all(number.endswith(".") for number in numbers), numbers


def test_language_names_use_our_own_data_first() -> None:
    assert language_name("mk", "el") == language_name("mk", "el-CY") == "Μακεδονικά"
    assert language_name("mk", "fr") == "macédonien"


def test_a_zone_west_of_utc_has_a_minus_sign() -> None:
    assert zone_name("America/New_York", "en", date(2026, 7, 1)) == "New York (UTC\N{MINUS SIGN}4)"
    assert zone_name("Asia/Kolkata", "en", date(2026, 7, 1)).endswith(" (UTC+5:30)")


def test_lists_and_names_of_languages() -> None:
    assert join_items(("News", "Health", "Trade"), "en") == "News, Health and Trade"
    assert join_items((), "en") == "" and join_items(("News",), "ar") == "News"


def test_titles_may_contain_the_words_that_join_items() -> None:
    assert (
        join_titles(("Food, health and care", "Trade and crossings")) == "Food, health and care · Trade and crossings"
    )
    assert language_name("en", "sr-Cyrl") == "енглески"
    assert language_name("sr-Cyrl", "fr") == "serbe (cyrillique)"
    assert language_name("qqx", "fr") == "qqx"
    assert format_day(date(2026, 9, 30), "fr-CH") == format_day(date(2026, 9, 30), "fr") == "30 septembre 2026"
