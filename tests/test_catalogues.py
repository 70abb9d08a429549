"""The catalogues of the sample newsletter's languages: whole, and faithful to the template they come from.

Reading them at run time is tested in ``tests/adapters/test_catalogues.py``.
"""

import re
import tomllib
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.plurals import get_plural
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[1]
LOCALES = ROOT / "templates" / "locales"
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


def test_the_template_lists_what_the_sources_say() -> None:
    with (ROOT / "templates" / "babel.cfg").open() as mapping:
        methods, options = parse_mapping_cfg(mapping)  # type: ignore[no-untyped-call]
    spoken = {message for _, _, message, _, _ in extract_from_dir(ROOT, methods, options)}
    assert {identity(message) for message in TEMPLATE if message.id} == spoken


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_header_names_the_language_of_its_folder(language: str) -> None:
    catalogue = read(LOCALES / folder(language) / "LC_MESSAGES" / "messages.po")
    assert catalogue.locale_identifier == folder(language)
    assert catalogue.charset.lower() == "utf-8"


def test_every_message_is_translated_and_sure(catalogue: Catalog) -> None:
    assert {identity(message) for message in catalogue} == {identity(message) for message in TEMPLATE}
    assert not catalogue.fuzzy
    for message in catalogue:
        assert not message.fuzzy, message.id
        if message.id:
            assert all(sentence.strip() for sentence in sentences(message.string)), message.id


def test_plurals_are_those_of_the_language(catalogue: Catalog) -> None:
    plural = get_plural(catalogue.locale)
    assert (catalogue.num_plurals, catalogue.plural_expr) == (plural.num_plurals, plural.plural_expr)
    for message in catalogue:
        if message.pluralizable:
            assert len(sentences(message.string)) == plural.num_plurals, message.id


def test_every_form_keeps_the_placeholders(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id:
            expected = set().union(*map(placeholders, sentences(message.id)))
            for sentence in sentences(message.string):
                assert placeholders(sentence) == expected, sentence
                assert "%" not in re.sub(r"%\(\w+\)[sd]", "", sentence), sentence


def test_what_must_stand_last_stands_last(catalogue: Catalog) -> None:
    """The reader's own words are padded with blanks in the mail, which show unless the line ends there."""
    last = [m for m in TEMPLATE if m.id and "must stay the very last thing" in " ".join(m.auto_comments)]
    assert {next(iter(placeholders(str(message.id)))) for message in last} == {"%(name)s", "%(address)s"}
    for message in last:
        translated = catalogue.get(message.id)
        assert translated is not None
        (slot,) = placeholders(str(message.id))
        assert str(translated.string).endswith(f" {slot}"), translated.string
