"""Which stories an edition shows, in which language, and which sections a reader gets."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.domain.editions import (
    ALL_SECTIONS,
    Rules,
    StoryText,
    bits,
    missing,
    sections_for,
    sections_shown,
    shown_in,
)
from mailer.domain.states import MissingPolicy

CHAINS = {"bs": ["hr", "sr-Latn", "en"], "sr-Latn": ["sr-Cyrl", "en"]}
_TAG = st.sampled_from(["en", "fr", "bs", "hr", "sr-Latn", "sr-Cyrl", "ar"])
_STORIES = st.lists(
    st.builds(StoryText, st.integers(1, 99), st.integers(0, 61), st.frozensets(_TAG, max_size=4)), max_size=9
)
_MASK = st.integers(0, ALL_SECTIONS)
_RULES = st.builds(
    Rules,
    st.lists(_TAG, min_size=1, unique=True),
    st.dictionaries(_TAG, st.lists(_TAG, max_size=3), max_size=4),
    _TAG,
    st.sampled_from(MissingPolicy),
)


def rules(policy: MissingPolicy) -> Rules:
    return Rules(["en", "bs", "sr-Latn"], CHAINS, "en", policy)


def story(*languages: str, bit: int = 0) -> StoryText:
    return StoryText(1, bit, frozenset(languages))


def test_a_story_falls_back_by_the_chain_of_the_editions_language() -> None:
    by_chain = rules(MissingPolicy.fall_back)
    assert shown_in(story("en", "bs"), "bs", by_chain) == "bs"
    assert shown_in(story("en", "sr-Latn"), "bs", by_chain) == "sr-Latn"
    assert shown_in(story("en", "sr-Cyrl"), "sr-Latn", by_chain) == "sr-Cyrl"
    assert shown_in(story("en"), "fr", by_chain) == "en", "the newsletter's default is the last resort"
    assert shown_in(story("ar"), "bs", by_chain) is None, "no chain leads there"
    assert shown_in(story(), "bs", by_chain) is None


def test_a_story_without_the_language_is_left_out_where_the_issue_says_so() -> None:
    for policy in (MissingPolicy.leave_out, MissingPolicy.block):
        assert shown_in(story("en", "hr"), "bs", rules(policy)) is None
        assert shown_in(story("en", "bs"), "bs", rules(policy)) == "bs"


def test_a_section_is_shown_when_one_of_its_stories_is() -> None:
    stories = [story("en", bit=0), story("bs", bit=0), story("en", bit=3), story("bs", "en", bit=61)]
    assert bits(sections_shown(stories, "bs", rules(MissingPolicy.leave_out))) == [0, 61]
    assert bits(sections_shown(stories, "bs", rules(MissingPolicy.fall_back))) == [0, 3, 61]
    assert sections_shown([], "bs", rules(MissingPolicy.fall_back)) == 0


def test_what_blocks_is_every_gap_in_a_language_of_the_issue() -> None:
    stories = [StoryText(7, 0, frozenset({"en", "bs"})), StoryText(8, 1, frozenset({"sr-Latn", "fr"}))]
    assert missing(stories, rules(MissingPolicy.block)) == [(7, "sr-Latn"), (8, "en"), (8, "bs")]


@given(_MASK, _MASK, _MASK)
def test_a_reader_gets_what_they_follow_and_what_everybody_gets_as_far_as_it_is_shown(
    followed: int, always: int, shown: int
) -> None:
    got = set(bits(sections_for(followed, always, shown)))
    assert got == (set(bits(followed)) | set(bits(always))) & set(bits(shown))


@given(_MASK)
def test_a_mask_is_the_sum_of_its_bits(mask: int) -> None:
    found = bits(mask)
    assert found == sorted(set(found))
    assert sum(1 << bit for bit in found) == mask


def test_who_follows_everything_follows_each_section_there_can_be() -> None:
    assert bits(ALL_SECTIONS) == list(range(62))


@settings(max_examples=300)
@given(_STORIES, _TAG, _RULES)
def test_a_story_is_shown_in_a_language_that_it_has(
    stories: list[StoryText], edition: str, given_rules: Rules
) -> None:
    expected = 0
    for one in stories:
        found = shown_in(one, edition, given_rules)
        if found is None:
            assert edition not in one.languages
            continue
        assert found in one.languages
        assert found == edition or given_rules.policy is MissingPolicy.fall_back
        assert found == edition or edition not in one.languages
        expected |= 1 << one.bit
    assert sections_shown(stories, edition, given_rules) == expected
