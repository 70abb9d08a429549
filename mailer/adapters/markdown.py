"""Renders authors' Markdown as HTML that is safe in emails, and as plain text.

The Markdown is CommonMark plus ``<sup>`` and ``<sub>``; other HTML is shown as text. Only ``http``, ``https`` and
``mailto`` links are allowed. Email addresses in the text become links. HTML and text have the same links.
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

from mailer.domain.errors import UserError

MAX_LENGTH = 20_000
"""Characters of Markdown in one text. A long story has 3,000."""
MAX_BRACKETS = 400
"""Opening square brackets in one text. The parser's time to find links grows with the square of their number."""
MAX_DEPTH = 24
"""Maximum nesting of elements. The MJML renderer crashes the process at several thousand."""

_ALLOWED_LINK = re.compile(r"https?://[\w.~-]+(:\d{1,5})?([/?#]\S*)?|mailto:[^\s@<>]+@[^\s@<>]+", re.IGNORECASE)
_SUPER_OR_SUB = re.compile(r"</?su[bp]>")
_TAG = re.compile(r"<(/?)(?!br\b)\w")


class TooLong(UserError, ValueError):
    """A text has too many characters or square brackets for an email."""


class TooDeep(UserError, ValueError):
    """A text has lists, quotes or other elements that are nested too deeply for an email."""


def is_allowed_link(url: str) -> bool:
    """Return whether a URL may be linked in an email: an absolute ``http``, ``https`` or ``mailto`` URL."""
    return _ALLOWED_LINK.fullmatch(url) is not None


@lru_cache(maxsize=4096)
def to_html(source: str) -> str:
    """Return block-level HTML without classes or styles, with every tag closed. Raises TooLong and TooDeep."""
    html = _cleaner.clean(_markdown.renderer.render(_parse(source), _markdown.options, {}))
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
    return _blocks_text(SyntaxTreeNode(_parse(source)), width)


@lru_cache(maxsize=4096)
def inline_html(source: str) -> str:
    """Return one line, such as a headline, as HTML with emphasis, ``<sup>`` and ``<sub>`` but no links.

    Raises TooLong and TooDeep.
    """
    _parse(source)
    return nh3.clean(
        _markdown.renderer.render(_markdown.parseInline(source), _markdown.options, {}),
        tags={"em", "strong", "sup", "sub"},
        attributes={},
    )


@lru_cache(maxsize=4096)
def inline_text(source: str) -> str:
    """Return one line, such as a headline, as plain text without markup and links. Raises TooLong and TooDeep."""
    _parse(source)
    (inline,) = _markdown.parseInline(source)
    tokens = [token for token in inline.children or [] if token.type not in ("link_open", "link_close")]
    texts = [_inline_node_text(SyntaxTreeNode([token])) if token.nesting == 0 else "" for token in tokens]
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
    """Return a link as plain text: its text, then its URL, or the address of a ``mailto:`` URL."""
    target = url.removeprefix("mailto:")
    return target if words in (url, target) else f"{words} <{target}>"


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


def _render_html_inline(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    content = tokens[index].content
    return content if _SUPER_OR_SUB.fullmatch(content) else escapeHtml(content)


def _render_heading(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    # The template uses h1 to h3; every heading in authored text is one level below.
    return "<h4>" if tokens[index].nesting == 1 else "</h4>\n"


def _email_linkifier() -> LinkifyIt:
    """Return a linkifier for email addresses only, since the end of a URL in running text is ambiguous."""
    linkifier = LinkifyIt(options={"fuzzy_link": False})
    for schema in ("https:", "ftp:", "http:", "//"):
        linkifier.add(schema, None)
    return linkifier


def _linkify_emails(state: StateCore) -> None:
    if "@" in state.src:
        linkify(state)


def _make_parser() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"linkify": True})
    # Must run after text_join: an escape (a\_b@example.org) splits the text token.
    markdown.core.ruler.after("text_join", "addresses", _linkify_emails)
    markdown.linkify = _email_linkifier()
    markdown.disable(["code", "fence", "html_block"])
    markdown.options["maxNesting"] = 4 * MAX_DEPTH  # the parser's default limit silently drops text
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
