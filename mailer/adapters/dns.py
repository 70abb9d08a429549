"""DNS: MX lookup (RFC 5321 section 5.1), addresses of hosts, and TXT records."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, TypeVar

import dns.asyncresolver
import dns.exception
import dns.resolver

from mailer.domain.public_addresses import IpAddress

_TIMEOUT_SECONDS = 3.0
_MAX_RECORDS = 50
"""More records of one name are not looked at."""


class LookupFailed(OSError):
    """DNS did not answer."""


_Resolver = TypeVar("_Resolver", dns.resolver.Resolver, dns.asyncresolver.Resolver)


def _configured(resolver: _Resolver, name_servers: Sequence[tuple[str, int]], timeout_seconds: float) -> _Resolver:
    resolver.lifetime = timeout_seconds
    if name_servers:
        resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in name_servers]
    return resolver


class MxResolver:
    """Looks up MX records with the host's resolver, or with these name servers: (address, port)."""

    def __init__(self, name_servers: Sequence[tuple[str, int]] = (), timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._resolver = _configured(dns.resolver.Resolver(configure=not name_servers), name_servers, timeout_seconds)

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


class DnsResolver:
    """Looks up names with the host's resolver, or with these name servers: (address, port).

    A name that does not exist has no records. Every lookup raises LookupFailed if DNS does not answer.
    """

    def __init__(self, name_servers: Sequence[tuple[str, int]] = (), timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._name_servers = name_servers
        self._timeout_seconds = timeout_seconds

    async def addresses(self, name: str) -> list[IpAddress]:
        """Return all IPv4 and IPv6 addresses of a host."""
        answers = await asyncio.gather(self._records(name, "A"), self._records(name, "AAAA"))
        return [ip_address(record.address) for records in answers for record in records]

    async def txt(self, name: str) -> list[str]:
        """Return the TXT records of a name, each with its strings joined."""
        records = await self._records(name, "TXT")
        return [b"".join(record.strings).decode("utf-8", "replace") for record in records]

    async def _records(self, name: str, kind: str) -> list[Any]:
        try:
            resolver = _configured(
                dns.asyncresolver.Resolver(configure=not self._name_servers), self._name_servers, self._timeout_seconds
            )
            answer = await resolver.resolve(name, kind, search=False)
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            return []
        except (dns.exception.SyntaxError, dns.name.NameTooLong, dns.name.LabelTooLong, UnicodeError):
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise LookupFailed(f"DNS did not answer for {name}: {error}") from None
        return list(answer)[:_MAX_RECORDS]
