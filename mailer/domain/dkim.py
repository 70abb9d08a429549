"""The kinds of DKIM keys."""

from enum import StrEnum


class KeyKind(StrEnum):
    """The algorithms of RFC 6376 (with at least the key length of RFC 8301) and RFC 8463."""

    rsa = "rsa"
    ed25519 = "ed25519"
