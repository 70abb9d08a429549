"""Texts as trees and as Markdown."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from mailer.adapters.markdown import inline_html, to_html
from mailer.domain.document import parse
from mailer.domain.markdown import MAX_LENGTH, TooDeep, TooLong
from mailer.domain.text_tree import (
    MAX_NODES,
    InvalidTree,
    canonical,
    canonical_line,
    line_to_markdown,
    line_to_tree,
    plain_line,
    to_markdown,
    to_tree,
)
from mailer.settings import ROOT
from tests.adapters.test_markdown import ALLOWED, PIECES
from tests.support.work import count_calls

FORMS = [
    ("", {"type": "doc", "content": [{"type": "paragraph"}]}),
    (
        "One **two** *[three](https://example.org)*\\\nfour",
        {
            "type": "doc",
            "content": [
                {
                    "type": "paragraph",
                    "content": [
                        {"type": "text", "text": "One "},
                        {"type": "text", "text": "two", "marks": [{"type": "strong"}]},
                        {"type": "text", "text": " "},
                        {
                            "type": "text",
                            "text": "three",
                            "marks": [{"type": "link", "attrs": {"href": "https://example.org"}}, {"type": "em"}],
                        },
                        {"type": "hard_break"},
                        {"type": "text", "text": "four"},
                    ],
                }
            ],
        },
    ),
]


@pytest.mark.parametrize(("markdown", "tree"), FORMS, ids=range(len(FORMS)))
def test_markdown_is_a_tree(markdown: str, tree: object) -> None:
    assert to_tree(markdown) == tree
    assert to_tree(to_markdown(tree)) == tree


def test_markdown_has_one_form() -> None:
    source = "# Title\n\n* __a__\n* b www.example.org\n\n1) c\n\n|a|b|\n|-|:-:|\n|c|d"
    assert canonical(source) == (
        "#### Title\n\n- **a**\n- b www.example.org\n\n1. c\n\n| a | b |\n| --- | :-: |\n| c | d |"
    )


TEXT = st.text(
    st.sampled_from([*"ab1 *_~`[]()<>!#|\\&;:=-+.@\n\u00a0é。“"]), min_size=1, max_size=12
) | st.sampled_from(
    ["<sup>2</sup>", "1. ", "- ", "# a", "> a", "| a | b |", "|---|", "https://example.org/x_y", "www.example.org"]
    + ["ina@example.org", "&amp;", "<!-- a -->", "[x] a", "[a](https://a.org)", "![a](picture:" + "a" * 64 + ")", "***"]
)
MARKS = st.lists(st.sampled_from(["link", "em", "strong", "strike", "sup"]), max_size=3, unique=True).map(
    lambda names: [
        {"type": name, "attrs": {"href": "https://a.org/b_(c)?d=1&e;"}} if name == "link" else {"type": name}
        for name in names
    ]
)
RUNS = st.lists(
    st.builds(lambda text, marks: {"type": "text", "text": text, "marks": marks}, TEXT, MARKS)
    | st.just({"type": "hard_break"})
    | st.just({"type": "picture", "attrs": {"sha256": "b" * 64, "alt": "A [boat] *"}}),
    max_size=5,
)


def node(kind: str, content: object, **attributes: object) -> dict[str, object]:
    return {"type": kind, "content": content} | ({"attrs": attributes} if attributes else {})


def _lists(blocks: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[dict[str, object]]:
    items = st.lists(
        st.lists(blocks, min_size=1, max_size=3).map(lambda content: node("list_item", content)), max_size=3
    )
    return (
        st.builds(lambda content, tight: node("bullet_list", content, tight=tight), items, st.booleans())
        | st.builds(lambda content, at: node("ordered_list", content, tight=True, start=at), items, st.integers(0, 12))
        | st.lists(blocks, max_size=3).map(lambda content: node("blockquote", content))
    )


ROWS = st.lists(st.lists(RUNS, max_size=3), max_size=3).map(
    lambda rows: node(
        "table",
        [
            node("table_row", [node("table_cell" if at else "table_header", cell, align="center") for cell in row])
            for at, row in enumerate(rows)
        ],
    )
)
CODE = st.text("a `<>\n&", max_size=12).map(lambda text: node("code_block", [{"type": "text", "text": text}]))
BLOCKS = st.recursive(
    RUNS.map(lambda runs: node("paragraph", runs)) | RUNS.map(lambda runs: node("heading", runs)) | ROWS | CODE,
    _lists,
    max_leaves=8,
)
TREES = st.lists(BLOCKS, max_size=4).map(lambda blocks: node("doc", blocks))
PRESSED = re.compile(r"\s+")


def words_of(tree: Any) -> str:
    """Return all that is written in a tree, without white space."""
    if tree["type"] == "picture":
        return PRESSED.sub("", tree["attrs"]["alt"])
    return PRESSED.sub("", tree.get("text", "")) + "".join(map(words_of, tree.get("content", [])))


@given(TREES)
def test_what_is_typed_is_what_is_read(tree: Any) -> None:
    """Whatever it looks like in Markdown: no character is lost, added or taken as markup, and no mark."""
    try:
        markdown = to_markdown(tree)
    except TooLong:
        reject()
    again = to_tree(markdown)
    assert words_of(again) == words_of(tree)
    assert to_markdown(again) == markdown
    tags = set(re.findall(r"<(\w+)", to_html(markdown)))
    assert tags <= ALLOWED


class _Page(HTMLParser):
    """What HTML shows: tags of blocks, and characters with their formatting, without white space."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shown: list[object] = []
        self._open: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("a", "em", "strong", "s", "sup", "sub"):
            self._open.append((tag, dict(attrs).get("href")))
        elif tag != "br":
            self.shown.append((tag, *attrs))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("a", "em", "strong", "s", "sup", "sub"):
            self._open.pop()
        elif self.shown[-1:] == [(tag,)]:
            self.shown.pop()  # nothing is in it
        else:
            self.shown.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        # Of nested superscript and subscript, and of nested links, the inner one counts.
        kinds = {"sup" if tag == "sub" else tag: (tag, href) for tag, href in self._open}
        self.shown += [(letter, frozenset(kinds.values())) for letter in data if not letter.isspace()]


