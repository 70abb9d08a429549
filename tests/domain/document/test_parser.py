"""Small documents, one for each feature or defect."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.document import (
    DocumentError,
    ParsedContact,
    ParsedDocument,
    ParsedLink,
    ParsedPicture,
    ParsedStory,
    parse,
)
from tests.support.real_newsletter import REAL_NEWSLETTER, requires_real_newsletter

CLEAN = """---
subject: River news: spring
preheader: Ports and rivers
number: 2026/3
date: 2026-03-31
language: en
---

# River News

Dear readers,

this is the *third* number.

## Rivers

### The 2<sup>nd</sup> river meeting

![A boat on a river](boat.jpg)

**7-8 February 2026, Oldport, Riverland:** The meeting was held in [Oldport](https://example.org/port).

- one point
- another point

It closed with a song.

[Read the report](https://example.org/report)

### A ferry for Newport

**9 March 2026, Newport:** The ferry sails. *(For info on all of the above: Ana Example)*

## Ports

### A crane is painted

**12 March 2026, Oldport:** It is red now.

*(For info: Ben Example, [mail](mailto:ben@example.org))*
"""


def whys(document: ParsedDocument) -> list[tuple[int, str]]:
    return [(doubt.line, doubt.message) for doubt in document.warnings]


def stories(document: ParsedDocument) -> list[ParsedStory]:
    return [story for section in document.sections for story in section.stories]


def only(source: str, language: str = "en") -> ParsedStory:
    """The one story of a document that is nothing but it, in a section."""
    (story,) = stories(parse(f"## Rivers\n\n{source}", language))
    return story


def test_clean_document_has_no_warnings() -> None:
    document = parse(CLEAN)

    assert document.warnings == ()
    assert document.title == "River News"
    assert document.front_matter["subject"] == "River news: spring"
    assert document.front_matter["number"] == "2026/3"
    assert document.intro == "Dear readers,\n\nthis is the *third* number."
    assert [section.title for section in document.sections] == ["Rivers", "Ports"]
    meeting, ferry, crane = stories(document)
    assert meeting.headline == "The 2<sup>nd</sup> river meeting"
    assert meeting.picture == ParsedPicture("boat.jpg", "A boat on a river")
    assert meeting.link == ParsedLink("https://example.org/report", "Read the report")
    assert meeting.body == (
        "The meeting was held in [Oldport](https://example.org/port).\n\n"
        "- one point\n- another point\n\nIt closed with a song."
    )
    assert meeting.line == 17
    assert ferry.contacts == (ParsedContact("(For info on all of the above: Ana Example)", (0, 1)),)
    assert crane.contacts == (ParsedContact("(For info: Ben Example, [mail](mailto:ben@example.org))", (0,)),)


def test_the_json_form_is_plain() -> None:
    form = json.loads(json.dumps(parse(CLEAN).as_dict()))

    assert list(form) == ["title", "front", "intro", "sections", "unsure"]
    assert form["sections"][0]["stories"][1] == {
        "headline": "A ferry for Newport",
        "datelines": [
            {
                "text": "9 March 2026, Newport",
                "dates": [{"start": "2026-03-09", "end": "2026-03-09"}],
                "place": "Newport",
            }
        ],
        "body": "The ferry sails.",
        "contacts": [{"text": "(For info on all of the above: Ana Example)", "stories": [0, 1]}],
        "picture": None,
        "link": None,
    }


@requires_real_newsletter
def test_the_regional_newsletter() -> None:
    document = parse(REAL_NEWSLETTER.read_text("utf-8"))

    assert [(section.title, len(section.stories)) for section in document.sections] == [
        ("NEWS AND EVENTS", 5),
        ("MONEY-LAUNDERING, FINANCING OF TERRORISM AND ASSET FORFEITURE", 3),
        ("HUMAN TRAFFICKING", 2),
        ("GLOBAL CONTAINER CONTROL PROGRAMME (CCP)", 3),
        ("DRUG PREVENTION, TREATMENT AND CARE", 1),
        ("ORGANIZED CRIME", 4),
    ]
    spoken_for = [
        [contact.stories for story in section.stories for contact in story.contacts] for section in document.sections
    ]
    assert spoken_for == [[(0, 1, 2, 3, 4)], [(0, 1, 2)], [(0, 1)], [(0, 1, 2)], [(0,)], [(0,), (1, 2, 3)]]
    assert [len(story.datelines) for story in stories(document)] == [1] * 8 + [2] + [1] * 9
    assert all(dateline.dates for story in stories(document) for dateline in story.datelines)
    assert [line for line, _ in whys(document)] == [29, 41, 49, 53]


def test_bold_headings_that_ran_together() -> None:
    document = parse(
        "## FIRST\n\n### A\n\n**1 May 2026, X:** a.\n\n**THE PORTS****Ships came in**\n\n**2 May 2026, Y:** b."
    )

    assert [section.title for section in document.sections] == ["FIRST", "THE PORTS"]
    assert document.sections[1].stories[0].headline == "Ships came in"
    ((line, why),) = whys(document)
    assert line == 7
    assert "in one paragraph" in why and "THE PORTS" in why and "Ships came in" in why


def test_a_heading_and_a_dateline_that_ran_together() -> None:
    story = only("**Ships came in****2 May 2026, Oldport:** They are blue.")

    assert (story.headline, story.datelines[0].place, story.body) == (
        "Ships came in",
        "Oldport",
        "They are blue.",
    )


def test_a_dateline_that_ran_into_its_heading() -> None:
    document = parse("## Ports\n\n### Ships came in **2 May 2026, Oldport:** They are blue.")

    (story,) = stories(document)
    assert (story.headline, story.datelines[0].text) == ("Ships came in", "2 May 2026, Oldport")
    assert len(document.warnings) == 1


def test_a_dateline_in_several_bold_runs() -> None:
    story = only("### Ships\n\n**2 May 2026,** **Oldport****, Riverland:**They are blue.")

    assert story.datelines[0].place == "Oldport , Riverland"
    assert story.body == "They are blue."


def test_bold_paragraph_is_a_headline_without_a_warning() -> None:
    document = parse("## Ports\n\n**Ships came in**\n\n**2 May 2026, Oldport:** They are blue.")

    assert stories(document)[0].headline == "Ships came in"
    assert document.warnings == ()


def test_a_bold_text_in_capitals_before_a_headline_is_a_section() -> None:
    document = parse("**PORTS**\n\n### Ships\n\n**2 May 2026, Oldport:** They are blue.")

    assert document.sections[0].title == "PORTS"
    assert [line for line, _ in whys(document)] == [1]


def test_a_page_break_inside_a_sentence_is_closed() -> None:
    document = parse(
        "## Ports\n\n### Ships\n\n**2 May 2026, X:** They tested the\n\n\n\u00a0\nmethod again.\n\nIt works."
    )

    assert stories(document)[0].body == "They tested the method again.\n\nIt works."
    ((line, why),) = whys(document)
    assert (line, "method again" in why) == (9, True)


@pytest.mark.parametrize(
    "text",
    [
        "They came.\n\nthe next one left.",
        "They saw:\n\nthe port.",
        "They left\n\n- a boat\n- a net",
        "They left\n\n> a letter",
        "They came. *(For info: Ana Example)*\n\n*(For info: Ben Example)*",
        "They came\n\n[read more](https://example.org)",
    ],
)
def test_paragraphs_that_are_not_joined(text: str) -> None:
    document = parse(f"## Ports\n\n### Ships\n\n**2 May 2026, X:** {text}")

    assert not [why for _, why in whys(document) if "page break" in why]


def test_a_page_break_inside_bold_text_or_brackets_is_closed() -> None:
    story = only("### Ships\n\n**2 May 2026, the\n\nRepublic of X:** a. *(For info on the\n\nAbove: Ana Example)*")

    assert story.datelines[0].place == "the Republic of X"
    assert story.contacts[0].text == "(For info on the Above: Ana Example)"


def test_a_page_break_inside_a_headline_is_closed() -> None:
    for broken in (
        "### Ships came\n\n### in at night",
        "**Ships came**\n\n**in at night**",
        "### Ships came\n\nin at night",
    ):
        document = parse(f"## Ports\n\n{broken}\n\n**2 May 2026, X:** a.")
        assert [story.headline for story in stories(document)] == ["Ships came in at night"]
        assert [line for line, _ in whys(document)] == [5]


def test_paragraph_without_a_full_stop_gives_a_warning() -> None:
    long = "This paragraph goes on and on for well over one line and then it just stops"
    document = parse(f"## Ports\n\n### Ships\n\n**2 May 2026, X:** {long}\n\nAnother one begins.")

    ((line, why),) = whys(document)
    assert line == 5 and "without a full stop" in why


def test_two_datelines_in_one_bold_run() -> None:
    document = parse(
        "## P\n\n### S\n\n**7-8 February 2018, Mavrovo, Northland, 7-9 March 2018, Vrdnik, Eastland:**\n\nText."
    )

    (story,) = stories(document)
    assert [(line.text, line.place) for line in story.datelines] == [
        ("7-8 February 2018, Mavrovo, Northland", "Mavrovo, Northland"),
        ("7-9 March 2018, Vrdnik, Eastland", "Vrdnik, Eastland"),
    ]
    assert story.body == "Text."
    assert document.warnings == ()


def test_datelines_in_paragraphs_of_their_own() -> None:
    story = only("### S\n\n**7 May 2026, Oldport:**\n\n**9 May 2026, Newport**:\n\nText.")

    assert [dateline.place for dateline in story.datelines] == ["Oldport", "Newport"]
    assert story.body == "Text."


def test_unreadable_dateline_is_kept_with_a_warning() -> None:
    document = parse("## P\n\n### S\n\n**Late spring, Oldport:** Text.")

    (story,) = stories(document)
    assert (story.datelines[0].text, story.datelines[0].dates) == ("Late spring, Oldport", ())
    assert [line for line, _ in whys(document)] == [5]


def test_bold_words_and_bold_lead_ins_stay_in_the_body() -> None:
    story = only("### S\n\n**7 May 2026, X:** One.\n\n**Two** comes next.\n\n**Aims:** three.")

    assert story.body == "One.\n\n**Two** comes next.\n\n**Aims:** three."


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("*(For info : Ana Example)*", "(For info : Ana Example)"),
        ("_(For info: Ana Example)_", "(For info: Ana Example)"),
        ("***(For info: Ana Example)***", "(For info: Ana Example)"),
        ("(*For info: Ana Example*)", "(For info: Ana Example)"),
        ("*(For info:* Ana Example)", "(For info: Ana Example)"),
        ("(For info: Ana Example (Oldport))", "(For info: Ana Example (Oldport))"),
    ],
)
def test_contact_notes_in_many_wrappers(written: str, text: str) -> None:
    for place in (f"The end. {written}", f"The end.\n\n{written}", f"The end.\u00a0{written}\u00a0"):
        story = only(f"### S\n\n**7 May 2026, X:** {place}")
        assert (story.body, [note.text for note in story.contacts]) == ("The end.", [text])


def test_note_covers_stories_back_to_the_previous_note() -> None:
    one = "### {0}\n\n**7 May 2026, X:** Text.{1}\n\n"
    notes = ["", " *(For info: A)*", "", "", " *(For info on the above: B)*", " *(For info: C)*"]
    document = parse("## P\n\n" + "".join(one.format(at, note) for at, note in enumerate(notes)))

    contacts = [contact for story in stories(document) for contact in story.contacts]
    assert [contact.stories for contact in contacts] == [(1,), (2, 3, 4), (5,)]
    assert document.warnings == ()


@pytest.mark.parametrize(
    ("language", "one", "all_"),
    [
        ("en", "For info", "For info on all on the above"),
        ("fr", "Pour info", "Pour info sur tout ce qui figure ci-dessus"),
        ("es", "Para información", "Para información sobre todo lo anterior"),
        ("de", "Für Auskünfte", "Für Auskünfte zu allen Obigen"),
        ("bs", "Za informacije", "Za informacije o svemu gore navedenom"),
        ("hr", "Za obavijesti", "Za obavijesti o svemu navedenom"),
        ("sr-Cyrl", "За информације", "За информације о свему горе наведеном"),
        ("sr-Latn", "Za informacije", "Za informacije o svemu gore navedenom"),
        ("sl", "Za informacije", "Za informacije o vsem zgoraj"),
        ("sq", "Për informacion", "Për informacion mbi të gjitha më sipër"),
        ("mk", "За информации", "За информации за сето погоре"),
        ("ro", "Pentru informații", "Pentru informații despre toate cele de mai sus"),
        ("bg", "За информация", "За информация за всичко по-горе"),
        ("el", "Για πληροφορίες", "Για πληροφορίες για όλα τα παραπάνω"),
        ("tr", "Bilgi için", "Yukarıdakilerin tümü hakkında bilgi için"),
        ("uk", "За інформацією", "За інформацією щодо всього вище"),
        ("ru", "Для справок", "Для справок по всему вышеизложенному"),
        ("ar", "للمعلومات", "للمعلومات عن كل ما ورد أعلاه"),
    ],
)
def test_notes_in_every_language(language: str, one: str, all_: str) -> None:
    story = "### S{0}\n\n**2026-05-07, X:** Text. {1}\n\n"
    source = "## P\n\n" + story.format(1, f"*({one}: A)*") + story.format(2, "") + story.format(3, f"*({all_}: B)*")
    document = parse(source, language)

    contacts = [contact for found in stories(document) for contact in found.contacts]
    assert [contact.stories for contact in contacts] == [(0,), (1, 2)]
    assert document.warnings == ()


def test_note_recognised_only_by_its_form_gives_a_warning() -> None:
    document = parse("## P\n\n### S\n\n**7 May 2026, X:** Text. *(Photo: Ana Example)*")

    assert stories(document)[0].contacts[0].text == "(Photo: Ana Example)"
    assert "because of its form" in whys(document)[0][1]


def test_brackets_that_are_not_a_note() -> None:
    story = only("### S\n\n**7 May 2026, X:** They met (at noon). See [this](https://example.org/a)")

    assert story.contacts == ()
    assert story.body.endswith("See [this](https://example.org/a)")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"River news: spring"', "River news: spring"),
        ("A “b” c", "A “b” c"),
        ("“Spring”", "Spring"),
        ("„Frühling“", "Frühling"),
        ("« Printemps »", "Printemps"),
        ('"A" and "B"', '"A" and "B"'),
        (r'"The \"river\" and C:\\temp"', r'The "river" and C:\temp'),
        (r'"\d is \"no\" escape"', r'\d is "no" escape'),
        (r'"caf\u00e9\u0007"', "café"),
        (r"He said \"yes\"", r"He said \"yes\""),
        ("'It''s spring'", "It's spring"),
        ('"Spring" # or summer', "Spring"),
        ("We're #1", "We're #1"),
        (">-\n  A long\n  subject", "A long subject"),
        ('"A long\n  subject"', "A long subject"),
        ("\n  On the next line", "On the next line"),
    ],
)
def test_front_matter_is_taken_as_written_without_its_quotes(written: str, value: str) -> None:
    document = parse(f"---\nsubject: {written}\n---\n## P\n\n### S\n\n**7 May 2026, X:** Text.")

    assert document.front_matter == {"subject": value}


def test_front_matter_names_the_language_of_the_dates() -> None:
    document = parse("---\nlanguage: de\n---\n## P\n\n### S\n\n**7.–8. Mai 2026, Wien:** Text.")

    assert stories(document)[0].datelines[0].dates
    assert document.warnings == ()


@pytest.mark.parametrize(
    ("front", "named"),
    [
        ("subject: A\nsubject: B\n---", "Line 3"),
        ("subject: A\ndate: soon\n---", "Line 3 has the date “soon”"),
        ("subject: A\ndate: 7-8 May 2026\n---", "Line 3 has the date"),
        ("subject: A\nand so on\n---", "Line 3"),
        ("subject: A", "line 1"),
    ],
)
def test_bad_front_matter_is_an_error_that_names_the_line(front: str, named: str) -> None:
    with pytest.raises(DocumentError, match=named):
        parse(f"---\n{front}\n\n## P\n\n### S\n\n**7 May 2026, X:** Text.")


STORY = "\n## P\n\n### S\n\n**2026-05-07, X:** Text."


@pytest.mark.parametrize(
    ("front", "values", "left_out"),
    [
        (
            "---\ntitle: Our news\ndescription: Ports\nlang: de\ndate: 2026-11-28T09:00:00+01:00\ndraft: false\n"
            "tags:\n  - news\n- rivers\nAuthor's name: Ina\nmenu:\n  main:\n    weight: 1\n# a remark\n---",
            {"subject": "Our news", "preheader": "Ports", "language": "de", "date": "2026-11-28"},
            [(6, "draft"), (7, "tags"), (10, "Author's name"), (11, "menu")],
        ),
        (
            "+++\ntitle = 'Our news'\ndate = 2026-11-28T09:00:00+01:00\nissue = 7\ndraft = true\n[author]\nname = 'I'\n"
            "+++",
            {"subject": "Our news", "date": "2026-11-28", "number": "7"},
            [(5, "draft"), (6, "author")],
        ),
        (
            '{\n  "title": "Our \\"news\\"",\n  "date": "2026-11-28",\n  "tags": ["a"]\n}',
            {"subject": 'Our "news"', "date": "2026-11-28"},
            [(4, "tags")],
        ),
        ("\n\n---\nsubject: A\ntitle: B\n...", {"subject": "A"}, [(5, "title")]),
        ("---\nsubject:\n  - A\n  - B\n---", {}, [(2, "subject")]),
        ("---\ndate: 28 November 2026\n---", {"date": "2026-11-28"}, []),
        ("---\nlanguage: fr\ndate: 1er mars 2026 \n---", {"language": "fr", "date": "2026-03-01"}, []),
        ("---\ndate: 2026-11-28 09:00 +0100\n---", {"date": "2026-11-28"}, []),
        ("---\nNo front matter: a rule and text.\n---", {}, []),
    ],
)
def test_front_matter_of_other_tools(front: str, values: dict[str, str], left_out: list[tuple[int, str]]) -> None:
    document = parse(front + STORY)

    assert document.front_matter == values
    assert [line for line, _ in whys(document)] == [line for line, _ in left_out]
    assert all(key in why for (_, key), (_, why) in zip(left_out, whys(document), strict=True))
    assert "+++" not in document.intro and "{" not in document.intro


@pytest.mark.parametrize(
    ("front", "named"),
    [
        ("+++\ntitle: A\n+++", "is not TOML: .*line 2"),
        ("+++\ntitle = 'A'", "no “\\+\\+\\+” line to end it"),
        ("+++\na = " + "[" * 100_000 + "\n+++", "is not TOML"),
        ("+++\na = " + "1" * 100_000 + "\n+++", "is not TOML"),
        ("{\n title\n}", "is not JSON"),
        ('{\n"a":' + "[" * 100_000 + "\n}", "is not JSON"),
    ],
    ids=range(6),
)
def test_front_matter_that_cannot_be_read_is_refused(front: str, named: str) -> None:
    with pytest.raises(DocumentError, match=named):
        parse(front + STORY)


@given(
    st.sampled_from(["---", "+++", "{"]),
    st.lists(
        st.sampled_from(
            [
                "title",
                ": ",
                " = ",
                '"',
                "'",
                "\\",
                "\n",
                "\n  ",
                "- ",
                "[a]",
                "{",
                "}",
                ">",
                "|",
                "#",
                "date",
                "2026-01-02",
            ]
            + ["T09:00Z", "true", "subject", "é", "\\u0000", "\\ud800", "\x07"]
        ),
        max_size=30,
    ).map("".join),
)
def test_any_front_matter_is_read_or_refused(fence: str, source: str) -> None:
    try:
        document = parse(f"{fence}\n{source}\n{'}' if fence == '{' else fence}{STORY}")
    except DocumentError:
        return
    for key, value in document.front_matter.items():
        assert value == " ".join(value.split()) and value.isprintable(), key
        value.encode()


def test_control_characters_are_taken_out_and_listed() -> None:
    document = parse(
        "## P\x0bQ\n\n### He\x07ad\ufffe\n\n**7 May 2026, X:** \ufeffone\u2028two\x1b.\r\n\r\nclean \u200d\n"
    )

    (story,) = stories(document)
    assert document.sections[0].title == "P Q"
    assert (story.headline, story.body) == ("Head", "one two.\n\nclean \u200d")
    assert [(line, why.rpartition(": ")[2]) for line, why in whys(document)] == [
        (1, "U+000B."),
        (3, "U+0007, U+FFFE."),
        (5, "U+FEFF, U+2028, U+001B."),
    ]


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        (
            "### S\n\n**7 May 2026, X:** a.\n\n## P\n\n### T\n\n**7 May 2026, X:** a.",
            1,
            "before the first section",
        ),
        ("## P\n\nStray words.\n\n### S\n\n**7 May 2026, X:** a.", 3, "has no headline"),
        ("## P\n\n*(For info: A)*\n\n### S\n\n**7 May 2026, X:** a.", 3, "no story above"),
        ("*(For info: A)*\n\n## P\n\n### S\n\n**7 May 2026, X:** a.", 1, "no story above"),
        (
            "## P\n\n#### S\n\n**7 May 2026, X:** a.\n\n### T\n\n**7 May 2026, X:** a.",
            3,
            "skips a heading level",
        ),
        ("## P\n\n### S\n\nNo date.", 3, "no dateline"),
        ("## P\n\n### S\n\n7 May 2026, Oldport: not bold.", 3, "begins with a date"),
        ("## P\n\n### S\n\n### T\n\n**7 May 2026, X:** a.", 3, "has no text"),
        ("## P\n\n## Q\n\n### T\n\n**7 May 2026, X:** a.", 1, "has no story"),
        ("## P\n\n##\n\n### T\n\n**7 May 2026, X:** a.", 3, "heading without text"),
        ("## P\n\n###T\n\n**7 May 2026, X:** a.", 3, "No space"),
        ("## P\n\n### T\n\n**7 May 2026, X:** a.\n\n12\n\nB.", 7, "page number"),
        ("## P\n\n### T\n\n**7 May 2026, X:** a.\n\n**8 May 2026, Y:** b.", 7, "inside a story"),
        ("## P\n\n### T\n\n**7 May 2026, X** a.", 3, "no dateline"),
        ("## P\n\n### T\n\n**7 May 2026, X**\n\na.", 5, "no colon"),
        ("**Welcome**\n\nHello.\n\n## P\n\n### T\n\n**7 May 2026, X:** a.", 1, "kept in the introduction"),
        ("## P\n\n### T\n\n**7 May 2026, X:** a.\n\n*(For info: A)*\n\nMore.", 9, "follows a contact note"),
    ],
)
def test_warnings_have_line_numbers(source: str, line: int, said: str) -> None:
    document = parse(source)

    assert [(doubt.line, said in doubt.message) for doubt in document.warnings] == [(line, True)]


@pytest.mark.parametrize("source", ["", "Just words.", "## A section\n", "# Title\n\nAn intro.", "\0", "---\n---"])
def test_a_document_without_a_story_is_an_error(source: str) -> None:
    with pytest.raises(DocumentError, match="no story"):
        parse(source)


def test_headings_that_are_one_level_up() -> None:
    document = parse("# P\n\n## S\n\n**7 May 2026, X:** a.\n\n# Q\n\n## T\n\n**7 May 2026, X:** a.")

    assert [section.title for section in document.sections] == ["P", "Q"]
    assert len(document.warnings) == 1


DATED = "\n\n**7 May 2026, X:** a.\n\n"


@pytest.mark.parametrize(
    ("source", "title", "outline", "listed"),
    [
        (  # Word and Pandoc
            f"Dear readers.\n\n# P\n\n## S{DATED}# Q\n\n## T{DATED}",
            "",
            {"P": ["S"], "Q": ["T"]},
            [(3, "Level 1 headings were read as sections, level 2 as headlines")],
        ),
        (
            f"Dear readers.\n\n# P\n\n## S{DATED}",
            "",
            {"P": ["S"]},
            [(3, "Level 1 headings were read as sections, level 2 as headlines")],
        ),
        (
            f"# P\n\n## S{DATED}### Who\n\nb.\n\n## T{DATED}# Q\n\n## U{DATED}",
            "",
            {"P": ["S", "T"], "Q": ["U"]},
            [(1, "Level 1 headings were read as sections, level 2 as headlines")],
        ),
        (
            f"# Title\n\nAn intro.\n\n# P\n\n## S{DATED}# Q\n\n## T{DATED}",
            "Title",
            {"P": ["S"], "Q": ["T"]},
            [(5, "Level 1 headings were read as sections, level 2 as headlines")],
        ),
        (
            f"Hello.\n\n# P\n\n**S**{DATED}# Q\n\n**T**{DATED}",
            "",
            {"P": ["S"], "Q": ["T"]},
            [(3, "Level 1 headings were read as sections.")],
        ),
        (f"# Title\n\n## P\n\n**S**{DATED}", "Title", {"P": ["S"]}, []),
        (f"# Title\n\n## P\n\n### S{DATED}#### Who\n\nb.\n\n", "Title", {"P": ["S"]}, []),
        (f"Text.\n\n# Title\n\n## P\n\n### S{DATED}", "Title", {"P": ["S"]}, [(3, "after other text")]),
        (
            f"# Title\n\n## P\n\n### S{DATED}# Q\n\n## R\n\n### T{DATED}",
            "",
            {"Title": [], "P": ["S"], "Q": [], "R": ["T"]},
            [(1, "level 1"), (1, "no story"), (9, "level 1"), (9, "no story")],
        ),
        (f"## P\n\n#### S{DATED}#### T{DATED}", "", {"P": ["S", "T"]}, [(1, "level 4 as headlines")]),
        (f"### P\n\n#### S{DATED}### Q\n\n#### T{DATED}", "", {"P": ["S"], "Q": ["T"]}, [(1, "Level 3")]),
        (f"# Title\n\n## S{DATED}## T{DATED}", "Title", {"": ["S", "T"]}, [(3, "before the first section")]),
        (f"Title\n=====\n\n## P\n\n### S{DATED}", "Title", {"P": ["S"]}, []),
    ],
)
def test_levels_of_headings_are_judged_by_the_whole_document(
    source: str, title: str, outline: dict[str, list[str]], listed: list[tuple[int, str]]
) -> None:
    document = parse(source)

    assert document.title == title
    assert {section.title: [s.headline for s in section.stories] for section in document.sections} == outline
    assert [(line, said in why) for (line, why), (_, said) in zip(whys(document), listed, strict=True)] == [
        (line, True) for line, _ in listed
    ]


@pytest.mark.parametrize("level", ["#", "##"])
@pytest.mark.parametrize(
    "pattern",
    [
        "{0} **{1}** **{2}**\n\n**7 May 2026, X:** a.\n\n",
        "{0} {1} **{2}**\n\n**7 May 2026, X:** a.\n\n",
        "{0} {1} **{2}** **7 May 2026, X:** a.\n\n",
        "{0} **{1}****{2}** **7 May 2026, X:** a.\n\n",
        "{0} **{1}**\n\n**{2}**\n\n**7 May 2026, X:** a.\n\n",
    ],
)
def test_headings_that_ran_together_are_split_on_either_level(level: str, pattern: str) -> None:
    document = parse(pattern.format(level, "PORTS", "Ships came") + pattern.format(level, "RIVERS", "A ferry sails"))

    assert document.title == ""
    assert {section.title: [story.headline for story in section.stories] for section in document.sections} == {
        "PORTS": ["Ships came"],
        "RIVERS": ["A ferry sails"],
    }
    assert [(story.body, story.datelines[0].place) for story in stories(document)] == [("a.", "X")] * 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("زرع المتطوعون ألف شجرة", "من يمكنه المشاركة"),
        ("המתנדבים נטעו אלף עצים", "מי יכול להשתתף"),
        ("მოხალისეებმა ათასი ხე დარგეს", "ვის შეუძლია მონაწილეობა"),
        ("志愿者种了一千棵树", "谁可以参加"),
    ],
)
def test_paragraphs_without_letter_case_are_joined_by_strong_signs_only(first: str, second: str) -> None:
    def body(text: str) -> tuple[str, list[int]]:
        document = parse(f"## P\n\n### S\n\n{text}", "xx")
        return stories(document)[0].body, [line for line, why in whys(document) if "dateline" not in why]

    assert body(f"{first}\n\n{second}") == (f"{first}\n\n{second}", [5])
    assert body(f"{first}.\n\n{second}") == (f"{first}.\n\n{second}", [])
    assert body(f"{first},\n\n{second}") == (f"{first},\n\n{second}", []), "as a salutation"
    long = f"{first} " * 8 + first
    assert body(f"{long},\n\n{second}") == (f"{long}, {second}", [7])
    assert body(f"{first} **{first}\n\n{second}**") == (f"{first} **{first} {second}**", [7])
    assert body(f"{first} ({first}\n\n{second})") == (f"{first} ({first} {second})", [7])


def test_lines_count_as_an_editor_counts_them() -> None:
    source = "## P\r\n\r\n### S\u2028T\r\n\r\n**7 May 2026, X:** a.\r\n"

    assert stories(parse(source))[0].line == 3
    assert stories(parse("\ufeff" + source))[0].headline == "S T"


def test_a_headline_keeps_its_no_break_spaces() -> None:
    source = "## Faits\n\n### Qui\u00a0: «\u00a0Nous\u00a0»  et\tvous\u202f?\n\n**7 May 2026, X:** a.\n"

    assert stories(parse(source))[0].headline == "Qui\u00a0: «\u00a0Nous\u00a0» et vous\u202f?"


def test_a_page_break_is_closed_when_the_rest_ends_in_a_contact_note() -> None:
    source = """## News

### A headline

**2 May 2026, Velt:** The ferry carries cars and

people across the river. *(For info: Ina Sample)*
"""
    document = parse(source)
    (story,) = document.sections[0].stories
    assert story.body == "The ferry carries cars and people across the river."
    assert [note.text for note in story.contacts] == ["(For info: Ina Sample)"]
    assert [doubt.line for doubt in document.warnings] == [7]


def test_a_picture_without_an_end_is_read_in_linear_time() -> None:
    """With two ways to read each space, this line would take about ten minutes."""
    endless = "![a](" + "\u00a0" * 300_000 + '"x'

    assert stories(parse(f"## P\n\n### S\n\n**7 May 2026, X:** a.\n\n{endless}\n"))
