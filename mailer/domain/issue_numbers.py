"""The number and the date of a newsletter's next issue, from those of the last ones."""

import calendar
import re
from datetime import date

MAX_NUMBER_CHARS = 40
_DIGITS = re.compile(r"[0-9]+")


def next_number(number: str, last: date, new: date) -> str:
    """Return the number after this one, or an empty string if it has no digits or is too long.

    ``last`` and ``new`` are the dates of the two issues. The last group of digits that is not the year of ``last``
    counts up: ``2026/3`` → ``2026/4``, ``No. 009`` → ``No. 010``. In another year it begins again beside that year:
    ``2026/12`` → ``2027/1``.
    """
    groups = list(_DIGITS.finditer(number)) if len(number) <= MAX_NUMBER_CHARS else []
    if not groups:
        return ""
    years = [group for group in groups if group[0] == str(last.year)]
    counters = [group for group in groups if group not in years] or groups[-1:]
    counter, count = counters[-1], int(counters[-1][0]) + 1
    replaced = {counter: count}
    if years and counter not in years and new.year > last.year:
        replaced = {counter: 1, years[0]: new.year}
    for group, value in sorted(replaced.items(), key=lambda item: -item[0].start()):
        width = len(group[0]) if group[0].startswith("0") else 0
        number = number[: group.start()] + str(value).zfill(width) + number[group.end() :]
    return number if len(number) <= MAX_NUMBER_CHARS else ""


def next_date(last: date, before: date | None, today: date) -> date:
    """Return the date of the next issue, as long after the last one as that was after the one before.

    Dates on the same day of the month are whole months apart. Return ``today`` if that is later, or if nothing can be
    told.
    """
    if before is None or before >= last:
        return today
    if before.day == last.day:
        months = 12 * (2 * last.year - before.year) + 2 * last.month - before.month - 1
        year, month = divmod(months, 12)
        if year > date.max.year:
            return today
        following = date(year, month + 1, min(last.day, calendar.monthrange(year, month + 1)[1]))
    else:
        days = 2 * last.toordinal() - before.toordinal()
        following = date.fromordinal(days) if days <= date.max.toordinal() else today
    return max(following, today)
