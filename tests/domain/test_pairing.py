"""Stories of a document find their partners by the surest evidence first, and what is left is not guessed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.domain.pairing import Traits, pair

JULY, AUGUST = (("2026-07-01", "2026-07-02"),), (("2026-08-01", "2026-08-01"),)


def test_the_same_headlines_pair_in_whatever_order() -> None:
    found = pair([Traits("b"), Traits("a")], [Traits("a"), Traits("b"), Traits("c")])
    assert found.pairs == {0: 1, 1: 0}
    assert found.by_order == ()
    assert found.unpaired == ()


def test_pictures_links_and_dates_pair_across_languages() -> None:
    document = [Traits("x", dates=JULY), Traits("y", link="/y"), Traits("z", picture="p")]
    issue = [Traits("1", picture="p"), Traits("2", dates=JULY), Traits("3", link="/y")]
    found = pair(document, issue)
    assert found.pairs == {0: 1, 1: 2, 2: 0}
    assert found.by_order == ()


def test_a_headline_outranks_a_picture_and_a_picture_the_dates() -> None:
    document = [Traits("a", picture="q", dates=JULY)]
    issue = [Traits("c", dates=JULY), Traits("b", picture="q"), Traits("a")]
    assert pair(document, issue).pairs == {0: 2}
    assert pair(document, issue[:2]).pairs == {0: 1}


def test_a_trait_that_two_stories_share_proves_nothing() -> None:
    found = pair([Traits(dates=JULY), Traits(dates=JULY)], [Traits(dates=JULY), Traits(dates=AUGUST)])
    assert found.pairs == {0: 0}
    assert found.by_order == (0,), "it is said that only the order speaks for it"


def test_order_speaks_only_when_as_many_are_left_on_both_sides() -> None:
    found = pair([Traits("a"), Traits("new")], [Traits("a"), Traits("old")])
    assert found.pairs == {0: 0, 1: 1}
    assert found.by_order == (1,)
    found = pair([Traits("a"), Traits("new"), Traits("newer")], [Traits("a"), Traits("old")])
    assert found.pairs == {0: 0}
    assert found.unpaired == (1, 2)


def test_order_does_not_speak_against_dates_or_pictures() -> None:
    assert pair([Traits(dates=JULY)], [Traits(dates=AUGUST)]).unpaired == (0,)
    assert pair([Traits(picture="p")], [Traits(picture="q")]).unpaired == (0,)
    assert pair([Traits(dates=JULY)], [Traits()]).by_order == (0,)


_TRAITS = st.builds(
    Traits,
    st.sampled_from(["", "a", "b", "c"]),
    st.sampled_from(["", "p", "q"]),
    st.sampled_from(["", "/1", "/2"]),
    st.sampled_from([(), JULY, AUGUST]),
)


@settings(max_examples=500)
@given(st.lists(_TRAITS, max_size=6), st.lists(_TRAITS, max_size=6))
def test_no_story_has_two_partners_and_none_is_forgotten(document: list[Traits], issue: list[Traits]) -> None:
    found = pair(document, issue)
    assert len(set(found.pairs.values())) == len(found.pairs)
    assert set(found.pairs.values()) <= set(range(len(issue)))
    assert sorted([*found.pairs, *found.unpaired]) == list(range(len(document)))
    assert set(found.by_order) <= set(found.pairs)


@settings(max_examples=300)
@given(st.lists(_TRAITS, max_size=6, unique_by=lambda story: story.headline))
def test_the_same_stories_shuffled_find_themselves(stories: list[Traits]) -> None:
    stories = [story for story in stories if story.headline]
    there = sorted(stories, key=lambda story: (story.picture, story.headline))
    found = pair(stories, there)
    assert all(stories[at] == there[other] for at, other in found.pairs.items())
    assert len(found.pairs) == len(stories)
