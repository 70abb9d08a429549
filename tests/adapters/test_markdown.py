"""Authored Markdown: what becomes of it in HTML and in plain text."""

import contextlib
import re
import textwrap
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailer.adapters.markdown import inline_html, inline_text, list_item, to_html, to_text, wrap
from mailer.domain.markdown import MAX_BRACKETS, MAX_LENGTH, TooDeep, TooLong, is_allowed_link
from tests.support.work import count_calls

ALLOWED = {"p", "a", "em", "strong", "s", "sup", "sub", "ul", "ol", "li", "blockquote", "br", "h4", "pre", "img"} | {
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
ATTRIBUTES = {("a", "href"), ("ol", "start"), ("th", "align"), ("td", "align")} | {
    ("img", name) for name in ("src", "alt", "width", "height")
}
# Markdown by its own signs, tags and links, far denser than anybody writes.
PIECES = st.sampled_from(
    [
        *(
            "*",
            "**",
            "_",
            "[",
            "](",
            ")",
            "<",
            ">",
            "> ",
            "- ",
            "1. ",
            "# ",
            "\n",
            "\n\n",
            "    ",
            "`",
            "\\",
            "&",
            '"',
        ),
        *(
            "~~",
            "| a | b |\n|---|:-:|\n",
            "|",
            "\n```\n",
            "- [x] ",
            "<b>",
            "</b>",
            "<i>",
            "<BR/>",
            '<a href="https://a.example/?x=1&y=2">',
            "<a href=javascript:x>",
            "</a>",
            '<img src="https://a.example/p.png" alt="A>b" onerror=x>',
            "<!-- hidden -->",
            "www.example.org/a",
            "<sup>",
            "</sup>",
            "<sub>",
            "<script>",
            "<p onclick=x>",
            "<!--",
            "<a href=",
            "<https://a.example/x>",
        ),
        *(
            "https://example.org/a?b=1&c=2",
            "mailto:ina@example.org",
            "javascript:alert(1)",
            "word",
            "слово",
            "كلمة",
        ),
        *(
            "[words](https://example.org/ж)",
            "![x](https://example.org/p.png)",
            '![x](https://example.org/p.png "640x480")',
            "[]()",
            "[x](htp://y)",
            "[^1]",
            "[a]: https://example.org 'title'",
        ),
    ]
)
MARKDOWN = st.lists(PIECES, max_size=25).map("".join)


class Fragment(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words += data


@example("\\<!-- hidden -->")
@example("\n```\n<!-- hidden -->")
@example("`<!-- hidden -->`")
@given(MARKDOWN)
def test_output_has_only_allowed_tags_and_safe_links(source: str) -> None:
    fragment = Fragment(to_html(source))
    assert set(fragment.tags) <= ALLOWED
    for tag, name, value in fragment.attributes:
        assert (tag, name) in ATTRIBUTES
        assert name not in ("href", "src") or is_allowed_link(value or "")
    escaped = re.search(r"(?<!\\)(\\\\)*\\<!--", source)  # the author wants to see what looks like a comment
    assert escaped or "hidden" not in fragment.words


@given(MARKDOWN)
def test_text_has_every_link_of_the_html(source: str) -> None:
    text = to_text(source)
    for _, name, url in Fragment(to_html(source)).attributes:
        assert name != "href" or (url or "").removeprefix("mailto:") in text


def test_markdown_as_html() -> None:
    assert to_html("The 9<sup>th</sup> *meeting* of **all**") == (
        "<p>The 9<sup>th</sup> <em>meeting</em> of <strong>all</strong></p>\n"
    )
    assert to_html("# Title\n\n- one\n- two") == "<h4>Title</h4>\n<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n"
    assert to_html("[a](https://example.org/?x=1&y=2)") == ('<p><a href="https://example.org/?x=1&amp;y=2">a</a></p>\n')
    assert to_html("one\\\ntwo") == "<p>one<br>\ntwo</p>\n"
    assert to_html("`ina@example.org`") == "<p>ina@example.org</p>\n"


def test_unknown_html_and_unsafe_links_become_text() -> None:
    assert to_html("<script>x</script>") == "<p>&lt;script&gt;x&lt;/script&gt;</p>\n"
    assert "href" not in to_html("[x](javascript:alert) [y](/inner) [z](data:text/html,x)")


TABLE = "| month | fires |\n|---|--:|\n| July | *4* |\n| August | [2](https://example.org/2) |"


def test_a_table() -> None:
    assert to_html(TABLE).replace("\n", "") == (
        '<table><thead><tr><th>month</th><th align="right">fires</th></tr></thead><tbody>'
        '<tr><td>July</td><td align="right"><em>4</em></td></tr>'
        '<tr><td>August</td><td align="right"><a href="https://example.org/2">2</a></td></tr></tbody></table>'
    )
    assert to_text(TABLE) == (
        "month   fires\n------  -------------------------\nJuly    4\nAugust  2 <https://example.org/2>"
    )
    assert inline_text(f"Before.\n\n{TABLE}") == "Before. month fires July 4 August 2"


def test_a_table_too_wide_for_columns_has_a_line_for_each_cell() -> None:
    words = "many words " * 8
    text = to_text(f"| who | what |\n|---|---|\n| Ana | {words} |\n| Ben | {words} |\n| Cid | |")
    assert text == "\n\n".join(
        [*(f"who: {name}\n{wrap(f'what: {words.strip()}')}" for name in ("Ana", "Ben")), "who: Cid"]
    )
    assert all(len(line) <= 72 for line in text.split("\n"))


def test_a_table_without_a_header() -> None:
    source = "| | |\n|---|---|\n| a | b |"
    assert "<th" not in to_html(source) and "<td>a</td>" in to_html(source)
    assert to_text(source) == "a  b"


@pytest.mark.parametrize(
    ("source", "html", "text"),
    [
        ("~~1 May~~ 8 May", "<s>1 May</s> 8 May", "~1 May~ 8 May"),
        ("<b>one <i>two</b> three</i>", "<strong>one <em>two</em></strong> three", "one two three"),
        ("**a <B>b** c</B>", "<strong>a <strong>b</strong></strong> c", "a b c"),
        ("<del>a</del> <u>b</u> <span style='x'>c</span>", "<s>a</s> b c", "~a~ b c"),
        ("a<br>b<br/>\nc<BR />", "a<br>b<br>c", "a\nb\nc"),
        ("<p>a</p><p>b</p>", "a<br>b", "a\nb"),
        ("a<!-- b --> c", "a c", "a c"),
        (
            '<a href="https://example.org/?a=1&amp;b=2" onclick="x">a</a> <a name="b">b</a>',
            '<a href="https://example.org/?a=1&amp;b=2">a</a> b',
            "a <https://example.org/?a=1&b=2> b",
        ),
        ("<a href='javascript:x'>a</a>", "a", "a"),
        (
            "see https://example.org/a_b(c), (www.example.org/d).",
            'see <a href="https://example.org/a_b(c)">https://example.org/a_b(c)</a>, '
            '(<a href="https://www.example.org/d">www.example.org/d</a>).',
            "see https://example.org/a_b(c), (https://www.example.org/d).",
        ),
        (
            "[a](www.example.org) [b](ina@example.org)",
            '<a href="https://www.example.org">a</a> <a href="mailto:ina@example.org">b</a>',
            "a <https://www.example.org> b <ina@example.org>",
        ),
        ("end.To example.org readme.md ftp://example.org", "end.To example.org readme.md ftp://example.org", None),
        ("[words]() here", "words here", "words here"),
        ("CO<sub>2</sub>, m<sup>2</sup>, 9<sup>th</sup>", None, "CO₂, m², 9th"),
        (
            '![A "boat"](https://example.org/b.jpg "640x480")',
            '<img src="https://example.org/b.jpg" alt="A &quot;boat&quot;" width="640" height="480">',
            '[A "boat"]',
        ),
        ("![A net](https://example.org/n.jpg)", "A net", "[A net]"),
        ('<img src="b.jpg" alt="A > B">', "A &gt; B", "[A > B]"),
    ],
)
def test_what_becomes_what_it_means(source: str, html: str | None, text: str | None) -> None:
    if html is not None:
        assert to_html(source).replace("\n", "") == f"<p>{html}</p>"
    assert text is None or " ".join(to_text(source).split(" ")) == text


def test_code_and_tasks() -> None:
    source = "- [ ] a\n- [X] b\n\n```python\nx <b>\n\n# y\n```"
    assert to_html(source) == "<ul>\n<li>☐ a</li>\n<li>☑ b</li>\n</ul>\n<pre>x &lt;b&gt;\n\n# y\n</pre>\n"
    assert to_text(source) == "- ☐ a\n- ☑ b\n\n    x <b>\n\n    # y"


def test_an_open_tag_is_closed_within_its_text() -> None:
    assert to_html("m<sup>2 and on") == "<p>m<sup>2 and on</sup></p>\n"


def test_markdown_as_text() -> None:
    source = (
        "Some *first* words, the 9<sup>th</sup>, at [our page](https://example.org/page).\n\n"
        "- one\n- two with [Ina](mailto:ina@example.org)\n\n"
        "> quoted\n>\n> twice\n\n"
        "3. three\n4. four\n\n<https://example.org/>"
    )
    assert to_text(source) == (
        "Some first words, the 9th, at our page <https://example.org/page>.\n\n"
        "- one\n- two with Ina <ina@example.org>\n\n"
        "> quoted\n>\n> twice\n\n"
        "3. three\n4. four\n\nhttps://example.org/"
    )


def test_text_is_wrapped_but_links_stay_whole() -> None:
    url = "https://example.org/" + "long-" * 20
    text = to_text(f"{'word ' * 40}[here]({url}) {'word ' * 40}")
    assert f"<{url}>" in text
    assert all(len(line) <= 72 for line in text.split("\n") if url not in line)
    assert list_item("word " * 20) == "- " + ("word " * 14).strip() + "\n  " + ("word " * 6).strip()


@given(
    line=st.lists(st.text(alphabet="ab-.\u0436", max_size=30)).map(" ".join) | st.text(max_size=60),
    width=st.integers(3, 40),
)
def test_lines_are_wrapped_as_the_standard_library_does(line: str, width: int) -> None:
    expected = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
    assert wrap(line, width) == expected


def test_no_break_space_is_kept() -> None:
    assert to_text("5\u00a0%") == "5\u00a0%"
    assert re.search("5(\u00a0|&nbsp;)%", to_html("5\u00a0%"))


def test_long_and_deep_texts_are_refused() -> None:
    for render in (to_html, to_text):
        with pytest.raises(TooLong):
            render("x" * (MAX_LENGTH + 1))
        with pytest.raises(TooDeep):
            render("> " * 60 + "x")
        for deep in ("<sup>" * 50, "<sup>" * 3000, "*" * 3000 + "x" + "*" * 3000):
            with pytest.raises(TooDeep):
                render(deep)
    assert "x" in to_html("> " * 10 + "x")


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://example.org", True),
        ("http://localhost:8000/p?x=1#y", True),
        ("mailto:ina@example.org", True),
        ("https://пример.example/ж", True),
        ("HTTPS://EXAMPLE.ORG/", True),
        ("https://", False),
        ("https://user@example.org/", False),
        ("javascript:alert(1)", False),
        ("//example.org", False),
        ("https://example.org/a b", False),
        ("ftp://example.org", False),
    ],
)
def test_what_is_a_link(url: str, fine: bool) -> None:
    assert is_allowed_link(url) is fine


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("(For info: Odo, odo.placeholder@example.org)", ["odo.placeholder@example.org"]),
        (
            "Write to ina@example.org. Or to x+y-z@sub.example.org, today",
            ["ina@example.org", "x+y-z@sub.example.org"],
        ),
        (r"As converters write it: ina\_sample@example.org", ["ina_sample@example.org"]),
        ("*ina@example.org* and <odo@example.org>", ["ina@example.org", "odo@example.org"]),
        ("`ina@example.org`, ina@localhost, https://user@example.org/ and //example.org/@ina", []),
        ("[by ina@example.org](https://example.org/)", []),
    ],
)
def test_plain_email_address_becomes_a_link(source: str, found: list[str]) -> None:
    assert re.findall(r'<a href="mailto:([^"]+)">\1</a>', to_html(source)) == found
    assert to_html(source).count("mailto:") == len(found)
    for address in found:
        assert re.findall(rf"[\w.+-]*{re.escape(address)}", to_text(source)) == [address], "and is printed once"
    assert "<a" not in inline_html(source)


