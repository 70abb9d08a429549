"""What workers look up in the network for the check of an issue."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class LookupKind(StrEnum):
    """What is looked up."""

    link = "link"
    """A web address in an issue."""
    spf = "spf"
    dkim = "dkim"
    dmarc = "dmarc"
    """DNS records of a sender's domain."""


class LookupOutcome(StrEnum):
    works = "works"
    broken = "broken"
    unclear = "unclear"
    """The other side turns programs away, or what it answers depends on others."""
    not_checked = "not_checked"
    """There was no answer: perhaps this host has no network."""


FRESH = timedelta(minutes=10)
"""A younger result is not looked up again, whatever issue it is from."""

Target = tuple[LookupKind, str]
"""A web address, or a domain and which of its records."""


@dataclass(frozen=True, slots=True)
class LookupResult:
    """An outcome, and why unless all is well: a clause about a link, a sentence about a domain."""

    outcome: LookupOutcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StoredLookup:
    """A result, and when it was looked up."""

    result: LookupResult
    looked_at: datetime


@dataclass(frozen=True, slots=True)
class NetworkChecks:
    """What is known of an issue's links and of its sender's domain."""

    targets: Sequence[Target] = ()
    results: Mapping[Target, StoredLookup] = field(default_factory=dict)
    requested_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def running(self) -> bool:
        """Whether it was ordered and is not finished."""
        return self.requested_at is not None and self.finished_at is None

    @property
    def looked_at(self) -> datetime | None:
        """When the oldest of the results was looked up."""
        return min((stored.looked_at for stored in self.results.values()), default=None)

    @property
    def done(self) -> int:
        """How many results are of the last order, or were so fresh then that they were kept."""
        since = self.requested_at - FRESH if self.requested_at else None
        return sum(since is not None and stored.looked_at >= since for stored in self.results.values())

    def count(self, *kinds: LookupKind) -> Counter[LookupOutcome | None]:
        """Return how many targets of these kinds have each outcome; None: were not looked up yet."""
        outcomes: Counter[LookupOutcome | None] = Counter()
        for target in self.targets:
            if target[0] in kinds:
                stored = self.results.get(target)
                outcomes[stored.result.outcome if stored else None] += 1
        return outcomes

    def record(self, kind: LookupKind) -> tuple[str, StoredLookup | None]:
        """Return the domain whose record of this kind is looked up, and the result."""
        target = next(target for target in self.targets if target[0] == kind)
        return target[1], self.results.get(target)
