"""Parses datelines: ``7-8 February 2018, Mavrovo, 7-9 March 2018, Vrdnik, Serbia`` contains two.

A dateline is split into tokens once, from left to right, so the time is linear in its length.
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
"""A longer bold run is not a dateline."""

_ORDINAL = r"\.[oa]|-?(?:st|nd|rd|th|er|ero|re|ere|eme|o|a|η|ησ|ος|οσ|го|ого|е|ое|я|ти|ма)"
_NUMBER = rf"(?P<number>\d+)(?:(?:{_ORDINAL})(?![^\W_]))?"
_FULL_DATE = r"(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[ ]?[./][ ]?\d{1,2}[ ]?[./][ ]?\d{4})(?!\d)"
_DAY_AND_MONTH = rf"(?P<day>\d{{1,2}})\.[ ]?(?P<monthnumber>0?[1-9]|1[0-2])(?!\d)\.?(?=\D{{0,20}}{_FULL_DATE})"
"""The first day of a range in figures: "28.1.–3.2.2026"."""
_PLACE_SEPARATORS = " \t\r\n\xa0\u2009\u202f,;:،؛：-–—·|/"
_MAX_TOKENS_BEFORE_DATE = 3
"""Between a number and the date that it seems to belong to: "12 foo 14 May 2026"."""


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
    """Whether the year is written with this day, not only with a later one of the same range."""
    joined_by: str = ""
    """How it is joined to the previous day: ``until`` or ``and``."""


@dataclass(slots=True)
class _DateSpan:
    """A part of a dateline, ``start:end``, that contains dates."""

    start: int
    end: int
    days: list[_Day] | None
    """None if the dates could not be parsed."""
    text_start: int
    """Start of its text, including a leading "and" that is not part of the date."""


def begins_with_date(text: str, language: str) -> bool:
    """Return whether the text begins with a day and a month, even if they cannot be parsed."""
    spans = _find_date_spans(text, language)
    return bool(spans) and not text[: spans[0].text_start].strip(_PLACE_SEPARATORS + "*_([")


def contains_date(text: str, language: str) -> bool:
    """Return whether the text contains a day and a month."""
    return bool(_find_date_spans(text, language))


def read_datelines(text: str, language: str) -> tuple[list[Dateline], list[str]]:
    """Return the datelines in a bold run without its final colon, and warning messages.

    Consecutive days without a place between them belong to one dateline; a day after a place begins the next one. A
    date without a year gets the year of the neighbouring date. If a part cannot be parsed, the whole text is one
    dateline without dates. There are warnings for an inferred year, for one of several datelines without a place, and
    for a text that cannot be parsed.
    """
    text = text.strip()
    spans = _find_date_spans(text, language)
    unparsed = Dateline(text)
    if not spans:
        return [unparsed], [f"The dateline “{text}” could not be read as dates; it is kept as written."]
    if unknown := _unread_date(text, spans, language):
        return [unparsed], [
            f"“{unknown}” in “{text}” looks like a date but could not be read; the dateline is kept as written."
        ]
    year_inferred = _inherit_years(spans)
    ranges_by_span = [_ranges(span.days) for span in spans]
    place_first = bool(text[: spans[0].text_start].strip(_PLACE_SEPARATORS))
    if any(ranges is None for ranges in ranges_by_span) or (
        place_first and len(spans) > 1 and text[spans[-1].end :].strip(_PLACE_SEPARATORS)
    ):
        problem = "could not be read as dates (a day, month or year is missing or impossible)"
        return [unparsed], [f"The dateline “{text}” {problem}; it is kept as written."]
    messages = []
    if year_inferred:
        messages.append(f"A date in “{text}” has no year; the year of the date next to it was used.")
    cuts = [0, *_split_points(spans, place_first), len(text)]
    datelines = []
    for span, ranges, start, end in zip(spans, ranges_by_span, cuts, cuts[1:], strict=False):
        around = (text[start : max(start, span.start)], text[span.end : end])
        before, after = (part.strip(_PLACE_SEPARATORS) for part in around)
        place = ", ".join(filter(None, (before, after)))
        if span.text_start < span.start and not place_first:
            place = after
        elif before and after and around[0].rstrip().endswith(before):
            messages.append(f"“{before}” before the date in “{text}” was read as part of the place.")
        datelines.append(Dateline(text[start:end].strip(_PLACE_SEPARATORS), tuple(ranges or ()), place))
    if len(datelines) > 1 and not all(dateline.place for dateline in datelines):
        messages.append(f"“{text}” was read as {len(datelines)} datelines, but not all of them have a place.")
    return datelines, messages


def _unread_date(text: str, spans: list[_DateSpan], language: str) -> str:
    """Return a day number with a word that seems to be an unknown month, or with unknown words before a date.

    It differs from a house number ("10 Example Street") by its context: a year, a range word or the date follows, or
    a date precedes. Return an empty string if there is none.
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
    for span in spans:
        nearby = [token for token in tokens if token.end <= span.start][-_MAX_TOKENS_BEFORE_DATE - 1 :]
        for at, token in enumerate(nearby):
            inside = any(other.start <= token.start < other.end for other in spans)
            words_only = all(between.kind not in ("comma", "number", "year") for between in nearby[at + 1 :])
            if (
                token.kind == "number"
                and not inside
                and words_only
                and "-" not in fold(text[token.end : span.start])[0]
            ):
                return text[token.start : span.start].strip()
    return ""


