"""DKIM signatures (RFC 6376) with RSA and Ed25519 (RFC 8463), for those whose relay does not sign.

c=relaxed/simple. Header fields are hashed relaxed, since relays fold and space them anew. A body is hashed
as it is: a compiled one is ASCII in short lines without blanks at their ends, so nothing on the way has a
reason to change it; and none of its lines begins with a dot, so what SMTP is given is what is signed.
"""

import re
import time
from base64 import b64encode
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

_SINGLETON_HEADERS = (b"from", b"to", b"subject", b"date", b"reply-to")
"""Named in ``h=`` once more than they occur, so that none can be added to a message that is sent on."""
_SIGNED_HEADERS = {
    *_SINGLETON_HEADERS,
    b"message-id",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-id",
    b"feedback-id",
    b"mime-version",
    b"content-type",
    b"content-language",
}
_MIN_RSA_BITS = 2048


class InvalidKey(ValueError):
    """The file is no private key that can sign."""


class KeyKind(StrEnum):
    rsa = "rsa"
    ed25519 = "ed25519"


class Key:
    """A private key of a domain, and the name under which DNS has its public half. Raises BadKey."""

    def __init__(self, domain: str, selector: str, private_key_pem: bytes) -> None:
        try:
            key = load_pem_private_key(private_key_pem, None)
        except TypeError:
            raise InvalidKey("the key asks for a password") from None
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidKey("it holds no private key in PEM") from None
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise InvalidKey("DKIM knows RSA and Ed25519 keys only")
        if isinstance(key, RSAPrivateKey) and key.key_size < _MIN_RSA_BITS:
            raise InvalidKey(f"an RSA key of {key.key_size} bits is too short: {_MIN_RSA_BITS} or more are needed")
        self.domain = domain
        self.selector = selector
        self.kind = KeyKind.rsa if isinstance(key, RSAPrivateKey) else KeyKind.ed25519
        self._key = key

    def signature(self, data: bytes) -> bytes:
        """Of the SHA-256 of ``data`` (RFC 6376 section 3.3.1, RFC 8463 section 3)."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(sha256(data).digest())

    @property
    def txt_name(self) -> str:
        """Where receivers look the public key up in DNS."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def txt_record(self) -> str:
        """The TXT record to publish there (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
        if isinstance(self._key, RSAPrivateKey):
            public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            public = self._key.public_key().public_bytes_raw()
        return f"v=DKIM1; k={self.kind}; p={b64encode(public).decode()}"


def new_private_key(kind: KeyKind) -> bytes:
    """A fresh key in PEM, unencrypted."""
    key = generate_private_key(65537, _MIN_RSA_BITS) if kind is KeyKind.rsa else Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Signer:
    """Signs each message with every key, over the same hash of its body."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = keys

    def sign(self, segments: Sequence[bytes]) -> bytes:
        """The DKIM-Signature fields to be put before a message, one for each key; nothing without keys.

        ``segments`` are the whole message, with CRLF and without a line that begins with a dot.
        """
        if not self._keys:
            return b""
        head, _, body = b"".join(segments).partition(b"\r\n\r\n")
        # From the bottom up, which is how fields of one name are counted (section 5.4.2).
        found = [_canonical_field(field) for field in reversed(_FIELD_END.split(head))]
        names, lines = zip(*filter(None, found), strict=True)
        common = b"t=%d; bh=%s;\r\n h=%s;\r\n b=" % (
            time.time(),
            _body_hash(body),
            _signed_header_list(names),
        )
        made = []
        for key in self._keys:
            value = b"v=1; a=%s-sha256; c=relaxed/simple;\r\n d=%s; s=%s;\r\n %s" % (
                key.kind.encode(),
                key.domain.encode("ascii"),
                key.selector.encode("ascii"),
                common,
            )
            own = _canonicalize_relaxed(b"dkim-signature", value)
            signature = b64encode(key.signature(b"\r\n".join((*lines, own))))
            parts = [signature[at : at + 72] for at in range(0, len(signature), 72)]
            made.append(b"DKIM-Signature: %s%s\r\n" % (value, b"\r\n ".join(parts)))
        return b"".join(made)


_FIELD_END = re.compile(rb"\r\n(?![ \t])")


@lru_cache(maxsize=4096)  # most fields are the same for all readers of an edition
def _canonical_field(field: bytes) -> tuple[bytes, bytes] | None:
    """Name and canonical form of a field, if it is one that is signed."""
    name, _, value = field.partition(b":")
    name = name.rstrip().lower()
    return (name, _canonicalize_relaxed(name, value)) if name in _SIGNED_HEADERS else None


def _canonicalize_relaxed(name: bytes, value: bytes) -> bytes:
    """A field as RFC 6376 section 3.4.2 has it, without its line end."""
    return name + b":" + re.sub(rb"[ \t\r\n]+", b" ", value).strip(b" ")


@lru_cache
def _signed_header_list(names: tuple[bytes, ...]) -> bytes:
    """The value of ``h=``, folded."""
    return re.sub(rb"(.{1,70}:)(?=.)", rb"\1\r\n ", b":".join((*names, *_SINGLETON_HEADERS)))


def _body_hash(body: bytes) -> bytes:
    """Of the body as it is, but for empty lines at its end (section 3.4.3)."""
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    found = sha256(memoryview(body)[:end])
    found.update(b"\r\n")
    return b64encode(found.digest())
