"""Composition of an edition from an issue's content."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.composition import FrontMatter, IssueSource, SectionSource, StorySource, StoryText
from mailer.domain.content import Dateline, EditionUrls, Theme
from mailer.domain.editions import LanguageRules, section_bits
from mailer.domain.states import MissingTranslationPolicy

LINKS = EditionUrls("https://news.example.org/e/x")
LANGUAGES = ["en", "bs", "ar"]


def text(language: str, number: int) -> StoryText:
    return StoryText(
        headline=f"Headline {number} {language}",
        body=f"Body {number} {language}",
        datelines=(Dateline("1 July 2026, Aldeva"),),
        alt=f"Alt {number} {language}",
        link=f"https://example.org/{number}",
        link_label="Read on",
        contacts=(f"Contact {number} {language}",),
        picture_credit=f"Photo {number} {language}",
    )


def material(
    texts: list[tuple[int, list[str]]],
    policy: MissingTranslationPolicy = MissingTranslationPolicy.fallback,
    always: int = 0,
) -> IssueSource:
    """``texts``: the bit of the section and the languages of each story."""
    return IssueSource(
        issue=1,
        revision=1,
        number="2026/3",
        issue_date=date(2026, 9, 30),
        slug="lumen",
        names={"en": "Quarterly", "bs": "Bilten"},
        taglines={"en": "News"},
        sender_name="Lumen",
        sender_address="lumen@example.org",
        reply_to="",
        postal_address="1 Example Quay",
        website="",
        list_id="lumen.example.org",
        theme=Theme(),
        language_rules=LanguageRules(LANGUAGES, {"bs": ["sr-Latn", "en"]}, "en", policy),
        front_matter={tag: FrontMatter(f"Subject {tag}", f"Preheader {tag}", f"Intro {tag}") for tag in LANGUAGES},
        sections=[
            SectionSource(bit, f"section-{bit}", "", {"en": f"Section {bit}", "bs": f"Rubrika {bit}"})
            for bit in (2, 0, 1)  # the order of printing is not that of the bits
        ],
        stories=[
            StorySource(number, bit, {tag: text(tag, number) for tag in tags}, ("https://x.example/p", 60, 40))
            for number, (bit, tags) in enumerate(texts)
        ],
        always_included=always,
    )


def test_an_edition_in_its_own_language() -> None:
    made = material([(0, ["en", "bs"]), (0, ["bs"]), (1, ["bs"])]).compose("bs", 0b011, LINKS, "NAME", "ADDRESS")
    assert (made.language, made.direction, made.subject, made.preheader) == (
        "bs",
        "ltr",
        "Subject bs",
        "Preheader bs",
    )
    assert (made.newsletter, made.tagline, made.issue_label) == ("Bilten", "News", "2026/3")
    assert [section.title for section in made.sections] == ["Rubrika 0", "Rubrika 1"]
    assert [story.headline for story in made.sections[0].stories] == ["Headline 0 bs", "Headline 1 bs"]
    story = made.sections[0].stories[0]
    assert story.picture is not None
    assert story.picture.alt == "Alt 0 bs"
    assert story.picture.credit == "Photo 0 bs"
    assert story.contacts == ("Contact 0 bs",)
    assert not story.is_fallback
    assert (made.subscriber_name, made.subscriber_address) == ("NAME", "ADDRESS")
    assert made.reply_to == "lumen@example.org", "answers go to the sender where nothing else is said"


def test_fallback_story_has_its_language() -> None:
    made = material([(0, ["en", "sr-Latn"]), (0, ["en"])]).compose("bs", 1, LINKS)
    assert [(story.language, story.is_fallback) for story in made.sections[0].stories] == [
        ("sr-Latn", True),
        ("en", True),
    ]
    assert made.sections[0].stories[0].picture is not None
    assert made.sections[0].stories[0].picture.alt == "Alt 0 sr-Latn"


def test_story_is_omitted_by_policy() -> None:
    made = material([(0, ["en"]), (0, ["bs"]), (1, ["en"])], MissingTranslationPolicy.omit).compose("bs", 0b11, LINKS)
    assert [story.headline for section in made.sections for story in section.stories] == ["Headline 1 bs"]
    assert made.unfollowed_sections == (), "a section with nothing to show is not offered either"


def test_sections_stand_in_printing_order_and_those_not_followed_are_named() -> None:
    made = material([(0, ["en"]), (1, ["en"]), (2, ["en"])]).compose("bs", 0b101, LINKS)
    assert [section.key for section in made.sections] == ["section-2", "section-0"]
    assert made.unfollowed_sections == ("Rubrika 1",)


def test_fallback_title_has_its_language() -> None:
    made = material([(0, ["ar"])]).compose("ar", 1, LINKS)
    assert made.direction == "rtl"
    assert (made.sections[0].title, made.sections[0].language) == ("Section 0", "en")


def test_without_front_matter_there_is_no_edition() -> None:
    with pytest.raises(KeyError):
        material([(0, ["fr"])]).compose("fr", 1, LINKS)


def test_the_header_image_is_decoration() -> None:
    made = replace(material([(0, ["en"])]), header_image=("https://x.example/m", 1280, 400)).compose("en", 1, LINKS)
    assert made.header_image is not None
    assert made.header_image.alt == ""


_STORIES = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.sampled_from([*LANGUAGES, "sr-Latn", "fr"]), max_size=4, unique=True)),
    max_size=8,
)


@given(
    _STORIES,
    st.sampled_from(MissingTranslationPolicy),
    st.sampled_from(LANGUAGES),
    st.integers(0, 7),
)
def test_each_story_is_shown_once_or_not_at_all(
    texts: list[tuple[int, list[str]]], policy: MissingTranslationPolicy, language: str, followed: int
) -> None:
    source = material(texts, policy)
    shown = source.sections_shown(language)
    made = source.compose(language, followed & shown, LINKS)
    keys = [int(story.key) for section in made.sections for story in section.stories]
    assert len(keys) == len(set(keys))
    assert {section.key for section in made.sections} == {f"section-{bit}" for bit in section_bits(followed & shown)}
    assert len(made.sections) + len(made.unfollowed_sections) == len(section_bits(shown))
    for number, (bit, tags) in enumerate(texts):
        if language in tags:
            assert (number in keys) == bool(followed >> bit & 1)
        if policy is not MissingTranslationPolicy.fallback and language not in tags:
            assert number not in keys
    for section in made.sections:
        for story in section.stories:
            assert story.is_fallback == (story.language != language)
            assert story.language in texts[int(story.key)][1]
            assert story.headline.endswith(story.language)
