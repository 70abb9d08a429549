"""Datelines in all languages."""

import re
from datetime import date, timedelta

import pytest
from babel import Locale
from babel.dates import format_date, format_interval
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.content import DateRange
from mailer.domain.document.date_words import month_words
from mailer.domain.document.datelines import read_datelines
from mailer.language_data import languages

FEBRUARY_7 = DateRange(date(2018, 2, 7), date(2018, 2, 7))
FEBRUARY_7_8 = DateRange(date(2018, 2, 7), date(2018, 2, 8))
FEBRUARY_7_9 = DateRange(date(2018, 2, 7), date(2018, 2, 9))


@pytest.mark.parametrize(
    ("language", "text", "span", "place"),
    [
        ("en", "7-8 February 2018, Vienna, Austria", FEBRUARY_7_8, "Vienna, Austria"),
        ("en", "February 7, 2018, Vienna", FEBRUARY_7, "Vienna"),
        ("en", "FEBRUARY 7–9, 2018, VIENNA", FEBRUARY_7_9, "VIENNA"),
        ("en", "Wednesday, 7\u00a0February\u00a02018 – Vienna", FEBRUARY_7, "Vienna"),
        ("en", "7<sup>th</sup> and 8<sup>th</sup> Feb. 2018, Vienna", FEBRUARY_7_8, "Vienna"),
        ("en", "Vienna, 7 February 2018", FEBRUARY_7, "Vienna"),
        ("en", "7 February 2018, 10 Example Street", FEBRUARY_7, "10 Example Street"),
        ("en", "7 February 2018, 2000 Maribor", FEBRUARY_7, "2000 Maribor"),
        ("en", "2018-02-07, The Hague", FEBRUARY_7, "The Hague"),
        ("fr", "le 7 février 2018, La Haye", FEBRUARY_7, "La Haye"),
        ("fr", "7 et 8 février 2018, Vienne", FEBRUARY_7_8, "Vienne"),
        ("fr", "du 7 au 9 février 2018, Vienne", FEBRUARY_7_9, "Vienne"),
        ("fr", "1er mars 2018, Vienne", DateRange(date(2018, 3, 1), date(2018, 3, 1)), "Vienne"),
        ("es", "7 de febrero de 2018, El Ejemplo", FEBRUARY_7, "El Ejemplo"),
        ("es", "del 7 al 9 de febrero de 2018, Viena", FEBRUARY_7_9, "Viena"),
        ("de", "7.–8. Februar 2018, Wien", FEBRUARY_7_8, "Wien"),
        ("de", "vom 7. bis 9. Februar 2018, Wien", FEBRUARY_7_9, "Wien"),
        ("de", "07.02.2018, Wien", FEBRUARY_7, "Wien"),
        ("bs", "7. februara 2018. godine, Sarajevo", FEBRUARY_7, "Sarajevo"),
        ("hr", "7. i 8. veljače 2018., Zagreb", FEBRUARY_7_8, "Zagreb"),
        ("sr-Cyrl", "7. фебруар 2018., Београд", FEBRUARY_7, "Београд"),
        ("sr-Cyrl", "7. фебруара 2018. године, Београд", FEBRUARY_7, "Београд"),
        ("sr-Latn", "7–8. februar 2018., Beograd", FEBRUARY_7_8, "Beograd"),
        ("sl", "7. in 8. februarja 2018, Ljubljana", FEBRUARY_7_8, "Ljubljana"),
        ("sq", "më 7 shkurt 2018, Tiranë", FEBRUARY_7, "Tiranë"),
        ("mk", "7–8 февруари 2018 година, Скопје", FEBRUARY_7_8, "Скопје"),
        ("ro", "de la 7 la 9 februarie 2018, București", FEBRUARY_7_9, "București"),
        ("bg", "7 февруари 2018 г., София", FEBRUARY_7, "София"),
        ("el", "7 έως 9 Φεβρουαρίου 2018, Αθήνα", FEBRUARY_7_9, "Αθήνα"),
        ("el", "7 ΦΕΒΡΟΥΑΡΙΟΥ 2018, ΑΘΗΝΑ", FEBRUARY_7, "ΑΘΗΝΑ"),
        ("tr", "7-8 ŞUBAT 2018, Ankara", FEBRUARY_7_8, "Ankara"),
        ("uk", "7–8 лютого 2018 р., Київ", FEBRUARY_7_8, "Київ"),
        ("ru", "с 7 по 9 февраля 2018 года, Вена", FEBRUARY_7_9, "Вена"),
        ("ar", "٧–٨ فبراير ٢٠١٨، فيينا", FEBRUARY_7_8, "فيينا"),
        ("ar", "من 7 إلى 9 فبراير 2018، فيينا", FEBRUARY_7_9, "فيينا"),
        ("ar", "7-8 شباط/فبراير 2018، فيينا", FEBRUARY_7_8, "فيينا"),
    ],
)
def test_forms_that_people_write(language: str, text: str, span: DateRange, place: str) -> None:
    datelines, doubts = read_datelines(text, language)

    assert [(dateline.text, dateline.dates, dateline.place) for dateline in datelines] == [(text, (span,), place)]
    assert doubts == []


