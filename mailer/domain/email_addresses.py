"""Mail addresses: how they are compared, and how they travel."""

import idna


def to_smtp(address: str) -> tuple[str, bool]:
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


def domain_of(address: str) -> str:
    return address.rpartition("@")[2]


def masked(address: str) -> str:
    """``ana.k@example.org`` → ``a…@example.org``: enough for its owner, too little for anybody else."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}"


def strip_subaddress(key: str) -> str:
    """One key for all addresses that lead to one mailbox: ``ana+news@`` to ``ana@``, and at Gmail ``a.na@``, too.

    Limits alone go by it. Where the two are different people after all, they share one.
    """
    local, _, domain = key.rpartition("@")
    local = local.partition("+")[0] or local
    if domain in ("gmail.com", "googlemail.com"):
        return f"{local.replace('.', '')}@gmail.com"
    return f"{local}@{domain}"
