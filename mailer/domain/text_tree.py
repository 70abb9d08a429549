"""Texts as trees, which the browser edits, and as Markdown, which is stored.

A tree is the JSON of a ProseMirror document: ``{"type": "doc", "content": [block, …]}``. Blocks are ``paragraph``,
``heading`` (of one level), ``blockquote``, ``bullet_list`` {tight} and ``ordered_list`` {start, tight} of
``list_item``, ``table`` of ``table_row`` of ``table_header`` and ``table_cell`` {align}, whose first row is its header,
and ``code_block``. Paragraphs, headings and cells hold ``text``, ``hard_break`` and ``picture`` {sha256, alt}, with the
marks ``link`` {href}, ``em``, ``strong``, ``strike``, ``sup`` and ``sub``, in this order. A line, such as a headline,
is a document with one paragraph.

A tree from outside is hostile: it is checked first, and its Markdown is read back, so that nothing is ever stored that
says something else. White space within lines is one space, and there is none at their ends. Blocks without content are
left out.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, takewhile
from typing import Any

from markdown_it.token import Token

from mailer.domain.errors import UserError
from mailer.domain.markdown import (
    MAX_DEPTH,
    MAX_LENGTH,
    TooDeep,
    TooLong,
    find_bare_links,
    find_problems,
    is_allowed_link,
    normalize_link,
    parse,
    parse_line,
    picture_reference,
    picture_size,
    referenced_pictures,
    with_picture_urls,
)
from mailer.domain.staff_texts import gettext

Tree = dict[str, Any]

MAX_NODES = 5_000
"""Nodes of a tree. A long story has 200."""

_PICTURE_URL = "https://pictures.invalid/"
"""Where stored pictures seem to be while a text is parsed."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SPACE = re.compile(r"[ \t\n\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_MARKS = ("link", "em", "strong", "strike", "sup", "sub")
_ALONE = {"sub": "sup"}
"""Marks that exclude each other have the same key."""
_TOKEN_MARKS = {"link": "link", "em": "em", "strong": "strong", "s": "strike", "sup": "sup", "sub": "sub"}
_SIGNS = {"strong": ("**", "**"), "em": ("*", "*"), "strike": ("~~", "~~")}
_TAGS = {
    "strong": ("<strong>", "</strong>"),
    "em": ("<em>", "</em>"),
    "strike": ("<s>", "</s>"),
    "sup": ("<sup>", "</sup>"),
    "sub": ("<sub>", "</sub>"),
}
_ALIGNMENTS = {None: "---", "left": ":--", "center": ":-:", "right": "--:"}
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
_ESCAPED = re.compile(
    r"[\\`*\[]"
    r"|(?<![^\W_])_|_(?![^\W_])"
    r"|^~|~(?=~|$)|(?<=~)~"
    r"|<(?=\S)"
    r"|&(?=#?[0-9A-Za-z]{1,31};)"
    r"|!$"
    r"|(?<=\])\("
)
"""Characters that would be markup."""
_ENTITY = re.compile(r"&(?=#?[0-9A-Za-z]{1,31};)")
_LINE_END = re.compile(r"\r\n?")
_MAX_NUMBER = 999_999_999
_RULE = "***"
"""A horizontal rule, which emails do not show, between blocks that would otherwise be one."""
_LINE_START = re.compile(r"(?:#{1,6}(?=\s|$)|>|[-+](?=\s|$)|[-=:|][-=:|\s]*$)|(\d{1,9})[.)](?=\s|$)")
"""What would make a line of a paragraph a block of another kind."""
_WORD = re.compile(r"[^\s<\]]+")
_PERHAPS_LINK = re.compile(r"@|://|www\.", re.IGNORECASE)

_Mark = tuple[str, str]
"""A mark, and the target of a link."""


class InvalidTree(UserError, ValueError):
    """This text was not sent by the editor. Reload the page."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A part of a line with the same marks: a text, a picture with its alternative text, or a line break."""

    kind: str
    text: str = ""
    marks: frozenset[_Mark] = frozenset()
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class _Block:
    """A block, with blocks in it or a line of text."""

    kind: str
    blocks: tuple["_Block", ...] = ()
    runs: tuple[_Run, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


def to_tree(markdown: str) -> Tree:
    """Return a text as a tree. Raises TooLong and TooDeep."""
    return _json(_read_text(markdown))


def to_markdown(tree: object) -> str:
    """Return the Markdown of a tree from outside. Raises InvalidTree, TooLong and TooDeep."""
    document = _tidy_document(_TreeParser().document(tree))
    return _checked(document, _blocks_markdown(document.blocks, tight=False), _read_text)


def canonical(markdown: str) -> str:
    """Return a text as ``to_markdown`` writes it.

    One that has problems, is too long or too deep stays as it is, so that a check names them.
    """
    try:
        return markdown if find_problems(_with_pictures(markdown)) else to_markdown(to_tree(markdown))
    except (InvalidTree, TooLong, TooDeep):
        return markdown


def line_to_tree(markdown: str) -> Tree:
    """Return a line without links, such as a headline, as a tree. Raises TooLong and TooDeep."""
    return _json(_read_line(markdown))


def line_to_markdown(tree: object) -> str:
    """Return the Markdown of a line without links from outside. Raises InvalidTree, TooLong and TooDeep."""
    document = _TreeParser().line(tree)
    runs = document.blocks[0].runs
    if any(run.kind == "picture" or any(kind == "link" for kind, _ in run.marks) for run in runs):
        raise _invalid()
    return _checked(document, _line_markdown(runs, " ", _read_line_runs), _read_line)


def canonical_line(markdown: str) -> str:
    """Return a line without links as ``line_to_markdown`` writes it, or as it is, like ``canonical``."""
    try:
        return markdown if find_problems(markdown) else line_to_markdown(line_to_tree(markdown))
    except (InvalidTree, TooLong, TooDeep):
        return markdown


def contact_note_to_tree(markdown: str) -> Tree:
    """Return a contact note as a tree of one line. Its paragraphs are joined. Raises TooLong and TooDeep."""
    return _json(_one_line(_read_text(markdown)))


def contact_note_to_markdown(tree: object) -> str:
    """Return the Markdown of a contact note from outside. Raises InvalidTree, TooLong and TooDeep."""
    document = _TreeParser().line(tree)
    return _checked(document, _blocks_markdown(document.blocks, tight=False), _read_text)


def _read_text(markdown: str) -> _Block:
    return _tidy_document(_Block("doc", _TokenParser(parse(_with_pictures(markdown))).blocks()))


def _read_line(markdown: str) -> _Block:
    return _Block("doc", (_Block("paragraph", runs=_read_line_runs(markdown)),))


def _read_line_runs(markdown: str) -> tuple[_Run, ...]:
    """Return the runs of a line without links, in which pictures are their alternative texts."""
    return _tidy_runs(
        [
            _Run(
                "text",
                " " if run.kind == "hard_break" else run.text,
                frozenset(mark for mark in run.marks if mark[0] != "link"),
            )
            for run in _runs(parse_line(markdown))
        ]
    )


def _with_pictures(markdown: str) -> str:
    """Return a stored text whose pictures are shown, at _PICTURE_URL."""
    return with_picture_urls(
        markdown, {sha256: (f"{_PICTURE_URL}{sha256}", 1, 1) for sha256 in referenced_pictures([markdown])}
    )


def _checked(document: _Block, markdown: str, read: Callable[[str], _Block]) -> str:
    """Return the Markdown if it says what the document says. Raises InvalidTree, TooLong and TooDeep."""
    if read(markdown) != document:
        raise InvalidTree(gettext("This text cannot be kept exactly as it is here. Write the last change differently."))
    return markdown


def _invalid() -> InvalidTree:
    return InvalidTree(gettext("This text was not sent by the editor. Reload the page."))


# Reading


class _TokenParser:
    """Reads blocks from the parser's tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = iter(tokens)

    def blocks(self) -> tuple[_Block, ...]:
        """Return the blocks up to the end of the one that holds them."""
        blocks: list[_Block] = []
        for token in self._tokens:
            if token.nesting == -1:
                break
            if token.type == "fence":
                blocks.append(_Block("code_block", runs=(_Run("text", token.content),)))
            elif token.type in ("thead_open", "tbody_open"):
                blocks += self.blocks()
            elif token.type in ("paragraph_open", "heading_open", "th_open", "td_open"):
                blocks.append(self._text_block(token))
            elif token.nesting == 1:
                blocks.append(self._nested_block(token))
        return tuple(blocks)

    def _text_block(self, token: Token) -> _Block:
        runs = tuple(_runs(next(self._tokens).children or []))
        next(self._tokens)
        align = str(token.attrs.get("style", "")).removeprefix("text-align:") or None
        match token.type:
            case "paragraph_open":
                return _Block("paragraph", runs=runs, attributes={"hidden": token.hidden})
            case "heading_open":
                return _Block("heading", runs=runs)
            case "th_open":
                return _Block("table_header", runs=runs, attributes={"align": align})
            case _:
                return _Block("table_cell", runs=runs, attributes={"align": align})

    def _nested_block(self, token: Token) -> _Block:
        kind = "table_row" if token.type == "tr_open" else token.type.removesuffix("_open")
        blocks = self.blocks()
        if kind not in ("bullet_list", "ordered_list"):
            return _Block(kind, blocks)
        loose = any(block.attributes.get("hidden") is False for item in blocks for block in item.blocks)
        attributes: dict[str, Any] = {"tight": not loose}
        if kind == "ordered_list":
            attributes["start"] = int(token.attrs.get("start", 1))
        return _Block(kind, blocks, attributes=attributes)


def _runs(tokens: Sequence[Token]) -> Iterator[_Run]:
    """Yield the runs in the tokens of a line."""
    marks: list[_Mark] = []
    for token in tokens:
        if token.nesting == 1:
            href = str(token.attrs.get("href", ""))
            shown = not href.startswith(_PICTURE_URL)
            marks.append((_TOKEN_MARKS[token.type.removesuffix("_open")], href) if shown else ("", ""))
        elif token.nesting == -1:
            marks.pop()
        elif token.type == "softbreak":
            yield _Run("text", " ", _set_of(marks))
        elif token.type == "hardbreak":
            yield _Run("hard_break")
        elif token.type != "image":
            yield _Run("text", token.content, _set_of(marks))
        elif str(token.attrs["src"]).startswith(_PICTURE_URL) and picture_size(token):
            sha256 = str(token.attrs["src"]).removeprefix(_PICTURE_URL)
            yield _Run("picture", token.content, _set_of(marks), sha256)
        else:
            yield _Run("text", token.content, _set_of(marks))


def _set_of(marks: Sequence[_Mark]) -> frozenset[_Mark]:
    """Return marks as a set. Of nested links, and of superscript in subscript, the inner one is kept."""
    innermost = {_ALONE.get(kind, kind): (kind, href) for kind, href in marks if kind}
    return frozenset(innermost.values())


class _TreeParser:
    """Reads blocks from a tree from outside. Raises InvalidTree, TooLong and TooDeep before the work is done."""

    def __init__(self) -> None:
        self._nodes = self._characters = 0

    def document(self, tree: object) -> _Block:
        return _Block("doc", self._blocks(self._node(tree, {"doc"}, 0), 0))

    def line(self, tree: object) -> _Block:
        """Return a document with one paragraph without line breaks."""
        document = self.document(tree)
        if [block.kind for block in document.blocks] != ["paragraph"]:
            raise _invalid()
        return _one_line(document)

    def _node(self, node: object, allowed: Collection[str], depth: int) -> dict[str, Any]:
        """Return a node whose type, keys and attributes are allowed."""
        self._count_nodes(1)
        if depth > MAX_DEPTH:
            raise TooDeep(TooDeep.__doc__)
        if not isinstance(node, dict) or not isinstance(kind := node.get("type"), str) or kind not in allowed:
            raise _invalid()
        keys = {"type", "text", "marks"} if node["type"] == "text" else {"type", "attrs", "content", "marks"}
        attributes = node.get("attrs") or {}
        if not node.keys() <= keys or not isinstance(attributes, dict):
            raise _invalid()
        if not attributes.keys() <= _ATTRIBUTES.get(node["type"], frozenset()):
            raise _invalid()
        return node

    def _count_nodes(self, number: int) -> None:
        self._nodes += number
        if self._nodes > MAX_NODES:
            raise TooLong(TooLong.__doc__)

    def _content(self, node: dict[str, Any]) -> list[object]:
        content = node.get("content", [])
        if not isinstance(content, list):
            raise _invalid()
        return content

    def _blocks(self, node: dict[str, Any], depth: int) -> tuple[_Block, ...]:
        allowed = _CHILDREN[node["type"]]
        depth += 2 if node["type"] == "table" else 1
        return tuple(self._block(child, allowed, depth) for child in self._content(node))

    def _block(self, value: object, allowed: Collection[str], depth: int) -> _Block:
        node = self._node(value, allowed, depth)
        kind, attributes = node["type"], node.get("attrs") or {}
        if node.get("marks"):
            raise _invalid()
        if kind in _CHILDREN:
            blocks = self._blocks(node, depth)
            if kind == "table":
                self._count_nodes(_missing_cells(blocks))
            return _Block(kind, blocks, attributes=_list_attributes(kind, attributes))
        if kind == "code_block":
            return _Block(kind, runs=(self._code(node, depth),))
        runs = tuple(self._run(child, depth + 1) for child in self._content(node))
        return _Block(kind, runs=runs, attributes=_cell_attributes(attributes) if kind.startswith("table_") else {})

    def _code(self, node: dict[str, Any], depth: int) -> _Run:
        parts = [self._run(child, depth + 1) for child in self._content(node)]
        if any(part.kind != "text" or part.marks for part in parts):
            raise _invalid()
        text = "".join(part.text for part in parts)
        if "<!--" in text:
            raise InvalidTree(gettext("“<!--” cannot stand in text that is shown as it is typed."))
        return _Run("text", text)

    def _run(self, value: object, depth: int) -> _Run:
        node = self._node(value, {"text", "hard_break", "picture"}, depth)
        attributes = node.get("attrs") or {}
        marks = self._marks(node.get("marks") or [], depth)
        if node["type"] == "hard_break":
            return _Run("hard_break")
        if node["type"] == "text":
            return _Run("text", self._text(node.get("text")), marks)
        sha256 = attributes.get("sha256")
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise _invalid()
        return _Run("picture", self._text(attributes.get("alt", "")), marks, sha256)

    def _marks(self, values: object, depth: int) -> frozenset[_Mark]:
        if not isinstance(values, list) or len(values) > len(_MARKS):
            raise _invalid()
        marks: set[_Mark] = set()
        for value in values:
            mark = self._node(value, _MARKS, depth + len(values))
            href = self._link((mark.get("attrs") or {}).get("href")) if mark["type"] == "link" else ""
            marks.add((mark["type"], href))
        if len({kind for kind, _ in marks}) < len(values) or {("sup", ""), ("sub", "")} <= marks:
            raise _invalid()
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
            raise _invalid()
        self._characters += len(value)
        if self._characters > MAX_LENGTH:
            raise TooLong(TooLong.__doc__)
        if _SURROGATE.search(value):
            raise _invalid()
        return _CONTROL.sub("", value)


def _missing_cells(rows: Sequence[_Block]) -> int:
    """Return how many cells the rows of a table lack to be as long as the longest."""
    lengths = [len(row.blocks) for row in rows]
    return max(lengths, default=0) * len(rows) - sum(lengths)


def _list_attributes(kind: str, attributes: Mapping[str, object]) -> dict[str, Any]:
    if kind not in ("bullet_list", "ordered_list"):
        return {}
    tight, start = attributes.get("tight", True), attributes.get("start", 1)
    if type(tight) is not bool or type(start) is not int or not 0 <= start <= _MAX_NUMBER:
        raise _invalid()
    return {"tight": tight, "start": start} if kind == "ordered_list" else {"tight": tight}


def _cell_attributes(attributes: Mapping[str, object]) -> dict[str, Any]:
    align = attributes.get("align")
    if not (align is None or isinstance(align, str)) or align not in _ALIGNMENTS:
        raise _invalid()
    if attributes.get("colspan", 1) != 1 or attributes.get("rowspan", 1) != 1:
        raise InvalidTree(gettext("Cells of a table cannot be joined."))
    return {"align": align}


# The one form of what is the same


def _tidy_document(document: _Block) -> _Block:
    return _Block("doc", _tidy_blocks(document.blocks) or (_Block("paragraph"),))


def _one_line(document: _Block) -> _Block:
    """Return a document as one paragraph without line breaks."""

    def lines(block: _Block) -> Iterator[tuple[_Run, ...]]:
        if block.runs:
            yield block.runs
        for inner in block.blocks:
            yield from lines(inner)

    runs = [
        replace(run, kind="text", text=" ") if run.kind == "hard_break" else run
        for line in lines(document)
        for run in (*line, _Run("text", " "))
    ]
    return _Block("doc", (_Block("paragraph", runs=_tidy_runs(runs)),))


def _tidy_blocks(blocks: Iterable[_Block]) -> tuple[_Block, ...]:
    return tuple(tidied for block in blocks if (tidied := _tidy(block)))


def _tidy(block: _Block) -> _Block | None:
    """Return a block in its one form, or None if there is nothing in it."""
    match block.kind:
        case "paragraph" | "heading":
            runs = _tidy_runs(block.runs, one_line=block.kind == "heading")
            return _Block(block.kind, runs=runs) if runs else None
        case "code_block":
            lines = _LINE_END.sub("\n", block.runs[0].text).expandtabs(4).strip("\n") if block.runs else ""
            return _Block("code_block", runs=(_Run("text", lines),)) if lines.strip() else None
        case "blockquote":
            blocks = _tidy_blocks(block.blocks)
            return _Block("blockquote", blocks) if blocks else None
        case "table":
            return _tidy_table(block)
        case _:
            return _tidy_list(block)


def _tidy_list(block: _Block) -> _Block | None:
    items = [_tidy_blocks(item.blocks) for item in block.blocks]
    if not any(items):
        return None
    has_paragraph = any(inner.kind == "paragraph" for item in items for inner in item)
    can_be_loose = has_paragraph and (len(items) > 1 or len(items[0]) > 1)
    attributes = {**block.attributes, "tight": block.attributes["tight"] or not can_be_loose}
    return _Block(
        block.kind, tuple(_Block("list_item", item or (_Block("paragraph"),)) for item in items), attributes=attributes
    )


def _tidy_table(block: _Block) -> _Block | None:
    """Return a table whose rows have as many cells as the longest, aligned like the first one."""
    width = max((len(row.blocks) for row in block.blocks), default=0)
    if not width:
        return None
    alignments = [cell.attributes["align"] for cell in block.blocks[0].blocks]
    alignments += [None] * (width - len(alignments))
    rows: list[_Block] = []
    for row in block.blocks:
        runs = [_tidy_runs(cell.runs, one_line=True) for cell in row.blocks]
        runs += [()] * (width - len(runs))
        kind = "table_cell" if rows else "table_header"
        cells = (
            _Block(kind, runs=run, attributes={"align": align}) for run, align in zip(runs, alignments, strict=True)
        )
        rows.append(_Block("table_row", tuple(cells)))
    return _Block("table", tuple(rows))


def _tidy_runs(runs: Sequence[_Run], *, one_line: bool = True) -> tuple[_Run, ...]:
    """Return runs whose white space is single spaces between words, with the marks that both words have.

    No line break is at the ends, and only one at a place where ``one_line`` cannot have more.
    """
    tidied: list[_Run] = []
    gap = breaks = 0
    for run in _words(runs):
        if run.kind == "hard_break":
            breaks += 1
        elif not run.text and run.kind == "text":
            gap += 1
        else:
            if tidied and (gap or breaks):
                marks = tidied[-1].marks & run.marks
                between = [_Run("hard_break", marks=marks)] * (min(breaks, 1) if one_line else breaks)
                tidied += between or [_Run("text", " ", marks)]
            tidied.append(run)
            gap = breaks = 0
    return tuple(_merged(_stripped(_stripped(tidied, str.lstrip)[::-1], str.rstrip)[::-1]))


def _stripped(runs: list[_Run], strip: Callable[[str], str]) -> list[_Run]:
    """Return runs without line breaks and white space of any kind before the first word, as the parser reads them."""
    for at, run in enumerate(runs):
        if run.kind == "picture":
            return runs[at:]
        if text := strip(run.text):
            return [replace(run, text=text), *runs[at + 1 :]]
    return []


def _words(runs: Iterable[_Run]) -> Iterator[_Run]:
    """Yield the words of runs, with an empty text where there is white space, and what is no text."""
    for run in runs:
        if run.kind == "picture":
            yield replace(run, text=" ".join(run.text.split()))
        elif run.kind == "hard_break":
            yield run
        else:
            for at, word in enumerate(_SPACE.split(run.text)):
                if at:
                    yield _Run("text")
                if word:
                    yield _Run("text", word, run.marks)


def _merged(runs: Iterable[_Run]) -> Iterator[_Run]:
    """Yield runs with adjacent texts of the same marks as one."""
    for (kind, marks), same in groupby(runs, key=lambda run: (run.kind, run.marks)):
        if kind == "text":
            yield _Run("text", "".join(run.text for run in same), marks)
        else:
            yield from same


def _json(block: _Block) -> Tree:
    """Return a block as the browser reads it."""
    node: Tree = {"type": block.kind}
    if block.attributes:
        node["attrs"] = dict(block.attributes)
    content = [_json(inner) for inner in block.blocks] or [_run_json(run) for run in block.runs]
    if content:
        node["content"] = content
    return node


def _run_json(run: _Run) -> Tree:
    if run.kind == "hard_break":
        return {"type": "hard_break"}
    if run.kind == "text":
        node: Tree = {"type": "text", "text": run.text}
    else:
        node = {"type": "picture", "attrs": {"sha256": run.sha256, "alt": run.text}}
    if run.marks:
        node["marks"] = [
            {"type": kind, "attrs": {"href": href}} if kind == "link" else {"type": kind}
            for kind, href in sorted(run.marks, key=lambda mark: _MARKS.index(mark[0]))
        ]
    return node


# Writing


def _blocks_markdown(blocks: Sequence[_Block], *, tight: bool) -> str:
    """Return blocks as Markdown. ``tight``: without empty lines between them, as in a tight list."""
    parts: list[str] = []
    previous: _Block | None = None
    other_marker = False
    for block in blocks:
        # Two lists of the same kind are one unless their markers differ.
        other_marker = previous is not None and previous.kind == block.kind and not other_marker
        if previous is not None:
            parts.append("\n\n" if not tight else "\n" if _may_follow(previous, block) else f"\n{_RULE}\n")
        parts.append(_block_markdown(block, other_marker=other_marker))
        previous = block
    return "".join(parts)


def _may_follow(previous: _Block, block: _Block) -> bool:
    """Return whether a block can begin on the line after another block without becoming part of it."""
    if previous.kind in ("heading", "code_block"):
        return True
    match block.kind:
        case "heading" | "code_block" | "blockquote":
            return previous.kind == "paragraph"
        case "bullet_list" | "ordered_list":
            begins = block.attributes.get("start", 1) == 1 and bool(block.blocks[0].blocks[0].runs)
            return previous.kind == "paragraph" and begins
        case _:
            return False


def _block_markdown(block: _Block, *, other_marker: bool) -> str:
    match block.kind:
        case "paragraph":
            return "\n".join(map(_escape_start, _line_markdown(block.runs, "\\\n").split("\n")))
        case "heading":
            return "#### " + re.sub(r"#+$", r"\\\g<0>", _line_markdown(block.runs, "<br>"))
        case "blockquote":
            return _indent(_blocks_markdown(block.blocks, tight=False), "> ", "> ")
        case "code_block":
            text = block.runs[0].text
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}\n{text}\n{fence}"
        case "table":
            return _table_markdown(block)
        case _:
            return _list_markdown(block, other_marker=other_marker)


def _list_markdown(block: _Block, *, other_marker: bool) -> str:
    items = []
    for at, item in enumerate(block.blocks):
        if block.kind == "bullet_list":
            marker = "* " if other_marker else "- "
        else:
            number = min(block.attributes["start"] + at, _MAX_NUMBER)
            marker = f"{number}{')' if other_marker else '.'} "
        text = _blocks_markdown(item.blocks, tight=block.attributes["tight"])
        items.append(_indent(text, marker, " " * len(marker)))
    return ("\n" if block.attributes["tight"] else "\n\n").join(items)


def _indent(text: str, first: str, others: str) -> str:
    lines = [f"{others}{line}" if line else others.rstrip(" ") for line in text.split("\n")]
    return (first + "\n".join(lines).removeprefix(others)) if text else first.rstrip()


def _table_markdown(table: _Block) -> str:
    rows = [[_line_markdown(cell.runs, "<br>").replace("|", "\\|") for cell in row.blocks] for row in table.blocks]
    rows.insert(1, [_ALIGNMENTS[cell.attributes["align"]] for cell in table.blocks[0].blocks])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escape_start(line: str) -> str:
    """Return a line that begins a paragraph and nothing else."""
    found = _LINE_START.match(line)
    if found is None:
        return line
    at = found.end(1) if found[1] else 0
    return f"{line[:at]}\\{line[at:]}"


def _line_markdown(runs: Sequence[_Run], line_break: str, read: Callable[[str], tuple[_Run, ...]] | None = None) -> str:
    """Return runs as Markdown: with its usual signs if these are read as meant, else with HTML tags."""
    if not runs:
        return ""
    read = read or (lambda text: _tidy_runs(list(_runs(parse_line(_with_pictures(text)))), one_line=False))
    text = _write_runs(runs, line_break, _SIGNS, find_bare_links)
    return text if read(text) == runs else _write_runs(runs, line_break, {}, _find_perhaps_links)


def _write_runs(
    runs: Sequence[_Run],
    line_break: str,
    signs: Mapping[str, tuple[str, str]],
    find_links: Callable[[str], list[tuple[int, int]]],
) -> str:
    out: list[str] = []
    open_marks: list[_Mark] = []
    for at, run in enumerate((*runs, _Run("end"))):
        bare = (
            bool(signs) and [kind for kind, _ in run.marks] == ["link"] and find_links(run.text) == [(0, len(run.text))]
        )
        marks: frozenset[_Mark] = frozenset() if bare else run.marks
        kept = list(takewhile(marks.__contains__, open_marks))
        while len(open_marks) > len(kept):
            kind, href = open_marks.pop()
            out.append(f"]({_target(href)})" if kind == "link" else signs.get(kind, _TAGS[kind])[1])
        for kind, href in sorted(marks - set(kept), key=lambda mark: _nesting(mark, runs[at:])):
            out.append("[" if kind == "link" else signs.get(kind, _TAGS[kind])[0])
            open_marks.append((kind, href))
        in_link = any(kind == "link" for kind, _ in open_marks)
        if run.kind == "hard_break":
            out.append(line_break)
        elif run.kind == "picture":
            out.append(f"![{_escaped(run.text, in_link=True)}]({picture_reference(run.sha256)})")
        elif in_link or bare:
            out.append(_escaped(run.text, in_link=in_link))
        else:
            out.append(_with_code(run.text, find_links(run.text)))
    return "".join(out)


def _nesting(mark: _Mark, runs: Sequence[_Run]) -> tuple[bool, int, int]:
    """Return the order of a mark: links are outside, then what goes on for longer."""
    length = sum(1 for _ in takewhile(lambda run: mark in run.marks, runs))
    return mark[0] != "link", -length, _MARKS.index(mark[0])


def _target(url: str) -> str:
    url = _ENTITY.sub("&amp;", url)
    return f"<{url}>" if "(" in url or ")" in url else url


def _with_code(text: str, links: Sequence[tuple[int, int]]) -> str:
    """Return a text in Markdown. Words that would become links by themselves are in code, which prints the same."""
    out, at = [], 0
    for word in _WORD.finditer(text) if links else ():
        if any(begin < word.end() and word.start() < end for begin, end in links):
            out += [_escaped(text[at : word.start()]), _code(word[0])]
            at = word.end()
    return "".join([*out, _escaped(text[at:])])


def _find_perhaps_links(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in _PERHAPS_LINK.finditer(text)]


def _code(word: str) -> str:
    ticks = "`" * (1 + max(map(len, re.findall("`+", word)), default=0))
    space = " " if word[0] == "`" or word[-1] == "`" else ""
    return f"{ticks}{space}{word}{space}{ticks}"


def _escaped(text: str, *, in_link: bool = False) -> str:
    text = _ESCAPED.sub(r"\\\g<0>", text)
    return text.replace("]", "\\]") if in_link else text
