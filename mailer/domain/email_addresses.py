"""Email addresses: SMTP form, domain, masking and comparison."""

import idna


def to_smtp(address: str) -> tuple[str, bool]:
    """Return the address with an ASCII domain (RFC 5890), and whether it needs SMTPUTF8 (RFC 6531).

    Raises ValueError if it is not an address.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise ValueError(f"“{address}” is not an email address")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"the domain of “{address}” is not a domain: {error}") from None
    return f"{local}@{domain}", not local.isascii()


def domain_of(address: str) -> str:
    """Return the part after the last @."""
    return address.rpartition("@")[2]


def masked(address: str) -> str:
    """Mask an address: ``ana.k@example.org`` → ``a…@example.org``. Only its owner recognises it."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def strip_subaddress(key: str) -> str:
    """Return one key for all addresses of a mailbox: ``ana+news@`` → ``ana@`` (RFC 5233).

    Also removes dots at Gmail, which ignores them. Use it for rate limits only: elsewhere a plus sign
    may separate different people, who then share a limit.
    """
    local, _, domain = key.rpartition("@")
    local = local.partition("+")[0] or local
    if domain in ("gmail.com", "googlemail.com"):
        return f"{local.replace('.', '')}@gmail.com"
    return f"{local}@{domain}"
