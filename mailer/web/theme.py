"""A newsletter's colours as a style sheet of its own: pages allow no style inside themselves.

The address holds the colours, its own and those of its sections, and nothing else, so that the sheet needs no
database and may be kept for good.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from fastapi import APIRouter, HTTPException, Response

from mailer.adapters.tokens import fingerprint
from mailer.domain.colours import palette, readable
from mailer.domain.content import Theme

_PARTS = ("accent", "ink", "paper", "ground")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_NAME = re.compile(r"[0-9a-f]{6}(-[0-9a-f]{6}){3,65}")
_EDGE = 3.0
"""Contrast that the edge of a control needs (WCAG 2.2, 1.4.11)."""


def theme_address(colours: Mapping[str, str], sections: Sequence[str] = ()) -> str:
    """``/theme/0b5566-1d2a2e-fffdf8-f1ece1.css?v=…`` for a newsletter's theme; the default for what is no
    colour. The colours of sections come after these four, as the classes ``tone-1``, ``tone-2`` and so on."""
    default = Theme()
    given = [*(colours.get(part, "") for part in _PARTS), *sections]
    accent = given[0] if _COLOUR.fullmatch(given[0]) else default.accent
    usual = [*(getattr(default, part) for part in _PARTS), *(accent for _ in sections)]
    name = "-".join(
        (colour if _COLOUR.fullmatch(colour) else other)[1:].lower()
        for colour, other in zip(given, usual, strict=True)
    )
    return f"/theme/{name}.css?v={fingerprint(_sheet(name).encode())[:12]}"


@lru_cache(maxsize=256)
def _sheet(name: str) -> str:
    """The style sheet for colours as they stand in the address."""
    accent, ink, paper, ground, *sections = (f"#{part}" for part in name.split("-"))
    shades = palette(Theme(accent=accent, ink=ink, paper=paper, ground=ground), tuple(sections))
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
        "band": shades.accent.band,
        "on-band": shades.accent.on_band,
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
    tones = list(enumerate(shades.sections, start=1))
    return (
        _rules({":root": light} | {f".tone-{number}": {"tone": shade.text} for number, shade in tones})
        + "@media screen and (prefers-color-scheme: dark) {\n"  # paper is light
        + _rules({":root": dark} | {f".tone-{number}": {"tone": shade.dark} for number, shade in tones})
        + "}\n"
    )


def _rules(rules: Mapping[str, Mapping[str, str]]) -> str:
    return "".join(
        f"{selector} {{" + "".join(f" --{name}: {value};" for name, value in values.items()) + " }\n"
        for selector, values in rules.items()
    )


def theme_router() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.api_route("/theme/{name}.css", methods=["GET", "HEAD"])
    def sheet(name: str) -> Response:
        if not _NAME.fullmatch(name):
            raise HTTPException(404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(_sheet(name), media_type="text/css", headers=headers)

    return router
