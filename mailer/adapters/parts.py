"""Documents with marked parts: rendered once, and cut into all those that have some of the parts."""

import re
import secrets
from collections.abc import Callable

from markupsafe import Markup

_WORD = f"part{secrets.token_hex(6)}"
"""No author writes this by chance, nor can know it."""
_MARK = re.compile(rf"<!--{_WORD}(?: ([^<>]*))?-->")


def part(*name: object, caller: Callable[[], str]) -> Markup:
    """For templates: ``{% call part("section", 3) %} … {% endcall %}`` marks the part ``section 3``."""
    return Markup(f"<!--{_WORD} {' '.join(map(str, name))}-->{caller()}<!--{_WORD}-->")  # noqa: S704


class Parted:
    """A document with marked parts, which may lie inside one another."""

    def __init__(self, marked: str) -> None:
        self._pieces: list[tuple[frozenset[str], str]] = []
        inside: list[str] = []
        for place, found in enumerate(_MARK.split(marked)):  # text and the names of marks in turn
            if place % 2 == 0:
                self._pieces.append((frozenset(inside), found))
            elif found:
                inside.append(found)
            else:
                inside.pop()

    def cut(self, names: frozenset[str]) -> str:
        """The document without marks, with the parts that have one of the names and lie in no other part."""
        return "".join([text for inside, text in self._pieces if inside <= names])
