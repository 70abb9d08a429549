"""Language choice by RFC 4647 lookup, relatives of the same script, and the newsletter's chains."""

import langcodes
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.domain.languages import InvalidLanguageTag, canonical_tag, choose_language, match_language

TAGS = ["en", "en-GB", "fr", "fr-CA", "bs", "hr", "sr", "sr-Latn", "sr-Cyrl", "sr-Latn-BA", "sr-Cyrl-ME"]
TAGS += ["pt", "pt-BR", "pt-PT", "zh", "zh-Hans", "zh-Hant", "zh-TW", "zh-HK", "sl", "mk", "ar", "de-CH-1901"]
_TAG = st.sampled_from(TAGS)
_LIST = st.lists(_TAG, max_size=6, unique=True)
_CHAINS = st.dictionaries(_TAG, st.lists(_TAG, max_size=4, unique=True), max_size=6)


def script(tag: str) -> str | None:
    return langcodes.Language.get(tag).maximize().script


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("EN", "en"),
        (" sr-latn-ba ", "sr-Latn-BA"),
        ("SR_CYRL", "sr-Cyrl"),
        ("pt-br", "pt-BR"),
        ("iw", "he"),
        ("zh-hant-tw", "zh-Hant-TW"),
    ],
)
def test_tags_are_canonicalized(written: str, tag: str) -> None:
    assert canonical_tag(written) == tag


@pytest.mark.parametrize("written", ["", " ", "english", "x", "xx-yy-zz-1", "e n", "sr-Latn-Latn", "qqqq", "und", "é"])
def test_invalid_language_is_refused(written: str) -> None:
    with pytest.raises(InvalidLanguageTag, match="“"):
        canonical_tag(written)


@given(st.text(max_size=12) | st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,3}", fullmatch=True))
@example("x-private")
@example("en-u-hc-h12")
def test_any_tag_is_refused_or_canonicalized(written: str) -> None:
    try:
        tag = canonical_tag(written)
    except InvalidLanguageTag:
        return
    assert canonical_tag(tag) == tag
    assert canonical_tag(tag.upper()) == tag
    assert match_language(tag, [tag]) == tag


@pytest.mark.parametrize(
    ("wanted", "offered", "found"),
    [
        ("sr-Latn-BA", ["sr", "sr-Cyrl", "sr-Latn"], "sr-Latn"),
        ("sr-Latn-BA", ["sr-Cyrl", "sr"], "sr"),
        ("sr-Latn-BA", ["sr-Cyrl"], None),
        ("sr", ["sr-Latn", "sr-Cyrl"], "sr-Cyrl"),
        ("sr", ["sr-Latn"], None),
        ("sr-RS", ["sr-Latn", "sr-Cyrl"], "sr-Cyrl"),
        ("pt-BR", ["pt-PT", "pt-BR"], "pt-BR"),
        ("pt-PT", ["pt-BR", "pt-PT"], "pt-PT"),
        ("pt", ["pt-PT", "pt-BR"], "pt-BR"),
        ("pt-PT", ["pt-BR"], "pt-BR"),
        ("zh-TW", ["zh-Hans", "zh-Hant"], "zh-Hant"),
        ("zh-TW", ["zh-Hans"], None),
        ("zh-Hant", ["zh-Hans"], None),
        ("zh-CN", ["zh-Hant", "zh-Hans"], "zh-Hans"),
        ("en", ["en-GB"], "en-GB"),
        ("EN-gb", ["en"], "en"),
        ("en-a-bcd", ["en"], "en"),
        ("de", ["en"], None),
        ("de", [], None),
    ],
)
def test_matching(wanted: str, offered: list[str], found: str | None) -> None:
    assert match_language(wanted, offered) == found


@given(_TAG, _LIST)
def test_a_match_is_on_offer_in_the_same_language_and_script(wanted: str, offered: list[str]) -> None:
    found = match_language(wanted, offered)
    if wanted in offered:
        assert found == wanted
    if found is None:
        return
    assert found in offered
    assert found.split("-")[0] == wanted.split("-")[0]
    # A tag with fewer parts is what lookup leads to; it is the reader's by name, whatever its usual script.
    assert wanted.startswith(found) or script(found) == script(wanted)


CHAINS = {"bs": ["hr", "sr-Latn", "sr"], "sr-Latn": ["sr-Cyrl", "en"], "mk": ["bg"]}


@pytest.mark.parametrize(
    ("wanted", "offered", "language", "why", "through"),
    [
        (["bs"], ["en", "sr", "hr"], "hr", "fallback", "bs"),
        (["bs"], ["en", "sr"], "sr", "fallback", "bs"),
        (["bs-BA"], ["en", "sr"], "sr", "fallback", "bs-BA"),
        (["bs"], ["en"], "en", "default", ""),
        # The whole list comes before any chain: they said that they read French.
        (["bs", "fr"], ["en", "hr", "fr"], "fr", "asked", "fr"),
        (["sr-Latn-BA"], ["sr-Cyrl", "en"], "sr-Cyrl", "fallback", "sr-Latn-BA"),
        (["de", "sr-Latn-BA"], ["sr-Latn", "en"], "sr-Latn", "asked", "sr-Latn-BA"),
        ([], ["fr", "en"], "en", "default", ""),
        (["en-AU"], ["fr", "en"], "en", "asked", "en-AU"),
    ],
)
def test_choosing(wanted: list[str], offered: list[str], language: str, why: str, through: str) -> None:
    choice = choose_language(wanted, offered, CHAINS, "en")
    assert choice is not None
    assert (choice.language, choice.reason, choice.wanted) == (language, why, through)


def test_no_language_matches() -> None:
    assert choose_language(["de"], ["fr"], CHAINS, "en") is None
    assert choose_language(["de"], [], CHAINS, "en") is None


@given(_LIST, _LIST, _CHAINS, _TAG)
def test_a_choice_is_on_offer_and_the_readers_own_list_comes_first(
    wanted: list[str], offered: list[str], chains: dict[str, list[str]], default: str
) -> None:
    choice = choose_language(wanted, offered, chains, default)
    assert choice == choose_language(wanted, offered, chains, default)
    asked = [(tag, found) for tag in wanted if (found := match_language(tag, offered))]
    if asked:
        assert choice is not None
        assert (choice.wanted, choice.language, choice.reason) == (*asked[0], "asked")
    elif choice is None:
        assert match_language(default, offered) is None
    else:
        assert choice.language in offered
        assert choice.reason in ("fallback", "default")
        if choice.reason == "fallback":
            served = {found for tags in chains.values() for tag in tags if (found := match_language(tag, offered))}
            assert choice.language in served
            assert choice.wanted in wanted


@given(_LIST, _LIST, _CHAINS, _TAG, _LIST)
def test_later_preferences_do_not_change_the_choice(
    wanted: list[str], offered: list[str], chains: dict[str, list[str]], default: str, more: list[str]
) -> None:
    choice = choose_language(wanted, offered, chains, default)
    if choice is not None and choice.reason == "asked":
        assert choose_language(wanted + more, offered, chains, default) == choice