@pytest.mark.parametrize(
    "pattern",
    ["[", "![", "[\n", "[x]\n", "**x [", "![[]()", "<![CDATA[", "[a](b", "[[x]", "*a **a ", "a@", "mailto:a@"]
    + [
        "https://a.b ",
        "https://",
        "www.",
        "www.a",
        "<b>",
        "<a href=x>",
        "</b>",
        "|-",
        "|a|\n|-|\n",
        "~~",
        "~~a ",
        "```\n",
    ]
    + ["- [x] ", "<img src=x>", "<!--", "<!-- -->", "![a](b) "],
)
@pytest.mark.parametrize("render", [to_html, to_text, inline_html, inline_text])
def test_the_work_for_any_text_is_bounded(render: Callable[[str], str], pattern: str) -> None:
    def run() -> None:
        with contextlib.suppress(TooLong, TooDeep):
            render((pattern * MAX_LENGTH)[:MAX_LENGTH])

    render.cache_clear()  # type: ignore[attr-defined]
    assert count_calls(run).total() < 100 * MAX_LENGTH


def test_many_brackets_are_refused() -> None:
    assert to_text("[1] " * MAX_BRACKETS)
    for render in (to_html, to_text, inline_html, inline_text):
        with pytest.raises(TooLong):
            render("[" * (MAX_BRACKETS + 1))
