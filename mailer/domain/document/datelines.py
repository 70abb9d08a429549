"""Reads datelines: ``7-8 February 2018, Mavrovo, 7-9 March 2018, Vrdnik, Serbia`` is two of them.

A dateline is cut into tokens once, from left to right, so the time is linear in its length.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from itertools import pairwise

from mailer.domain.content import Dateline, DateRange
from mailer.domain.document.date_words import day_words, month_words, short_day_words, word_kinds
from mailer.domain.document.normalize import fold

MAX_DATELINE_CHARS = 500
"""Characters; a longer bold run is no dateline."""

_ORDINAL = r"\.[oa]|-?(?:st|nd|rd|th|er|ero|re|ere|eme|o|a|η|ησ|ος|οσ|го|ого|е|ое|я|ти|ма)"
_NUMBER = rf"(?P<number>\d+)(?:(?:{_ORDINAL})(?![^\W_]))?"
_FULL_DATE = r"(?P<full>\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[ ]?[./][ ]?\d{1,2}[ ]?[./][ ]?\d{4})(?!\d)"
_PLACE_SEPARATORS = " \t\r\n\xa0\u202f,;:،؛：-–—·|/"


@dataclass(slots=True)
class _Token:
    kind: str
    start: int
    end: int
    value: int = 0
    day: date | None = None


@dataclass(slots=True)
class _Day:
    day: int
    month: int = 0
    year: int = 0
    has_own_year: bool = False
    """Whether the year stands with this day, not only with a later one of the same range."""
    joined_by: str = ""
    """How it follows the day before it: ``until`` or ``and``."""


@dataclass(slots=True)
class _DateSpan:
    """A run of text that gives days, at ``start:end`` of the dateline; ``days`` is None if unreadable."""

    start: int
    end: int
    days: list[_Day] | None
    text_start: int
    """Where its text starts, with a leading "and" that is no part of the date."""


def begins_with_date(text: str, language: str) -> bool:
    """Whether the text opens with a day and a month, read or not."""
    stretches = _find_date_spans(text, language)
    return bool(stretches) and not text[: stretches[0].text_start].strip(_PLACE_SEPARATORS + "*_([")


def contains_date(text: str, language: str) -> bool:
    """Whether a day and a month stand anywhere in the text."""
    return bool(_find_date_spans(text, language))


def read_datelines(text: str, language: str) -> tuple[list[Dateline], list[str]]:
    """The datelines in a bold run (its final colon taken off), and what is doubtful about them, in words.

    Days that follow each other without a place between them belong to one dateline; a day after a place
    begins the next one. A year that is not given is that of the neighbouring date. Where anything cannot
    be read, the whole text is one dateline without dates. What is doubtful: a borrowed year, a dateline
    among several that has no place, and a text that could not be read.
    """
    text = text.strip()
    stretches = _find_date_spans(text, language)
    unread = Dateline(text)
    if not stretches:
        return [unread], [f"The dateline “{text}” could not be read as dates; it is kept as written."]
    if unknown := _unread_date(text, stretches, language):
        return [unread], [
            f"“{unknown}” in “{text}” looks like a date but was not read; the dateline is kept as written."
        ]
    borrowed = _inherit_years(stretches)
    spans = [_ranges(stretch.days) for stretch in stretches]
    placed_first = bool(text[: stretches[0].text_start].strip(_PLACE_SEPARATORS))
    if any(span is None for span in spans) or (
        placed_first and len(stretches) > 1 and text[stretches[-1].end :].strip(_PLACE_SEPARATORS)
    ):
        why = "could not be read as dates (a day, month or year is missing or impossible)"
        return [unread], [f"The dateline “{text}” {why}; it is kept as written."]
    doubts = []
    if borrowed:
        doubts.append(f"A date in “{text}” has no year of its own; the year of the date beside it was taken.")
    cuts = [0, *_split_points(stretches, placed_first), len(text)]
    datelines = []
    for stretch, span, start, end in zip(stretches, spans, cuts, cuts[1:], strict=False):
        around = (text[start : max(start, stretch.start)], text[stretch.end : end])
        place = ", ".join(filter(None, (part.strip(_PLACE_SEPARATORS) for part in around)))
        if stretch.text_start < stretch.start and not placed_first:
            place = text[stretch.end : end].strip(_PLACE_SEPARATORS)
        datelines.append(Dateline(text[start:end].strip(_PLACE_SEPARATORS), tuple(span or ()), place))
    if len(datelines) > 1 and not all(dateline.place for dateline in datelines):
        doubts.append(f"“{text}” was read as {len(datelines)} datelines, but not each of them has a place.")
    return datelines, doubts


def _unread_date(text: str, spans: list[_DateSpan], language: str) -> str:
    """A day number and a word that seems to be a month but is not known as one; empty if there is none.

    What follows tells it from a house number ("10 Example Street"): a year, a range word or the date itself.
    """
    tokens = _tokens(text, language)
    for at, (number, word) in enumerate(pairwise(tokens)):
        inside = any(span.start <= number.start < span.end for span in spans)
        if number.kind != "number" or word.kind != "word" or not text[word.start].isalpha() or inside:
            continue
        before = [token.kind for token in tokens[max(0, at - 2) : at]]
        after = tokens[at + 2].kind if at + 2 < len(tokens) else ""
        # "7 February and 9 Foober", "to 9 Foober"
        joined = before[-1:] in (["until"], ["between"], ["and"]) and (
            len(before) == 1 or before[0] in ("number", "year", "month", "full")
        )
        if after in ("year", "until", "and") or (joined and after != "word"):
            return text[number.start : word.end]
    return ""


def _split_points(spans: list[_DateSpan], place_first: bool) -> list[int]:
    if place_first:
        return [stretch.end for stretch in spans[:-1]]
    return [stretch.text_start for stretch in spans[1:]]


def _find_date_spans(text: str, language: str) -> list[_DateSpan]:
    """The runs of tokens that give days, in order."""
    if len(text) > MAX_DATELINE_CHARS or not any(map(str.isdigit, text)):
        return []
    runs: list[list[_Token]] = [[]]
    for token in _tokens(text, language):
        if token.kind == "word":
            runs.append([])
        else:
            runs[-1].append(token)
    return [stretch for run in runs if (stretch := _date_span(run)) is not None]


def _date_span(run: list[_Token]) -> _DateSpan | None:
    first = 0
    while first < len(run) and run[first].kind in ("comma", "and", "until", "year word"):
        first += 1
    tokens = _trim_trailing(run[first:])
    kinds = {token.kind for token in tokens}
    if "full" not in kinds and not {"month", "number"} <= kinds:
        return None
    lead = [token for token in run[:first] if token.kind != "comma"]
    shown = lead[0].start if lead else tokens[0].start
    return _DateSpan(tokens[0].start, tokens[-1].end, _days(tokens), shown)


def _trim_trailing(tokens: list[_Token]) -> list[_Token]:
    """The tokens without a tail that gives no date: "7 February 2018, 10" (Downing Street) ends at 2018."""
    end = len(tokens)
    while end:
        last = tokens[end - 1]
        if last.kind in ("month", "full"):
            break
        if last.kind == "year word":
            before = end - 1
            while before and tokens[before - 1].kind == "year word":
                before -= 1
            if before and tokens[before - 1].kind in ("year", "full"):
                break  # "2018 tarihleri arasında"
        if last.kind not in ("number", "year"):
            end -= 1
            continue
        start = end - 1
        while start and tokens[start - 1].kind not in ("comma", "and", "until"):
            start -= 1
        if any(token.kind in ("month", "full") for token in tokens[start:end]):
            break
        earlier = tokens[start - 2].kind if start > 1 else ""
        if (last.kind == "year" and earlier != "year") or (earlier == "number" and _month_first(tokens)):
            break  # "February 7, 2018"; "February 7 and 9"
        end = start
    return tokens[:end]


def _month_first(tokens: list[_Token]) -> bool:
    return next((token.kind for token in tokens if token.kind in ("month", "number")), "") == "month"


def _tokens(text: str, language: str) -> list[_Token]:
    folded, places = fold(text)
    ends = [*places[1:], len(text)]
    months = month_words(language)
    tokens: list[_Token] = []
    for match in _pattern(language).finditer(folded):
        start, end = places[match.start()], ends[match.end() - 1]
        word = match.group()
        token = _Token("word", start, end)
        if full := match.group("full"):
            day = _parse_numeric_date(full, language)
            token = replace(token, kind="full", day=day)
        elif number := match.group("number"):
            value = int(number[:5])  # longer ones are no years; the cut keeps int() cheap
            kind = "number" if value <= 31 else "year" if 1900 <= value < 2200 else "word"
            token = replace(token, kind=kind, value=value)
        elif match.group("month"):
            number_of = months[word.rstrip(".")]
            if _names_twice(tokens, number_of, text):
                tokens.pop()
                tokens[-1].end = end
                continue
            token = replace(token, kind="month", value=number_of)
        elif match.group("weekday"):
            trails = bool(tokens) and tokens[-1].kind in ("year", "full")  # "7 Şubat 2018 Çarşamba"
            token = replace(token, kind="year word" if trails else "around")
        elif match.group("shortday"):
            # "Mi., 7. Februar", not "Boulogne-sur-Mer" nor "Vienna Sun"
            kinds = [token.kind for token in tokens[-2:]]
            leads = not kinds or kinds[-1] in ("comma", "around", "and") or kinds == ["number", "until"]
            token = replace(token, kind="around" if leads else "word")
        elif word in ",;":
            token = replace(token, kind="comma")
        elif word == ".":
            if tokens and tokens[-1].kind in ("number", "full", "year", "year word", "month", "around"):
                tokens[-1].end = end
                continue
        else:
            token = replace(token, kind=word_kinds().get(word, "word"))
        tokens.append(token)
    return tokens


def _names_twice(tokens: list[_Token], month: int, text: str) -> bool:
    """Whether the tokens end in a month and a slash, and ``month`` is a second name of it: "حزيران/يونيه"."""
    return (
        len(tokens) > 1 and text[tokens[-1].start] == "/" and tokens[-2].kind == "month" and tokens[-2].value == month
    )


@lru_cache(maxsize=64)
def _pattern(language: str) -> re.Pattern[str]:
    month = _any_word(month_words(language))
    weekday = f"(?P<weekday>{_any_word(day_words(language))})"
    short = rf"(?P<shortday>{_any_word(short_day_words(language))})(?=[ .,]*(?:\d|{month}))"
    return re.compile(rf"{_FULL_DATE}|{_NUMBER}|(?P<month>{month})|{weekday}|{short}|[^\W\d_]+|[^\s]")


def _any_word(names: Iterable[str]) -> str:
    """A pattern for any of the names as whole words, the longest first."""
    longest = sorted(map(re.escape, names), key=len, reverse=True)
    return rf"(?<![^\W\d_])(?:{'|'.join(longest) or '(?!)'})(?![^\W_])"


def _parse_numeric_date(text: str, language: str) -> date | None:
    """A date in figures: year first, or day first. In English 3/4/2018 may be either, so it is not read."""
    first, second, third = (int(part) for part in re.split("[^0-9]+", text))
    if first > 31:
        first, third = third, first
    elif "/" in text and language.startswith("en") and first != second:
        if first <= 12 and second <= 12:
            return None
        if second > 12:
            first, second = second, first
    try:
        return date(third, second, first)
    except ValueError:
        return None


def _days(tokens: list[_Token]) -> list[_Day] | None:
    """The days that the tokens give, in the order of the text; None if they make no sense."""
    days: list[_Day] = []
    link, between, leading, last_month = "", False, 0, 0
    for token in tokens:
        if token.kind in ("until", "and", "comma"):
            if token.kind == "until" or (token.kind == "and" and between):
                link, between = "until", False
            else:
                link = link or "and"
        elif token.kind == "between":
            between = True
        elif token.kind == "full":
            if token.day is None or (days and not link):
                return None
            days.append(_Day(token.day.day, token.day.month, joined_by=link))
            _assign(days, token.day.month, token.day.year)
            link, leading = "", 0
        elif token.kind == "month":
            if days and not days[-1].month:
                _assign(days, token.value, 0)
                leading = 0
            elif token.value != last_month or link:  # "شباط/فبراير" names the month twice
                leading = token.value
            link = link if leading else ""
            last_month = token.value
        elif token.kind == "year":
            if not days:
                return None
            _assign(days, 0, token.value)
            link, leading = "", 0
        elif token.kind == "number":
            if days and not link:
                return None
            days.append(_Day(token.value, leading, joined_by=link))
            link = ""
    if leading and (not days or days[-1].month != leading):
        return None
    return days if days and all(day.month for day in days) else None


def _assign(days: list[_Day], month: int, year: int) -> None:
    """Gives month and year to the days just before them that have none yet."""
    if year:
        days[-1].has_own_year = True
    for day in reversed(days):
        if month and not day.month:
            day.month = month
        elif month and not year:
            break
        if year and not day.year:
            day.year = year
        elif year:
            break


def _inherit_years(spans: list[_DateSpan]) -> bool:
    """Fills in missing years from the date before, else from the one after; whether there were any."""
    days = [day for stretch in spans for day in stretch.days or ()]
    lent = False
    for row in (days, days[::-1]):
        year = 0
        for day in row:
            if not day.year and year:
                day.year, lent = year, True
            year = day.year
    return lent


def _ranges(days: list[_Day] | None) -> list[DateRange] | None:
    """Ranges in order; days that follow each other ("7 and 8") are one. None if a day does not exist."""
    ranges: list[DateRange] = []
    single: list[bool] = []
    for index, day in enumerate(days or ()):
        try:
            on = date(day.year, day.month, day.day)
            if day.joined_by == "until" and ranges and single[-1]:
                start = ranges[-1].start
                turns = on.month < start.month and days is not None and not days[index - 1].has_own_year
                if turns:  # 30 December - 2 January 2018
                    start = start.replace(year=start.year - 1)
                if on < start:
                    return None
                ranges[-1], single[-1] = DateRange(start, on), False
            else:
                ranges.append(DateRange(on, on))
                single.append(True)
        except (ValueError, OverflowError):
            return None
    if not ranges:
        return None
    merged: list[DateRange] = []
    lone = False
    for span, alone in zip(ranges, single, strict=True):
        if merged and lone and alone and (span.start - merged[-1].end).days == 1:
            merged[-1] = DateRange(merged[-1].start, span.end)
        else:
            merged.append(span)
            lone = alone
    return merged
