"""Which relay takes the next messages."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mailer.domain.warm_up import WarmUp


@dataclass(frozen=True, slots=True)
class RelayRoute:
    """A relay, and how much of the mail is to go there."""

    relay: str
    weight: float = 1.0
    """Its share, beside the others' weights; 0: spare, used when no other can be."""
    rate: float = 0.0
    """Messages a second; 0 for no limit."""
    warm_up: WarmUp | None = None


def by_weight(
    routes: Sequence[RelayRoute], blocked: Collection[str], sent: Mapping[str, float]
) -> list[RelayRoute]:
    """The routes that can be used, in the order to try them: first the one that is furthest behind its share of
    what was ``handed`` over, the spare ones last."""
    usable = [route for route in routes if route.relay not in blocked]
    return sorted(
        usable, key=lambda one: (not one.weight, sent.get(one.relay, 0) / one.weight if one.weight else 0)
    )
