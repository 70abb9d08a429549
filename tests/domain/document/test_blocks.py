"""HTML, Pandoc's attributes, code, tables and pictures in a document."""

import pytest

from mailer.domain.document import ParsedPicture, ParsedStory, parse

START = "## P\n\n### S\n\n**2026-05-07, X:** "


def only(source: str) -> ParsedStory:
    (story,) = parse(START + source).sections[0].stories
    return story


@pytest.mark.parametrize(
    ("written", "path", "alt"),
    [
        ("![A boat](boat.jpg)", "boat.jpg", "A boat"),
        ('![A boat](boat.jpg "Title")', "boat.jpg", "A boat"),
        ("![A boat](my boat (1).jpg)", "my boat (1).jpg", "A boat"),
        ("![A boat](<my boat.jpg>)", "my boat.jpg", "A boat"),
        ("![A boat](my%20boat.jpg)", "my boat.jpg", "A boat"),
        ('![A boat](boat.jpg){width="4in" height="2in"}', "boat.jpg", "A boat"),
        ('<img src="./media/image1.jpg" style="width:4in;height:2in" />', "./media/image1.jpg", ""),
        ("<IMG alt='A > [B]' SRC=boat.jpg>", "boat.jpg", "A > (B)"),
        ('<img src="media/image1.png"\nstyle="width:4in" alt="A\nboat" />', "media/image1.png", "A boat"),
        ('<p align="center"><img src="boat.jpg" alt="A boat"></p>', "boat.jpg", "A boat"),
        (
            '<figure>\n<img src="boat.jpg" alt="A boat" />\n'
            '<figcaption aria-hidden="true">A boat</figcaption>\n</figure>',
            "boat.jpg",
            "A boat",
        ),
        ("![A boat][b]\n\n[b]: boat.jpg", "boat.jpg", "A boat"),
    ],
)
def test_a_picture_is_the_storys_wherever_it_stands(written: str, path: str, alt: str) -> None:
    for source, body in ((f"\n\n{written}\n\nText.", "Text."), (f"Text.\n\n{written}", "Text.")):
        story = only(source)
        assert (story.picture, story.body) == (ParsedPicture(path, alt), body)


def test_a_second_picture_and_one_in_a_sentence_stay_in_the_text() -> None:
    story = only('See ![a net](net.jpg) here.\n\n![A boat](boat.jpg)\n\n<img src="two boats.jpg" alt="Two">\n\nEnd.')
    assert story.picture == ParsedPicture("boat.jpg", "A boat")
    assert story.body == "See ![a net](net.jpg) here.\n\n![Two](<two boats.jpg>)\n\nEnd."


@pytest.mark.parametrize(
    ("written", "body"),
    [
        ("<p>One</p><p>Two <b>three</b></p>", "One\n\nTwo <b>three</b>"),
        ('<div align="center">\nOne\n</div>\nTwo', "One\n\nTwo"),
        ("<figure>\n<figcaption>Words</figcaption>\n</figure>", "Words"),
        ("<ul>\n<li>one</li>\n<li>two</li>\n</ul>", "- one\n\n- two"),
        ("One<hr>Two", "One\n\nTwo"),
        ("::: {.note}\nOne [two]{.underline}\n:::", "One two"),
        ("One\\\ntwo", "One\\\ntwo"),
        (r"\<p>One", r"\<p>One"),
        ("```html\n<p>One</p>\n\n# two [r]\n```\nThree", "```html\n<p>One</p>\n\n# two [r]\n```\n\nThree"),
        ("a | b\n---|---\nc | d\n\nand so on.", "a | b\n---|---\nc | d\n\nand so on."),
    ],
)
def test_html_and_pandoc_become_markdown(written: str, body: str) -> None:
    assert only(f"\n\n{written}").body == body


def test_headings_in_html_and_with_attributes() -> None:
    document = parse("<h1>Title</h1>\n\n## P {#p .unnumbered}\n\n<h3>S</h3>\n**2026-05-07, X:** a.\n\n<h3>T\n</h3>b.")
    assert document.title == "Title"
    assert [section.title for section in document.sections] == ["P"]
    assert [(story.line, story.headline, story.body) for story in document.sections[0].stories] == [
        (5, "S", "a."),
        (8, "T", "b."),
    ]


@pytest.mark.parametrize(
    ("table", "lines"),
    [
        ("Month   Fires\n------- -------\nJuly    4", [8]),
        ("  Month   Fires\n  ------- -------\n  July    4", [8]),
        ("+-------+-------+\n| Month | Fires |\n+=======+=======+\n| July  | 4     |\n+-------+-------+", [7]),
    ],
)
def test_a_table_drawn_with_dashes_is_listed_and_no_heading(table: str, lines: list[int]) -> None:
    document = parse(f"{START}Text.\n\n{table}\n\n---\n\n- - -\n\nEnd.")
    (story,) = document.sections[0].stories
    assert all(word in story.body for word in ("Month", "Fires", "July", "4", "End."))
    assert [warning.line for warning in document.warnings if "drawn" in warning.message] == lines


def test_lines_of_what_cannot_be_shown() -> None:
    document = parse(
        START + "a [b](c)\nd [e](f).\n\n<p>\n\n<div>g</div>\n<blink> [h]()\n\n<!-- i -->\n\n- j\n- [k](l m)"
    )
    assert [warning.line for warning in document.warnings] == [5, 6, 11, 11, 13, 16]


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("[On](www.example.org/a)", "https://www.example.org/a"),
        ("[On](ina@example.org)", "mailto:ina@example.org"),
        ("[On](https://example.org/a_(b))", "https://example.org/a_(b)"),
        ("[On](<https://example.org/a> 'Title')", "https://example.org/a"),
    ],
)
def test_closing_links(written: str, url: str) -> None:
    story = only(f"a.\n\n{written}")
    assert story.link is not None and (story.link.url, story.link.label, story.body) == (url, "On", "a.")


@pytest.mark.parametrize(
    "written", ["[On](example.org)", "[On](javascript:x)", "[On](#a)", "[On]()", "[On](https://a b)"]
)
def test_a_closing_link_that_leads_nowhere_stays_and_is_listed(written: str) -> None:
    document = parse(f"{START}a.\n\n{written}")
    (story,) = document.sections[0].stories
    assert (story.link, story.body) == (None, f"a.\n\n{written}")
    assert [(warning.line, "“On”" in warning.message) for warning in document.warnings] == [(7, True)]
