"""All colour pairs in emails have enough contrast, for any theme."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.colours import MIN_CONTRAST, Palette, contrast_ratio, ensure_contrast, palette
from mailer.domain.content import Theme

COLOUR = st.integers(0, 0xFFFFFF).map("#{:06x}".format)
THEME = st.builds(Theme, accent=COLOUR, text=COLOUR, surface=COLOUR, background=COLOUR)


def pairs(colours: Palette) -> list[tuple[str, str]]:
    """Words and the surface they stand on, in light and in dark."""
    found = [
        (colours.text, colours.surface),
        (colours.muted, colours.surface),
        (colours.muted_on_background, colours.background),
        (colours.dark_text, colours.dark_surface),
        (colours.dark_muted, colours.dark_surface),
        (colours.dark_muted, colours.dark_background),
    ]
    for shade in (colours.accent, *colours.sections):
        found += [
            (shade.on_fill, shade.fill),
            (shade.text, colours.surface),
            (shade.dark_text, colours.dark_surface),
        ]
    return found


@given(THEME, st.lists(COLOUR, max_size=4).map(tuple))
def test_all_text_has_enough_contrast(theme: Theme, sections: tuple[str, ...]) -> None:
    for words, surface in pairs(palette(theme, sections)):
        assert contrast_ratio(words, surface) >= MIN_CONTRAST


@given(COLOUR, COLOUR)
def test_colour_with_enough_contrast_is_unchanged(colour: str, surface: str) -> None:
    assert (ensure_contrast(colour, surface) == colour) == (contrast_ratio(colour, surface) >= MIN_CONTRAST)


@given(COLOUR, COLOUR)
def test_contrast_is_the_same_both_ways_and_within_its_range(one: str, other: str) -> None:
    assert 1 <= contrast_ratio(one, other) == contrast_ratio(other, one) <= 21.0001


def test_known_contrasts() -> None:
    assert round(contrast_ratio("#000000", "#ffffff"), 2) == 21
    assert round(contrast_ratio("#777777", "#ffffff"), 2) == 4.48  # the usual example of just too little


@given(st.text(max_size=30))
def test_invalid_colour_is_replaced(text: str) -> None:
    colours = palette(Theme(accent=text, surface=text), (text,))
    used = (colours.surface, colours.accent.fill, colours.sections[0].fill)
    assert all(re.fullmatch("#[0-9a-fA-F]{6}", colour) for colour in used)