def _split_points(spans: list[_DateSpan], place_first: bool) -> list[int]:
    if place_first:
        return [span.end for span in spans[:-1]]
    return [span.text_start for span in spans[1:]]


def _find_date_spans(text: str, language: str) -> list[_DateSpan]:
    """Return the spans of the text that contain dates, in order."""
    if len(text) > MAX_DATELINE_CHARS or not any(map(str.isdigit, text)):
        return []
    runs: list[list[_Token]] = [[]]
    for token in _tokens(text, language):
        if token.kind == "word":
            runs.append([])
        else:
            runs[-1].append(token)
    return [span for run in runs if (span := _date_span(run)) is not None]


def _date_span(run: list[_Token]) -> _DateSpan | None:
    first = 0
    while first < len(run) and run[first].kind in ("comma", "and", "until", "year word"):
        first += 1
    tokens = _trim_trailing(run[first:])
    kinds = {token.kind for token in tokens}
    if "full" not in kinds and not {"month", "number"} <= kinds:
        return None
    lead = [token for token in run[:first] if token.kind != "comma"]
    text_start = lead[0].start if lead else tokens[0].start
    return _DateSpan(tokens[0].start, tokens[-1].end, _days(tokens), text_start)


def _trim_trailing(tokens: list[_Token]) -> list[_Token]:
    """Return the tokens without a tail that is not a date: "7 February 2018, 10" (Downing Street) ends at 2018."""
    end = len(tokens)
    while end:
        last = tokens[end - 1]
        if last.kind in ("month", "full"):
            break
        if last.kind == "year word":
            before = end - 1
            while before and tokens[before - 1].kind in ("year word", "until"):
                before -= 1
            if before and tokens[before - 1].kind in ("year", "full"):
                break  # "2018 tarihleri arasında", "2018'den itibaren"
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
    folded, indices = fold(text)
    ends = [*indices[1:], len(text)]
    months = month_words(language)
    tokens: list[_Token] = []
    for match in _pattern(language).finditer(folded):
        start, end = indices[match.start()], ends[match.end() - 1]
        word = match.group()
        token = _Token("word", start, end)
        if match.group("day"):
            tokens.append(replace(token, kind="number", value=int(match["day"])))
            token = replace(token, kind="month", value=int(match["monthnumber"]))
        elif full := match.group("full"):
            day = _parse_numeric_date(full, language)
            token = replace(token, kind="full", day=day)
        elif number := match.group("number"):
            value = int(number[:5])  # a longer number is not a year; the limit bounds int()
            kind = "number" if value <= 31 else "year" if 1900 <= value < 2200 else "word"
            token = replace(token, kind=kind, value=value)
        elif match.group("dayormonth"):
            after_day = [token.kind for token in tokens[-2:] if token.kind != "around"][-1:] == ["number"]
            token = replace(token, kind="month", value=months[word]) if after_day else replace(token, kind="around")
        elif match.group("month"):
            month = months[word.rstrip(".")]
            if _names_twice(tokens, month, text):
                tokens.pop()
                tokens[-1].end = end
                continue
            token = replace(token, kind="month", value=month)
        elif match.group("weekday"):
            token = replace(token, kind="year word" if _ends_in_year(tokens) else "around")
        elif match.group("shortday"):
            # "Mi., 7. Februar" and "7 Şub 2018 Çar", but not "Boulogne-sur-Mer" or "Vienna Sun"
            kinds = [token.kind for token in tokens[-2:]]
            begins_date = not kinds or kinds[-1] in ("comma", "around", "and")
            if kinds[-1:] == ["until"]:
                begins_date = kinds[0] in ("number", "month", "year", "year word", "full")
            token = replace(token, kind="year word" if _ends_in_year(tokens) else "around" if begins_date else "word")
        elif word in ",;":
            token = replace(token, kind="comma")
        elif _continues(tokens, word, text[tokens[-1].start : start] if tokens else ""):
            tokens[-1].end = end
            continue
        else:
            token = replace(token, kind=word_kinds().get(word, "word"))
        tokens.append(token)
    return tokens


