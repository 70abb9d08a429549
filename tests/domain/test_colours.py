"""Every pair of colours that meets in a mail can be read, whatever colours a newsletter chose."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.colours import READABLE, Palette, contrast, palette, readable
from mailer.domain.content import Theme

COLOUR = st.integers(0, 0xFFFFFF).map("#{:06x}".format)
THEME = st.builds(Theme, accent=COLOUR, ink=COLOUR, paper=COLOUR, ground=COLOUR)


def pairs(colours: Palette) -> list[tuple[str, str]]:
    """Words and the surface they stand on, in light and in dark."""
    found = [
        (colours.ink, colours.paper),
        (colours.quiet, colours.paper),
        (colours.on_ground, colours.ground),
        (colours.dark_ink, colours.dark_paper),
        (colours.dark_quiet, colours.dark_paper),
        (colours.dark_quiet, colours.dark_ground),
    ]
    for shade in (colours.accent, *colours.sections):
        found += [
            (shade.on_band, shade.band),
            (shade.text, colours.paper),
            (shade.dark, colours.dark_paper),
        ]
    return found


@given(THEME, st.lists(COLOUR, max_size=4).map(tuple))
def test_all_words_can_be_read(theme: Theme, sections: tuple[str, ...]) -> None:
    for words, surface in pairs(palette(theme, sections)):
        assert contrast(words, surface) >= READABLE


@given(COLOUR, COLOUR)
def test_a_colour_that_can_be_read_stays(colour: str, surface: str) -> None:
    assert (readable(colour, surface) == colour) == (contrast(colour, surface) >= READABLE)


@given(COLOUR, COLOUR)
def test_contrast_is_the_same_both_ways_and_within_its_range(one: str, other: str) -> None:
    assert 1 <= contrast(one, other) == contrast(other, one) <= 21.0001


def test_known_contrasts() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48  # the usual example of just too little


@given(st.text(max_size=30))
def test_what_is_no_colour_gives_way(text: str) -> None:
    colours = palette(Theme(accent=text, paper=text), (text,))
    used = (colours.paper, colours.accent.band, colours.sections[0].band)
    assert all(re.fullmatch("#[0-9a-fA-F]{6}", colour) for colour in used)
