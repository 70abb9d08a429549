"""Which relay takes the next messages."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mailer.domain.warmup import WarmUp


@dataclass(frozen=True, slots=True)
class Route:
    """A relay, and how much of the mail is to go there."""

    relay: str
    weight: float = 1.0
    """Its share, beside the others' weights; 0: spare, used when no other can be."""
    rate: float = 0.0
    """Messages a second; 0 for no limit."""
    warm_up: WarmUp | None = None


def in_turn(routes: Sequence[Route], shut: Collection[str], handed: Mapping[str, float]) -> list[Route]:
    """The routes that can be used, in the order to try them: first the one that is furthest behind its share of
    what was ``handed`` over, the spare ones last."""
    usable = [route for route in routes if route.relay not in shut]
    return sorted(
        usable, key=lambda one: (not one.weight, handed.get(one.relay, 0) / one.weight if one.weight else 0)
    )