DAY = DateRange(date(2026, 5, 12), date(2026, 5, 12))
TO_14 = DateRange(date(2026, 5, 12), date(2026, 5, 14))
SUMMER = DateRange(date(2026, 7, 30), date(2026, 8, 3))


@pytest.mark.parametrize(
    ("language", "text", "span"),
    [
        ("en", "Wed, 12 May 2026, Xyz", DAY),
        ("en", "Tue 12 – Thu 14 May 2026, Xyz", TO_14),
        ("en", "Tue, May 12, 2026, Xyz", DAY),
        ("fr", "le mer. 12 mai 2026, Xyz", DAY),
        ("de", "Di., 12. Mai 2026, Xyz", DAY),
        ("es", "12.º de mayo de 2026, Xyz", DAY),
        ("bs", "u srijedu, 12. maja 2026. g., Xyz", DAY),
        ("bs", "12. svibnja 2026., Xyz", DAY),
        ("bs", "od 30. srpnja do 3. kolovoza 2026., Xyz", SUMMER),
        ("hr", "u nedjelju, 12. svibnja 2026., Xyz", DAY),
        ("sr-Latn", "u sredu, 12. maja 2026, Xyz", DAY),
        ("sr-Cyrl", "у суботу, 12. маја 2026. године, Xyz", DAY),
        ("sl", "v sredo, 12. maja 2026, Xyz", DAY),
        ("sl", "med 12. in 14. majem 2026, Xyz", TO_14),
        ("sq", "të mërkurën, më 12 maj 2026, Xyz", DAY),
        ("sq", "nga 30 korriku deri më 3 gusht 2026, Xyz", SUMMER),
        ("mk", "во среда, 12 мај 2026 година, Xyz", DAY),
        ("ro", "în perioada 12-14 mai 2026, Xyz", TO_14),
        ("bg", "в сряда, 12 май 2026 г., Xyz", DAY),
        ("el", "12 Μάη 2026, Xyz", DAY),
        ("tr", "12 Mayıs 2026 tarihinde, Xyz", DAY),
        ("tr", "12 ile 14 Mayıs 2026 tarihleri arasında, Xyz", TO_14),
        ("uk", "у п’ятницю, 12 травня 2026 р., Xyz", DAY),
        ("ru", "во вторник, 12 мая 2026 г., Xyz", DAY),
        ("ar", "12 أيار/مايو 2026، Xyz", DAY),
        ("ar", "30 تموز/يوليه - 3 آب/أغسطس 2026، Xyz", SUMMER),
        ("ar", "30 تموز/يوليو - 3 آب/أغسطس 2026، Xyz", SUMMER),
        ("ar", "12 أيار (مايو) 2026، Xyz", DAY),
        ("ar", "في الفترة من 12 إلى 14 مايو 2026، Xyz", TO_14),
        ("bg", "в периода 12–14 май 2026 г., Xyz", TO_14),
        ("bg", "вт, 12.05 – чт, 14.05.2026 г., Xyz", TO_14),
        ("bs", "12. maja 2026. (utorak), Xyz", DAY),
        ("de", "30.7.–3.8.2026, Xyz", SUMMER),
        ("de", "Do., 30. Juli – Mo., 3. August 2026, Xyz", SUMMER),
        ("de", "ab 12. Mai 2026, Xyz", DAY),
        ("es", "mar, 12 de mayo de 2026, Xyz", DAY),
        ("es", "jue, 30 jul – mar, 3 ago 2026, Xyz", SUMMER),
        ("es", "desde el 12 hasta el 14 de mayo de 2026, Xyz", TO_14),
        ("fr", "à partir du 12 mai 2026, Xyz", DAY),
        ("fr", "jusqu’au 12 mai 2026, Xyz", DAY),
        ("hr", "u razdoblju od 12. do 14. svibnja 2026., Xyz", TO_14),
        ("mk", "во периодот од 12 до 14 мај 2026 година, Xyz", TO_14),
        ("ro", "mar., 12 mai 2026, Xyz", DAY),
        ("ru", "в период с 12 по 14 мая 2026 года, Xyz", TO_14),
        ("sl", "od 30. julija do vključno 3. avgusta 2026, Xyz", SUMMER),
        ("sq", "mar, 12 maj 2026, Xyz", DAY),
        ("sq", "prej 12 deri në 14 maj 2026, Xyz", TO_14),
        ("sr-Cyrl", "у периоду од 12. до 14. маја 2026, Xyz", TO_14),
        ("sr-Latn", "čet, 30. jul – pon, 3. avg 2026, Xyz", SUMMER),
        ("tr", "12 Mayıs 2026 Sal, Xyz", DAY),
        ("tr", "12 Mayıs 2026’da, Xyz", DAY),
        ("tr", "12’den 14 Mayıs 2026’ya kadar, Xyz", TO_14),
        ("tr", "30 Temmuz'dan 3 Ağustos'a kadar 2026, Xyz", SUMMER),
        ("tr", "12 Mayıs 2026’dan itibaren, Xyz", DAY),
        ("uk", "протягом 12–14 травня 2026 року, Xyz", TO_14),
    ],
)
def test_text_around_a_date_is_not_a_place(language: str, text: str, span: DateRange) -> None:
    datelines, doubts = read_datelines(text, language)

    assert [(dateline.dates, dateline.place) for dateline in datelines] == [((span,), "Xyz")]
    assert doubts == []


