"""Mail providers: receiving domains that share mail servers and therefore limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider such as Gmail."""

    name: str
    domains: Sequence[str] = ()
    mx: Sequence[str] = ()
    """Patterns of mail server names, such as ``*.google.com``."""
    rate: float = 0.0
    """Messages a second; 0 for no limit."""


@dataclass(slots=True)
class Providers:
    """Maps addresses to providers. A domain without a provider is its own provider."""

    configured: Sequence[Provider] = ()
    domain_rate: float = 0.0
    """Messages a second for each domain without a provider; 0 for no limit."""
    _provider_by_domain: dict[str, str] = field(default_factory=dict)
    _rate_by_provider: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._provider_by_domain = {
            domain: provider.name for provider in self.configured for domain in provider.domains
        }
        self._rate_by_provider = {provider.name: provider.rate for provider in self.configured}

    def refresh_mx(self, mx_hosts: Mapping[str, str]) -> None:
        """Assign domains to providers by their MX hosts. Configured domains keep their provider."""
        configured = {domain for provider in self.configured for domain in provider.domains}
        for domain, mx_host in mx_hosts.items():
            name = self.by_mx_host(mx_host)
            if name and domain not in configured:
                self._provider_by_domain[domain] = name

    def by_mx_host(self, mx_host: str) -> str:
        """Return the provider of a mail server, or an empty string."""
        host = mx_host.rstrip(".").lower()
        return next((p.name for p in self.configured if any(fnmatchcase(host, mx) for mx in p.mx)), "")

    def for_address(self, address: str) -> str:
        """Return the provider of an address, or its domain in lower case."""
        domain = address.rpartition("@")[2]
        return self._provider_by_domain.get(domain) or self._provider_by_domain.get(domain.lower()) or domain.lower()

    def configured_rate(self, provider: str) -> float:
        """Return the configured rate of a provider or domain in messages a second, 0 for no limit."""
        return self._rate_by_provider.get(provider, self.domain_rate)

    def rate_limited(self) -> list[str]:
        """Return the names of providers with a configured rate."""
        return [name for name, rate in self._rate_by_provider.items() if rate]

    def domains(self, provider: str) -> list[str]:
        """Return the known domains of a provider."""
        if provider in self._rate_by_provider:
            return [domain for domain, name in self._provider_by_domain.items() if name == provider]
        return [provider]
