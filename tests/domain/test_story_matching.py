"""Story matching uses the strongest evidence first and does not guess."""

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.story_matching import StoryFingerprint, match_stories

JULY, AUGUST = (("2026-07-01", "2026-07-02"),), (("2026-08-01", "2026-08-01"),)


def test_equal_headlines_match_in_any_order() -> None:
    found = match_stories(
        [StoryFingerprint("b"), StoryFingerprint("a")],
        [StoryFingerprint("a"), StoryFingerprint("b"), StoryFingerprint("c")],
    )
    assert found.pairs == {0: 1, 1: 0}
    assert found.by_position == ()
    assert found.unmatched == ()


def test_pictures_links_and_dates_match_across_languages() -> None:
    document = [
        StoryFingerprint("x", dates=JULY),
        StoryFingerprint("y", link="/y"),
        StoryFingerprint("z", picture="p"),
    ]
    issue = [
        StoryFingerprint("1", picture="p"),
        StoryFingerprint("2", dates=JULY),
        StoryFingerprint("3", link="/y"),
    ]
    found = match_stories(document, issue)
    assert found.pairs == {0: 1, 1: 2, 2: 0}
    assert found.by_position == ()


def test_a_headline_outranks_a_picture_and_a_picture_the_dates() -> None:
    document = [StoryFingerprint("a", picture="q", dates=JULY)]
    issue = [StoryFingerprint("c", dates=JULY), StoryFingerprint("b", picture="q"), StoryFingerprint("a")]
    assert match_stories(document, issue).pairs == {0: 2}
    assert match_stories(document, issue[:2]).pairs == {0: 1}


def test_shared_traits_do_not_match() -> None:
    found = match_stories(
        [StoryFingerprint(dates=JULY), StoryFingerprint(dates=JULY)],
        [StoryFingerprint(dates=JULY), StoryFingerprint(dates=AUGUST)],
    )
    assert found.pairs == {0: 0}
    assert found.by_position == (0,), "it is said that only the order speaks for it"


def test_position_matches_only_equal_numbers_of_stories() -> None:
    found = match_stories(
        [StoryFingerprint("a"), StoryFingerprint("new")], [StoryFingerprint("a"), StoryFingerprint("old")]
    )
    assert found.pairs == {0: 0, 1: 1}
    assert found.by_position == (1,)
    found = match_stories(
        [StoryFingerprint("a"), StoryFingerprint("new"), StoryFingerprint("newer")],
        [StoryFingerprint("a"), StoryFingerprint("old")],
    )
    assert found.pairs == {0: 0}
    assert found.unmatched == (1, 2)


def test_position_does_not_override_dates_or_pictures() -> None:
    assert match_stories([StoryFingerprint(dates=JULY)], [StoryFingerprint(dates=AUGUST)]).unmatched == (0,)
    assert match_stories([StoryFingerprint(picture="p")], [StoryFingerprint(picture="q")]).unmatched == (0,)
    assert match_stories([StoryFingerprint(dates=JULY)], [StoryFingerprint()]).by_position == (0,)


_TRAITS = st.builds(
    StoryFingerprint,
    st.sampled_from(["", "a", "b", "c"]),
    st.sampled_from(["", "p", "q"]),
    st.sampled_from(["", "/1", "/2"]),
    st.sampled_from([(), JULY, AUGUST]),
)


@given(st.lists(_TRAITS, max_size=6), st.lists(_TRAITS, max_size=6))
def test_matching_is_one_to_one_and_complete(document: list[StoryFingerprint], issue: list[StoryFingerprint]) -> None:
    found = match_stories(document, issue)
    assert len(set(found.pairs.values())) == len(found.pairs)
    assert set(found.pairs.values()) <= set(range(len(issue)))
    assert sorted([*found.pairs, *found.unmatched]) == list(range(len(document)))
    assert set(found.by_position) <= set(found.pairs)


@given(st.lists(_TRAITS, max_size=6, unique_by=lambda story: story.headline))
def test_shuffled_stories_match_themselves(stories: list[StoryFingerprint]) -> None:
    stories = [story for story in stories if story.headline]
    there = sorted(stories, key=lambda story: (story.picture, story.headline))
    found = match_stories(stories, there)
    assert all(stories[at] == there[other] for at, other in found.pairs.items())
    assert len(found.pairs) == len(stories)
