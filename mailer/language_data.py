"""Data about languages that is neither in the catalogues nor in Unicode CLDR: ``words.toml`` next to each catalogue.

All files are read once, on first use.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

LOCALES = Path(__file__).resolve().parent.parent / "templates" / "locales"


class BrokenLanguage(ValueError):
    """An invalid ``words.toml``. The message names the file."""


@dataclass(frozen=True, slots=True)
class DateWords:
    """The words of datelines. All but ``months`` and ``weekdays`` are recognised in documents of every language."""

    cldr: tuple[str, ...] = ()
    """CLDR locales whose months and days are used for this language. Empty for its own locale."""
    months: tuple[tuple[str, ...], ...] = ((),) * 12
    """Forms missing in CLDR, January first."""
    weekdays: tuple[str, ...] = ()
    """Names missing in CLDR."""
    until: tuple[str, ...] = ()
    conjunctions: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    """Prepositions and the like, before or within a date."""
    year: tuple[str, ...] = ()
    """Words that may follow a year."""


@dataclass(frozen=True, slots=True)
class ContactWords:
    """Parts of words in contact notes. A part with a leading space matches only at the beginning of a word."""

    asking: tuple[str, ...] = ()
    """Parts of requests for information or contact, recognised in documents of every language."""
    above: tuple[str, ...] = ()
    """Parts of "on the above", which means that the note covers several stories."""


@dataclass(frozen=True, slots=True)
class Language:
    """The data about one language."""

    native_name: str
    """The language's name in that language, as shown in a list of choices."""
    stemmer: str = ""
    """PostgreSQL's text search configuration; empty if there is none. ``search_config()`` in the database decides."""
    articles: tuple[str, ...] = ()
    """Suffixed articles that a search removes, for a language without a stemmer."""
    house_names: Mapping[str, str] = field(default_factory=dict)
    """Tag → name of that language in this one, where CLDR differs from the usage of the United Nations."""
    dates: DateWords = field(default_factory=DateWords)
    contacts: ContactWords = field(default_factory=ContactWords)


@lru_cache(maxsize=1)
def languages() -> Mapping[str, Language]:
    """Return BCP 47 tag → language, for every ``words.toml``, with English first. Raises BrokenLanguage."""
    return read_languages(LOCALES)


def read_languages(folder: Path) -> Mapping[str, Language]:
    """Return the languages in one folder. Raises BrokenLanguage."""
    by_tag = {path.parent.name.replace("_", "-"): _read(path) for path in folder.glob("*/words.toml")}
    return {tag: by_tag[tag] for tag in sorted(by_tag, key=lambda tag: (tag != "en", tag))}


def _read(path: Path) -> Language:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        dates, contacts = values.pop("dates", {}), values.pop("contacts", {})
        months = tuple(tuple(forms.split()) for forms in dates.pop("months", [""] * 12))
        if len(months) != 12:
            raise ValueError(f"dates.months must have 12 entries, not {len(months)}")
        cldr = tuple(dates.pop("cldr", ()))
        if "and" in dates:
            dates["conjunctions"] = dates.pop("and")
        words = {name: tuple(text.split()) for name, text in dates.items()}
        values["articles"] = tuple(values.get("articles", ()))
        return Language(
            **values,
            dates=DateWords(cldr=cldr, months=months, **words),
            contacts=ContactWords(**{name: tuple(stems) for name, stems in contacts.items()}),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise BrokenLanguage(f"{path}: {error}") from error
