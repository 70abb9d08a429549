"""What in authors' Markdown cannot be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.markdown import (
    MAX_LENGTH,
    TooLong,
    complete_link,
    find_bare_links,
    find_problems,
    is_allowed_link,
    parse,
)
from tests.support.work import count_calls

BROKEN = [
    ("A [bad one](htp://foo).", "“bad one” leads to “htp://foo”"),
    ("[no scheme](example.org/x)", "“no scheme” leads to “example.org/x”"),
    ("[relative](../a.html)", "leads to “../a.html”"),
    ("[there](#there)", "leads to “#there”"),
    ("[js](javascript:alert(1))", "leads to “javascript:alert(1)”"),
    ("[data](data:text/html,x)", "leads to"),
    ("<htp://foo>", "leads to “htp://foo”"),
    ("[user](https://user@example.org/)", "leads to"),
    ('<a href="/inner">inner</a>', "“inner” leads to “/inner”"),
    ("[empty]()", "“empty” has no target"),
    ("[empty](<>)", "“empty” has no target"),
    ("[spaces](https://example.org/a b)", "“spaces” has a target that cannot be read: “https://example.org/a b”"),
    ("[**bold**](https://example.org/a b)", "has a target that cannot be read"),
    ("[open](https://example.org/", "cannot be read"),
    ("a [reference][r]", "“reference” has no target: “[r]: https://…” is missing"),
    ("a [Reference][]", "“[Reference]: https://…” is missing"),
    ("> - *a [b](c)*", "“b” leads to “c”"),
    ("| a |\n|---|\n| [b](c) |", "“b” leads to “c”"),
]
NOTED = [
    ("A footnote[^1].", "“1” has no text"),
    ("![A boat](boat.jpg)", "“A boat” is not one of the issue's"),
    ("![A boat](my boat.jpg)", "“A boat” has a target that cannot be read"),
    ("![A boat](https://example.org/boat.jpg)", "“A boat” is not one of the issue's"),
    ("<blink>x", "“<blink>” is not formatting"),
    ("[](https://example.org/)", "has no words"),
]
FINE = [
    "[a](https://example.org/a_(b)) [b](http://example.org) [c](mailto:ina@example.org) <https://example.org>",
    "[a](www.example.org) [b](ina@example.org) [c](https://example.org/a%20b 'title') https://example.org",
    "[note\\] \\[x\\](y z) [1] [1][2] a[0] \\[x](y z) \\[^1] [x\\](y) (a) [x] (y)",
    "<b>a</b> <!-- b --> a < b > c 1<2 <u>d</u> ~~e~~ - [ ] f",
    "`[a](b)` `[^1]`\n\n```\n[a](b) <blink>\n```",
    '![A boat](https://example.org/b.jpg "640x480")',
    "[r]: https://example.org\n\n[a][r] and [r]",
]


@pytest.mark.parametrize(
    ("source", "said", "blocks"), [(*case, True) for case in BROKEN] + [(*case, False) for case in NOTED]
)
def test_what_cannot_be_shown_is_found_with_its_line(source: str, said: str, blocks: bool) -> None:
    (problem,) = find_problems(source)
    assert (problem.blocks, said in problem.message) == (blocks, True), problem
    last = source.count("\n") + 1
    assert problem.line == last
    prose = not source.startswith(("|", ">"))
    before = "One\nand <br>\ntwo\\\nthree <br> <b>\n" if prose else "One\n\n\n"
    (problem,) = find_problems(before + source)
    assert problem.line == before.count("\n") + last


@pytest.mark.parametrize("source", FINE, ids=range(len(FINE)))
def test_nothing_is_found_in_what_is_shown(source: str) -> None:
    assert find_problems(source) == []


@given(st.lists(st.sampled_from([source for source, _ in BROKEN[:-1] + NOTED if "open" not in source]), max_size=8))
def test_each_problem_is_found_among_others(sources: list[str]) -> None:
    lines = [problem.line for problem in find_problems("\n\n".join(sources))]
    assert lines == [1 + 2 * at for at in range(len(sources))]


@given(st.text("[]()!^<>/ab:\\`\"'\n#", max_size=60))
def test_any_text_has_its_problems_within_it(source: str) -> None:
    for problem in find_problems(source):
        assert 1 <= problem.line <= source.count("\n") + 1
        assert "\n" not in problem.message


@pytest.mark.parametrize("pattern", ["[", "![", "[a](b", "[a](b) ", "[^1]", "[a][b]", "<b>", "<x>", "<a href=x>", "]("])
def test_the_work_for_any_text_is_bounded(pattern: str) -> None:
    assert count_calls(lambda: find_problems((pattern * MAX_LENGTH)[:MAX_LENGTH])).total() < 100 * MAX_LENGTH


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n", "\n> "])
def test_tables_that_the_parser_would_fill_up_are_refused(line_end: str) -> None:
    lines = ["> " * (line_end == "\n> ") + "a|" * 200, "-|" * 200, *"|" * 30]
    with pytest.raises(TooLong, match="too many cells"):
        parse(line_end.join(lines))
    long = [" | ".join("abcd"), "-|-|-|-", *["a | b | c | d"] * 500]
    assert [token.type for token in parse("\n".join(long))].count("td_open") == 2000
    rules = "\n".join(["- - - - - - - -", "a | b"] * 400)
    assert "table_open" not in {token.type for token in parse(rules)}


def test_hosts_of_bare_links_are_bounded_and_paths_are_long() -> None:
    assert find_bare_links(f"www.{'a.' * 126}org") == [(0, 259)]
    assert find_bare_links(f"www.{'a.' * 128}org") == []
    long = f"www.example.org/{'a' * 900}"
    assert find_bare_links(f"{long}, b") == [(0, len(long))]


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("www.example.org/a", "https://www.example.org/a"),
        ("WWW.example.org", "https://WWW.example.org"),
        ("ina@example.org", "mailto:ina@example.org"),
        ("https://example.org/@ina", "https://example.org/@ina"),
        ("example.org", "example.org"),
        ("a@b", "a@b"),
    ],
)
def test_schemes_that_are_obvious_are_added(written: str, url: str) -> None:
    assert complete_link(written) == url
    assert is_allowed_link(url) or url == written
