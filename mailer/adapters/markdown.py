"""Authored Markdown as HTML that is safe in a mail, and as plain text.

The Markdown is CommonMark plus ``<sup>`` and ``<sub>``; other HTML is shown as it was typed. Links lead to
``http``, ``https`` and ``mailto`` only; a mail address that is written out is a link too. Both results have the
same links.
"""

import re
import textwrap
from collections.abc import Sequence
from functools import lru_cache

import nh3
from linkify_it import LinkifyIt
from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore, linkify
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode
from markdown_it.utils import EnvType, OptionsDict

MAX_LENGTH = 20_000
"""Characters of Markdown in one text; a long story has 3,000."""
MAX_BRACKETS = 400
"""Opening square brackets in one text. For each, the parser looks for a link through all the others within."""
MAX_DEPTH = 24
"""Elements inside one another. The MJML renderer crashes the process at some thousands."""

_ALLOWED_LINK = re.compile(r"https?://[\w.~-]+(:\d{1,5})?([/?#]\S*)?|mailto:[^\s@<>]+@[^\s@<>]+", re.IGNORECASE)
_SUPER_OR_SUB = re.compile(r"</?su[bp]>")
_TAG = re.compile(r"<(/?)(?!br\b)\w")


class TooLong(ValueError):
    """A text has more characters, or more square brackets, than a mail can carry."""


class TooDeep(ValueError):
    """A text has lists, quotes or other elements nested more deeply than a mail can carry."""


def is_allowed_link(url: str) -> bool:
    """Whether a mail may link there: an absolute ``http``, ``https`` or ``mailto`` URL."""
    return _ALLOWED_LINK.fullmatch(url) is not None


@lru_cache(maxsize=4096)
def to_html(source: str) -> str:
    """Block-level HTML without classes or styles, each tag closed. Raises ``TooLong`` or ``TooDeep``."""
    html = _cleaner.clean(_markdown.renderer.render(_parse(source), _markdown.options, {}))
    depth = 0
    for tag in _TAG.finditer(html):
        depth += -1 if tag[1] else 1
        if depth > MAX_DEPTH:
            raise TooDeep(TooDeep.__doc__)
    return html


@lru_cache(maxsize=4096)
def to_text(source: str, width: int = 72) -> str:
    """Plain text in lines of ``width`` columns, no line end at its end; a link follows its words in angle
    brackets and is never broken. Raises ``TooLong`` or ``TooDeep``."""
    return _blocks_text(SyntaxTreeNode(_parse(source)), width)


@lru_cache(maxsize=4096)
def inline_html(source: str) -> str:
    """One line, such as a headline, as HTML: emphasis, ``<sup>`` and ``<sub>``, no link. Raises ``TooLong``."""
    _parse(source)
    return nh3.clean(
        _markdown.renderer.render(_markdown.parseInline(source), _markdown.options, {}),
        tags={"em", "strong", "sup", "sub"},
        attributes={},
    )


@lru_cache(maxsize=4096)
def inline_text(source: str) -> str:
    """One line, such as a headline, as plain text without its marks or links. Raises ``TooLong``."""
    _parse(source)
    (inline,) = _markdown.parseInline(source)
    shown = [token for token in inline.children or [] if token.type not in ("link_open", "link_close")]
    texts = [_inline_node_text(SyntaxTreeNode([token])) if token.nesting == 0 else "" for token in shown]
    return "".join(texts).replace("\n", " ")


@lru_cache(maxsize=256)
def _parse(source: str) -> list[Token]:
    if len(source) > MAX_LENGTH or source.count("[") > MAX_BRACKETS:
        raise TooLong(TooLong.__doc__)
    tokens = _markdown.parse(source)
    if any(token.level > MAX_DEPTH for token in tokens):
        raise TooDeep(TooDeep.__doc__)
    return tokens


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


def _inline_node_text(node: SyntaxTreeNode) -> str:
    match node.type:
        case "softbreak":
            return " "
        case "hardbreak":
            return "\n"
        case "text" | "code_inline":
            return node.content
        case "html_inline":
            return "" if _SUPER_OR_SUB.fullmatch(node.content) else node.content
        case "image":
            return ""
        case "link":
            words = "".join(_inline_node_text(child) for child in node.children)
            return text_link(words, str(node.attrs["href"]))
        case _:
            return "".join(_inline_node_text(child) for child in node.children)


def text_link(words: str, url: str) -> str:
    """A link in plain text: its words, then where it leads; an address stands for its ``mailto:`` URL."""
    target = url.removeprefix("mailto:")
    return target if words in (url, target) else f"{words} <{target}>"


@lru_cache(maxsize=4096)
def wrap(line: str, width: int = 72) -> str:
    """The line in lines of at most ``width`` columns; a longer word, such as a URL, stays whole."""
    words = line.split(" ")
    if words == line.split():  # nothing but single blanks, as nearly always: three times as fast by hand
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
    """The line as an item of a list."""
    return textwrap.indent(wrap(line, width - 2), "  ").replace("  ", "- ", 1)


def _render_html_inline(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    content = tokens[index].content
    return content if _SUPER_OR_SUB.fullmatch(content) else escapeHtml(content)


def _render_heading(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    # The mail's own headings end at the headline; all that an author writes stand below it.
    return "<h4>" if tokens[index].nesting == 1 else "</h4>\n"


def _email_linkifier() -> LinkifyIt:
    """Finds mail addresses alone: where a web address ends in running text, nobody can tell for sure."""
    found = LinkifyIt(options={"fuzzy_link": False})
    for schema in ("https:", "ftp:", "http:", "//"):
        found.add(schema, None)
    return found


def _linkify_emails(state: StateCore) -> None:
    if "@" in state.src:
        linkify(state)


def _make_parser() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"linkify": True})
    # Behind text_join, or an escape such as the one in a\_b@example.org cuts an address in two.
    markdown.core.ruler.after("text_join", "addresses", _linkify_emails)
    markdown.linkify = _email_linkifier()
    markdown.disable(["code", "fence", "html_block"])
    markdown.options["maxNesting"] = 4 * MAX_DEPTH  # at its own limit the parser drops text without a word
    markdown.validateLink = is_allowed_link  # type: ignore[method-assign]
    markdown.add_render_rule("html_inline", _render_html_inline)
    markdown.add_render_rule("heading_open", _render_heading)
    markdown.add_render_rule("heading_close", _render_heading)
    return markdown


_markdown = _make_parser()
_cleaner = nh3.Cleaner(
    tags={"p", "a", "em", "strong", "sup", "sub", "ul", "ol", "li", "blockquote", "br", "h4"},
    attributes={"*": set(), "a": {"href"}, "ol": {"start"}},  # "*" would let lang and title through
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
    link_rel=None,
)
