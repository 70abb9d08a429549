"""Comments and code blocks in the source of a document."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.document import DocumentError, ParseWarning
from mailer.domain.document.source import Line, mark_code, without_comments


def read(source: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    warnings: list[ParseWarning] = []
    lines = without_comments(source.split("\n"), 1, warnings)
    return [(line.number, line.text) for line in lines], [(warning.line, warning.message) for warning in warnings]


@pytest.mark.parametrize(
    ("source", "lines", "listed"),
    [
        ("a <!-- note --> b", [(1, "a b")], [(1, "note")]),
        ("<!-- note -->", [(1, "")], [(1, "note")]),
        ("<!-- one --><!-- two -->a", [(1, "a")], [(1, "one"), (1, "two")]),
        ("<!-- one\n\ntwo -->\na", [(1, ""), (2, ""), (3, ""), (4, "a")], [(1, "one  two")]),
        ("a <!-- one\n\ntwo --> b\nc", [(1, "a b"), (4, "c")], [(1, "one")]),
        ("a <!-- x\ny --> b <!-- z\n--> c\nd", [(1, "a b c"), (4, "d")], [(1, "x"), (1, "z")]),
        ("a\n<!-- note -->\nb", [(1, "a"), (2, ""), (3, "b")], [(2, "note")]),
        ("<!-- --> a <!--> b <!---> c", [(1, " a  b  c")], []),
        ("a <!— note —> b <!–note–>", [(1, "a b ")], [(1, "note"), (1, "note")]),
        (
            "`<!-- note -->`\n```\n<!-- note -->\n```",
            [(1, "``"), (2, "```"), (3, ""), (4, "```")],
            [(1, "note"), (3, "note")],
        ),
        (r"a \<!-- b --> <!- c -> --> d", [(1, r"a \<!-- b --> <!- c -> --> d")], []),
    ],
)
def test_comments_are_left_out_and_listed(
    source: str, lines: list[tuple[int, str]], listed: list[tuple[int, str]]
) -> None:
    found, warnings = read(source)
    assert found == lines
    assert [line for line, _ in warnings] == [line for line, _ in listed]
    assert all(words.split()[0] in why for (_, why), (_, words) in zip(warnings, listed, strict=True))


@pytest.mark.parametrize("source", ["a\nb <!-- c\n\nd", "a\nb <!-- c -- > d", "a\n<!— c"])
def test_a_comment_without_an_end_is_refused(source: str) -> None:
    with pytest.raises(DocumentError, match="in line 2 has no “-->”"):
        read(source)


@given(st.lists(st.sampled_from(["<!--", "-->", "secret", "\n", "\n\n", " ", "-", ">", "`"]), max_size=30).map("".join))
def test_no_word_of_a_comment_stays_and_none_outside_is_lost(source: str) -> None:
    try:
        lines, _ = read(source)
    except DocumentError:
        return
    outside, rest = "", source
    while "<!--" in rest:
        before, _, rest = rest.partition("<!--")
        outside += before
        rest = rest.partition(">" if rest.startswith((">", "->")) else "-->")[2]
    text = "\n".join(text for _, text in lines)
    assert "".join(text.split()) == "".join((outside + rest).split())
    numbers = [number for number, _ in lines]
    assert numbers == sorted(set(numbers)) and set(numbers) <= set(range(1, source.count("\n") + 2))


def code(*lines: str) -> tuple[list[bool], list[str], list[int]]:
    warnings: list[ParseWarning] = []
    marked = mark_code([Line(number, text) for number, text in enumerate(lines, start=1)], warnings)
    return [line.is_code for line in marked], [line.text for line in marked], [warning.line for warning in warnings]


def test_code_blocks_are_marked() -> None:
    lines = ("a", "```python", "x", "~~~", "", "```", "b", "~~~~", "```", "~~~~~")
    assert code(*lines) == ([False, *[True] * 5, False, *[True] * 3], list(lines), [])


def test_a_code_block_without_an_end_is_text() -> None:
    assert code("a", "```", "b", "~~~", "c", "~~~") == (
        [False] * 3 + [True] * 3,
        ["a", "", "b", "~~~", "c", "~~~"],
        [2],
    )
    assert code("```` x", "```") == ([False, False], ["", ""], [1, 2])


def test_many_fences_take_linear_time() -> None:
    flags, _, warnings = code(*["```x"] * 20_000)
    assert not any(flags)
    assert len(warnings) == 20_000
