"""Receiving domains, and which of them count as one since the same servers take their mail."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Provider:
    """Domains that count as one. ``mx`` are patterns of the names of mail servers, such as ``*.google.com``."""

    name: str
    domains: Sequence[str] = ()
    mx: Sequence[str] = ()
    rate: float = 0.0
    """Messages a second; 0 for no limit."""


@dataclass(slots=True)
class Providers:
    """Tells the destination of an address: the group of its domain, or the domain itself."""

    configured: Sequence[Provider] = ()
    domain_rate: float = 0.0
    """Messages a second for each domain outside all groups; 0 for no limit."""
    _provider_by_domain: dict[str, str] = field(default_factory=dict)
    _rate_by_provider: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._provider_by_domain = {
            domain: group.name for group in self.configured for domain in group.domains
        }
        self._rate_by_provider = {group.name: group.rate for group in self.configured}

    def refresh_mx(self, mx_hosts: Mapping[str, str]) -> None:
        """Put domains into groups by the mail servers that DNS names for them; the settings outrank this."""
        listed = {domain for group in self.configured for domain in group.domains}
        for domain, exchange in mx_hosts.items():
            group = self.by_mx_host(exchange)
            if group and domain not in listed:
                self._provider_by_domain[domain] = group

    def by_mx_host(self, mx_host: str) -> str:
        """The group whose mail servers this one is of; empty for none."""
        name = mx_host.rstrip(".").lower()
        return next((g.name for g in self.configured if any(fnmatchcase(name, mx) for mx in g.mx)), "")

    def for_address(self, address: str) -> str:
        domain = address.rpartition("@")[2]
        return (
            self._provider_by_domain.get(domain)
            or self._provider_by_domain.get(domain.lower())
            or domain.lower()
        )

    def configured_rate(self, provider: str) -> float:
        """The rate that is set for a destination; 0 for none."""
        return self._rate_by_provider.get(provider, self.domain_rate)

    def rate_limited(self) -> list[str]:
        """Groups with a rate of their own."""
        return [name for name, rate in self._rate_by_provider.items() if rate]

    def domains(self, provider: str) -> list[str]:
        """The domains of a destination, all that are known."""
        if provider in self._rate_by_provider:
            return [domain for domain, name in self._provider_by_domain.items() if name == provider]
        return [provider]
