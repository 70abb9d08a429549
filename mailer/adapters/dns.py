"""Which server takes a domain's mail, asked of DNS (RFC 5321 5.1)."""

import dns.exception
import dns.resolver

_TIMEOUT_SECONDS = 3.0


class LookupFailed(OSError):
    """DNS did not answer."""


class MxResolver:
    """Asks the host's own resolver, or ``nameserver`` at ``port``. Nothing is asked before the first question."""

    def __init__(self, nameserver: str = "", port: int = 53) -> None:
        self._resolver = dns.resolver.Resolver(configure=not nameserver)
        self._resolver.lifetime = _TIMEOUT_SECONDS
        if nameserver:
            self._resolver.nameservers = [nameserver]
            self._resolver.port = port

    def preferred_host(self, domain: str) -> str:
        """The mail server with the lowest preference; empty when the domain names none. Raises NoAnswer."""
        try:
            found = self._resolver.resolve(domain, "MX")
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN, dns.exception.SyntaxError):
            return ""
        except dns.exception.DNSException as error:
            raise LookupFailed(f"DNS did not answer for {domain}: {error}") from None
        best = min(found, key=lambda one: (one.preference, str(one.exchange)))
        return str(best.exchange).rstrip(".").lower()
