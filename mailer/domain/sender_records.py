"""What a sender's domain must say in DNS: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989).

The functions get what asks for TXT records; they return what is wrong for readers' providers.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from mailer.domain.network_checks import LookupOutcome, LookupResult
from mailer.domain.staff_texts import StaffText, gettext, ngettext

TxtLookup = Callable[[str], Awaitable[Sequence[str]]]
MAX_SPF_LOOKUPS = 10
"""After so many terms that need DNS, receivers give up (RFC 7208 section 4.6.4)."""
_MAX_TREE_WALK = 8
"""Queries for a DMARC record (RFC 9989 section 4.10)."""
_SPF_TERM = re.compile(r"[-+?~]?(include|a|mx|ptr|exists)(?:[:/](\S*))?|(redirect)=(\S*)", re.IGNORECASE)
_ANYBODY = re.compile(r"\+?all", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key that signs the mail. ``record`` is what DNS must say; empty if this host does not have the key."""

    domain: str
    selector: str
    record: str = ""

    @property
    def name(self) -> str:
        """The DNS name of the record."""
        return f"{self.selector}._domainkey.{self.domain}"


@dataclass(slots=True)
class _SpfWalk:
    txt: TxtLookup
    lookups: int = 0
    problem: StaffText | None = None
    seen: set[str] = field(default_factory=set)


async def check_spf(domain: str, txt: TxtLookup) -> LookupResult:
    """Check the SPF record of the domain of the return path, with all records that it includes."""
    walk = _SpfWalk(txt)
    await _walk_spf(domain, walk, "")
    if walk.problem is None and walk.lookups > MAX_SPF_LOOKUPS:
        walk.problem = gettext(
            "the SPF record of %(domain)s needs more than %(limit)s DNS lookups, and receivers give up.",
            domain=domain,
            limit=MAX_SPF_LOOKUPS,
        )
    return LookupResult(LookupOutcome.broken, walk.problem) if walk.problem else LookupResult(LookupOutcome.works)


async def _walk_spf(domain: str, walk: _SpfWalk, included_by: str) -> None:
    walk.seen.add(domain.lower())
    records = [record for record in await walk.txt(domain) if re.match(r"v=spf1(?: |$)", record, re.IGNORECASE)]
    if len(records) != 1:
        if records:
            walk.problem = ngettext(
                "%(domain)s has %(num)s SPF record; receivers accept none if there are several.",
                "%(domain)s has %(num)s SPF records; receivers accept none if there are several.",
                len(records),
                domain=domain,
            )
        elif included_by:
            walk.problem = gettext(
                "the SPF record of %(domain)s includes %(other)s, which has none; receivers reject the record.",
                domain=included_by,
                other=domain,
            )
        else:
            walk.problem = gettext(
                "%(domain)s has no SPF record; receivers cannot tell which hosts may send for it.", domain=domain
            )
        return
    for term in records[0].split()[1:]:
        if _ANYBODY.fullmatch(term):
            walk.problem = gettext("the SPF record of %(domain)s lets every host send for it.", domain=domain)
        if not (found := _SPF_TERM.fullmatch(term)):
            continue
        walk.lookups += 1
        other = (found[2] if (found[1] or "").lower() == "include" else found[4]) or ""
        if other and "%" not in other and other.lower() not in walk.seen and walk.lookups <= MAX_SPF_LOOKUPS:
            await _walk_spf(other, walk, domain)
        if walk.problem or walk.lookups > MAX_SPF_LOOKUPS:
            return


async def check_dkim(keys: Sequence[DkimKey], txt: TxtLookup) -> LookupResult:
    """Check that DNS has the public half of each key."""
    if not keys:
        return LookupResult(
            LookupOutcome.unclear,
            gettext(
                "the relay signs with DKIM, if anybody does; its key was not looked up, since its name is unknown."
            ),
        )
    for key in keys:
        tags = [_tags(record) for record in await txt(key.name)]
        published = [found for found in tags if "p" in found]
        problem = None
        if not published:
            problem = gettext("there is no DKIM record at %(name)s, so no signature is valid.", name=key.name)
        elif not any(found["p"] for found in published):
            problem = gettext("the DKIM key at %(name)s is revoked, so no signature is valid.", name=key.name)
        elif key.record and _tags(key.record)["p"] not in [found["p"] for found in published]:
            problem = gettext(
                "the DKIM record at %(name)s is of another key than ours, so no signature is valid.", name=key.name
            )
        if problem:
            return LookupResult(LookupOutcome.broken, problem)
    return LookupResult(LookupOutcome.works)


async def check_dmarc(domain: str, return_path: str, keys: Sequence[DkimKey], txt: TxtLookup) -> LookupResult:
    """Check the DMARC record for a domain in ``From:``, and that the return path or a key of ours agrees with it."""
    labels = domain.split(".")
    # Of a long name, only the last labels are walked.
    starts = [0, *range(max(1, len(labels) - _MAX_TREE_WALK + 1), len(labels))]
    for start in starts:
        owner = ".".join(labels[start:])
        records = [record for record in await txt(f"_dmarc.{owner}") if re.match(r"v=DMARC1\s*(;|$)", record)]
        if len(records) > 1:
            return LookupResult(
                LookupOutcome.broken,
                ngettext(
                    "_dmarc.%(domain)s has %(num)s DMARC record; receivers ignore all if there are several.",
                    "_dmarc.%(domain)s has %(num)s DMARC records; receivers ignore all if there are several.",
                    len(records),
                    domain=owner,
                ),
            )
        if records:
            return _check_alignment(domain, owner, _tags(records[0]), return_path, keys)
    return LookupResult(
        LookupOutcome.broken,
        gettext("%(domain)s has no DMARC record; large providers require one of newsletters.", domain=domain),
    )


def _check_alignment(
    domain: str, owner: str, tags: dict[str, str], return_path: str, keys: Sequence[DkimKey]
) -> LookupResult:
    by_spf = _agrees(domain, return_path, owner, strict=tags.get("aspf", "r").lower() == "s")
    by_dkim = any(_agrees(domain, key.domain, owner, strict=tags.get("adkim", "r").lower() == "s") for key in keys)
    if by_spf or by_dkim:
        return LookupResult(LookupOutcome.works)
    if keys:
        return LookupResult(
            LookupOutcome.broken,
            gettext(
                "by the DMARC record of %(domain)s neither the return path (%(return_path)s) nor a DKIM key of ours "
                "agrees with it, so our mail fails.",
                domain=domain,
                return_path=return_path,
            ),
        )
    return LookupResult(
        LookupOutcome.unclear,
        gettext(
            "by the DMARC record of %(domain)s the return path (%(return_path)s) does not agree with it, so our mail "
            "passes only if the relay signs for %(domain)s.",
            domain=domain,
            return_path=return_path,
        ),
    )


def _agrees(domain: str, other: str, owner: str, *, strict: bool) -> bool:
    """Return whether two domains are the same or, unless strict, belong to the owner of the DMARC record."""
    if strict or "." not in owner:
        return domain.lower() == other.lower()
    return all(f".{name}".lower().endswith(f".{owner}".lower()) for name in (domain, other))


def _tags(record: str) -> dict[str, str]:
    """Return the tags of a DKIM or DMARC record (RFC 6376 section 3.2), without white space."""
    pairs = (part.partition("=") for part in record.split(";"))
    return {name.strip(): "".join(value.split()) for name, equals, value in pairs if equals}
