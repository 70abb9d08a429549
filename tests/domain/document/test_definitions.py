"""Links by reference and footnotes."""

import pytest

from mailer.domain.document import ParsedStory, parse

START = "## P\n\n### S\n\n**7 May 2026, X:** "


def read(source: str) -> tuple[str, list[tuple[int, str]]]:
    """The text of the story that the source is, and the warnings, with lines counted from its first."""
    document = parse(START + source)
    (story,) = document.sections[0].stories
    return story.body, [(warning.line - 4, warning.message) for warning in document.warnings]


@pytest.mark.parametrize(
    ("written", "inline"),
    [
        ("A [page][r].", "A [page](https://example.org/a)."),
        ("A [Page][R].", "A [Page](https://example.org/a)."),
        ("A [r][].", "A [r](https://example.org/a)."),
        ("A [r] and [*other* page][ r ].", "A [r](https://example.org/a) and [*other* page](https://example.org/a)."),
        ("A [two\nlines][r].", "A [two\nlines](https://example.org/a)."),
        ("A ![boat][b].", "A ![boat](<my boat.jpg>)."),
        ("- [a][r]\n- [b][r]", "- [a](https://example.org/a)\n- [b](https://example.org/a)"),
        ("`[r]` ``[r] ` [r]`` [r]", "`[r]` ``[r] ` [r]`` [r](https://example.org/a)"),
        (
            r"A \[r\] and [r](https://example.org/x) and [r][r]",
            r"A \[r\] and [r](https://example.org/x) and [r](https://example.org/a)",
        ),
    ],
)
def test_links_by_reference_are_written_inline(written: str, inline: str) -> None:
    definitions = "[r]: https://example.org/a \"A title\"\n[b]: <my boat.jpg>\n  'A boat'"
    used = definitions if "[b]" in written else definitions.partition("\n")[0]
    if "[r]" not in written.lower().replace(" ", "") and "[b]" in written:
        used = definitions.partition("\n")[2]
    assert read(f"{written}\n\n{used}") == (inline, [])
    assert read(f"{written}\n{used}")[0] == inline, "also without a blank line"


def test_definitions_apply_to_the_whole_document() -> None:
    document = parse(
        "[r]: <https://example.org/a>\n\nIntro [r].\n\n## P\n\n### [S][r]\n\n**7 May 2026, X:** a.\n\n"
        "*(For info: [Ana][m])*\n\n"
        "[Read on][r]\n\n## Q\n\n### T\n\n**7 May 2026, X:** b [r].\n\n[m]: mailto:ana@example.org\n"
    )
    (first,), (second,) = (section.stories for section in document.sections)
    assert document.intro == "Intro [r](https://example.org/a)."
    assert first.headline == "[S](https://example.org/a)"
    assert first.contacts[0].text == "(For info: [Ana](mailto:ana@example.org))"
    assert first.link is not None and (first.link.url, first.link.label) == ("https://example.org/a", "Read on")
    assert (second.body, document.warnings) == ("b [r](https://example.org/a).", ())


@pytest.mark.parametrize(
    ("source", "body", "listed"),
    [
        ("a.\n\n[//]: # (call Ana first)", "a.", [(3, "A comment was left out: “call Ana first”")]),
        ("a.\n\n[comment]: <> (call Ana first)", "a.", [(3, "call Ana first")]),
        ("a.\n\n[r]: https://example.org/b", "a.", [(3, "The address “https://example.org/b” of “r” is not used")]),
        ("a.\n\n[Ana]: hello", "a.\n\n[Ana]: hello", []),
        ("a.\n\n[Ana]: hello to you all", "a.\n\n[Ana]: hello to you all", []),
        (
            "[a][r].\n\n[r]: https://example.org/b\n[R]: https://example.org/c",
            "[a](https://example.org/b).",
            [(4, "example.org/c")],
        ),
        ("[a][r].\n\n[r]: example.org/b", "[a](example.org/b).", [(1, "no complete web or email address")]),
        ("[a][q].", "[a][q].", [(1, "“[q]: https://…” is missing")]),
        ("a.\n\n[^1]: Not in winter.", "a.", [(3, "“1” is not referred to and was left out: “Not in winter.”")]),
        ("a[^1].", "a[^1].", [(1, "The footnote “1” has no text")]),
        ("a[^1].\n\n[^1]: b.\n\n[^1]: c.", "a<sup>1</sup>.\n\n<sup>1</sup> b.", [(5, "left out: “c.”")]),
    ],
)
def test_definitions_that_fit_nothing_are_listed(source: str, body: str, listed: list[tuple[int, str]]) -> None:
    found, warnings = read(source)
    assert found == body
    assert [(line, said in why) for (line, why), (_, said) in zip(warnings, listed, strict=True)] == [
        (line, True) for line, _ in listed
    ]


def test_footnotes_are_numbered_in_each_story_and_printed_at_its_end() -> None:
    document = parse(
        "Hello[^w].\n\n## P\n\n### S[^long]\n\n**7 May 2026, X:** One[^a].[^b] Two[^a]. Three^[See [this][r].].\n\n"
        "[^b]: The *b*.\n\n"
        "### T\n\n**7 May 2026, X:** Four[^b].\n\nFive. *(For info: Ana)*\n\n[More](https://example.org/)\n\n"
        "[^a]: The a\nand more.\n\n    A second paragraph.\n[^w]: Welcome.\n[^long]: L.\n\n[r]: https://example.org/r\n"
    )
    first, second = document.sections[0].stories
    assert document.intro == "Hello<sup>1</sup>.\n\n<sup>1</sup> Welcome."
    assert first.headline == "S<sup>1</sup>"
    assert first.body == (
        "One<sup>2</sup>.<sup>3</sup> Two<sup>2</sup>. Three<sup>4</sup>.\n\n<sup>1</sup> L.\n\n"
        "<sup>2</sup> The a\nand more.\n\nA second paragraph.\n\n<sup>3</sup> The *b*.\n\n"
        "<sup>4</sup> See [this](https://example.org/r)."
    )
    assert second.body == "Four<sup>1</sup>.\n\nFive.\n\n<sup>1</sup> The *b*."
    assert second.link is not None and [note.text for note in second.contacts] == ["(For info: Ana)"]
    assert document.warnings == ()


def test_a_footnote_at_the_end_of_a_sentence_is_no_page_break() -> None:
    assert read("The end.[^1]\n\nand on.\n\n[^1]: Note.")[0] == "The end.<sup>1</sup>\n\nand on.\n\n<sup>1</sup> Note."


@pytest.mark.parametrize(
    "source",
    [
        "[r] " * 50_000 + "\n\n[r]: https://example.org/",
        "[" * 100_000 + "\n\n[r]: https://example.org/",
        "`" * 50_000 + "[r]\n\n[r]: https://example.org/",
        ("[r] `" + "`` " * 3000 + "\n\n") * 20 + "[r]: https://example.org/",
        "[^1] " * 50_000 + "\n\n[^1]: a",
        "^[" * 50_000,
        "[^1]: a\n" * 50_000,
        "[a]: b\n" * 50_000,
        "<!-- a -->\n" * 50_000,
        "<img " * 50_000,
        "<div>" * 50_000,
        "<li>a\n" * 20_000,
        "<img alt='" * 50_000,
        "[a]{.b" * 50_000,
        "![a](" * 50_000,
        "![a](b(" * 50_000,
    ],
    ids=range(16),
)
def test_hostile_documents_are_read_to_their_end(source: str) -> None:
    assert isinstance(parse(START + source).sections[0].stories[0], ParsedStory)
