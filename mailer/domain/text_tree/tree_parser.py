"""Reads the blocks of a text from a tree from outside, which is hostile: it is checked before work is done."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mailer.domain.markdown import MAX_DEPTH, MAX_LENGTH, TooDeep, TooLong, is_allowed_link, normalize_link
from mailer.domain.staff_texts import gettext
from mailer.domain.text_tree.model import (
    ALIGNMENTS,
    MARKS,
    MAX_NUMBER,
    Block,
    InvalidTree,
    Mark,
    Run,
    not_from_the_editor,
)
from mailer.domain.text_tree.one_form import one_line

MAX_NODES = 5_000
"""Nodes of a tree. A long story has 200."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BLOCKS = frozenset(
    {"paragraph", "heading", "blockquote", "bullet_list", "ordered_list", "table", "code_block"},
)
_CHILDREN = {
    "doc": _BLOCKS,
    "blockquote": _BLOCKS,
    "list_item": _BLOCKS,
    "bullet_list": frozenset({"list_item"}),
    "ordered_list": frozenset({"list_item"}),
    "table": frozenset({"table_row"}),
    "table_row": frozenset({"table_header", "table_cell"}),
}
"""What may be in a block. The others hold text."""
_ATTRIBUTES = {
    "bullet_list": {"tight"},
    "ordered_list": {"start", "tight"},
    "table_header": {"align", "colspan", "rowspan", "colwidth"},
    "table_cell": {"align", "colspan", "rowspan", "colwidth"},
    "picture": {"sha256", "alt"},
    "link": {"href"},
}


class TreeParser:
    """Reads blocks from a tree from outside. Raises InvalidTree, TooLong and TooDeep before the work is done."""

    def __init__(self) -> None:
        self._nodes = self._characters = 0

    def document(self, tree: object) -> Block:
        return Block("doc", self._blocks(self._node(tree, {"doc"}, 0), 0))

    def line(self, tree: object) -> Block:
        """Return a document with one paragraph without line breaks."""
        document = self.document(tree)
        if [block.kind for block in document.blocks] != ["paragraph"]:
            raise not_from_the_editor()
        return one_line(document)

    def _node(self, node: object, allowed: Collection[str], depth: int) -> dict[str, Any]:
        """Return a node whose type, keys and attributes are allowed."""
        self._count_nodes(1)
        if depth > MAX_DEPTH:
            raise TooDeep(TooDeep.__doc__)
        if not isinstance(node, dict) or not isinstance(kind := node.get("type"), str) or kind not in allowed:
            raise not_from_the_editor()
        keys = {"type", "text", "marks"} if node["type"] == "text" else {"type", "attrs", "content", "marks"}
        attributes = node.get("attrs") or {}
        if not node.keys() <= keys or not isinstance(attributes, dict):
            raise not_from_the_editor()
        if not attributes.keys() <= _ATTRIBUTES.get(node["type"], frozenset()):
            raise not_from_the_editor()
        return node

    def _count_nodes(self, number: int) -> None:
        self._nodes += number
        if self._nodes > MAX_NODES:
            raise TooLong(TooLong.__doc__)

    def _content(self, node: dict[str, Any]) -> list[object]:
        content = node.get("content", [])
        if not isinstance(content, list):
            raise not_from_the_editor()
        return content

    def _blocks(self, node: dict[str, Any], depth: int) -> tuple[Block, ...]:
        allowed = _CHILDREN[node["type"]]
        depth += 2 if node["type"] == "table" else 1
        return tuple(self._block(child, allowed, depth) for child in self._content(node))

    def _block(self, value: object, allowed: Collection[str], depth: int) -> Block:
        node = self._node(value, allowed, depth)
        kind, attributes = node["type"], node.get("attrs") or {}
        if node.get("marks"):
            raise not_from_the_editor()
        if kind in _CHILDREN:
            blocks = self._blocks(node, depth)
            if kind == "table":
                self._count_nodes(_missing_cells(blocks))
            return Block(kind, blocks, attributes=_list_attributes(kind, attributes))
        if kind == "code_block":
            return Block(kind, runs=(self._code(node, depth),))
        runs = tuple(self._run(child, depth + 1) for child in self._content(node))
        return Block(kind, runs=runs, attributes=_cell_attributes(attributes) if kind.startswith("table_") else {})

    def _code(self, node: dict[str, Any], depth: int) -> Run:
        parts = [self._run(child, depth + 1) for child in self._content(node)]
        if any(part.kind != "text" or part.marks for part in parts):
            raise not_from_the_editor()
        text = "".join(part.text for part in parts)
        if "<!--" in text:
            raise InvalidTree(gettext("“<!--” cannot stand in text that is shown as it is typed."))
        return Run("text", text)

    def _run(self, value: object, depth: int) -> Run:
        node = self._node(value, {"text", "hard_break", "picture"}, depth)
        attributes = node.get("attrs") or {}
        marks = self._marks(node.get("marks") or [], depth)
        if node["type"] == "hard_break":
            return Run("hard_break")
        if node["type"] == "text":
            return Run("text", self._text(node.get("text")), marks)
        sha256 = attributes.get("sha256")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise not_from_the_editor()
        return Run("picture", self._text(attributes.get("alt", "")), marks, sha256)

    def _marks(self, values: object, depth: int) -> frozenset[Mark]:
        if not isinstance(values, list) or len(values) > len(MARKS):
            raise not_from_the_editor()
        marks: set[Mark] = set()
        for value in values:
            mark = self._node(value, MARKS, depth + len(values))
            href = self._link((mark.get("attrs") or {}).get("href")) if mark["type"] == "link" else ""
            marks.add((mark["type"], href))
        if len({kind for kind, _ in marks}) < len(values) or {("sup", ""), ("sub", "")} <= marks:
            raise not_from_the_editor()
        return frozenset(marks)

    def _link(self, value: object) -> str:
        url = normalize_link(self._text(value).strip())
        if not is_allowed_link(url):
            raise InvalidTree(
                gettext(
                    "The link to “%(target)s” is no complete web or email address; "
                    "those begin with https://, http:// or mailto:.",
                    target=url[:60],
                )
            )
        return url

    def _text(self, value: object) -> str:
        if not isinstance(value, str):
            raise not_from_the_editor()
        self._characters += len(value)
        if self._characters > MAX_LENGTH:
            raise TooLong(TooLong.__doc__)
        if _SURROGATE.search(value):
            raise not_from_the_editor()
        return _CONTROL.sub("", value)


def _missing_cells(rows: Sequence[Block]) -> int:
    """Return how many cells the rows of a table lack to be as long as the longest."""
    lengths = [len(row.blocks) for row in rows]
    return max(lengths, default=0) * len(rows) - sum(lengths)


def _list_attributes(kind: str, attributes: Mapping[str, object]) -> dict[str, Any]:
    if kind not in ("bullet_list", "ordered_list"):
        return {}
    tight, start = attributes.get("tight", True), attributes.get("start", 1)
    if type(tight) is not bool or type(start) is not int or not 0 <= start <= MAX_NUMBER:
        raise not_from_the_editor()
    return {"tight": tight, "start": start} if kind == "ordered_list" else {"tight": tight}


def _cell_attributes(attributes: Mapping[str, object]) -> dict[str, Any]:
    align = attributes.get("align")
    if not (align is None or isinstance(align, str)) or align not in ALIGNMENTS:
        raise not_from_the_editor()
    if attributes.get("colspan", 1) != 1 or attributes.get("rowspan", 1) != 1:
        raise InvalidTree(gettext("Cells of a table cannot be joined."))
    return {"align": align}
