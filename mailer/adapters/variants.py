"""Documents with marked parts. A document is rendered once; variants with some of its parts are selected from it."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from markupsafe import Markup

_MARKER = f"part{secrets.token_hex(6)}"
"""Random, so that no authored text contains it."""
_MARKER_COMMENT = re.compile(rf"<!--{_MARKER}(?: ([^<>]*))?-->")


def mark_part(*name: object, caller: Callable[[], str]) -> Markup:
    """Mark a part in a template: ``{% call part("section", 3) %} … {% endcall %}`` marks ``section 3``."""
    return Markup(f"<!--{_MARKER} {' '.join(map(str, name))}-->{caller()}<!--{_MARKER}-->")  # noqa: S704


class VariantDocument:
    """A document with marked parts, which may be nested, and placeholders."""

    def __init__(self, marked: str, placeholders: Sequence[str] = ()) -> None:
        self._segments: list[tuple[frozenset[str], str]] = []
        open_parts: list[str] = []
        pattern = re.compile(f"({'|'.join(map(re.escape, placeholders))})") if placeholders else None
        for number, piece in enumerate(_MARKER_COMMENT.split(marked)):  # texts and part names alternate
            if number % 2 == 0:
                names = frozenset(open_parts)
                self._segments += [(names, text) for text in (pattern.split(piece) if pattern else [piece]) if text]
            elif piece:
                open_parts.append(piece)
            else:
                open_parts.pop()

    def select(self, names: frozenset[str], values: Mapping[str, str] = MappingProxyType({})) -> str:
        """Return the document without markers, with only the text whose enclosing parts are all in ``names``.

        ``values`` maps placeholders to their values.
        """
        return "".join([values.get(text, text) for parts, text in self._segments if parts <= names])
