"""The subject and preheader of an edition that lacks sections of its issue."""

from dataclasses import replace

import pytest

from mailer.domain.content import EditionSection
from mailer.domain.partial_editions import edition_subject_and_preheader, unknown_placeholders
from tests.adapters.test_mjml import edition, story

CONTENT = edition(
    EditionSection("news", "News", "en", (story(1), story(2))),
    EditionSection("water", "Water", "en", (story(3),)),
    unfollowed_sections=(),
    partial_subject="{headline} – 2026/3",
    partial_preheader="{headlines}",
    tagline="News from one river",
)


def plain(headline: str) -> str:
    return headline.replace("*", "")


@pytest.mark.parametrize(
    ("sections", "subject", "preheader"),
    [
        ({"news", "water"}, CONTENT.subject, CONTENT.preheader),
        ({"news"}, "Headline 1 – 2026/3", "Headline 2"),
        ({"water"}, "Headline 3 – 2026/3", "News from one river"),
    ],
)
def test_partial_edition_names_its_own_stories(sections: set[str], subject: str, preheader: str) -> None:
    assert edition_subject_and_preheader(CONTENT, sections, plain) == (subject, preheader)


def test_issue_without_texts_for_partial_editions_has_one_subject() -> None:
    content = replace(CONTENT, partial_subject="", partial_preheader="")
    assert edition_subject_and_preheader(content, {"water"}, plain) == (CONTENT.subject, CONTENT.preheader)


def test_headline_in_the_language_of_the_edition_comes_first() -> None:
    foreign = story(4, language="fr", is_fallback=True, headline="Un *titre*")
    sections = (EditionSection("news", "News", "en", (foreign, story(5))), CONTENT.sections[1])
    content = replace(CONTENT, sections=sections)
    assert edition_subject_and_preheader(content, {"news"}, plain)[0] == "Headline 5 – 2026/3"
    alone = replace(content, sections=(replace(sections[0], stories=(foreign,)), sections[1]))
    assert edition_subject_and_preheader(alone, {"news"}, plain)[0] == "Un titre – 2026/3"


def test_preheader_has_as_many_headlines_as_are_shown() -> None:
    stories = tuple(story(number, headline=f"{number} {'word ' * 10}") for number in range(9))
    content = replace(CONTENT, sections=(EditionSection("news", "News", "en", stories), CONTENT.sections[1]))
    _, preheader = edition_subject_and_preheader(content, {"news"}, plain)
    assert [headline[0] for headline in preheader.split(" · ")] == ["1", "2"]


def test_unknown_placeholders_are_found() -> None:
    assert unknown_placeholders("{headline} {headlines} {Headline} {}, { a }") == ["{Headline}", "{}"]
