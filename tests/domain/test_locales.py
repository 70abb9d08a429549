import pytest
from babel import Locale

from mailer.domain.locales import direction, native_name, tag_and_parents
from mailer.language_data import languages


@pytest.mark.parametrize("tag", sorted(languages()))
def test_direction_and_names_match_cldr(tag: str) -> None:
    locale = Locale.parse(tag, sep="-")
    assert direction(tag) == locale.text_direction
    assert native_name(tag).casefold() == str(locale.display_name).casefold()


def test_a_script_in_the_tag_decides_the_direction() -> None:
    assert [direction(tag) for tag in ("ar", "he-IL", "fa", "az-Arab", "ku-arab-IQ")] == ["rtl"] * 5
    assert [direction(tag) for tag in ("az", "ar-Latn", "ur-Latn-PK", "en", "zxx")] == ["ltr"] * 5


def test_tags_have_parents() -> None:
    assert list(tag_and_parents("sr-Cyrl-RS")) == ["sr-Cyrl-RS", "sr-Cyrl", "sr"]
    assert native_name("fr-CH") == "Français" and native_name("tlh") == "tlh"


@pytest.mark.parametrize("tag", ["", "../etc", "en_GB", "en-", "-", "e", "en\n"])
def test_invalid_tag_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="not a language tag"):
        list(tag_and_parents(tag))
