"""Renders authors' Markdown as HTML that is safe in emails, and as plain text.

``mailer.domain.markdown`` says what is read. Only ``http``, ``https`` and ``mailto`` links are allowed. HTML and text
have the same links.
"""

import re
import textwrap
from collections.abc import Sequence
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode
from markdown_it.utils import EnvType, OptionsDict

from mailer.domain.markdown import MAX_DEPTH, TooDeep, parse, parse_line, picture_size

_TAG = re.compile(r"<(/?)(?!br\b|img\b)\w")
_EMPTY_TABLE_HEAD = re.compile(r"<thead>\s*<tr>\s*(?:<th[^<>]*></th>\s*)+</tr>\s*</thead>\n?")
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@lru_cache(maxsize=4096)
def to_html(source: str) -> str:
    """Return block-level HTML without classes or styles, with every tag closed. Raises TooLong and TooDeep."""
    html = _EMPTY_TABLE_HEAD.sub("", _cleaner.clean(_renderer.render(parse(source), _OPTIONS, {})))
    depth = 0
    for tag in _TAG.finditer(html):
        depth += -1 if tag[1] else 1
        if depth > MAX_DEPTH:
            raise TooDeep(TooDeep.__doc__)
    return html


@lru_cache(maxsize=4096)
def to_text(source: str, width: int = 72) -> str:
    """Return plain text in lines of ``width`` columns, without a final line break.

    A URL follows its link text in angle brackets and is never broken. Raises TooLong and TooDeep.
    """
    return _blocks_text(SyntaxTreeNode(parse(source)), width)


@lru_cache(maxsize=4096)
def inline_html(source: str) -> str:
    """Return one line, such as a headline, as HTML with emphasis, ``<sup>`` and ``<sub>`` but no links.

    Raises TooLong and TooDeep.
    """
    return nh3.clean(
        _renderer.renderInline(parse_line(source), _OPTIONS, {}),
        tags={"em", "strong", "s", "sup", "sub"},
        attributes={},
    )


@lru_cache(maxsize=4096)
def inline_text(source: str) -> str:
    """Return a text as one line of plain text without markup, links and pictures. Raises TooLong and TooDeep.

    One line, such as a headline, is never a list or a heading: "1. May".
    """
    if "\n" in source:
        lines = [token.children or [token] for token in parse(source) if token.type in ("inline", "fence")]
    else:
        lines = [parse_line(source)]
    left_out = ("link_open", "link_close", "image")
    texts = (_children_text(SyntaxTreeNode([token for token in line if token.type not in left_out])) for line in lines)
    return " ".join(filter(None, texts)).replace("\n", " ")


def _blocks_text(node: SyntaxTreeNode, width: int) -> str:
    tight = node.type == "list_item" and all(child.type != "paragraph" or child.hidden for child in node.children)
    texts = (_block_text(child, width) for child in node.children)
    return ("\n" if tight else "\n\n").join(text for text in texts if text)


def _block_text(node: SyntaxTreeNode, width: int) -> str:
    match node.type:
        case "paragraph" | "heading":
            lines = _inline_node_text(node.children[0]).split("\n")
            return "\n".join(wrap(line, width) for line in lines)
        case "blockquote":
            return "\n".join(f"> {line}".rstrip() for line in _blocks_text(node, width - 2).split("\n"))
        case "bullet_list" | "ordered_list":
            return _list_text(node, width)
        case "table":
            return _table_text(node, width)
        case "fence":
            return textwrap.indent(node.content.rstrip("\n"), "    ")
        case _:
            return ""


def _list_text(node: SyntaxTreeNode, width: int) -> str:
    first = int(node.attrs.get("start", 1))
    texts = []
    for number, item in enumerate(node.children, first):
        marker = f"{number}. " if node.type == "ordered_list" else "- "
        text = textwrap.indent(_blocks_text(item, width - len(marker)), " " * len(marker))
        texts.append(marker + text.removeprefix(" " * len(marker)))
    return "\n".join(texts)


