"""A newsletter's colours as a style sheet, because the pages' CSP forbids inline styles.

The URL contains the colours of the newsletter and its sections. So the style sheet needs no database access and can
be cached forever.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from fastapi import APIRouter, HTTPException, Response

from mailer.adapters.tokens import fingerprint
from mailer.domain import urls
from mailer.domain.colours import ensure_contrast, palette
from mailer.domain.content import Theme

router = APIRouter(include_in_schema=False)
_THEME_COLOURS = ("accent", "text", "surface", "background")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_FILE_NAME = re.compile(r"[0-9a-f]{6}(-[0-9a-f]{6}){3,65}")
_MIN_CONTROL_CONTRAST = 3.0
"""The minimum contrast of a control's border (WCAG 2.2, 1.4.11)."""


def theme_url(colours: Mapping[str, str], sections: Sequence[str] = ()) -> str:
    """Return the URL of a theme's style sheet: ``/theme/0b5566-1d2a2e-fffdf8-f1ece1.css?v=…``.

    Invalid colours are replaced by defaults. After the four colours of the theme come those of the sections, for the
    classes ``tone-1``, ``tone-2`` and so on.
    """
    default = Theme()
    colours_given = [*(colours.get(part, "") for part in _THEME_COLOURS), *sections]
    accent = colours_given[0] if _COLOUR.fullmatch(colours_given[0]) else default.accent
    defaults = [*(getattr(default, part) for part in _THEME_COLOURS), *(accent for _ in sections)]
    name = "-".join(
        (colour if _COLOUR.fullmatch(colour) else other)[1:].lower()
        for colour, other in zip(colours_given, defaults, strict=True)
    )
    return f"{urls.THEME.format(colours=name)}?v={fingerprint(_stylesheet(name).encode())[:12]}"


@lru_cache(maxsize=256)
def _stylesheet(name: str) -> str:
    """Return the style sheet for the colours in a URL."""
    accent, ink, paper, ground, *sections = (f"#{part}" for part in name.split("-"))
    shades = palette(Theme(accent=accent, text=ink, surface=paper, background=ground), tuple(sections))
    light = {
        "ground": shades.background,
        "on-ground": shades.muted_on_background,
        "surface": shades.surface,
        "ink": shades.text,
        "ink-soft": shades.muted,
        "line": shades.border,
        "line-strong": ensure_contrast(shades.border, shades.surface, min_ratio=_MIN_CONTROL_CONTRAST),
        "accent": shades.accent.text,
        "on-accent": shades.surface,
        "band": shades.accent.fill,
        "on-band": shades.accent.on_fill,
    }
    dark = {
        "ground": shades.dark_background,
        "on-ground": shades.dark_muted,
        "surface": shades.dark_surface,
        "ink": shades.dark_text,
        "ink-soft": shades.dark_muted,
        "line": shades.dark_border,
        "line-strong": ensure_contrast(shades.dark_border, shades.dark_surface, min_ratio=_MIN_CONTROL_CONTRAST),
        "accent": shades.accent.dark_text,
        "on-accent": shades.dark_surface,
    }
    tones = list(enumerate(shades.sections, start=1))
    return (
        _css_rules({":root": light} | {f".tone-{number}": {"tone": shade.text} for number, shade in tones})
        + "@media screen and (prefers-color-scheme: dark) {\n"  # print uses the light colours
        + _css_rules({":root": dark} | {f".tone-{number}": {"tone": shade.dark_text} for number, shade in tones})
        + "}\n"
    )


def _css_rules(rules: Mapping[str, Mapping[str, str]]) -> str:
    return "".join(
        f"{selector} {{" + "".join(f" --{name}: {value};" for name, value in values.items()) + " }\n"
        for selector, values in rules.items()
    )


@router.api_route(urls.THEME, methods=["GET", "HEAD"])
def stylesheet(colours: str) -> Response:
    if not _FILE_NAME.fullmatch(colours):
        raise HTTPException(404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_stylesheet(colours), media_type="text/css", headers=headers)