MARKDOWN = st.lists(
    PIECES.filter(lambda piece: "640x480" not in piece and "<a" not in piece and "<img" not in piece)
    | st.sampled_from(["\\\n", "a", "1. ", "3) ", "+ ", "  - ", "---\n", "***\n", "===\n", "<br>", "`x`", "_", "\t"]),
    max_size=12,
).map("".join)


@given(MARKDOWN)
def test_markdown_reads_the_same_as_its_one_form(source: str) -> None:
    html = to_html(source)
    once = to_markdown(to_tree(source))
    if not re.search(r"<(\w+)[^<>]*>\s*</\1>", html):  # what is empty is left out
        assert _Page(to_html(once)).shown == _Page(html).shown
    assert to_markdown(to_tree(once)) == once


@given(MARKDOWN)
def test_a_line_reads_the_same_as_its_one_form(source: str) -> None:
    line = " ".join(source.split())
    once = line_to_markdown(line_to_tree(line))
    assert _Page(inline_html(once)).shown == _Page(inline_html(line)).shown
    assert line_to_markdown(line_to_tree(once)) == once


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "sample").glob("2026-*.md")), ids=lambda path: path.stem)
def test_the_samples_read_the_same_as_their_one_form(path: Path) -> None:
    document = parse(path.read_text("utf-8"), path.stem.split(".")[1])
    stories = [story for section in document.sections for story in section.stories]
    texts = [document.intro, *(story.body for story in stories), *(note.text for s in stories for note in s.contacts)]
    for text in texts:
        once = to_markdown(to_tree(text))
        assert _Page(to_html(once)).shown == _Page(to_html(text)).shown
    for story in stories:
        assert canonical_line(story.headline) == story.headline


def deep(levels: int) -> object:
    tree: dict[str, object] = node("paragraph", [{"type": "text", "text": "a"}])
    for _ in range(levels):
        tree = node("blockquote", [tree])
    return node("doc", [tree])