@pytest.mark.parametrize(
    ("language", "text", "place"),
    [
        ("fr", "Boulogne-sur-Mer, 12 mai 2026", "Boulogne-sur-Mer"),
        ("en", "12 May 2026, Sun Valley", "Sun Valley"),
        ("sr-Latn", "12. maja 2026. u Beogradu", "u Beogradu"),
        ("en", "12 May 2026, 10 Example Street and 3 Other Street", "10 Example Street and 3 Other Street"),
        ("en", "12 May 2026, 10–14 Example Street", "10–14 Example Street"),
        ("de", "12. Mai 2026 an der Donau", "an der Donau"),
        ("en", "Xyz, 12 May 2026, Qrs", "Xyz, Qrs"),
    ],
)
def test_place_is_kept_verbatim(language: str, text: str, place: str) -> None:
    (dateline,), doubts = read_datelines(text, language)

    assert (dateline.dates, dateline.place, doubts) == ((DAY,), place, [])


_CONTEXTS = ("format", "stand-alone")
_SPOKEN = {tag: sorted(month_words(tag)) for tag in languages()}


@given(st.data())
def test_no_day_is_dropped_without_a_warning(data: st.DataObject) -> None:
    """Whether its month is known, known in another language only, or a slip of the pen."""
    language = data.draw(st.sampled_from(sorted(languages())))
    months = st.sampled_from(_SPOKEN[language]) | st.sampled_from(["korriku", "xuly", "Fooary", "ожідня", "قمري"])
    first, last = data.draw(st.tuples(st.integers(1, 31), st.integers(1, 31)))
    until, and_ = (" ".join(words[:1]) for words in _range_words(language))
    joint = data.draw(st.sampled_from([" – ", "-", f" {until} ", f" {and_} "]))
    year = data.draw(st.sampled_from(["", " 2026"]))
    text = f"{first} {data.draw(months)}{year}{joint}{last} {data.draw(months)} 2026, Xyz"
    datelines, doubts = read_datelines(text, language)

    read = {on.day for dateline in datelines for span in dateline.dates for on in (span.start, span.end)}
    assert doubts or {first, last} <= read, text


