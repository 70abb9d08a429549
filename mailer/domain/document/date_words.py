"""The words used in dates, in every supported language.

Month and day names come from Unicode CLDR through Babel. Forms missing there, and all other words, come from the
``words.toml`` of each language.
"""

from collections.abc import Iterable
from functools import lru_cache

from babel import Locale, UnknownLocaleError

from mailer.domain.document.normalize import folded
from mailer.domain.locales import tag_and_parents
from mailer.language_data import DateWords, languages


@lru_cache(maxsize=64)
def month_words(language: str) -> dict[str, int]:
    """Return folded month name → number (1 to 12). Empty for a language unknown to CLDR."""
    words: dict[str, int] = {}
    for locale in _locales(language):
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in locale.months[context][width].items():
                    word = folded(name).rstrip(".")
                    if len(word) > 1 and not word.isdigit():
                        words.setdefault(word, number)
    for dates in _date_words(language):
        for number, forms in enumerate(dates.months, start=1):
            for form in forms:
                words.setdefault(folded(form), number)
    return words


@lru_cache(maxsize=64)
def day_words(language: str) -> frozenset[str]:
    """Return the folded full names of the days of the week."""
    extra = [day for dates in _date_words(language) for day in dates.weekdays]
    return _folded_set([*_cldr_days(language, "wide"), *extra])


@lru_cache(maxsize=64)
def short_day_words(language: str) -> frozenset[str]:
    """Return the folded abbreviations of the days of the week, without a full stop."""
    short = {word.rstrip(".") for word in _folded_set(_cldr_days(language, "abbreviated"))}
    return frozenset(short) - day_words(language)


def _cldr_days(language: str, width: str) -> list[str]:
    return [
        name
        for locale in _locales(language)
        for context in ("format", "stand-alone")
        for name in locale.days[context][width].values()
    ]


def _date_words(language: str) -> list[DateWords]:
    """Return the words of the language in each of its scripts; Serbian has two."""
    base = language.split("-")[0].lower()
    return [known.dates for tag, known in languages().items() if tag.split("-")[0] == base]


def _locales(language: str) -> list[Locale]:
    if named := [tag for dates in _date_words(language) for tag in dates.cldr]:
        return [Locale.parse(tag, sep="-") for tag in named]
    try:
        for tag in tag_and_parents(language):
            try:
                return [Locale.parse(tag, sep="-")]
            except UnknownLocaleError:
                continue
    except ValueError:
        pass
    return []


def _folded_set(words: Iterable[str]) -> frozenset[str]:
    return frozenset(map(folded, words))


@lru_cache(maxsize=1)
def word_kinds() -> dict[str, str]:
    """Return folded word → kind, for the words around days and months: until, and, between, year word or around.

    One set serves all languages, since the words are looked up only next to numbers and months: "i" joins two days in
    Bosnian and does not occur in an English date. If a word has two kinds, the first counts.
    """
    all_words = [known.dates for known in languages().values()]
    kinds: dict[str, str] = {}
    for kind, words in (
        ("until", ["-", *(word for dates in all_words for word in dates.until)]),
        ("and", ["&", "+", "/", *(word for dates in all_words for word in dates.conjunctions)]),
        ("between", [word for dates in all_words for word in dates.between]),
        ("year word", [word for dates in all_words for word in dates.year]),
        ("around", [word for dates in all_words for word in dates.around]),
    ):
        for word in words:
            kinds.setdefault(folded(word), kind)
    return kinds
