"""Slips in the domains of common mail providers: pointed out, never corrected unasked."""

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
"""Domains that are right as they are, and what a domain close to one of them was probably meant to be."""

_SIMILARITY_CUTOFF = 0.84
"""One letter wrong, missing, doubled or swapped in a domain of eight letters or more."""


def suggestion(address: str) -> str | None:
    """``ana@gmial.com`` → ``ana@gmail.com``; None when the domain is common, or close to none that is."""
    local, _, domain = address.rpartition("@")
    domain = domain.casefold()
    if domain in COMMON_DOMAINS:
        return None
    found = get_close_matches(domain, COMMON_DOMAINS, n=1, cutoff=_SIMILARITY_CUTOFF)
    return f"{local}@{found[0]}" if found else None
