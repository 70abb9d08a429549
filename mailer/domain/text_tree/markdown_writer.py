"""Writes the Markdown of blocks."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from mailer.domain.markdown import find_bare_links, parse_line, picture_reference
from mailer.domain.text_tree.model import ALIGNMENTS, MARKS, MAX_NUMBER, Block, Mark, Run
from mailer.domain.text_tree.one_form import tidy_runs
from mailer.domain.text_tree.token_parser import runs_of, with_pictures

_SIGNS = {"strong": ("**", "**"), "em": ("*", "*"), "strike": ("~~", "~~")}
_TAGS = {
    "strong": ("<strong>", "</strong>"),
    "em": ("<em>", "</em>"),
    "strike": ("<s>", "</s>"),
    "sup": ("<sup>", "</sup>"),
    "sub": ("<sub>", "</sub>"),
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
_RULE = "***"
"""A horizontal rule, which emails do not show, between blocks that would otherwise be one."""
_LINE_START = re.compile(r"(?:#{1,6}(?=\s|$)|>|[-+](?=\s|$)|[-=:|][-=:|\s]*$)|(\d{1,9})[.)](?=\s|$)")
"""What would make a line of a paragraph a block of another kind."""
_WORD = re.compile(r"[^\s<\]]+")
_PERHAPS_LINK = re.compile(r"@|://|www\.", re.IGNORECASE)


def blocks_markdown(blocks: Sequence[Block], *, tight: bool) -> str:
    """Return blocks as Markdown. ``tight``: without empty lines between them, as in a tight list."""
    parts: list[str] = []
    previous: Block | None = None
    other_marker = False
    for block in blocks:
        # Two lists of the same kind are one unless their markers differ.
        other_marker = previous is not None and previous.kind == block.kind and not other_marker
        if previous is not None:
            parts.append("\n\n" if not tight else "\n" if _may_follow(previous, block) else f"\n{_RULE}\n")
        parts.append(_block_markdown(block, other_marker=other_marker))
        previous = block
    return "".join(parts)


def _may_follow(previous: Block, block: Block) -> bool:
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


def _block_markdown(block: Block, *, other_marker: bool) -> str:
    match block.kind:
        case "paragraph":
            return "\n".join(map(_escape_start, line_markdown(block.runs, "\\\n").split("\n")))
        case "heading":
            return "#### " + re.sub(r"#+$", r"\\\g<0>", line_markdown(block.runs, "<br>"))
        case "blockquote":
            return _indent(blocks_markdown(block.blocks, tight=False), "> ", "> ")
        case "code_block":
            text = block.runs[0].text
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
            return f"{fence}\n{text}\n{fence}"
        case "table":
            return _table_markdown(block)
        case _:
            return _list_markdown(block, other_marker=other_marker)


def _list_markdown(block: Block, *, other_marker: bool) -> str:
    items = []
    for at, item in enumerate(block.blocks):
        if block.kind == "bullet_list":
            marker = "* " if other_marker else "- "
        else:
            number = min(block.attributes["start"] + at, MAX_NUMBER)
            marker = f"{number}{')' if other_marker else '.'} "
        text = blocks_markdown(item.blocks, tight=block.attributes["tight"])
        items.append(_indent(text, marker, " " * len(marker)))
    return ("\n" if block.attributes["tight"] else "\n\n").join(items)


def _indent(text: str, first: str, others: str) -> str:
    lines = [f"{others}{line}" if line else others.rstrip(" ") for line in text.split("\n")]
    return (first + "\n".join(lines).removeprefix(others)) if text else first.rstrip()


def _table_markdown(table: Block) -> str:
    rows = [[line_markdown(cell.runs, "<br>").replace("|", "\\|") for cell in row.blocks] for row in table.blocks]
    rows.insert(1, [ALIGNMENTS[cell.attributes["align"]] for cell in table.blocks[0].blocks])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escape_start(line: str) -> str:
    """Return a line that begins a paragraph and nothing else."""
    found = _LINE_START.match(line)
    if found is None:
        return line
    at = found.end(1) if found[1] else 0
    return f"{line[:at]}\\{line[at:]}"


def line_markdown(runs: Sequence[Run], line_break: str, read: Callable[[str], tuple[Run, ...]] | None = None) -> str:
    """Return runs as Markdown: with its usual signs if these are read as meant, else with HTML tags."""
    if not runs:
        return ""
    read = read or (lambda text: tidy_runs(list(runs_of(parse_line(with_pictures(text)))), one_line=False))
    text = _write_runs(runs, line_break, _SIGNS, find_bare_links)
    return text if read(text) == runs else _write_runs(runs, line_break, {}, _find_perhaps_links)


def _write_runs(
    runs: Sequence[Run],
    line_break: str,
    signs: Mapping[str, tuple[str, str]],
    find_links: Callable[[str], list[tuple[int, int]]],
) -> str:
    out: list[str] = []
    open_marks: list[Mark] = []
    for at, run in enumerate((*runs, Run("end"))):
        bare = (
            bool(signs) and [kind for kind, _ in run.marks] == ["link"] and find_links(run.text) == [(0, len(run.text))]
        )
        marks: frozenset[Mark] = frozenset() if bare else run.marks
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


def _nesting(mark: Mark, runs: Sequence[Run]) -> tuple[bool, int, int]:
    """Return the order of a mark: links are outside, then what goes on for longer."""
    length = sum(1 for _ in takewhile(lambda run: mark in run.marks, runs))
    return mark[0] != "link", -length, MARKS.index(mark[0])


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
