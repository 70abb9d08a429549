"""Texts as trees and as Markdown."""

import pytest

from mailer.domain.text_tree import InvalidTree, canonical, to_markdown, to_tree

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


def test_what_is_no_tree_is_refused() -> None:
    with pytest.raises(InvalidTree):
        to_markdown({"type": "doc", "content": [{"type": "script"}]})
