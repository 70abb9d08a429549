"""How issues stand in the archive: what their addresses say, and their titles."""

import re
from collections.abc import Iterable

_SEPARATOR = r"(?:\s+[–—|·-]\s+|:\s+)"


def unique_slugs(numbers: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Issue → what stands for it in an address, from (issue, number): ``2026/3`` becomes ``2026-3``. Where
    two numbers come to the same, the issue that was made later has its id added."""
    made: dict[int, str] = {}
    for issue, number in sorted(numbers):
        word = "-".join(re.findall(r"[^\W_]+", number.casefold())) or str(issue)
        made[issue] = word if word not in made.values() else f"{word}-{issue}"
    return made


def short_title(subject: str, name: str, number: str) -> str:
    """A subject without the newsletter's name and number at its end, which the page says anyway."""
    own = rf"{_SEPARATOR}{re.escape(name)}(?:[\s,]+(?:\S+\s+)?{re.escape(number)})?$"
    return re.sub(own, "", subject.strip(), flags=re.IGNORECASE) or subject
