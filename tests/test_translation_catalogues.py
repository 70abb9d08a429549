"""The catalogues of the sample newsletter's languages, and those for staff: whole, and faithful to their templates.

Reading them at run time is tested in ``tests/adapters/test_i18n.py``.
"""

import re
import tomllib
import unicodedata
from dataclasses import replace
from gettext import c2py
from pathlib import Path

import pytest
from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from mailer.domain.transactional import TEMPLATE_KINDS, TransactionalEmailKind
from tests.adapters.test_transactional import RENDERER, email

ROOT = Path(__file__).parents[1]
LOCALES = ROOT / "templates" / "locales"
STAFF_LOCALES = ROOT / "templates" / "staff_locales"
LANGUAGES = tomllib.loads((ROOT / "docs" / "sample" / "newsletter.toml").read_text("utf-8"))["languages"]


def read(path: Path) -> Catalog:
    with path.open("rb") as source:
        return read_po(source, abort_invalid=True)


def folder(language: str) -> str:
    return str(language).replace("-", "_")


TEMPLATE = read(LOCALES / "messages.pot")


def identity(message: Message) -> str | tuple[str, ...]:
    return tuple(message.id) if message.pluralizable else str(message.id)


def sentences(words: str | list[str] | tuple[str, ...] | None) -> list[str]:
    """The singular and plural of a msgid, every form of a msgstr, or the one sentence there is."""
    return list(words) if isinstance(words, list | tuple) else [words or ""]


def placeholders(sentence: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sd]", sentence))


@pytest.fixture(params=LANGUAGES)
def catalogue(request: pytest.FixtureRequest) -> Catalog:
    return read(LOCALES / folder(request.param) / "LC_MESSAGES" / "messages.po")


def test_template_matches_the_sources() -> None:
    with (ROOT / "templates" / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)
    spoken = {message for _, _, message, _, _ in extract_from_dir(ROOT, methods, options)}
    assert {identity(message) for message in TEMPLATE if message.id} == spoken


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_header_names_the_language_of_its_folder(language: str) -> None:
    catalogue = read(LOCALES / folder(language) / "LC_MESSAGES" / "messages.po")
    assert catalogue.locale_identifier == folder(language)
    assert catalogue.charset.lower() == "utf-8"


def test_every_message_is_translated_and_not_fuzzy(catalogue: Catalog) -> None:
    assert {identity(message) for message in catalogue} == {identity(message) for message in TEMPLATE}
    assert not catalogue.fuzzy
    for message in catalogue:
        assert not message.fuzzy, message.id
        if message.id:
            assert all(sentence.strip() for sentence in sentences(message.string)), message.id


def form_of(catalogue: Catalog, number: int) -> int:
    return int(c2py(catalogue.plural_expr)(number))


def test_plurals_are_those_of_the_language(catalogue: Catalog) -> None:
    """Each form of the catalogue is one of CLDR's, whatever their order, for every number."""
    assert catalogue.locale
    rule = Locale.parse(str(catalogue.locale)).plural_form
    pairs = {(form_of(catalogue, number), rule(number)) for number in range(1001)}
    assert len(pairs) == len(set(dict(pairs).values())) == catalogue.num_plurals, pairs
    for message in catalogue:
        if message.pluralizable:
            assert len(sentences(message.string)) == catalogue.num_plurals, message.id


