"""Receiving domains, and which of them count as one since the same servers take their mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Group:
    """Domains that count as one. ``mx`` are patterns of the names of mail servers, such as ``*.google.com``."""

    name: str
    domains: Sequence[str] = ()
    mx: Sequence[str] = ()
    rate: float = 0.0
    """Messages a second; 0 for no limit."""


@dataclass(slots=True)
class Destinations:
    """Tells the destination of an address: the group of its domain, or the domain itself."""

    groups: Sequence[Group] = ()
    rate: float = 0.0
    """Messages a second for each domain outside all groups; 0 for no limit."""
    _names: dict[str, str] = field(default_factory=dict)
    _rates: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = {domain: group.name for group in self.groups for domain in group.domains}
        self._rates = {group.name: group.rate for group in self.groups}

    def learn(self, exchanges: Mapping[str, str]) -> None:
        """Put domains into groups by the mail servers that DNS names for them; the settings outrank this."""
        listed = {domain for group in self.groups for domain in group.domains}
        for domain, exchange in exchanges.items():
            group = self.by_exchange(exchange)
            if group and domain not in listed:
                self._names[domain] = group

    def by_exchange(self, exchange: str) -> str:
        """The group whose mail servers this one is of; empty for none."""
        name = exchange.rstrip(".").lower()
        return next((g.name for g in self.groups if any(fnmatchcase(name, mx) for mx in g.mx)), "")

    def of(self, address: str) -> str:
        domain = address.rpartition("@")[2]
        return self._names.get(domain) or self._names.get(domain.lower()) or domain.lower()

    def nominal(self, destination: str) -> float:
        """The rate that is set for a destination; 0 for none."""
        return self._rates.get(destination, self.rate)

    def limited(self) -> list[str]:
        """Groups with a rate of their own."""
        return [name for name, rate in self._rates.items() if rate]

    def domains(self, destination: str) -> list[str]:
        """The domains of a destination, all that are known."""
        if destination in self._rates:
            return [domain for domain, name in self._names.items() if name == destination]
        return [destination]