def _range_words(language: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    dates = languages()[language].dates
    return dates.until, dates.conjunctions


@pytest.mark.parametrize(
    ("language", "text", "unread"),
    [
        ("sq", "nga 30 xorriku deri më 3 gusht 2026, Tiranë", "30 xorriku"),
        ("en", "7 Fooary to 9 March 2026, Oldport", "7 Fooary"),
        ("en", "7 February and 9 Foober 2018, Oldport", "9 Foober"),
        ("en", "7 February 2018, Oldport, 9 Foober 2018, Newport", "9 Foober"),
        ("sq", "prej 12 foo më 14 maj 2026, Oldport", "12 foo"),
    ],
)
def test_an_unknown_month_is_no_place(language: str, text: str, unread: str) -> None:
    (dateline,), (doubt,) = read_datelines(text, language)

    assert (dateline.text, dateline.dates, dateline.place) == (text, (), "")
    assert f"“{unread}”" in doubt


def test_an_unknown_word_before_a_date_is_pointed_out() -> None:
    (dateline,), (doubt,) = read_datelines("foober 12 May 2026, Xyz", "en")

    assert (dateline.dates, dateline.place) == ((DAY,), "foober, Xyz")
    assert "“foober”" in doubt


@pytest.mark.parametrize("language", sorted(languages()))
@pytest.mark.parametrize("month", range(1, 13))
def test_every_form_of_every_month_is_read_with_its_place(language: str, month: int) -> None:
    """In the order of the language's long form, with CLDR's four forms and those of ``words.toml``, on either side."""
    locale, on = Locale.parse(language, sep="-"), date(2026, month, 12)
    forms = {locale.months[context][width][month] for context in _CONTEXTS for width in ("wide", "abbreviated")}
    forms |= set(languages()[language].dates.months[month - 1])
    pattern = re.sub("[ML]+", "'@'", str(locale.date_formats["long"].pattern))
    for form in forms:
        text = format_date(on, pattern, locale=locale).replace("@", form)
        for written in (f"{text}, Xyz", f"Xyz, {text}", f"{text} – Xyz", f"{text} Xyz"):
            (dateline,), doubts = read_datelines(written, language)
            assert (dateline.dates, dateline.place, doubts) == ((DateRange(on, on),), "Xyz", []), written


@pytest.mark.parametrize("language", sorted(languages()))
@pytest.mark.parametrize("skeleton", ["yMMMd", "yMMMEd", "yMMMMd", "yMMMMEd"])
@given(first=st.dates(date(1990, 1, 1), date(2099, 12, 1)), days=st.integers(1, 60))
def test_cldr_ranges_are_read(language: str, skeleton: str, first: date, days: int) -> None:
    last = first + timedelta(days)
    text = format_interval(first, last, skeleton, locale=Locale.parse(language, sep="-"))
    datelines, doubts = read_datelines(f"{text}, Xyz", language)

    assert [(dateline.dates, dateline.place) for dateline in datelines] == [((DateRange(first, last),), "Xyz")]
    assert doubts == []


@given(
    st.sampled_from(sorted(languages())),
    st.dates(date(1990, 1, 1), date(2099, 12, 31)),
    st.sampled_from(["long", "full", "medium"]),
    st.booleans(),
)
def test_cldr_formats_are_read(language: str, on: date, form: str, capitals: bool) -> None:
    text = format_date(on, form, locale=Locale.parse(language, sep="-"))
    datelines, doubts = read_datelines(f"{text.upper() if capitals else text}, Xyz, Qrs", language)

    assert [(dateline.dates, dateline.place) for dateline in datelines] == [((DateRange(on, on),), "Xyz, Qrs")]
    assert doubts == []


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("31 January - 2 February 2018, X", [("2018-01-31", "2018-02-02")]),
        ("30 December 2017 – 2 January 2018, X", [("2017-12-30", "2018-01-02")]),
        ("30 December - 2 January 2018, X", [("2017-12-30", "2018-01-02")]),
        ("7, 8 and 10 February 2018, X", [("2018-02-07", "2018-02-08"), ("2018-02-10", "2018-02-10")]),
        ("between 7 and 9 February 2018, X", [("2018-02-07", "2018-02-09")]),
        ("February 27 - March 2, 2018, X", [("2018-02-27", "2018-03-02")]),
    ],
)
def test_ranges(text: str, spans: list[tuple[str, str]]) -> None:
    (dateline,), doubts = read_datelines(text, "en")

    assert [(span.start.isoformat(), span.end.isoformat()) for span in dateline.dates] == spans
    assert (dateline.place, doubts) == ("X", [])