def _continues(tokens: list[_Token], mark: str, last: str) -> bool:
    """Return whether the mark belongs to the last token, whose text is given: "7.", "d'avril", "شباط (فبراير)"."""
    kind = tokens[-1].kind if tokens else ""
    if mark == ".":
        return kind in ("number", "full", "year", "year word", "month", "around")
    return (mark == "'" and kind == "around") or (mark == ")" and kind == "month" and "(" in last)


def _names_twice(tokens: list[_Token], month: int, text: str) -> bool:
    """Return whether the tokens end in a month and a mark, and ``month`` names it again: "حزيران/يونيه"."""
    return (
        len(tokens) > 1 and text[tokens[-1].start] in "/(" and tokens[-2].kind == "month" and tokens[-2].value == month
    )


def _ends_in_year(tokens: list[_Token]) -> bool:
    """Return whether a weekday that follows the tokens belongs to their date: "7 Şubat 2018 Çarşamba"."""
    return bool(tokens) and tokens[-1].kind in ("year", "full", "year word")


@lru_cache(maxsize=64)
def _pattern(language: str) -> re.Pattern[str]:
    months, days, short_days = month_words(language), _any_word(day_words(language)), short_day_words(language)
    month, short = _any_word(months), _any_word(short_days)
    weekday = rf"(?P<weekday>{days}|\((?:{days}|{short})\.?\))"
    short_day = rf"(?P<shortday>{short})(?=[ .,]*(?:\d|{month})|\.?[ ]*(?:[,;]|$)|\.?[ ]+-)"
    # "mar" is Tuesday and March in three languages. It is Tuesday where a day and its month follow before a year.
    day_and_month = rf"\d{{1,2}}(?!\d)(?:(?:(?!\d{{4}}).){{0,40}}?\d)?[ .]*(?:de[ ])?{month}"
    day_or_month = rf"(?P<dayormonth>{_any_word(short_days & months.keys())})(?=[ .,]*{day_and_month})"
    suffix = "|".join(word for word in word_kinds() if word.startswith("'"))
    return re.compile(
        rf"(?P<full>{_FULL_DATE})|{_DAY_AND_MONTH}|{_NUMBER}|{day_or_month}|(?P<month>{month})|{weekday}|{short_day}"
        rf"|(?:{suffix})(?![^\W_])|[^\W\d_]+|[^\s]"
    )


def _any_word(names: Iterable[str]) -> str:
    """Return a pattern for any of the names as whole words, longest first."""
    longest = sorted(map(re.escape, names), key=len, reverse=True)
    return rf"(?<![^\W\d_])(?:{'|'.join(longest) or '(?!)'})(?![^\W_])"


def _parse_numeric_date(text: str, language: str) -> date | None:
    """Return a numeric date with the year or day first, or None. In English 3/4/2018 is ambiguous, so not a date."""
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
    """Return the days in the tokens, in the order of the text, or None if they cannot be parsed."""
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
    """Set month and year on the preceding days that have none yet."""
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
    """Fill in missing years from the previous date, else from the next one; return whether any was filled in."""
    days = [day for span in spans for day in span.days or ()]
    inherited = False
    for ordered_days in (days, days[::-1]):
        year = 0
        for day in ordered_days:
            if not day.year and year:
                day.year, inherited = year, True
            year = day.year
    return inherited


def _ranges(days: list[_Day] | None) -> list[DateRange] | None:
    """Return date ranges in order, or None if a day does not exist. Consecutive days ("7 and 8") are one range."""
    ranges: list[DateRange] = []
    single: list[bool] = []
    for index, day in enumerate(days or ()):
        try:
            on = date(day.year, day.month, day.day)
            if day.joined_by == "until" and ranges and single[-1]:
                start = ranges[-1].start
                spans_new_year = on.month < start.month and days is not None and not days[index - 1].has_own_year
                if spans_new_year:  # 30 December - 2 January 2018
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
    last_is_single = False
    for current, is_single in zip(ranges, single, strict=True):
        if merged and last_is_single and is_single and (current.start - merged[-1].end).days == 1:
            merged[-1] = DateRange(merged[-1].start, current.end)
        else:
            merged.append(current)
            last_is_single = is_single
    return merged
