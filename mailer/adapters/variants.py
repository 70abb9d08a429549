"""Documents with marked parts: rendered once, and cut into all those that have some of the parts."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from markupsafe import Markup

_MARKER = f"part{secrets.token_hex(6)}"
"""No author writes this by chance, nor can know it."""
_MARKER_COMMENT = re.compile(rf"<!--{_MARKER}(?: ([^<>]*))?-->")


def mark_part(*name: object, caller: Callable[[], str]) -> Markup:
    """For templates: ``{% call part("section", 3) %} … {% endcall %}`` marks the part ``section 3``."""
    return Markup(f"<!--{_MARKER} {' '.join(map(str, name))}-->{caller()}<!--{_MARKER}-->")  # noqa: S704


class VariantDocument:
    """A document with marked parts, which may lie inside one another, and words that stand for others."""

    def __init__(self, marked: str, placeholders: Sequence[str] = ()) -> None:
        self._segments: list[tuple[frozenset[str], str]] = []
        inside: list[str] = []
        word = re.compile(f"({'|'.join(map(re.escape, placeholders))})") if placeholders else None
        for place, found in enumerate(_MARKER_COMMENT.split(marked)):  # text and the names of marks in turn
            if place % 2 == 0:
                names = frozenset(inside)
                self._segments += [(names, text) for text in (word.split(found) if word else [found]) if text]
            elif found:
                inside.append(found)
            else:
                inside.pop()

    def select(self, names: frozenset[str], values: Mapping[str, str] = MappingProxyType({})) -> str:
        """The document without marks, with the parts that have one of the names and lie in no other part;
        ``values`` has what its words stand for."""
        return "".join([values.get(text, text) for inside, text in self._segments if inside <= names])
