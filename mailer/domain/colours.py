"""Colours that stay readable: WCAG 2.2 contrast, and the palette of one edition in light and dark.

A colour is six-digit hex (``#0b5c7a``); contrast is a ratio from 1 to 21, and 4.5 is enough for text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mailer.domain.content import Theme

MIN_CONTRAST = 4.5
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_DARK_MIN_CONTRAST = 6.5  # on dark paper a colour that is only just readable looks tired
_DARK_BACKGROUND, _DARK_SURFACE, _DARK_TEXT = "#0f1417", "#182025", "#ece8e0"


@dataclass(frozen=True, slots=True)
class AccentColours:
    """One accent: ``band`` is a surface and ``on_band`` text on it, in light and dark alike; ``text`` is
    for words on light paper and ``dark`` for words on dark paper."""

    fill: str
    on_fill: str
    text: str
    dark_text: str


@dataclass(frozen=True, slots=True)
class Palette:
    """Every colour that an edition uses. ``quiet`` is for small print on
    paper, ``on_ground`` for that on the ground around it."""

    surface: str
    background: str
    text: str
    muted: str
    muted_on_background: str
    border: str
    dark_surface: str
    dark_background: str
    dark_text: str
    dark_muted: str
    dark_border: str
    accent: AccentColours
    sections: tuple[AccentColours, ...]


@lru_cache(maxsize=256)
def palette(theme: Theme, sections: tuple[str, ...]) -> Palette:
    """The colours for a theme and its sections' colours; what is no six-digit hex colour (an empty
    string, or an attempt to smuggle in CSS) gives way to the default."""
    default = Theme()
    paper = _valid_or_default(theme.surface, default.surface)
    ground = _valid_or_default(theme.background, default.background)
    accent = _valid_or_default(theme.accent, default.accent)
    ink = ensure_contrast(_valid_or_default(theme.text, default.text), paper)

    def shade(band: str) -> AccentColours:
        on_band = (
            paper
            if contrast_ratio(paper, band) >= MIN_CONTRAST
            else max("#000000", "#ffffff", key=_contrast_on(band))
        )
        return AccentColours(
            fill=band,
            on_fill=on_band,
            text=ensure_contrast(band, paper),
            dark_text=ensure_contrast(band, _DARK_SURFACE, min_ratio=_DARK_MIN_CONTRAST),
        )

    return Palette(
        surface=paper,
        background=ground,
        text=ink,
        muted=ensure_contrast(_mix(ink, paper, 0.3), paper),
        muted_on_background=ensure_contrast(_mix(ink, ground, 0.3), ground),
        border=_mix(ink, paper, 0.85),
        dark_surface=_DARK_SURFACE,
        dark_background=_DARK_BACKGROUND,
        dark_text=_DARK_TEXT,
        dark_muted=_mix(_DARK_TEXT, _DARK_SURFACE, 0.3),
        dark_border=_mix(_DARK_TEXT, _DARK_SURFACE, 0.8),
        accent=shade(accent),
        sections=tuple(shade(_valid_or_default(colour, accent)) for colour in sections),
    )


def contrast_ratio(first: str, second: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, "contrast ratio")."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def ensure_contrast(colour: str, surface: str, *, min_ratio: float = MIN_CONTRAST) -> str:
    """The colour itself, or the nearest mixture with black or white that has enough contrast to the surface.
    Between black and white one always has 4.5."""
    end = max("#000000", "#ffffff", key=_contrast_on(surface))
    mixtures = (_mix(colour, end, step / 32) for step in range(33))
    return next((mixture for mixture in mixtures if contrast_ratio(mixture, surface) >= min_ratio), end)


def _contrast_on(surface: str) -> Callable[[str], float]:
    return lambda ink: contrast_ratio(ink, surface)


def _valid_or_default(given: str, default: str) -> str:
    return given if _HEX.fullmatch(given) else default


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _mix(colour: str, other: str, share: float) -> str:
    """The colour with a share (0 to 1) of the other."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + bytes(round(mine + (its - mine) * share) for mine, its in pairs).hex()


def _luminance(colour: str) -> float:
    """Relative luminance, 0 (black) to 1 (white); WCAG 2.2."""
    scaled = (channel / 255 for channel in _channels(colour))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in scaled)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
