"""A document that is one text: its headline, and no word of the rest lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.document import DocumentError
from mailer.domain.document.one_story import parse_one

REST = "**Aldeva, 3 March 2026:** The crews of three ferries met.\n\nThey will meet again."


@pytest.mark.parametrize(
    "headline",
    [
        "# Ferry crews train",
        "### Ferry crews train ##",
        "**Ferry crews train**",
        "Ferry crews train\n===",
        "\n\nFerry crews train",
    ],
)
def test_the_headline_is_found(headline: str) -> None:
    story = parse_one(f"{headline}\n\n{REST}", "en")
    assert story.headline == "Ferry crews train"
    assert story.datelines == ("Aldeva, 3 March 2026",)
    assert story.body == "The crews of three ferries met.\n\nThey will meet again."


def test_a_document_without_a_headline_has_none() -> None:
    story = parse_one("The crews of three ferries met in the morning.\n\nThey will meet again.\n", "en")
    assert (story.headline, story.body) == (
        "",
        "The crews of three ferries met in the morning.\n\nThey will meet again.",
    )


def test_several_headings_are_one_story() -> None:
    story = parse_one("# Ferries\r\n\r\nOne.\r\n\r\n## Crews\r\n\r\nTwo.\r\n\r\n**Boats**\r\n\r\nThree.", "en")
    assert story.headline == "Ferries"
    assert re.sub(r"\s+", " ", story.body) == "One. #### Crews Two. #### Boats Three."


def test_pictures_are_counted_and_their_words_kept() -> None:
    story = parse_one("# Ferries\n\n![The pier](a.jpg)\n\nOne ![small](b.jpg) thing.", "en")
    assert story.pictures == 2
    assert "a.jpg" not in story.body and "b.jpg" not in story.body
    assert "One small thing." in story.body


def test_a_long_first_line_is_no_headline_and_soon_read() -> None:
    spaces = " " * 20_000
    story = parse_one(f"# a{spaces}x{spaces}y\n\nb\n", "en")
    assert (story.headline, story.body.split()) == ("", ["####", "a", "x", "y", "b"])
    assert parse_one(f"{spaces}\n**Ferries**{spaces}\n\nb", "en").headline == "Ferries"


@pytest.mark.parametrize("source", ["", "\n \n", "# ", "<!-- no end"])
def test_what_is_no_text_is_refused_in_words_or_empty(source: str) -> None:
    try:
        assert parse_one(source, "en").body == ""
    except DocumentError as error:
        assert str(error)


@given(st.lists(st.text("abc #*_-=!.:1\n>", max_size=30), max_size=8))
def test_no_word_is_lost(lines: list[str]) -> None:
    source = "\n".join(lines)
    try:
        story = parse_one(source, "en")
    except DocumentError:
        return
    found = " ".join((story.headline, *story.datelines, story.body, *story.warnings))
    assert set(re.findall("[abc]+", source)) <= set(re.findall("[abc]+", found))
