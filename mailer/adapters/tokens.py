"""Short opaque tokens for links, return paths and Message-IDs.

A token is one AES block: purpose, issue and subscriber, sealed with a key that never leaves the server.
It is 16 bytes, so 22 characters in a link and 32 in a mail address; it holds no address, never expires, costs
nothing to store, and is the same each time it is made. A quarter of it must decrypt to known values, and the
pair must exist: guessing one is hopeless. Tokens of earlier keys are still read.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from hmac import digest
from ipaddress import IPv6Address, ip_address, ip_network

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BLOCK = struct.Struct(">B3xIq")


class Purpose(IntEnum):
    unsubscribe = 1
    preferences = 2
    web_view = 3
    """Of an edition: the pair is issue and edition, no subscriber."""
    bounce = 4
    message = 5  # 6 was once in use
    unsubscribe_newsletter = 7
    """Like ``unsubscribe``, in a mail that belongs to no issue: newsletter and subscriber."""
    preferences_newsletter = 8
    """Like ``preferences``, in such a mail."""
    magic_link = 9
    """Of a reader's own page: when it was made, in seconds since 1970, and subscriber."""
    confirm = 10
    """Of a sign-up: 0 and the sign-up."""
    change_address = 11
    """Of a change of address: 0 for the old end, 1 for the new one, and the change."""
    transactional = 12
    """Message-ID and return path of a note: newsletter and note."""
    form_nonce = 13
    """Of one showing of a form: when, in seconds since 1970, and a number by chance."""


def _aes(secret: str) -> Cipher[modes.ECB]:
    # ECB of a single block is the plain permutation: equal inputs give equal tokens, which is wanted here.
    return Cipher(algorithms.AES(digest(secret.encode(), b"mailer link tokens", "sha256")), modes.ECB())  # noqa: S305


class Tokens:
    """Makes tokens with the first key and reads those of all keys."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._ciphers = [_aes(secret) for secret in secrets]
        oldest = digest(secrets[-1].encode(), b"mailer address hashes", "sha256")
        self._address_key = oldest

    def encrypt(self, purpose: Purpose, issue: int, subscribers: Iterable[int]) -> bytes:
        """One 16-byte token for each subscriber, one behind the other."""
        plain = b"".join([_BLOCK.pack(purpose, issue, subscriber) for subscriber in subscribers])
        encryptor = self._ciphers[0].encryptor()
        return encryptor.update(plain) + encryptor.finalize()

    def decrypt(self, purpose: Purpose, token: bytes) -> tuple[int, int] | None:
        """(issue, subscriber) of a token made for this purpose, or None."""
        if len(token) != 16:
            return None
        for cipher in self._ciphers:
            decryptor = cipher.decryptor()
            plain = decryptor.update(token) + decryptor.finalize()
            found, issue, subscriber = _BLOCK.unpack(plain)
            if found == purpose and plain[1:4] == b"\0\0\0" and subscriber > 0:
                return issue, subscriber
        return None

    def make_link_token(self, purpose: Purpose, issue: int, subscriber: int) -> str:
        """The token as it stands in an address of the web pages, 22 characters."""
        return encode_base64url(self.encrypt(purpose, issue, [subscriber]))[0]

    def read_link_token(self, purpose: Purpose, text: str) -> tuple[int, int] | None:
        try:
            token = urlsafe_b64decode(text.encode("ascii") + b"==") if len(text) == 22 else b""
        except ValueError:
            return None
        return self.decrypt(purpose, token) if encode_base64url(token) == [text] else None

    def read_mail_token(self, purpose: Purpose, text: str) -> tuple[int, int] | None:
        """Of a token in a mail address, where letter case may be lost on the way."""
        try:
            return self.decrypt(purpose, bytes.fromhex(text)) if len(text) == 32 else None
        except ValueError:
            return None

    def address_hash(self, normalized: str) -> bytes:
        """Keyed hash of an address, 16 bytes: what remains of someone who must not be mailed.

        HMAC-SHA256 with a key drawn from the oldest secret, so that it outlives key rotation.
        """
        return digest(self._address_key, normalized.encode(), "sha256")[:16]

    def network_hash(self, ip: str) -> bytes:
        """Keyed hash of the network that an IP address belongs to: /24, or /48 for IPv6. What is no IP address
        is one network of its own."""
        return self._network_hash(_network(ip, 24, 48) or "unknown")

    def isp_hash(self, ip: str) -> bytes:
        """The same of the /32 that an IPv6 address belongs to; empty for any other address."""
        network = _network(ip, 0, 32)
        return self._network_hash(network) if network else b""

    def _network_hash(self, network: str) -> bytes:
        return digest(self._address_key, b"network " + network.encode(), "sha256")[:16]

    def hmac_pads(self) -> tuple[bytes, bytes]:
        """The inner and outer key of that HMAC, so that an import computes it in half the time."""
        key = self._address_key.ljust(64, b"\0")
        return bytes(b ^ 0x36 for b in key), bytes(b ^ 0x5C for b in key)


def _network(ip_text: str, bits: int, bits_v6: int) -> str:
    """The network of an IP address; empty for what is none, and where 0 bits are asked for."""
    try:
        ip = ip_address(ip_text)
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    length = bits if ip.version == 4 else bits_v6
    return str(ip_network((ip, length), strict=False)) if length else ""


def encode_base64url(tokens: bytes) -> list[str]:
    """Each of these tokens in base64url, 22 characters."""
    # Two bytes more make it 24 characters without padding, of which the last two are dropped.
    padded = b"".join([tokens[at : at + 16] + b"\0\0" for at in range(0, len(tokens), 16)])
    text = urlsafe_b64encode(padded).decode()
    return [text[at : at + 22] for at in range(0, len(text), 24)]


def encode_hex(tokens: bytes) -> list[str]:
    """Each of these tokens in hexadecimal, 32 characters: letter case may be lost on the way."""
    text = tokens.hex()
    return [text[at : at + 32] for at in range(0, len(text), 32)]


def fingerprint(data: bytes) -> str:
    return sha256(data).hexdigest()
