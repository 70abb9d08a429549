"""The palette of an edition in light and dark mode, with enough contrast for text (WCAG 2.2).

A colour is six-digit hex (``#0b5c7a``). Contrast is a ratio from 1 to 21; text needs 4.5.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from mailer.domain.content import Theme

MIN_CONTRAST = 4.5
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_DARK_MIN_CONTRAST = 6.5  # 4.5 looks dull on a dark surface
_DARK_BACKGROUND, _DARK_SURFACE, _DARK_TEXT = "#0f1417", "#182025", "#ece8e0"


@dataclass(frozen=True, slots=True)
class AccentColours:
    """An accent colour, as a fill and as text."""

    fill: str
    on_fill: str
    """Text on the fill, in both modes."""
    text: str
    """Accent text on the light surface."""
    dark_text: str
    """Accent text on the dark surface."""


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of an edition."""

    surface: str
    background: str
    """Around the surface."""
    text: str
    muted: str
    """Small print on the surface."""
    muted_on_background: str
    """Small print on the background."""
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
    """Return the palette for a theme and the colours of its sections.

    Anything but a six-digit hex colour (an empty string, or CSS) is replaced by the default.
    """
    default = Theme()
    surface = _valid_or_default(theme.surface, default.surface)
    background = _valid_or_default(theme.background, default.background)
    accent = _valid_or_default(theme.accent, default.accent)
    text = ensure_contrast(_valid_or_default(theme.text, default.text), surface)

    def accent_colours(fill: str) -> AccentColours:
        on_fill = (
            surface
            if contrast_ratio(surface, fill) >= MIN_CONTRAST
            else max("#000000", "#ffffff", key=_contrast_on(fill))
        )
        return AccentColours(
            fill=fill,
            on_fill=on_fill,
            text=ensure_contrast(fill, surface),
            dark_text=ensure_contrast(fill, _DARK_SURFACE, min_ratio=_DARK_MIN_CONTRAST),
        )

    return Palette(
        surface=surface,
        background=background,
        text=text,
        muted=ensure_contrast(_mix(text, surface, 0.3), surface),
        muted_on_background=ensure_contrast(_mix(text, background, 0.3), background),
        border=_mix(text, surface, 0.85),
        dark_surface=_DARK_SURFACE,
        dark_background=_DARK_BACKGROUND,
        dark_text=_DARK_TEXT,
        dark_muted=_mix(_DARK_TEXT, _DARK_SURFACE, 0.3),
        dark_border=_mix(_DARK_TEXT, _DARK_SURFACE, 0.8),
        accent=accent_colours(accent),
        sections=tuple(accent_colours(_valid_or_default(colour, accent)) for colour in sections),
    )


@dataclass(frozen=True, slots=True)
class Contrast:
    """How well a colour of a theme can be read where an email uses it."""

    use: Literal["text", "accent", "button", "dark"]
    """Text and accent on the surface, text on a button, and the accent in dark mode."""
    colour: str
    """As chosen."""
    behind: str
    shown: str
    """As an email shows it: mixed with black or white where the contrast is too low."""
    ratio: float
    """Of the chosen colour."""

    @property
    def is_enough(self) -> bool:
        return self.shown == self.colour.lower()


def check_contrast(theme: Theme) -> tuple[Contrast, ...]:
    """Return the contrasts of a theme, whose colours must be valid."""
    colours = palette(theme, ())
    accent = colours.accent
    pairs: tuple[tuple[Literal["text", "accent", "button", "dark"], str, str, str], ...] = (
        ("text", theme.text, theme.surface, colours.text),
        ("accent", theme.accent, theme.surface, accent.text),
        ("button", theme.surface, theme.accent, accent.on_fill),
        ("dark", theme.accent, colours.dark_surface, accent.dark_text),
    )
    return tuple(
        Contrast(use, colour, behind, shown, contrast_ratio(colour, behind)) for use, colour, behind, shown in pairs
    )


def contrast_ratio(first: str, second: str) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def ensure_contrast(colour: str, surface: str, *, min_ratio: float = MIN_CONTRAST) -> str:
    """Return the colour, mixed with as little black or white as the contrast to the surface needs.

    Either black or white has a contrast of at least 4.5 to any surface.
    """
    end = max("#000000", "#ffffff", key=_contrast_on(surface))
    mixtures = (_mix(colour, end, step / 32) for step in range(33))
    return next((mixture for mixture in mixtures if contrast_ratio(mixture, surface) >= min_ratio), end)


def _contrast_on(surface: str) -> Callable[[str], float]:
    return lambda colour: contrast_ratio(colour, surface)


def _valid_or_default(colour: str, default: str) -> str:
    return colour if _HEX.fullmatch(colour) else default


def _channels(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _mix(colour: str, other: str, share: float) -> str:
    """Return the colour mixed with a share (0 to 1) of another."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + bytes(round(a + (b - a) * share) for a, b in pairs).hex()


def _luminance(colour: str) -> float:
    """Return the relative luminance, 0 (black) to 1 (white) (WCAG 2.2)."""
    scaled = (channel / 255 for channel in _channels(colour))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in scaled)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
