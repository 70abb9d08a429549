"""The ``words.toml`` of each language is valid and complete."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from babel import Locale

from mailer.adapters.cldr import language_name
from mailer.domain.document.contacts import applies_to_all, split_contact
from mailer.language_data import LOCALES, BrokenLanguage, languages, read_languages

ROOT = Path(__file__).parents[1]


def initial_migration() -> ModuleType:
    (path,) = (ROOT / "mailer" / "migrations" / "versions").glob("*_initial.py")
    spec = importlib.util.spec_from_file_location("initial", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STEMMERS = initial_migration()._STEMMERS


def missing_pieces(folder: Path) -> list[str]:
    """Return what a language lacks, one line for each piece."""
    tag = folder.name.replace("_", "-")
    if not (folder / "words.toml").is_file():
        return [f"{tag}: words.toml"]
    known = read_languages(folder.parent)[tag]
    lacks = []
    if not (folder / "LC_MESSAGES" / "messages.po").is_file():
        lacks.append("the catalogue LC_MESSAGES/messages.po")
    if known.native_name.casefold() != str(Locale.parse(tag, sep="-").display_name).casefold():
        lacks.append("native_name as CLDR has it")
    dates = known.dates
    # The Turkish word for "between" trails, so that it counts among those behind a year.
    for name in ("until", "conjunctions", "around", "year", *(["between"] if tag != "tr" else [])):
        if not getattr(dates, name) and (tag, name) != ("de", "year"):
            lacks.append(f"dates.{name.replace('conjunctions', 'and')}")
    for name in ("asking", "above"):
        if not getattr(known.contacts, name):
            lacks.append(f"contacts.{name}")
    if known.stemmer != STEMMERS.get(tag.split("-")[0], ""):
        lacks.append("the stemmer that search_config() in the database knows (a migration, or words.toml)")
    if not (ROOT / "docs" / "sample" / f"2026-3.{tag}.md").is_file():
        lacks.append(f"docs/sample/2026-3.{tag}.md")
    return [f"{tag}: {piece}" for piece in lacks]


def test_every_language_is_complete() -> None:
    folders = [path for path in LOCALES.iterdir() if path.is_dir()]
    assert len(folders) == len(languages()) >= 18
    assert [piece for folder in folders for piece in missing_pieces(folder)] == []


def test_missing_parts_of_a_language_are_listed(tmp_path: Path) -> None:
    (tmp_path / "pt").mkdir()
    assert missing_pieces(tmp_path / "pt") == ["pt: words.toml"]
    (tmp_path / "pt" / "words.toml").write_text('native_name = "Portugues"\n[dates]\nand = "e"\n')
    assert missing_pieces(tmp_path / "pt") == [
        "pt: the catalogue LC_MESSAGES/messages.po",
        "pt: native_name as CLDR has it",
        "pt: dates.until",
        "pt: dates.around",
        "pt: dates.year",
        "pt: dates.between",
        "pt: contacts.asking",
        "pt: contacts.above",
        "pt: the stemmer that search_config() in the database knows (a migration, or words.toml)",
        "pt: docs/sample/2026-3.pt.md",
    ]


@pytest.mark.parametrize(
    "words",
    ["", "native_name =", 'native_name = "X"\nnoun = "Y"', 'native_name = "X"\n[dates]\nmonths = ["a"]'],
)
def test_a_broken_file_is_named(tmp_path: Path, words: str) -> None:
    (tmp_path / "pt").mkdir()
    (tmp_path / "pt" / "words.toml").write_text(words)
    with pytest.raises(BrokenLanguage, match=r"pt.words\.toml: "):
        read_languages(tmp_path)


def test_own_language_names_take_precedence_over_cldr() -> None:
    assert languages()["el"].house_names == {"mk": "Μακεδονικά"}
    assert language_name("mk", "el-GR") == "Μακεδονικά"


@pytest.mark.parametrize("tag", sorted(languages()))
def test_every_contact_word_starts_a_note(tag: str) -> None:
    for stem in languages()[tag].contacts.asking:
        note = split_contact(f"Xyz. ({stem.strip().capitalize()}: Ana)")
        assert note and note.asks_for_contact, stem
    for stem in languages()[tag].contacts.above:
        assert applies_to_all(f"(Xyz {stem}: Ana)", tag), stem


def test_some_contact_words_match_only_at_a_word_start() -> None:
    note = split_contact("Xyz. (Die Umfrage: Ana)")
    assert note and not note.asks_for_contact
