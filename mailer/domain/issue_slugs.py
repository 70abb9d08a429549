"""URL slugs and titles of issues in the archive."""

import re
from collections.abc import Iterable

_SEPARATOR = r"(?:\s+[–—|·-]\s+|:\s+)"


def unique_slugs(numbers: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Return a slug for each issue, from (issue, number): ``2026/3`` becomes ``2026-3``.

    If two numbers give the same slug, the later issue's id is appended to its slug.
    """
    slugs: dict[int, str] = {}
    for issue, number in sorted(numbers):
        slug = "-".join(re.findall(r"[^\W_]+", number.casefold())) or str(issue)
        slugs[issue] = slug if slug not in slugs.values() else f"{slug}-{issue}"
    return slugs


def short_title(subject: str, name: str, number: str) -> str:
    """Return a subject without the newsletter's name and number at its end."""
    suffix = rf"{_SEPARATOR}{re.escape(name)}(?:[\s,]+(?:\S+\s+)?{re.escape(number)})?$"
    return re.sub(suffix, "", subject.strip(), flags=re.IGNORECASE) or subject
