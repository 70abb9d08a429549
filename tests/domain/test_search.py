"""Normalized queries and snippets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.search import (
    MAX_QUERY_CHARS,
    Fragment,
    highlighted,
    normalized_query,
    snippet,
    stems,
    words,
)

TEXT = "When the upper Lumen rises, the towns downstream used to have nine hours. " * 20


@given(st.text())
def test_a_query_becomes_one_line_of_printable_text(typed: str) -> None:
    query = normalized_query(typed)
    assert len(query) <= MAX_QUERY_CHARS
    assert query == query.strip()
    assert not {"\x00", "\n"} & set(query)
    query.encode()


@given(st.text())
def test_stems_are_letters_and_digits(query: str) -> None:
    for stem in stems(query):
        assert stem.isalnum() or "_" not in stem
        assert not set("'\\ :*&|!()<>") & set(stem)
        assert len(stem) >= 3


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("реката", ["рек"]),
        ("река", ["рек"]),
        ("reki voda šola", ["rek", "vod", "sol"]),
        ("lumi lumit lumin", ["lum", "lum", "lum"]),
        ("градът градот", ["град", "град"]),
        ("водите", ["вод"]),
        ("Đurđevak ŠKOLA", ["durdevak", "skol"]),
        ("the sea", []),
        ('"two words"', []),
        ("boats -cats", []),
        ("boats or ships", []),
        ("self-made boats", ["self", "mad", "boats"]),
    ],
)
def test_stems_of_plain_queries(query: str, found: list[str]) -> None:
    assert stems(query) == found


@pytest.mark.parametrize(
    ("typed", "query"),
    [
        ("--- - -boats -- river-boats -", "-boats river-boats"),
        ("-" * 900, ""),
        ("  a\n\tb\x00c ", "a b c"),
        ("--cats", "-cats"),
    ],
)
def test_dashes_without_a_word_are_dropped(typed: str, query: str) -> None:
    assert normalized_query(typed) == query


def test_words_keep_their_diacritics() -> None:
    assert words("أَنْهَار و école — don’t _x_") == ["أَنْهَار", "و", "école", "don", "t", "x_"]


@given(st.text(max_size=300), st.sets(st.text(min_size=1, max_size=5)))
def test_highlighting_does_not_change_the_text(text: str, found: set[str]) -> None:
    pieces = highlighted(text, found | set(words(text)[:2]))
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text for piece in pieces)


@given(st.integers(0, len(TEXT) - 1), st.sampled_from(["needle", "नदी", "x" * 300]))
def test_snippet_contains_the_match(place: int, needle: str) -> None:
    text = f"{TEXT[:place]} {needle} {TEXT[place:]}"
    pieces = snippet(text, {needle}) if needle in words(text) else [Fragment("", True)]
    shown = "".join(piece.text for piece in pieces)
    assert any(piece.is_match for piece in pieces)
    assert len(shown) <= 300 + 250
    assert shown.strip("…\u00a0") in text


def test_a_short_text_is_shown_whole() -> None:
    assert snippet("A ferry, electric.", {"ferry"}) == [
        Fragment("A ", False),
        Fragment("ferry", True),
        Fragment(", electric.", False),
    ]
    assert snippet("", set()) == []