def _table_text(node: SyntaxTreeNode, width: int) -> str:
    """Return a table in aligned columns, or, if it is wider than ``width``, with each cell on a line of its own."""
    rows = [
        [" ".join(_children_text(cell).split()) for cell in row.children]
        for part in node.children
        for row in part.children
    ]
    head, *rows = rows if any(rows[0]) else ([], *rows[1:])
    widths = [max(map(len, column)) for column in zip(*filter(None, [head, *rows]), strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) <= width:
        lines = [*([head, ["-" * size for size in widths]] if head else []), *rows]
        padded = ((cell.ljust(size) for cell, size in zip(line, widths, strict=True)) for line in lines)
        return "\n".join("  ".join(cells).rstrip() for cells in padded)
    names = [f"{name}: " if name else "" for name in head] or [""] * len(widths)
    return "\n\n".join(
        "\n".join(wrap(name + cell, width) for name, cell in zip(names, row, strict=True) if cell) for row in rows
    )


def _children_text(node: SyntaxTreeNode) -> str:
    return "".join(_inline_node_text(child) for child in node.children)


def _inline_node_text(node: SyntaxTreeNode) -> str:
    match node.type:
        case "softbreak":
            return " "
        case "hardbreak":
            return "\n"
        case "text" | "code_inline" | "html_inline" | "fence":
            return node.content
        case "image":
            return f"[{node.content}]" if node.content else ""
        case "link":
            return text_link(_children_text(node), str(node.attrs["href"]))
        case "s":
            return f"~{_children_text(node)}~"
        case "sup" | "sub":
            words = _children_text(node)
            is_number = words.isascii() and words.isdigit()
            return words.translate(_RAISED if node.type == "sup" else _LOWERED) if is_number else words
        case _:
            return _children_text(node)


def text_link(words: str, url: str) -> str:
    """Return a link as plain text: its text, then its URL, or the address of a ``mailto:`` URL."""
    target = url.removeprefix("mailto:")
    return target if words in (url, target, url.removeprefix("https://")) else f"{words} <{target}>"


@lru_cache(maxsize=4096)
def wrap(line: str, width: int = 72) -> str:
    """Wrap a line at ``width`` columns. A longer word, such as a URL, is not broken."""
    words = line.split(" ")
    if words == line.split():  # only single spaces, as nearly always: three times as fast as textwrap
        lines, room = [], 0
        for word in words:
            room -= len(word) + 1
            if room < 0:
                lines.append([word])
                room = width - len(word)
            else:
                lines[-1].append(word)
        return "\n".join(map(" ".join, lines))
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)


def list_item(line: str, width: int = 72) -> str:
    """Return the line as an item of a list, wrapped at ``width`` columns."""
    return textwrap.indent(wrap(line, width - 2), "  ").replace("  ", "- ", 1)


class _Renderer(RendererHTML):
    """Renders what emails show differently."""

    def html_inline(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return escapeHtml(tokens[index].content)

    def image(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        token, size = tokens[index], picture_size(tokens[index])
        alt = escapeHtml(token.content)
        if size is None:
            return alt
        return f'<img src="{escapeHtml(str(token.attrs["src"]))}" alt="{alt}" width="{size[0]}" height="{size[1]}">'

    def heading_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        # The template uses h1 to h3; every heading in authored text is one level below.
        return "<h4>"

    def heading_close(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return "</h4>\n"

    def th_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return self._cell("th", tokens[index])

    def td_open(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return self._cell("td", tokens[index])

    def _cell(self, tag: str, token: Token) -> str:
        align = str(token.attrs.get("style", "")).removeprefix("text-align:")
        return f'<{tag} align="{align}">' if align else f"<{tag}>"


_OPTIONS = MarkdownIt("commonmark").options
_renderer = _Renderer()
_cleaner = nh3.Cleaner(
    tags={
        "p",
        "a",
        "em",
        "strong",
        "s",
        "sup",
        "sub",
        "ul",
        "ol",
        "li",
        "blockquote",
        "br",
        "h4",
        "pre",
        "img",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    },
    attributes={  # "*" would let lang and title through
        "*": set(),
        "a": {"href"},
        "ol": {"start"},
        "img": {"src", "alt", "width", "height"},
        "th": {"align"},
        "td": {"align"},
    },
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel=None,
)
