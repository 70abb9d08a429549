"""MX lookup (RFC 5321 section 5.1)."""

import dns.exception
import dns.resolver

_TIMEOUT_SECONDS = 3.0


class LookupFailed(OSError):
    """DNS did not answer."""


class MxResolver:
    """Looks up MX records with the host's resolver, or with ``nameserver`` at ``port``."""

    def __init__(self, nameserver: str = "", port: int = 53) -> None:
        self._resolver = dns.resolver.Resolver(configure=not nameserver)
        self._resolver.lifetime = _TIMEOUT_SECONDS
        if nameserver:
            self._resolver.nameservers = [nameserver]
            self._resolver.port = port

    def preferred_host(self, domain: str) -> str:
        """Return the MX host with the lowest preference, empty if there is none. Raises LookupFailed."""
        try:
            records = self._resolver.resolve(domain, "MX")
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN, dns.exception.SyntaxError):
            return ""
        except dns.exception.DNSException as error:
            raise LookupFailed(f"DNS did not answer for {domain}: {error}") from None
        best = min(records, key=lambda record: (record.preference, str(record.exchange)))
        return str(best.exchange).rstrip(".").lower()
