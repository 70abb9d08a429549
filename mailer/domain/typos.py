"""Detects typing errors in the domains of common mail providers. The reader decides."""

from difflib import get_close_matches

COMMON_DOMAINS = (
    "aol.com",
    "email.com",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "hotmail.it",
    "icloud.com",
    "laposte.net",
    "live.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "proton.me",
    "protonmail.com",
    "rambler.ru",
    "t-online.de",
    "ukr.net",
    "wanadoo.fr",
    "web.de",
    "yahoo.com",
    "yahoo.de",
    "yahoo.es",
    "yahoo.fr",
    "yandex.ru",
    "ymail.com",
)
"""Domains that are correct, and that are suggested for similar ones."""

_SIMILARITY_CUTOFF = 0.84
"""Allows one wrong, missing, doubled or swapped letter in a domain of eight letters or more."""


def suggestion(address: str) -> str | None:
    """Return the probably intended address (``ana@gmial.com`` → ``ana@gmail.com``), or None."""
    local, _, domain = address.rpartition("@")
    domain = domain.casefold()
    if domain in COMMON_DOMAINS:
        return None
    matches = get_close_matches(domain, COMMON_DOMAINS, n=1, cutoff=_SIMILARITY_CUTOFF)
    return f"{local}@{matches[0]}" if matches else None
