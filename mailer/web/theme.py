"""A newsletter's colours as a style sheet of its own: pages allow no style inside themselves.

The address holds the colours and nothing else, so that the sheet needs no database and may be kept for good.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from fastapi import APIRouter, HTTPException, Response

from mailer.adapters.tokens import fingerprint
from mailer.domain.colours import palette, readable
from mailer.domain.content import Theme

_PARTS = ("accent", "ink", "paper", "ground")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[0-9a-f]{6}(-[0-9a-f]{6}){3}")
_EDGE = 3.0
"""Contrast that the edge of a control needs (WCAG 2.2, 1.4.11)."""


def theme_address(colours: Mapping[str, str]) -> str:
    """``/theme/0b5566-1d2a2e-fffdf8-f1ece1.css?v=…`` for a newsletter's theme; the default for what is no
    colour."""
    default = Theme()
    given = (colours.get(part, "") for part in _PARTS)
    usual = (getattr(default, part) for part in _PARTS)
    name = "-".join(
        (colour if _COLOUR.fullmatch(colour) else other)[1:].lower()
        for colour, other in zip(given, usual, strict=True)
    )
    return f"/theme/{name}.css?v={fingerprint(_sheet(name).encode())[:12]}"


@lru_cache(maxsize=256)
def _sheet(name: str) -> str:
    """The style sheet for four colours as they stand in the address."""
    accent, ink, paper, ground = (f"#{part}" for part in name.split("-"))
    shades = palette(Theme(accent=accent, ink=ink, paper=paper, ground=ground), ())
    light = {
        "ground": shades.ground,
        "on-ground": shades.on_ground,
        "surface": shades.paper,
        "ink": shades.ink,
        "ink-soft": shades.quiet,
        "line": shades.line,
        "line-strong": readable(shades.line, shades.paper, at_least=_EDGE),
        "accent": shades.accent.text,
        "on-accent": shades.paper,
    }
    dark = {
        "ground": shades.dark_ground,
        "on-ground": shades.dark_quiet,
        "surface": shades.dark_paper,
        "ink": shades.dark_ink,
        "ink-soft": shades.dark_quiet,
        "line": shades.dark_line,
        "line-strong": readable(shades.dark_line, shades.dark_paper, at_least=_EDGE),
        "accent": shades.accent.dark,
        "on-accent": shades.dark_paper,
    }
    return f"{_root(light)}\n@media (prefers-color-scheme: dark) {{\n{_root(dark)}\n}}\n"


def _root(values: Mapping[str, str]) -> str:
    return ":root {" + "".join(f" --{name}: {value};" for name, value in values.items()) + " }"


def theme_router() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.api_route("/theme/{name}.css", methods=["GET", "HEAD"])
    def sheet(name: str) -> Response:
        if not _NAME.fullmatch(name):
            raise HTTPException(404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(_sheet(name), media_type="text/css", headers=headers)

    return router
