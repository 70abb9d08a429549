"""An issue's number and date are moved on from those of the last issues."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.issue_numbers import MAX_NUMBER_CHARS, next_date, next_number

OCTOBER, NOVEMBER, JANUARY = date(2026, 10, 1), date(2026, 11, 1), date(2027, 1, 1)


@pytest.mark.parametrize(
    ("number", "following"),
    [
        ("2026/3", "2026/4"),
        ("3/2026", "4/2026"),
        ("12", "13"),
        ("No. 009", "No. 010"),
        ("99", "100"),
        ("2026-09", "2026-10"),
        ("2026", "2027"),
        ("2026/2026", "2026/2027"),
        ("Nr. 7 (2026)", "Nr. 8 (2026)"),
        ("Summer", ""),
        ("", ""),
    ],
)
def test_the_number_counts_up(number: str, following: str) -> None:
    assert next_number(number, OCTOBER, NOVEMBER) == following


@pytest.mark.parametrize(
    ("number", "following"),
    [("2026/12", "2027/1"), ("2026/03", "2027/01"), ("12/2026", "1/2027"), ("12", "13"), ("2026", "2027")],
)
def test_in_another_year_it_begins_again(number: str, following: str) -> None:
    assert next_number(number, OCTOBER, JANUARY) == following


@given(st.text(), st.dates(), st.dates())
def test_a_number_that_is_moved_on_is_another_one(number: str, last: date, new: date) -> None:
    following = next_number(number, last, new)
    assert len(following) <= MAX_NUMBER_CHARS
    assert not following or following != number


@pytest.mark.parametrize(
    ("before", "last", "following"),
    [
        (date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)),
        (date(2026, 9, 30), date(2026, 12, 30), date(2027, 3, 30)),
        (date(2025, 12, 31), date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 10, 1), date(2026, 10, 15), date(2026, 10, 29)),
    ],
)
def test_the_interval_of_the_last_two_is_kept(before: date, last: date, following: date) -> None:
    assert next_date(last, before, date(2026, 1, 1)) == following


def test_without_an_interval_or_in_the_past_it_is_today() -> None:
    today = date(2026, 11, 29)
    assert next_date(OCTOBER, None, today) == today
    assert next_date(OCTOBER, OCTOBER, today) == today
    assert next_date(date(2025, 2, 1), date(2025, 1, 1), today) == today


@given(st.dates(), st.dates(), st.dates())
def test_no_next_date_is_before_today(before: date, last: date, today: date) -> None:
    following = next_date(last, before, today)
    assert following >= today
    assert following == today or following >= last + timedelta(days=1)
