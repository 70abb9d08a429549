"""Short opaque tokens for links, return paths and Message-IDs.

A token is one AES block with purpose, issue and subscriber, encrypted with a key that never leaves the
server. It has 16 bytes: 22 characters in a link, 32 in a mail address. It contains no address, never
expires, needs no storage, and is deterministic. A quarter of it must decrypt to known values and the pair
must exist, so a token cannot be guessed. Tokens made with previous keys are still accepted.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from hmac import digest
from ipaddress import IPv6Address, ip_address, ip_network

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mailer.domain.email_addresses import strip_subaddress
from mailer.domain.subscriber_fields import read_address

_BLOCK = struct.Struct(">B3xIq")


class Purpose(IntEnum):
    """What a token is for. It decides what the two numbers in the token mean: by default, issue and subscriber."""

    unsubscribe = 1
    preferences = 2
    web_view = 3
    """Issue and edition."""
    bounce = 4
    message = 5  # do not reuse 6
    unsubscribe_newsletter = 7
    """Newsletter and subscriber, for emails that belong to no issue."""
    preferences_newsletter = 8
    """Newsletter and subscriber, for emails that belong to no issue."""
    magic_link = 9
    """Time of issue in seconds since the epoch, and subscriber."""
    confirm = 10
    """0 and the sign-up."""
    change_address = 11
    """0 for the old address or 1 for the new one, and the change of address."""
    transactional = 12
    """Newsletter and transactional email, for its Message-ID and return path."""
    form_nonce = 13
    """Time of issue in seconds since the epoch, and a random number."""
    account_link = 14
    """0 and the link by which somebody chooses a password."""
    test_view = 15
    """Issue and test of it, for the web view of the test."""
    text_request = 16
    """0 and the request for a text, for who has no account."""


def _aes(secret: str) -> Cipher[modes.ECB]:
    # ECB on a single block is the plain permutation. Equal inputs must give equal tokens here.
    return Cipher(algorithms.AES(digest(secret.encode(), b"mailer link tokens", "sha256")), modes.ECB())  # noqa: S305


class Tokens:
    """Creates tokens with the first key and reads tokens of all keys."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._ciphers = [_aes(secret) for secret in secrets]
        address_keys = [digest(secret.encode(), b"mailer address hashes", "sha256") for secret in secrets]
        self._address_key = address_keys[-1]
        self.address_key_fingerprints = [digest(key, b"mailer fingerprint", "sha256")[:16] for key in address_keys]
        """Of the key of address hashes that each secret gives. The last one is in use."""

    def encrypt(self, purpose: Purpose, issue: int, subscribers: Iterable[int]) -> bytes:
        """Return one 16-byte token for each subscriber, concatenated."""
        plain = b"".join([_BLOCK.pack(purpose, issue, subscriber) for subscriber in subscribers])
        encryptor = self._ciphers[0].encryptor()
        return encryptor.update(plain) + encryptor.finalize()

    def decrypt(self, purpose: Purpose, token: bytes) -> tuple[int, int] | None:
        """Return (issue, subscriber) of a token for this purpose, or None."""
        if len(token) != 16:
            return None
        for cipher in self._ciphers:
            decryptor = cipher.decryptor()
            plain = decryptor.update(token) + decryptor.finalize()
            token_purpose, issue, subscriber = _BLOCK.unpack(plain)
            if token_purpose == purpose and plain[1:4] == b"\0\0\0" and subscriber > 0:
                return issue, subscriber
        return None

    def make_link_token(self, purpose: Purpose, issue: int, subscriber: int) -> str:
        """Return a token for a URL: 22 characters of base64url."""
        return encode_base64url(self.encrypt(purpose, issue, [subscriber]))[0]

    def read_link_token(self, purpose: Purpose, text: str) -> tuple[int, int] | None:
        """Return (issue, subscriber) of a token in a URL, or None."""
        try:
            token = urlsafe_b64decode(text.encode("ascii") + b"==") if len(text) == 22 else b""
        except ValueError:
            return None
        return self.decrypt(purpose, token) if encode_base64url(token) == [text] else None

    def read_mail_token(self, purpose: Purpose, text: str) -> tuple[int, int] | None:
        """Return (issue, subscriber) of a hexadecimal token in a mail address, or None."""
        try:
            return self.decrypt(purpose, bytes.fromhex(text)) if len(text) == 32 else None
        except ValueError:
            return None

    def address_hash(self, normalized: str) -> bytes:
        """Return a keyed hash of an address, 16 bytes. Suppressions store it instead of the address.

        HMAC-SHA256 with a key derived from the oldest secret, so that it survives key rotation.
        """
        return digest(self._address_key, normalized.encode(), "sha256")[:16]

    def mailbox_hash(self, address: str) -> bytes:
        """Return the keyed hash of a valid address without spelling variants such as tags, for rate limits."""
        return self.address_hash(strip_subaddress(read_address(address)[1]))

    def network_hash(self, ip: str) -> bytes:
        """Return a keyed hash of an IP address's network: /24, or /48 for IPv6.

        All invalid addresses share one hash.
        """
        return self._network_hash(_network(ip, 24, 48) or "unknown")

    def isp_hash(self, ip: str) -> bytes:
        """Return a keyed hash of an IPv6 address's /32 network, empty for any other address."""
        network = _network(ip, 0, 32)
        return self._network_hash(network) if network else b""

    def _network_hash(self, network: str) -> bytes:
        return digest(self._address_key, b"network " + network.encode(), "sha256")[:16]

    def hmac_pads(self) -> tuple[bytes, bytes]:
        """Return the inner and outer key of the address hash. They halve the time of an import."""
        key = self._address_key.ljust(64, b"\0")
        return bytes(b ^ 0x36 for b in key), bytes(b ^ 0x5C for b in key)


def _network(ip_text: str, bits: int, bits_v6: int) -> str:
    """Return the network of an IP address, empty for an invalid address or a length of 0."""
    try:
        ip = ip_address(ip_text)
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    length = bits if ip.version == 4 else bits_v6
    return str(ip_network((ip, length), strict=False)) if length else ""


def encode_base64url(tokens: bytes) -> list[str]:
    """Return each 16-byte token in base64url, 22 characters."""
    # With two more bytes a token becomes 24 characters without padding; the last two are dropped.
    padded = b"".join([tokens[at : at + 16] + b"\0\0" for at in range(0, len(tokens), 16)])
    text = urlsafe_b64encode(padded).decode()
    return [text[at : at + 22] for at in range(0, len(text), 24)]


def encode_hex(tokens: bytes) -> list[str]:
    """Return each 16-byte token in hexadecimal, 32 characters, safe if a server changes case."""
    text = tokens.hex()
    return [text[at : at + 32] for at in range(0, len(text), 32)]


def fingerprint(data: bytes) -> str:
    """Return the SHA-256 of data in hexadecimal."""
    return sha256(data).hexdigest()