def test_missing_year_is_taken_from_the_adjacent_date() -> None:
    (dateline,), doubts = read_datelines("20-21 February 2018, 15-16 March, Skopje, Northland", "en")

    assert dateline.dates == (
        DateRange(date(2018, 2, 20), date(2018, 2, 21)),
        DateRange(date(2018, 3, 15), date(2018, 3, 16)),
    )
    assert dateline.place == "Skopje, Northland"
    assert len(doubts) == 1


def test_a_date_after_a_place_begins_the_next_dateline() -> None:
    datelines, doubts = read_datelines("7-8 February, Oldport, and 9 March 2018, Newport", "en")

    assert [(dateline.text, dateline.place) for dateline in datelines] == [
        ("7-8 February, Oldport", "Oldport"),
        ("and 9 March 2018, Newport", "Newport"),
    ]
    assert len(doubts) == 1  # the year of the first


def test_a_dateline_among_several_without_a_place_is_pointed_out() -> None:
    datelines, doubts = read_datelines("7-8 February 2018, Oldport, 9 March 2018", "en")

    assert [dateline.place for dateline in datelines] == ["Oldport", ""]
    assert len(doubts) == 1


@pytest.mark.parametrize(
    "text",
    [
        "31 February 2018, Vienna",
        "9-7 February 2018, Vienna",
        "February 2018, Vienna",
        "7 February, Vienna",
        "3/4/2018, Vienna",
        "Next week, Vienna",
        "7 février 2018, Vienne",
        "7 February 2018, " + "x" * 600,
    ],
)
def test_unreadable_dateline_is_kept_whole(text: str) -> None:
    (dateline,), doubts = read_datelines(text, "en")

    assert (dateline.text, dateline.dates, dateline.place) == (text, (), "")
    assert len(doubts) == 1


@pytest.mark.parametrize("language", ["xx", "", "not a tag", "tlh-Latn"])
def test_month_names_of_unknown_languages_are_not_read(language: str) -> None:
    (dateline,), doubts = read_datelines("7 February 2018, Vienna", language)

    assert (dateline.dates, len(doubts)) == ((), 1)
