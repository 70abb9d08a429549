"""The words that dates are made of, in every language that a newsletter may be written in.

Month and day names come from Unicode CLDR through Babel. It lacks forms that people write: genitives in
Bosnian, Serbian and Slovene, and regional names; they are listed here.
"""

from functools import lru_cache

from babel import Locale, UnknownLocaleError

from mailer.domain.document.normalize import folded
from mailer.domain.locales import tag_and_parents

_LOCALES = {
    "ar": ("ar", "ar_SY", "ar_DZ", "ar_MA", "ar_MR"),
    "bs": ("bs", "bs_Cyrl", "sr_Latn", "sr_Cyrl"),
    "de": ("de", "de_AT"),
    "sr": ("sr_Latn", "sr_Cyrl", "bs", "bs_Cyrl"),
}
_LATIN = (
    "januara februara marta aprila maja juna jula avgusta septembra oktobra novembra decembra",
    "januar februar mart april maj juni juli augusta septembar oktobar novembar decembar",
)
_CYRILLIC = (
    "јануара фебруара марта априла маја јуна јула августа септембра октобра новембра децембра",
    "јануар фебруар март април мај јуни јули аугуста септембар октобар новембар децембар",
)
_EXTRA_FORMS = {
    "bs": _LATIN + _CYRILLIC,
    "sr": _LATIN + _CYRILLIC,
    "sl": ("januarja februarja marca aprila maja junija julija avgusta septembra oktobra novembra decembra",),
    "hr": (
        "siječanj veljača ožujak travanj svibanj lipanj srpanj kolovoz rujan listopad studenog prosinac",
        _LATIN[0],
        "januar februar mart april maj juni juli august septembar oktobar novembar decembar",
    ),
    "ro": (
        "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    ),
    "es": ("enero febrero marzo abril mayo junio julio agosto setiembre octubre noviembre diciembre",),
}


@lru_cache(maxsize=64)
def month_words(language: str) -> dict[str, int]:
    """Folded month name to its number, 1 to 12; empty for a language that CLDR does not know."""
    words: dict[str, int] = {}
    for locale in _locales(language):
        for context in ("format", "stand-alone"):
            for width in ("wide", "abbreviated"):
                for number, name in locale.months[context][width].items():
                    word = folded(name).rstrip(".")
                    if len(word) > 1 and not word.isdigit():
                        words.setdefault(word, number)
    for year in _EXTRA_FORMS.get(language.split("-")[0].lower(), ()):
        for number, name in enumerate(year.split(), start=1):
            words.setdefault(folded(name), number)
    return words


@lru_cache(maxsize=64)
def day_words(language: str) -> frozenset[str]:
    """Folded names of the days of the week."""
    return frozenset(
        folded(name)
        for locale in _locales(language)
        for context in ("format", "stand-alone")
        for name in locale.days[context]["wide"].values()
    )


def _locales(language: str) -> list[Locale]:
    base = language.split("-")[0].lower()
    if base in _LOCALES:
        return [Locale.parse(name) for name in _LOCALES[base]]
    try:
        for tag in tag_and_parents(language):
            try:
                return [Locale.parse(tag, sep="-")]
            except UnknownLocaleError:
                continue
    except ValueError:
        pass
    return []


def _folded_set(words: str) -> frozenset[str]:
    return frozenset(folded(word) for word in words.split())


# The small words around days and months. They are looked up only next to numbers and months, so one set
# for all languages is enough: "i" joins two days in Bosnian and is nothing in an English date.
UNTIL_WORDS = _folded_set(
    "- to until till through au bis al a hasta do до по ile ila deri la până pina έως ως μέχρι إلى الى حتى"
)
AND_WORDS = _folded_set("& + / and et und y e i и й і та in ter dhe ve και și şi si و")
BETWEEN_WORDS = _folded_set(
    "between entre zwischen između izmedju између med меѓу между між ndërmjet midis mes între "
    "ανάμεσα μεταξύ arasında بين"
)
FILLER_WORDS = _folded_set(
    "on the of from le du des les l d de del el los am vom von den der dem zum od dne dana дана "
    "с со з із від од от на nga më me date datë data din το του τις της στις την στην από yevmi "
    "في من يوم يومي أيام"
)
YEAR_WORDS = _folded_set(
    "year г гг год года году годы р року рр рік година годину године годину godine godina god leta leto "
    "vit viti vitit anul an año έτους yılı yıl yili عام سنة لعام م"
)
