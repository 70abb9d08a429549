"""What the service knows of a language beyond its catalogue and Unicode CLDR: ``words.toml`` beside the catalogue.

The files are read once, when the first language is asked for, as Babel reads those of CLDR.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

LOCALES = Path(__file__).resolve().parent.parent / "templates" / "locales"


class BrokenLanguage(ValueError):
    """A ``words.toml`` holds something that cannot be used; the message names the file."""


@dataclass(frozen=True, slots=True)
class DateWords:
    """The words of datelines. All but ``months`` and ``weekdays`` count in documents of every language."""

    cldr: tuple[str, ...] = ()
    """Locales of CLDR whose months and days are read in this language; empty for the language's own."""
    months: tuple[tuple[str, ...], ...] = ((),) * 12
    """The forms that CLDR lacks, January first."""
    weekdays: tuple[str, ...] = ()
    """Those that CLDR lacks."""
    until: tuple[str, ...] = ()
    conjunctions: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    """Prepositions and the like, before or within a date."""
    year: tuple[str, ...] = ()
    """What may stand behind a year."""


@dataclass(frozen=True, slots=True)
class ContactWords:
    """Parts of the words of contact notes. One with a leading space counts at the beginning of a word only."""

    asking: tuple[str, ...] = ()
    """They ask for information or contact. They count in documents of every language."""
    above: tuple[str, ...] = ()
    """They say "on the above": the note speaks for several stories."""


@dataclass(frozen=True, slots=True)
class Language:
    native_name: str
    """Its name in itself, as it stands in a list of choices."""
    stemmer: str = ""
    """PostgreSQL's text search configuration; empty if it has none. ``search_config()`` in the database decides."""
    articles: tuple[str, ...] = ()
    """Suffixed articles that a search cuts off, where there is no stemmer."""
    house_names: Mapping[str, str] = field(default_factory=dict)
    """Tag → what this language calls that one, where CLDR's name is not that of the United Nations."""
    dates: DateWords = field(default_factory=DateWords)
    contacts: ContactWords = field(default_factory=ContactWords)


@lru_cache(maxsize=1)
def languages() -> Mapping[str, Language]:
    """Return every language that has a ``words.toml``, by its BCP 47 tag, English first. Raises ``BrokenLanguage``."""
    return read_languages(LOCALES)


def read_languages(folder: Path) -> Mapping[str, Language]:
    """Return the languages in one folder. Raises ``BrokenLanguage``."""
    found = {path.parent.name.replace("_", "-"): _read(path) for path in folder.glob("*/words.toml")}
    return {tag: found[tag] for tag in sorted(found, key=lambda tag: (tag != "en", tag))}


def _read(path: Path) -> Language:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        dates, contacts = values.pop("dates", {}), values.pop("contacts", {})
        months = tuple(tuple(forms.split()) for forms in dates.pop("months", [""] * 12))
        if len(months) != 12:
            raise ValueError(f"dates.months: 12 are due, not {len(months)}")
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