_EAST = {0: [1, 21, 101], 1: [2, 4, 22, 104], 2: [0, 5, 11, 12, 14, 20, 111]}
_TWO = {0: [1], 1: [0, 2, 11, 21, 101]}
FORMS = {
    "ar": {0: [0], 1: [1], 2: [2], 3: [3, 10, 103, 110], 4: [100, 101, 102, 200], 5: [11, 26, 99, 111]},
    "bg": _TWO, "bs": _EAST, "de": _TWO, "el": _TWO, "en": _TWO, "es": _TWO,
    "fr": {0: [0, 1], 1: [2, 11, 21, 101]},
    "hr": _EAST,
    "mk": {0: [1, 21, 31, 101], 1: [0, 2, 11, 12, 111]},
    "ro": {0: [1], 1: [0, 2, 11, 19, 101, 119], 2: [20, 21, 100, 120]},
    "ru": _EAST,
    "sl": {0: [1, 101], 1: [2, 102], 2: [3, 4, 103], 3: [0, 5, 11, 12, 21, 100]},
    "sq": _TWO, "sr-Cyrl": _EAST, "sr-Latn": _EAST, "tr": _TWO, "uk": _EAST,
}  # fmt: skip
"""Language → plural form → numbers that use it."""
WEEKS = {
    "ar": "3 أسابيع, 11 أسبوعاً, 12 أسبوعاً, 100 أسبوع, 103 أسابيع",
    "bg": "1 седмица, 2 седмици, 21 седмици",
    "bs": "1 sedmicu, 2 sedmice, 5 sedmica, 11 sedmica, 21 sedmicu",
    "de": "1 Woche, 2 Wochen, 21 Wochen",
    "el": "1 εβδομάδα, 2 εβδομάδες",
    "en": "1 week, 2 weeks, 21 weeks",
    "es": "1 semana, 2 semanas",
    "fr": "0 semaine, 1 semaine, 2 semaines",
    "hr": "1 tjedan, 2 tjedna, 5 tjedana, 11 tjedana, 21 tjedan",
    "mk": "1 недела, 2 недели, 11 недели, 21 недела",
    "ro": "1 săptămână, 2 săptămâni, 19 săptămâni, 20 de săptămâni, 101 săptămâni",
    "ru": "1 неделю, 2 недели, 5 недель, 12 недель, 21 неделю",
    "sl": "1 teden, 2 tedna, 3 tedne, 5 tednov, 102 tedna",
    "sq": "1 javë, 2 javë",
    "sr-Cyrl": "1 недељу, 2 недеље, 5 недеља, 11 недеља, 21 недељу",
    "sr-Latn": "1 nedelju, 2 nedelje, 5 nedelja, 11 nedelja, 21 nedelju",
    "tr": "1 hafta, 2 hafta",
    "uk": "1 тиждень, 2 тижні, 5 тижнів, 12 тижнів, 21 тиждень",
}
FOUND = {
    "ar": "عُثر على 3 مقالات, عُثر على 11 مقالاً, عُثر على 100 مقال",
    "bs": "Pronađen je 21 prilog, Pronađena su 22 priloga, Pronađeno je 12 priloga",
    "mk": "Пронајден е 21 прилог, Пронајдени се 11 прилози",
    "ro": "19 articole găsite, 20 de articole găsite",
    "ru": "Найден 21 материал, Найдено 22 материала, Найдено 12 материалов",
    "sl": "Najden 101 prispevek, Najdena 2 prispevka, Najdeni 4 prispevki, Najdenih 5 prispevkov",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_uses_its_plural_form(language: str) -> None:
    catalogue = read(LOCALES / folder(language) / "LC_MESSAGES" / "messages.po")
    for form, numbers in FORMS[language].items():
        assert {form_of(catalogue, number) for number in numbers} == {form}, numbers
    for singular, fixture in (("%(num)d week", WEEKS), ("%(num)d story found", FOUND)):
        message = catalogue.get(singular)
        assert message is not None and isinstance(message.string, tuple | list)
        for text in fixture.get(language, "").split(", ") if language in fixture else []:
            number = int("".join(c for c in text if c.isdigit()))
            assert message.string[form_of(catalogue, number)] % {"num": number} == text


def test_english_catalogue_equals_the_msgids() -> None:
    english = read(LOCALES / "en" / "LC_MESSAGES" / "messages.po")
    for message in english:
        if message.id:
            assert sentences(message.string) == sentences(message.id)


def test_email_is_spelled_consistently() -> None:
    for message in TEMPLATE:
        for sentence in sentences(message.id):
            assert not re.search(r"e-mail|\bmails?\b", sentence, re.I), sentence


def test_no_word_mixes_scripts(catalogue: Catalog) -> None:
    for message in catalogue:
        for sentence in sentences(message.string) if message.id else []:
            for word in re.findall(r"[^\W\d_]+", re.sub(r"%\(\w+\)[sd]", " ", sentence)):
                scripts = {unicodedata.name(letter).split()[0] for letter in word}
                assert len(scripts & {"LATIN", "CYRILLIC", "GREEK"}) <= 1, word


_SERBIAN = (
    "тебе теби твој твоја твоје твоји Прикажи Покажи Изабери Одабери Унеси Потврди Напиши Прочитај Откажи Пошаљи"
    " Сачувај Тражи Претражи Погледај Промени"
)
_OF_THE_WEST = (
    "tebe tebi tvoj tvoja tvoje tvoji Prikaži Izaberi Odaberi Unesi Potvrdi Napiši Pročitaj Otkaži Pošalji Sačuvaj"
    " Spremi Traži Pretraži Pogledaj Promijeni"
)
FAMILIAR = {
    "ar": "أنت لك إليك عنك عنوانك اشتراكك بياناتك رسائلك لغتك لصفّك اقرأ اختر أدخل اكتب ابحث اطلب أكد اضغط أرسل املأ"
    " استمع",
    "bg": "ти теб твой твоя твоето твоите твоята Покажи Избери Въведи Потвърди Напиши Прочети Отпиши Спри Потърси",
    "bs": _OF_THE_WEST,
    "de": "du dir dich dein deine deinen deinem deiner euch euer eure euren",
    "el": "εσύ σου εσένα Επίλεξε Δείξε Διάβασε Επιβεβαίωσε Γράψε Άνοιξε Αναζήτησε",
    "es": "tú tu tus ti te contigo vosotros vosotras os vuestro vuestra vuestros vuestras",
    "fr": "tu te toi ton ta tes",
    "hr": _OF_THE_WEST,
    "mk": "ти тебе твој твоја твое твои твојот твојата Покажи Прикажи Избери Внеси Потврди Напиши Прочитај Откажи"
    " Зачувај Барај",
    "ro": "tu tine ție tău ta tăi tale îți te Arată Alege Confirmă Caută Citește Salvează Trimite Renunță Scrie",
    "ru": "ты тебя тебе тобой твой твоя твоё твои твоего Покажи Выбери Введи Подтверди Нажми Напиши Прочитай Отпишись",
    "sl": "tebe tebi tvoj tvoja tvoje tvoji Pokaži Prikaži Izberi Vnesi Potrdi Napiši Preberi Odpovej Pošlji Shrani"
    " Išči Poišči Spremeni",
    "sq": "ti ty yt jote tënd tënde Shfaq Zgjidh Konfirmo Anulo Lexo Kërko Ruaj Dërgo Ndalo Shkruaj",
    "sr-Cyrl": _SERBIAN,
    "sr-Latn": f"{_OF_THE_WEST} Promeni Izmeni",
    "tr": "sen sana seni senin sende senden",
    "uk": "ти тебе тобі твій твоя твоє твої твого Покажи Вибери Введи Підтверди Натисни Напиши Прочитай Відпишись",
}  # fmt: skip
"""Language → how somebody is addressed whom one knows well: pronouns, and imperatives where they begin a text."""


@pytest.mark.parametrize("language", sorted(FAMILIAR))
def test_formal_address_is_used(language: str) -> None:
    catalogue = read(LOCALES / folder(language) / "LC_MESSAGES" / "messages.po")
    told = [sentence for message in catalogue if message.id for sentence in sentences(message.string)]
    told.append((ROOT / "docs" / "sample" / f"2026-3.{language}.md").read_text("utf-8"))
    familiar = FAMILIAR[language].split()
    forbidden = {*familiar, *(word.capitalize() for word in familiar)}
    for sentence in told:
        assert not forbidden & set(re.findall(r"\w+", sentence)), sentence


_BREAKS = re.compile(r"[ \n][:;?!»](?=[\s.,)]|$)|«[ \n]", re.MULTILINE)
"""An ordinary space or line end where French needs a no-break space."""


def test_french_marks_stay_with_their_words() -> None:
    catalogue = read(LOCALES / "fr" / "LC_MESSAGES" / "messages.po")
    for message in catalogue:
        for sentence in sentences(message.string) if message.id else []:
            assert not _BREAKS.search(sentence), sentence
            assert not re.search(r"[\w)][:;?!»](?=[\s.,)]|$)|«\w", sentence), sentence


@pytest.mark.parametrize("kind", TEMPLATE_KINDS)
def test_french_marks_stay_with_their_words_in_a_mail(kind: TransactionalEmailKind) -> None:
    content = email(kind, "fr")
    assert content.text_request
    asked = replace(content.text_request, words="Short sentences.\n\nThank you.")
    sections = ("Eau et rivières", "Santé")
    rendered = RENDERER.render(replace(content, newsletter="Le Trimestriel", sections=sections, text_request=asked))
    seen = re.sub(r"<style.*?</style>|<!--.*?-->|<[^>]+>", "", rendered.html, flags=re.DOTALL)
    for part in (rendered.subject, rendered.text, seen):
        assert not _BREAKS.search(part), part
    marks = re.findall(r"[\u00a0\u202f][:;?!»]|«\u00a0", rendered.text)
    assert len(marks) == len(re.findall(r" ?[:;?!»](?=\s)|«", rendered.text)) > 0


def test_every_form_keeps_the_placeholders(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id:
            expected = set().union(*map(placeholders, sentences(message.id)))
            for sentence in sentences(message.string):
                assert placeholders(sentence) == expected, sentence
                assert "%" not in re.sub(r"%\(\w+\)[sd]", "", sentence), sentence


def test_placeholders_that_must_be_last_are_last(catalogue: Catalog) -> None:
    """The reader's own words are padded with blanks in the mail, which show unless the line ends there."""
    last = [m for m in TEMPLATE if m.id and "must stay the very last thing" in " ".join(m.auto_comments)]
    assert {next(iter(placeholders(str(message.id)))) for message in last} == {"%(name)s", "%(address)s"}
    for message in last:
        translated = catalogue.get(message.id)
        assert translated is not None
        (slot,) = placeholders(str(message.id))
        assert str(translated.string).endswith(f" {slot}"), translated.string


@pytest.mark.parametrize("language", ["fr", "sr_Latn"])
def test_catalogues_for_staff_are_complete(language: str) -> None:
    template = read(STAFF_LOCALES / "messages.pot")
    catalogue = read(STAFF_LOCALES / language / "LC_MESSAGES" / "messages.po")
    assert catalogue.locale_identifier == language
    assert catalogue.charset.lower() == "utf-8"
    assert {identity(message) for message in catalogue} == {identity(message) for message in template}
    assert not catalogue.fuzzy
    assert not catalogue.obsolete
    assert catalogue.num_plurals == {"fr": 2, "sr_Latn": 3}[language]
    for message in catalogue:
        if message.id:
            assert not message.fuzzy, message.id
            assert len(sentences(message.string)) == (catalogue.num_plurals if message.pluralizable else 1), message.id
            expected = set().union(*map(placeholders, sentences(message.id)))
            for sentence in sentences(message.string):
                assert sentence.strip(), message.id
                assert placeholders(sentence) == expected, sentence
                assert language != "fr" or not _BREAKS.search(sentence), sentence
