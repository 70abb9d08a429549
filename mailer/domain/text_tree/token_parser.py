"""Reads the blocks of a text from the tokens of its Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it.token import Token

from mailer.domain.markdown import picture_size, referenced_pictures, with_picture_urls
from mailer.domain.text_tree.model import Block, Mark, Run

_PICTURE_URL = "https://pictures.invalid/"
"""Where stored pictures seem to be while a text is parsed."""
_TOKEN_MARKS = {"link": "link", "em": "em", "strong": "strong", "s": "strike", "sup": "sup", "sub": "sub"}
_ALONE = {"sub": "sup"}
"""Marks that exclude each other have the same key."""


def with_pictures(markdown: str) -> str:
    """Return a stored text whose pictures are shown, at _PICTURE_URL."""
    return with_picture_urls(
        markdown, {sha256: (f"{_PICTURE_URL}{sha256}", 1, 1) for sha256 in referenced_pictures([markdown])}
    )


class TokenParser:
    """Reads blocks from the parser's tokens."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = iter(tokens)

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks up to the end of the one that holds them."""
        blocks: list[Block] = []
        for token in self._tokens:
            if token.nesting == -1:
                break
            if token.type == "fence":
                blocks.append(Block("code_block", runs=(Run("text", token.content),)))
            elif token.type in ("thead_open", "tbody_open"):
                blocks += self.blocks()
            elif token.type in ("paragraph_open", "heading_open", "th_open", "td_open"):
                blocks.append(self._text_block(token))
            elif token.nesting == 1:
                blocks.append(self._nested_block(token))
        return tuple(blocks)

    def _text_block(self, token: Token) -> Block:
        runs = tuple(runs_of(next(self._tokens).children or []))
        next(self._tokens)
        align = str(token.attrs.get("style", "")).removeprefix("text-align:") or None
        match token.type:
            case "paragraph_open":
                return Block("paragraph", runs=runs, attributes={"hidden": token.hidden})
            case "heading_open":
                return Block("heading", runs=runs)
            case "th_open":
                return Block("table_header", runs=runs, attributes={"align": align})
            case _:
                return Block("table_cell", runs=runs, attributes={"align": align})

    def _nested_block(self, token: Token) -> Block:
        kind = "table_row" if token.type == "tr_open" else token.type.removesuffix("_open")
        blocks = self.blocks()
        if kind not in ("bullet_list", "ordered_list"):
            return Block(kind, blocks)
        loose = any(block.attributes.get("hidden") is False for item in blocks for block in item.blocks)
        attributes: dict[str, Any] = {"tight": not loose}
        if kind == "ordered_list":
            attributes["start"] = int(token.attrs.get("start", 1))
        return Block(kind, blocks, attributes=attributes)


def runs_of(tokens: Sequence[Token]) -> Iterator[Run]:
    """Yield the runs in the tokens of a line."""
    marks: list[Mark] = []
    for token in tokens:
        if token.nesting == 1:
            href = str(token.attrs.get("href", ""))
            shown = not href.startswith(_PICTURE_URL)
            marks.append((_TOKEN_MARKS[token.type.removesuffix("_open")], href) if shown else ("", ""))
        elif token.nesting == -1:
            marks.pop()
        elif token.type == "softbreak":
            yield Run("text", " ", _set_of(marks))
        elif token.type == "hardbreak":
            yield Run("hard_break")
        elif token.type != "image":
            yield Run("text", token.content, _set_of(marks))
        elif str(token.attrs["src"]).startswith(_PICTURE_URL) and picture_size(token):
            sha256 = str(token.attrs["src"]).removeprefix(_PICTURE_URL)
            yield Run("picture", token.content, _set_of(marks), sha256)
        else:
            yield Run("text", token.content, _set_of(marks))


def _set_of(marks: Sequence[Mark]) -> frozenset[Mark]:
    """Return marks as a set. Of nested links, and of superscript in subscript, the inner one is kept."""
    innermost = {_ALONE.get(kind, kind): (kind, href) for kind, href in marks if kind}
    return frozenset(innermost.values())
