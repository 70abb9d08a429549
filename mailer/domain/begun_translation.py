"""What a story's translation takes from its source when it is begun."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mailer.domain.content import Dateline, DateRange

ComposeDateline = Callable[[DateRange, str, str], str]
"""Returns dates and a place as they are written in a language."""


def begun_translation(source: Mapping[str, Any], language: str, compose_dateline: ComposeDateline) -> dict[str, Any]:
    """Return what a story's translation takes from its source: the link, the credit, and the datelines in its language.

    A dateline without dates keeps its text.
    """
    datelines = [
        replace(line, text=_composed(line, language, compose_dateline) or line.text).to_json()
        for line in map(Dateline.from_json, source["datelines"])
    ]
    return {"link": source["link"], "picture_credit": source["picture_credit"], "datelines": datelines}


def is_begun(content: Mapping[str, Any]) -> bool:
    """Return whether a text has at most what it took from its source: nobody has written it."""
    taken = ("link", "picture_credit", "datelines")
    return not any(value for name, value in content.items() if name not in taken)


def _composed(dateline: Dateline, language: str, compose_dateline: ComposeDateline) -> str:
    """Return a dateline as its language writes it, the place after the last of its dates."""
    places = [*[""] * (len(dateline.dates) - 1), dateline.place]
    return ", ".join(
        compose_dateline(span, place, language) for span, place in zip(dateline.dates, places, strict=False)
    )
