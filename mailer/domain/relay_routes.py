"""Chooses the relay for the next messages, by weight."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mailer.domain.warm_up import WarmUp


def host_and_port(host: str, port: int) -> str:
    """Return the address of a server as people write it; an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class RelayRoute:
    """A relay and its share of the mail."""

    relay: str
    weight: float = 1.0
    """Share relative to the other weights. 0: a spare, used only if all other relays are blocked."""
    rate: float = 0.0
    """Messages a second; 0 for no limit."""
    warm_up: WarmUp | None = None
    address: str = ""
    """``host:port``, for ops."""


def by_weight(routes: Sequence[RelayRoute], blocked: Collection[str], sent: Mapping[str, float]) -> list[RelayRoute]:
    """Return the routes that are not blocked, in the order to try them.

    The route furthest behind its share of the ``sent`` messages comes first; spares come last.
    """
    usable = [route for route in routes if route.relay not in blocked]
    return sorted(
        usable,
        key=lambda route: (not route.weight, sent.get(route.relay, 0) / route.weight if route.weight else 0),
    )
