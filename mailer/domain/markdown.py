"""Authors' Markdown: how it is parsed, its limits, and what in it cannot be shown.

The Markdown is CommonMark with tables, ``~~deleted text~~``, task lists, and links from bare URLs and email addresses.
HTML tags for emphasis, line breaks, links and pictures are read as Markdown for the same, comments and tags without
a meaning are dropped.

A picture in a stored text has the target ``picture:<SHA-256>``. It is shown if its title is its size in pixels, as in
``![alt](url "640x480")``: no other title is ever stored, so that no picture of another server is loaded.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from itertools import groupby

from linkify_it import LinkifyIt
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore, linkify
from markdown_it.token import Token

from mailer.domain.errors import UserError
from mailer.domain.staff_texts import gettext

MAX_LENGTH = 20_000
"""Characters of Markdown in one text. A long story has 3,000."""
MAX_BRACKETS = 400
"""Opening square brackets in one text. The parser's time to find links grows with the square of their number."""
MAX_CELLS = 5_000
"""Cells of all tables in one text. The parser makes every row as long as the first, if it is only one character."""
MAX_DEPTH = 24
"""Maximum nesting of elements. The MJML renderer crashes the process at several thousand."""

_ALLOWED_LINK = re.compile(r"https?://[\w.~-]+(:\d{1,5})?([/?#]\S*)?|mailto:[^\s@<>]+@[^\s@<>]+", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s@<>:/?#]+@[^\s@<>:/?#]+\.[^\s@<>:/?#.]+")
_PICTURE_REFERENCE = re.compile(r"\]\(picture:([0-9a-f]{64})\)")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_MAX_HOST_CHARS = 255
"""Of a host with its port (RFC 1035, section 2.3.4)."""
_AROUND_BLOCK = " \t>"
"""Characters of which a line that ends a table consists, in quotes too."""
_DASHES = re.compile("-+")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_TAG = re.compile(r"<(/?)([a-z][a-z0-9-]*)", re.IGNORECASE)
_FORMATS = {
    "b": "strong",
    "strong": "strong",
    "i": "em",
    "em": "em",
    "cite": "em",
    "s": "s",
    "del": "s",
    "strike": "s",
    "sup": "sup",
    "sub": "sub",
    "a": "link",
}
"""HTML tag → type of its token."""
_BREAKS = {"br", "p", "div", "li", "hr"}
_MEANINGLESS = {
    "abbr",
    "article",
    "aside",
    "big",
    "center",
    "code",
    "dfn",
    "figcaption",
    "figure",
    "font",
    "footer",
    "header",
    "ins",
    "kbd",
    "label",
    "main",
    "mark",
    "nobr",
    "q",
    "samp",
    "section",
    "small",
    "span",
    "tt",
    "u",
    "ul",
    "ol",
    "var",
    "wbr",
}
"""Tags that change nothing that an email shows."""
_ESCAPED = "\0"
"""Stands for an escaped character, which may be the bracket that a link would begin with."""
_SAME_LINE = "br"
"""The markup of a line break that no line of the source ends in."""
_TASK = re.compile(r"\[([ xX])\](?=\s)")
_UNREAD = re.compile(
    r"(?:(?P<picture>!?)\[(?P<words>[^\[\]]*))?\]\((?P<target>[^()]*)"
    r"|\[\^(?P<note>[^\[\]\s]+)\]"
    r"|\[(?P<text>[^\[\]]*[^\W\d][^\[\]]*)\]\[(?P<label>[^\[\]]*)\]"
)
"""Links and footnotes that the parser left in the text."""


class TooLong(UserError, ValueError):
    """A text has too many characters or square brackets for an email."""


class TooDeep(UserError, ValueError):
    """A text has lists, quotes or other elements that are nested too deeply for an email."""


@dataclass(frozen=True, slots=True)
class MarkdownProblem:
    """A part of a text that cannot be shown as it is meant. ``line`` is counted from 1 in the text."""

    line: int
    message: str
    blocks: bool
    """Whether it is a link that leads nowhere, with which an issue must not be sent."""


def picture_reference(sha256: str) -> str:
    """Return the target of a stored picture in a stored text."""
    return f"picture:{sha256}"


def referenced_pictures(texts: Iterable[str]) -> set[str]:
    """Return the SHA-256 of the stored pictures in texts."""
    return {sha256 for text in texts if "picture:" in text for sha256 in _PICTURE_REFERENCE.findall(text)}


def with_picture_urls(text: str, pictures: Mapping[str, tuple[str, int, int]]) -> str:
    """Return a stored text with the URLs and sizes of its pictures, by SHA-256: (URL, width, height)."""

    def target(found: re.Match[str]) -> str:
        if found[1] not in pictures:
            return found[0]
        url, width, height = pictures[found[1]]
        return f'](<{url}> "{width}x{height}")'

    return _PICTURE_REFERENCE.sub(target, text) if "picture:" in text else text


def is_allowed_link(url: str) -> bool:
    """Return whether a URL may be linked in an email: an absolute ``http``, ``https`` or ``mailto`` URL."""
    return _ALLOWED_LINK.fullmatch(url) is not None


def complete_link(url: str) -> str:
    """Return a URL with the scheme that it obviously has: ``www.example.org`` or ``ina@example.org`` as written."""
    if url[:4].lower() == "www.":
        return f"https://{url}"
    return f"mailto:{url}" if _ADDRESS.fullmatch(url) else url


def picture_size(token: Token) -> tuple[int, int] | None:
    """Return the width and height in pixels of a picture that is shown, or None."""
    size = _SIZE.fullmatch(str(token.attrs.get("title", "")))
    return (int(size[1]), int(size[2])) if size and token.attrs["src"] else None


@lru_cache(maxsize=256)
def parse(source: str) -> list[Token]:
    """Return the tokens of a text. Raises TooLong and TooDeep."""
    return _parse(_parser, source)


def parse_line(source: str) -> list[Token]:
    """Return the tokens of one line, such as a headline. Raises TooLong and TooDeep."""
    parse(source)
    (inline,) = _parser.parseInline(source)
    return inline.children or []


def find_bare_links(text: str) -> list[tuple[int, int]]:
    """Return the beginnings and ends of the URLs and email addresses that are links without being marked as such."""
    return [(found.index, found.last_index) for found in _parser.linkify.match(text) or ()]  # type: ignore[union-attr]


def normalize_link(url: str) -> str:
    """Return a URL as it stands in the tokens of a text: complete, and with what is not ASCII encoded."""
    return _parser.normalizeLink(url)


@lru_cache(maxsize=1024)
def find_links(source: str) -> tuple[str, ...]:
    """Return the targets of the links in a text, in order; none for a text that is too long or too deep."""
    if not any(mark in source for mark in ("](", "]:", "://", "@", "www.", "WWW.", "<")):
        return ()
    try:
        tokens = parse(source)
    except (TooLong, TooDeep):
        return ()
    children = (inner for token in tokens for inner in token.children or ())
    return tuple(str(inner.attrs["href"]) for inner in children if inner.type == "link_open")


def find_problems(source: str) -> list[MarkdownProblem]:
    """Return what in a text cannot be shown as it is meant, in order.

    Nothing is found in a text that is too long or too deep, which cannot be rendered at all.
    """
    if not any(mark in source for mark in "[<"):
        return []
    problems: list[MarkdownProblem] = []
    try:
        tokens = _parse(_lenient_parser, source)
    except (TooLong, TooDeep):
        return []
    for token in tokens:
        if token.type == "inline":
            problems += _inline_problems(token.children or [], (token.map or [0])[0] + 1)
    return problems


def _parse(parser: MarkdownIt, source: str) -> list[Token]:
    if len(source) > MAX_LENGTH or source.count("[") > MAX_BRACKETS:
        raise TooLong(TooLong.__doc__)
    if _most_cells(source) > MAX_CELLS:
        raise TooLong(gettext("The tables of this text have too many cells for an email."))
    tokens = parser.parse(source)
    if any(inner.level > MAX_DEPTH for token in tokens for inner in (token, *(token.children or ()))):
        raise TooDeep(TooDeep.__doc__)
    for token in tokens:
        for inner in (token, *(token.children or ())):
            if inner.type in ("fence", "code_block", "code_inline"):
                # An internal note stays one in code, as in the importer.
                inner.content = _COMMENT.sub("", inner.content)
            elif inner.type == "image":
                # Not the Markdown between the brackets, with its escapes.
                inner.content = "".join(part.content or " " for part in inner.children or () if not part.nesting)
    return tokens


def _most_cells(source: str) -> int:
    """Return how many cells the tables of several columns in a text have at most, without parsing it."""
    if "|" not in source:
        return 0
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    cells = 0
    for is_table, group in groupby(lines, key=lambda line: bool(line.strip(_AROUND_BLOCK))):
        if is_table:
            block = list(group)
            cells += len(block) * max(map(_columns, block))
    return cells


def _columns(line: str) -> int:
    """Return the number of columns if a line is one below the header of a table, else 0."""
    is_below_header = "|" in line and not line.strip(_AROUND_BLOCK + "-:|")
    return len(_DASHES.findall(line)) if is_below_header else 0


def _inline_problems(tokens: list[Token], line: int) -> Iterator[MarkdownProblem]:
    unread = ""
    for at, token in enumerate(tokens):
        if token.type in ("text", "softbreak"):
            unread += token.content or "\n"
            continue
        yield from _unread_problems(unread, line)
        line += unread.count("\n") + (token.type == "hardbreak" and token.markup != _SAME_LINE)
        unread = _ESCAPED if token.type == "text_special" else ""
        if token.type == "link_open":
            yield from _link_problems(str(token.attrs["href"]), tokens[at + 1 :], line)
        elif token.type == "image" and picture_size(token) is None:
            message = gettext(
                "The picture “%(words)s” is not one of the issue's and cannot be shown.", words=_short(token.content)
            )
            yield MarkdownProblem(line, message, False)
        elif token.type == "html_inline":
            message = gettext("“%(words)s” is not formatting; it is printed as it is.", words=_short(token.content))
            yield MarkdownProblem(line, message, False)
    yield from _unread_problems(unread, line)


def _link_problems(url: str, after: list[Token], line: int) -> Iterator[MarkdownProblem]:
    end = next(at for at, token in enumerate(after) if token.type == "link_close")
    words = "".join(token.content or " " for token in after[:end]).strip()
    if not url:
        yield MarkdownProblem(line, gettext("The link “%(words)s” has no target.", words=_short(words)), True)
    elif not is_allowed_link(url):
        message = gettext(
            "The link “%(words)s” leads to “%(target)s”, which is no complete web or email address; "
            "those begin with https://, http:// or mailto:.",
            words=_short(words),
            target=_short(url),
        )
        yield MarkdownProblem(line, message, True)
    elif not words:
        yield MarkdownProblem(line, gettext("The link to “%(target)s” has no words.", target=_short(url)), False)


def _unread_problems(text: str, line: int) -> Iterator[MarkdownProblem]:
    for found in _UNREAD.finditer(text):
        at = line + text.count("\n", 0, found.start())
        if found["note"] is not None:
            message = gettext("The footnote “%(note)s” has no text.", note=_short(found["note"]))
            yield MarkdownProblem(at, message, False)
        elif found["label"] is not None:
            message = gettext(
                "The link “%(words)s” has no target: “[%(label)s]: https://…” is missing.",
                words=_short(found["text"]),
                label=_short(found["label"] or found["text"]),
            )
            yield MarkdownProblem(at, message, True)
        elif found["words"] is not None or _ESCAPED not in text[: found.start()]:
            words, target = _short(found["words"] or "…"), _short(found["target"])
            if found["picture"]:
                message = gettext(
                    "The picture “%(words)s” has a target that cannot be read: “%(target)s”. "
                    "Write spaces in it as %%20.",
                    words=words,
                    target=target,
                )
            else:
                message = gettext(
                    "The link “%(words)s” has a target that cannot be read: “%(target)s”. Write spaces in it as %%20.",
                    words=words,
                    target=target,
                )
            yield MarkdownProblem(at, message, not found["picture"])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


class _TagParser(HTMLParser):
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.values = {name: value or "" for name, value in attrs}


def tag_attributes(tag: str) -> dict[str, str]:
    """Return the attributes of an HTML start tag."""
    reader = _TagParser()
    reader.values = {}
    reader.feed(tag)
    return reader.values


def _read_tags(state: StateCore) -> None:
    """Replace HTML tags by the tokens of Markdown with the same meaning, nested correctly. Unknown ones are kept.

    A link without a target, ``[words]()``, becomes its words.
    """
    for token in state.tokens:
        if token.type == "inline" and token.children and ("<" in token.content or "](" in token.content):
            token.children = _Tags(state.md).replace(token.children)


class _Tags:
    """Replaces the HTML tags in the tokens of one paragraph."""

    def __init__(self, parser: MarkdownIt) -> None:
        self._parser = parser
        self._result: list[Token] = []
        self._open: list[tuple[str, bool]] = []
        """The open elements: type, and whether it is from an HTML tag."""

    def replace(self, tokens: list[Token]) -> list[Token]:
        for token in tokens:
            if token.type == "html_inline":
                self._replace_tag(token)
            elif token.nesting == -1:
                self._close_tags_to(len(self._open) - self._innermost_tags())
                if self._open.pop()[0]:
                    self._add(token)
            elif token.type == "link_open" and not token.attrs["href"] and not self._parser.validateLink(""):
                self._open.append(("", False))
            elif token.type == "softbreak" and self._result and self._result[-1].type == "hardbreak":
                self._result[-1].markup = ""
            else:
                self._add(token)
                if token.nesting == 1:
                    self._open.append((token.type.removesuffix("_open"), False))
            if len(self._open) > MAX_DEPTH:
                raise TooDeep(TooDeep.__doc__)
        self._close_tags_to(0)
        if self._result and self._result[-1].type == "hardbreak":
            self._result.pop()
        return self._result

    def _replace_tag(self, token: Token) -> None:
        match = _TAG.match(token.content)
        name = match[2].lower() if match else ""
        kind = _FORMATS.get(name, "")
        if token.content.startswith("<!--") or name in _MEANINGLESS:
            return
        if name in _BREAKS:
            if self._result and self._result[-1].type not in ("hardbreak", "softbreak"):
                self._add(Token("hardbreak", "br", 0, markup=_SAME_LINE))
        elif name == "img":
            self._add_picture(tag_attributes(token.content))
        elif match and kind and match[1]:
            outside = len(self._open) - self._innermost_tags()
            at = next((at for at in reversed(range(outside, len(self._open))) if self._open[at][0] == kind), None)
            if at is not None:
                self._close_tags_to(at)
        elif kind == "link":
            values = tag_attributes(token.content)
            url = self._parser.normalizeLink(values.get("href", ""))
            in_link = any(open_ == "link" for open_, _ in self._open)
            if "href" in values and not in_link and self._parser.validateLink(url):
                self._begin("link", "a", {"href": url})
        elif kind:
            self._begin(kind, kind, {})
        else:
            self._add(token)

    def _innermost_tags(self) -> int:
        """Return how many of the innermost open elements are from tags."""
        return next((n for n, (_, is_tag) in enumerate(reversed(self._open)) if not is_tag), len(self._open))

    def _begin(self, kind: str, tag: str, attrs: dict[str, str | int | float]) -> None:
        self._add(Token(f"{kind}_open", tag, 1, attrs=attrs))
        self._open.append((kind, True))

    def _close_tags_to(self, depth: int) -> None:
        while len(self._open) > depth:
            kind, _ = self._open.pop()
            self._add(Token(f"{kind}_close", "a" if kind == "link" else kind, -1))

    def _add_picture(self, values: dict[str, str]) -> None:
        url = self._parser.normalizeLink(values.get("src", ""))
        attrs: dict[str, str | int | float] = {"src": url if self._parser.validateLink(url) else "", "alt": ""}
        text = Token("text", "", 0, content=values.get("alt", ""))
        self._add(Token("image", "img", 0, attrs=attrs, content=text.content, children=[text]))

    def _add(self, token: Token) -> None:
        token.level = len(self._open)
        self._result.append(token)


def _mark_tasks(state: StateCore) -> None:
    """Replace ``[ ]`` and ``[x]`` at the beginning of list items by boxes."""
    for at, token in enumerate(state.tokens[2:], start=2):
        children = token.children
        if children and state.tokens[at - 2].type == "list_item_open" and (box := _TASK.match(children[0].content)):
            children[0].content = f"{'☐' if box[1] == ' ' else '☑'}{children[0].content[3:]}"


def _linkify(state: StateCore) -> None:
    if any(mark in state.src for mark in ("@", "://", "www.", "WWW.")):
        linkify(state)


def _linkifier() -> LinkifyIt:
    """Return a linkifier for URLs with a scheme or ``www.``, and for email addresses.

    Not for other hosts: "end.To", where a space is missing, would be one.
    """
    linkifier = LinkifyIt(options={"fuzzy_link": False})
    for schema in ("ftp:", "//"):
        linkifier.add(schema, None)
    host = re.compile(linkifier.re["src_host_port_strict"], re.IGNORECASE)
    path = re.compile(linkifier.re["src_path"], re.IGNORECASE)

    def host_length(_: LinkifyIt, text: str, start: int) -> int:
        found = host.match(text, start, start + _MAX_HOST_CHARS + 2)  # with what shows that it ends there
        if found is None or len(found[0]) > _MAX_HOST_CHARS:
            return 0
        rest = path.match(text, found.end(), start + 2000)
        return (rest or found).end() - start

    linkifier.add("www.", {"validate": host_length})
    return linkifier


def _make_parser(*, lenient: bool) -> MarkdownIt:
    """Return a parser. A lenient one takes any URL, keeps escaped characters apart, and makes no links of text."""
    markdown = MarkdownIt("commonmark", {"linkify": True}).enable(["table", "strikethrough"])
    markdown.disable(["code", "html_block"])
    markdown.options["maxNesting"] = 4 * MAX_DEPTH  # the parser's default limit silently drops text
    markdown.core.ruler.after("inline", "tags", _read_tags)
    markdown.core.ruler.after("tags", "tasks", _mark_tasks)
    normalize = markdown.normalizeLink
    markdown.normalizeLink = lambda url: normalize(complete_link(url))  # type: ignore[method-assign]
    if lenient:
        markdown.validateLink = lambda url: True  # type: ignore[method-assign]
        markdown.disable("text_join")
    else:
        markdown.validateLink = is_allowed_link  # type: ignore[method-assign]
        # Must run after text_join: an escape (a\_b@example.org) splits the text token.
        markdown.core.ruler.after("text_join", "addresses", _linkify)
        markdown.linkify = _linkifier()
    return markdown


_parser = _make_parser(lenient=False)
_lenient_parser = _make_parser(lenient=True)
