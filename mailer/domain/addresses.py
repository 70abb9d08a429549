"""Mail addresses: how they are compared, and how they travel."""

import idna


def on_the_wire(address: str) -> tuple[str, bool]:
    """The address as SMTP takes it, its domain in ASCII (RFC 5890), and whether it needs SMTPUTF8 (RFC 6531).

    Raises ValueError for what is no address.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise ValueError(f"“{address}” is not a mail address")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise ValueError(f"the domain of “{address}” is not a domain: {error}") from None
    return f"{local}@{domain}", not local.isascii()


def masked(address: str) -> str:
    """``ana.k@example.org`` → ``a…@example.org``: enough for its owner, too little for anybody else."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"
