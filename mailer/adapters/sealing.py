"""Encrypts secrets that are kept in the database, such as those of second factors."""

import os
from collections.abc import Sequence
from hmac import digest

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class Sealer:
    """Encrypts with the first secret key, and decrypts with any of them (AES-GCM, NIST SP 800-38D)."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [AESGCM(digest(secret.encode(), b"mailer sealed secrets", "sha256")) for secret in secrets]

    def seal(self, secret: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._keys[0].encrypt(nonce, secret, None)

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed. Raises ValueError if no key fits."""
        for key in self._keys:
            try:
                return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
            except InvalidTag:
                continue
        raise ValueError("No secret key decrypts this.")
