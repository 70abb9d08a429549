"""Which addresses of the network are public, and so may be connected to at the wish of a document."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IpAddress = IPv4Address | IPv6Address

_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_4 = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # shared by a provider's customers (RFC 6598)
    IPv4Network("192.88.99.0/24"),  # relays of 6to4 (RFC 7526)
)
_NOT_PUBLIC_6 = (
    IPv6Network("2001::/23"),  # Teredo, ORCHID and other special uses (RFC 2928)
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4 (RFC 3056)
    IPv6Network("3fff::/20"),  # documentation (RFC 9637)
    IPv6Network("5f00::/16"),  # segment routing (RFC 9602)
)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


class NotPublic(ValueError):
    """An address that is not public."""


def is_public(address: IpAddress) -> bool:
    """Return whether an address is one of the public internet.

    IPv6 addresses that stand for an IPv4 address (mapped, NAT64, 6to4, Teredo) are not, whatever that address is: a
    public host has an address of its own.
    """
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_6)


def read_host(host: str) -> IpAddress | None:
    """Return the address that a URL's host is, or None for a name.

    Raises NotPublic for other spellings of IPv4 addresses, such as ``0177.0.0.1`` or ``2130706433``, that some
    programs read (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    try:
        return ip_address(host)
    except ValueError:
        labels = host.rstrip(".").split(".")
        if ":" in host or _NUMERIC_LABEL.fullmatch(labels[-1]):
            raise NotPublic(host) from None
        return None
