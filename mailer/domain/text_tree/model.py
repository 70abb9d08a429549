"""A text between its tree and its Markdown: blocks, and runs of words with marks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mailer.domain.errors import UserError
from mailer.domain.staff_texts import gettext

Tree = dict[str, Any]

MARKS = ("link", "em", "strong", "strike", "sup", "sub")
"""In the order in which a tree has them."""
ALIGNMENTS = {None: "---", "left": ":--", "center": ":-:", "right": "--:"}
"""Alignment of a table's column → how its Markdown says so."""
MAX_NUMBER = 999_999_999
"""Of the first item of a list."""

Mark = tuple[str, str]
"""A mark, and the target of a link."""


class InvalidTree(UserError, ValueError):
    """This text was not sent by the editor. Reload the page."""


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a line with the same marks: a text, a picture with its alternative text, or a line break."""

    kind: str
    text: str = ""
    marks: frozenset[Mark] = frozenset()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A block, with blocks in it or a line of text."""

    kind: str
    blocks: tuple["Block", ...] = ()
    runs: tuple[Run, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


def not_from_the_editor() -> InvalidTree:
    return InvalidTree(gettext("This text was not sent by the editor. Reload the page."))
