"""DKIM signatures (RFC 6376) with RSA and Ed25519 (RFC 8463), for use with a relay that does not sign.

Canonicalization is relaxed/simple. Headers are relaxed, since relays may refold them. Bodies are simple: a compiled
body is ASCII with short lines without trailing spaces, so relays do not need to change it. No line begins with a dot,
so the signed bytes are those given to SMTP.
"""

import re
import time
from base64 import b64encode
from collections.abc import Sequence
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

from mailer.domain.dkim import KeyKind

_SINGLETON_HEADERS = (b"from", b"to", b"subject", b"date", b"reply-to")
"""Listed in ``h=`` once more than they occur, so that adding another one invalidates the signature."""
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
    """A file that is not a usable private key. The message says why."""


class Key:
    """A domain's private key with its selector."""

    def __init__(self, domain: str, selector: str, private_key_pem: bytes) -> None:
        """Load the key. Raises InvalidKey."""
        try:
            key = load_pem_private_key(private_key_pem, None)
        except TypeError:
            raise InvalidKey("the key is protected by a password") from None
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidKey("it does not contain a private key in PEM format") from None
        if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
            raise InvalidKey("DKIM supports only RSA and Ed25519 keys")
        if isinstance(key, RSAPrivateKey) and key.key_size < _MIN_RSA_BITS:
            raise InvalidKey(f"the RSA key has {key.key_size} bits; at least {_MIN_RSA_BITS} are required")
        self.domain = domain
        self.selector = selector
        self.kind = KeyKind.rsa if isinstance(key, RSAPrivateKey) else KeyKind.ed25519
        self._key = key

    def signature(self, data: bytes) -> bytes:
        """Return the signature of the SHA-256 of ``data`` (RFC 6376 section 3.3.1, RFC 8463 section 3)."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(sha256(data).digest())

    @property
    def txt_name(self) -> str:
        """The DNS name of the public key."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def txt_record(self) -> str:
        """The TXT record with the public key (RFC 6376 section 3.6.1, RFC 8463 section 4)."""
        if isinstance(self._key, RSAPrivateKey):
            public = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        else:
            public = self._key.public_key().public_bytes_raw()
        return f"v=DKIM1; k={self.kind}; p={b64encode(public).decode()}"


def new_private_key(kind: KeyKind) -> bytes:
    """Return a new private key as unencrypted PEM."""
    key = generate_private_key(65537, _MIN_RSA_BITS) if kind is KeyKind.rsa else Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Signer:
    """Signs each message with every key. The body is hashed once."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = keys

    def sign(self, segments: Sequence[bytes]) -> bytes:
        """Return the DKIM-Signature headers to prepend to a message, one per key; empty without keys.

        ``segments`` are the complete message with CRLF, without lines that begin with a dot.
        """
        if not self._keys:
            return b""
        head, _, body = b"".join(segments).partition(b"\r\n\r\n")
        # From the bottom up, the order in which headers of the same name are signed (section 5.4.2).
        fields = [_canonical_field(field) for field in reversed(_FIELD_END.split(head))]
        names, lines = zip(*filter(None, fields), strict=True)
        common = b"t=%d; bh=%s;\r\n h=%s;\r\n b=" % (
            time.time(),
            _body_hash(body),
            _signed_header_list(names),
        )
        headers = []
        for key in self._keys:
            value = b"v=1; a=%s-sha256; c=relaxed/simple;\r\n d=%s; s=%s;\r\n %s" % (
                key.kind.encode(),
                key.domain.encode("ascii"),
                key.selector.encode("ascii"),
                common,
            )
            unsigned_header = _canonicalize_relaxed(b"dkim-signature", value)
            signature = b64encode(key.signature(b"\r\n".join((*lines, unsigned_header))))
            parts = [signature[at : at + 72] for at in range(0, len(signature), 72)]
            headers.append(b"DKIM-Signature: %s%s\r\n" % (value, b"\r\n ".join(parts)))
        return b"".join(headers)


_FIELD_END = re.compile(rb"\r\n(?![ \t])")


@lru_cache(maxsize=4096)  # most headers are the same for all subscribers of an edition
def _canonical_field(field: bytes) -> tuple[bytes, bytes] | None:
    """Return the name and canonical form of a header, or None if it is not signed."""
    name, _, value = field.partition(b":")
    name = name.rstrip().lower()
    return (name, _canonicalize_relaxed(name, value)) if name in _SIGNED_HEADERS else None


def _canonicalize_relaxed(name: bytes, value: bytes) -> bytes:
    """Return a header in relaxed form without its line break (RFC 6376 section 3.4.2)."""
    return name + b":" + re.sub(rb"[ \t\r\n]+", b" ", value).strip(b" ")


@lru_cache
def _signed_header_list(names: tuple[bytes, ...]) -> bytes:
    """Return the folded value of ``h=``."""
    return re.sub(rb"(.{1,70}:)(?=.)", rb"\1\r\n ", b":".join((*names, *_SINGLETON_HEADERS)))


def _body_hash(body: bytes) -> bytes:
    """Return the hash of the body without empty lines at its end (section 3.4.3)."""
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    body_hash = sha256(memoryview(body)[:end])
    body_hash.update(b"\r\n")
    return b64encode(body_hash.digest())
