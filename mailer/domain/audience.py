"""Who would get an issue, in which edition, and who would not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from mailer.domain.states import SkipReason


@dataclass(frozen=True, slots=True)
class AudienceGroup:
    """Readers with the same languages who get the same edition, or nothing for the same reason."""

    languages: tuple[str, ...]
    """Their languages, the preferred one first."""
    language: str | None
    """The edition's language."""
    sections: int
    """The edition's section mask."""
    skip_reason: SkipReason | None
    subscribers: int


@dataclass(frozen=True, slots=True)
class Audience:
    """Who would get an issue, and who would not."""

    editions: Counter[tuple[str, int]]
    """(language, section mask) → readers."""
    skipped: dict[SkipReason, int]

    @classmethod
    def of(cls, groups: Iterable[AudienceGroup]) -> "Audience":
        """Return the sums over groups of readers."""
        editions: Counter[tuple[str, int]] = Counter()
        skipped: Counter[SkipReason] = Counter()
        for group in groups:
            if group.skip_reason:
                skipped[group.skip_reason] += group.subscribers
            elif group.language:
                editions[group.language, group.sections] += group.subscribers
        return cls(editions, dict(sorted(skipped.items())))

    @property
    def subscribers(self) -> int:
        """Return how many would get it."""
        return self.editions.total()

    @property
    def by_language(self) -> list[tuple[str, int, int]]:
        """Return (language, readers, editions), the language with most readers first."""
        subscribers: Counter[str] = Counter()
        for (language, _), count in self.editions.items():
            subscribers[language] += count
        editions = Counter(language for language, _ in self.editions)
        return [(language, count, editions[language]) for language, count in subscribers.most_common()]
