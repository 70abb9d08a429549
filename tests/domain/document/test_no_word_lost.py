"""Parsing neither loses nor duplicates words."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.document import DocumentError, ParsedDocument, parse
from mailer.domain.document.source import without_control_characters
from tests.support.real_newsletter import NEWSLETTERS_FOLDER, REAL_NEWSLETTER, requires_real_newsletter

SAMPLE = sorted((Path(__file__).parents[3] / "docs" / "sample").glob("*.md"))
LANGUAGES = ["en", "fr", "sr-Cyrl", "tr", "ar", "xx"]


def words(text: str) -> Counter[str]:
    """The words of a text, its marks taken off."""
    return Counter(re.findall(r"[^\W_]+", text))


def texts(document: ParsedDocument) -> Iterator[str]:
    """Every text of a document, once: dates and places are read from datelines, and add no words."""
    yield from (
        document.title,
        document.intro,
        *document.front_matter.keys(),
        *document.front_matter.values(),
    )
    for section in document.sections:
        yield section.title
        for story in section.stories:
            yield from (story.headline, story.body)
            yield from (dateline.text for dateline in story.datelines)
            yield from (contact.text for contact in story.contacts)
            if story.picture:
                yield from (story.picture.path, story.picture.alt)
            if story.link:
                yield from (story.link.url, story.link.label)


def check(source: str, language: str) -> None:
    try:
        document = parse(source, language)
    except DocumentError:
        return
    assert words("\n".join(texts(document))) == words(without_control_characters(source)[0])


WORD = st.sampled_from(
    [
        "ships",
        "Oldport",
        "11.4",
        "(PCU)",
        "the",
        "and",
        "УЖИЦЕ",
        "речна",
        "нова",
        "سفينة",
        "*soon*",
        "**bold**",
        "snake_case",
        "9<sup>th</sup>",
    ]
)
WORDS = st.lists(WORD, min_size=1, max_size=8).map(" ".join)
DATE = st.sampled_from(["7-8 May 2026", "1 May", "May 2026", "31 May - 2 June 2026", "7. мај 2026.", "٧ مايو ٢٠٢٦"])
DATES = st.lists(st.tuples(DATE, WORDS).map(", ".join), min_size=1, max_size=3).map(", ".join)
NOTE = WORDS.flatmap(
    lambda name: st.sampled_from(
        [
            f"*(For info on the above: {name})*",
            f"(For info : {name})",
            f"_(Abc: {name})_",
            f"(*Za info:* {name})",
        ]
    )
)
PART = st.one_of(
    WORDS,
    WORDS.map("## {}".format),
    WORDS.map("### {}".format),
    WORDS.map("**{}**".format),
    st.tuples(WORDS, WORDS).map("**{0[0]}****{0[1]}**".format),
    st.tuples(WORDS, DATES, WORDS).map("**{0[0]}** **{0[1]}:**{0[2]}".format),
    st.tuples(DATES, WORDS).map("**{0[0]}:** {0[1]}".format),
    st.tuples(DATES, WORDS).map("**{0[0]}** : {0[1]}".format),
    st.tuples(WORDS, DATES).map("### {0[0]} **{0[1]}:**".format),
    st.tuples(WORDS, NOTE).map(" ".join),
    NOTE,
    st.tuples(WORDS, WORDS).map("- {0[0]}\n- {0[1]}".format),
    WORDS.map("![{}](boat.jpg)".format),
    WORDS.map("[{}](https://example.org/a_b)".format),
    st.sampled_from(["7", "---", "#### Aims", "\u00a0", "# River News", "Oldport:", "*(", ")*"]),
)
JOINT = st.sampled_from(["\n\n", "\n\n\n", "\n", " \n \n", "\r\n\r\n"])
DOCUMENT = st.lists(st.tuples(PART, JOINT).map("".join), max_size=14).map("".join)
SOUP = st.lists(
    st.sampled_from(
        [
            "#",
            "##",
            "### ",
            "**",
            "*",
            "__",
            "_",
            "(",
            ")",
            ":",
            ",",
            ".",
            "-",
            "\n",
            "\n\n",
            " ",
            "\\",
            "![",
            "](",
        ]
        + [
            "---\n",
            "===\n",
            "<sup>",
            "7",
            "2026",
            "May",
            "for info",
            "above",
            "Ship",
            "ship",
            "subject: ",
            "عربي",
        ]
    ),
    max_size=60,
).map("".join)


@given(DOCUMENT, st.sampled_from(LANGUAGES))
def test_documents_keep_their_words(source: str, language: str) -> None:
    check(f"## Ports\n\n### Ships\n\n{source}", language)
    check(source, language)


@given(SOUP, st.sampled_from(LANGUAGES))
def test_random_markup_keeps_its_words(source: str, language: str) -> None:
    check(f"## Ports\n\n### Ships\n\n{source}", language)
    check(source, language)


@given(st.text(), st.text(max_size=8))
def test_any_text_is_read_or_refused(source: str, language: str) -> None:
    check(source, language)
    check(f"## Ports\n\n### Ships\n\n**7 May 2026, {source}", language)


@requires_real_newsletter
def test_real_newsletters_keep_their_words() -> None:
    paths = list(NEWSLETTERS_FOLDER.glob("*.md"))
    assert REAL_NEWSLETTER in paths
    for path in paths:
        source = path.read_text("utf-8")
        assert words("\n".join(texts(parse(source)))) == words(source)


@pytest.mark.parametrize("path", SAMPLE, ids=lambda path: path.stem)
def test_sample_has_no_warnings(path: Path) -> None:
    source = path.read_text("utf-8")
    document = parse(source)
    assert document.warnings == ()
    assert words("\n".join(texts(document))) == words(source)


@pytest.mark.parametrize(
    "source",
    [
        "**a****b**" * 50_000,
        "** " * 50_000,
        "**" + "\\**" * 50_000,
        "(" * 50_000 + ")" * 50_000,
        "(For info: a)" * 50_000,
        "### a" + " **b**" * 50_000,
        "[a](https://x" + "(" * 50_000 + ")",
        "<sup>" * 50_000,
        "**" + "7 May 2026, X, " * 20_000 + ":** x",
        "small letters\n\n" * 50_000,
        "### Head\n\n**7 May 2026, X:** text\n\n*(For info on the above: A)*\n\n" * 8_000,
    ],
    ids=range(11),
)
def test_hostile_and_long_documents_are_read_to_their_end(source: str) -> None:
    check(f"## Ports\n\n### Ships\n\n{source}", "en")