TEXT_NODE = {"type": "text", "text": "a"}
HOSTILE: list[object] = [
    None,
    [],
    "doc",
    {},
    {"type": "paragraph"},
    {"type": ["doc"]},
    node("doc", "text"),
    node("doc", [TEXT_NODE]),
    node("doc", [node("paragraph", [node("paragraph", [])])]),
    node("doc", [node("paragraph", [{"type": "text"}])]),
    node("doc", [node("paragraph", [{"type": "text", "text": 1}])]),
    node("doc", [node("paragraph", [{"type": "text", "text": "\ud800"}])]),
    node("doc", [node("paragraph", [TEXT_NODE], onclick="x")]),
    node("doc", [{"type": "paragraph", "html": "<b>"}]),
    node("doc", [node("list_item", [])]),
    node("doc", [node("ordered_list", [], start=True)]),
    node("doc", [node("ordered_list", [], start=-1)]),
    node("doc", [node("bullet_list", [], tight="yes")]),
    node("doc", [node("table", [node("table_row", [node("table_cell", [], align="x")])])]),
    node("doc", [node("table", [node("table_row", [node("table_cell", [], colspan=2)])])]),
    node("doc", [node("code_block", [{**TEXT_NODE, "text": "<!-- a"}])]),
    node("doc", [node("code_block", [{**TEXT_NODE, "marks": [{"type": "em"}]}])]),
    node("doc", [node("paragraph", [{**TEXT_NODE, "marks": [{"type": "sup"}, {"type": "sub"}]}])]),
    node("doc", [node("paragraph", [{**TEXT_NODE, "marks": [{"type": "em"}] * 9}])]),
    node("doc", [node("paragraph", [{"type": "picture", "attrs": {"sha256": "../etc", "alt": ""}}])]),
    *(
        node("doc", [node("paragraph", [{**TEXT_NODE, "marks": [{"type": "link", "attrs": {"href": href}}]}])])
        for href in ("javascript:alert(1)", "data:text/html,x", "/inner", "https://user@example.org", "", None)
    ),
]


@pytest.mark.parametrize("tree", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_trees_are_refused_with_words(tree: object) -> None:
    with pytest.raises(InvalidTree, match=r"\w{3}"):
        to_markdown(tree)


def test_trees_are_bounded() -> None:
    with pytest.raises(TooDeep):
        to_markdown(deep(30))
    with pytest.raises(TooDeep):
        to_markdown(deep(3000 // 4))
    with pytest.raises(TooLong):
        to_markdown(node("doc", [node("paragraph", [{"type": "text", "text": "a" * (MAX_LENGTH + 1)}])]))
    with pytest.raises(TooLong):
        to_markdown(node("doc", [node("paragraph", [])] * (MAX_NODES + 1)))


def table(width: int, rows: int) -> dict[str, object]:
    """A table of empty cells with only its header in full."""
    header = node("table_row", [node("table_header", [])] * width)
    return node("table", [header, *[node("table_row", [])] * (rows - 1)])


@pytest.mark.parametrize("tables", [[table(1200, 3700)], [table(70, 60)] * 30], ids=["one", "many"])
def test_cells_that_are_added_to_tables_are_bounded(tables: list[object]) -> None:
    def run() -> None:
        with pytest.raises(TooLong):
            to_markdown(node("doc", tables))

    assert "_tidy_table" not in count_calls(run)


def test_empty_cells_are_not_parsed() -> None:
    assert "parse_line" not in count_calls(lambda: to_markdown(node("doc", [table(10, 10)])))


def test_a_line_has_no_links_and_no_other_blocks() -> None:
    for tree in (to_tree("[a](https://a.org)"), to_tree("- a"), to_tree("a\n\nb")):
        with pytest.raises(InvalidTree):
            line_to_markdown(tree)


def test_texts_with_problems_stay_as_they_are_written() -> None:
    for source in ("[a](htp://b)", "a" * (MAX_LENGTH + 1), ">" * 30 + " a"):
        assert canonical(source) == source


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        (r"Salt \& *stars*", "Salt & stars"),
        (r"A \*star\* and \<b>salt\</b>", "A *star* and <b>salt</b>"),
        ("CO<sub>2</sub>", "CO2"),
        ("", ""),
        ("*" * 30_000, "*" * 30_000),
    ],
)
def test_a_line_is_listed_without_its_formatting(markdown: str, plain: str) -> None:
    assert plain_line(markdown) == plain
