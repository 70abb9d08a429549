"""Colours that stay readable: WCAG 2.2 contrast, and the palette of one edition in light and dark.

A colour is six-digit hex (``#0b5c7a``); contrast is a ratio from 1 to 21, and 4.5 is enough for text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mailer.domain.content import Theme

READABLE = 4.5
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_BRIGHT = 6.5  # on dark paper a colour that is only just readable looks tired
_DARK_GROUND, _DARK_PAPER, _DARK_INK = "#0f1417", "#182025", "#ece8e0"


@dataclass(frozen=True, slots=True)
class Shade:
    """One accent: ``band`` is a surface and ``on_band`` text on it, in light and dark alike; ``text`` is
    for words on light paper and ``dark`` for words on dark paper."""

    band: str
    on_band: str
    text: str
    dark: str


@dataclass(frozen=True, slots=True)
class Palette:
    """Every colour that an edition uses. ``quiet`` is for small print on
    paper, ``on_ground`` for that on the ground around it."""

    paper: str
    ground: str
    ink: str
    quiet: str
    on_ground: str
    line: str
    dark_paper: str
    dark_ground: str
    dark_ink: str
    dark_quiet: str
    dark_line: str
    accent: Shade
    sections: tuple[Shade, ...]


@lru_cache(maxsize=256)
def palette(theme: Theme, sections: tuple[str, ...]) -> Palette:
    """The colours for a theme and its sections' colours; what is no six-digit hex colour (an empty
    string, or an attempt to smuggle in CSS) gives way to the default."""
    default = Theme()
    paper = _colour(theme.paper, default.paper)
    ground = _colour(theme.ground, default.ground)
    accent = _colour(theme.accent, default.accent)
    ink = readable(_colour(theme.ink, default.ink), paper)

    def shade(band: str) -> Shade:
        on_band = (
            paper if contrast(paper, band) >= READABLE else max("#000000", "#ffffff", key=_contrast_on(band))
        )
        return Shade(
            band=band,
            on_band=on_band,
            text=readable(band, paper),
            dark=readable(band, _DARK_PAPER, at_least=_BRIGHT),
        )

    return Palette(
        paper=paper,
        ground=ground,
        ink=ink,
        quiet=readable(_mixed(ink, paper, 0.3), paper),
        on_ground=readable(_mixed(ink, ground, 0.3), ground),
        line=_mixed(ink, paper, 0.85),
        dark_paper=_DARK_PAPER,
        dark_ground=_DARK_GROUND,
        dark_ink=_DARK_INK,
        dark_quiet=_mixed(_DARK_INK, _DARK_PAPER, 0.3),
        dark_line=_mixed(_DARK_INK, _DARK_PAPER, 0.8),
        accent=shade(accent),
        sections=tuple(shade(_colour(colour, accent)) for colour in sections),
    )


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, "contrast ratio")."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def readable(colour: str, surface: str, *, at_least: float = READABLE) -> str:
    """The colour itself, or the nearest mixture with black or white that has enough contrast to the surface.
    Between black and white one always has 4.5."""
    end = max("#000000", "#ffffff", key=_contrast_on(surface))
    mixtures = (_mixed(colour, end, step / 32) for step in range(33))
    return next((mixture for mixture in mixtures if contrast(mixture, surface) >= at_least), end)


def _contrast_on(surface: str) -> Callable[[str], float]:
    return lambda ink: contrast(ink, surface)


def _colour(given: str, default: str) -> str:
    return given if _HEX.fullmatch(given) else default


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _mixed(colour: str, other: str, share: float) -> str:
    """The colour with a share (0 to 1) of the other."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + bytes(round(mine + (its - mine) * share) for mine, its in pairs).hex()


def _luminance(colour: str) -> float:
    """Relative luminance, 0 (black) to 1 (white); WCAG 2.2."""
    scaled = (channel / 255 for channel in _channels(colour))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in scaled)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
