"""Which stories an edition shows, in which language, and which sections a reader gets."""

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.editions import (
    ALL_SECTIONS,
    DigestSource,
    LanguageRules,
    StoryLanguages,
    language_shown,
    missing_languages,
    section_bits,
    sections_shown,
)
from mailer.domain.states import MissingTranslationPolicy

CHAINS = {"bs": ["hr", "sr-Latn", "en"], "sr-Latn": ["sr-Cyrl", "en"]}
_TAG = st.sampled_from(["en", "fr", "bs", "hr", "sr-Latn", "sr-Cyrl", "ar"])
_STORIES = st.lists(
    st.builds(StoryLanguages, st.integers(1, 99), st.integers(0, 61), st.frozensets(_TAG, max_size=4)),
    max_size=9,
)
_MASK = st.integers(0, ALL_SECTIONS)
_RULES = st.builds(
    LanguageRules,
    st.lists(_TAG, min_size=1, unique=True),
    st.dictionaries(_TAG, st.lists(_TAG, max_size=3), max_size=4),
    _TAG,
    st.sampled_from(MissingTranslationPolicy),
)


def rules(policy: MissingTranslationPolicy) -> LanguageRules:
    return LanguageRules(["en", "bs", "sr-Latn"], CHAINS, "en", policy)


def story(*languages: str, bit: int = 0) -> StoryLanguages:
    return StoryLanguages(1, bit, frozenset(languages))


def test_a_story_falls_back_by_the_chain_of_the_editions_language() -> None:
    by_chain = rules(MissingTranslationPolicy.fallback)
    assert language_shown(story("en", "bs"), "bs", by_chain) == "bs"
    assert language_shown(story("en", "sr-Latn"), "bs", by_chain) == "sr-Latn"
    assert language_shown(story("en", "sr-Cyrl"), "sr-Latn", by_chain) == "sr-Cyrl"
    assert language_shown(story("en"), "fr", by_chain) == "en", "the newsletter's default is the last resort"
    assert language_shown(story("ar"), "bs", by_chain) is None, "no chain leads there"
    assert language_shown(story(), "bs", by_chain) is None


def test_untranslated_story_is_omitted_by_policy() -> None:
    for policy in (MissingTranslationPolicy.omit, MissingTranslationPolicy.block):
        assert language_shown(story("en", "hr"), "bs", rules(policy)) is None
        assert language_shown(story("en", "bs"), "bs", rules(policy)) == "bs"


def test_a_story_in_a_digest_has_the_policy_of_its_own_issue() -> None:
    digest = LanguageRules(["en", "bs", "fr"], CHAINS, "en", MissingTranslationPolicy.fallback)
    for policy, shown in ((MissingTranslationPolicy.omit, None), (MissingTranslationPolicy.fallback, "en")):
        source = DigestSource(7, LanguageRules(["en", "bs"], CHAINS, "en", policy), {})
        copied = StoryLanguages(1, 0, frozenset({"en"}), source)
        assert language_shown(copied, "bs", digest) == shown
        assert language_shown(copied, "fr", digest) == "en", "French readers would have got that issue in English"


def test_section_is_shown_if_any_story_is() -> None:
    stories = [story("en", bit=0), story("bs", bit=0), story("en", bit=3), story("bs", "en", bit=61)]
    assert section_bits(sections_shown(stories, "bs", rules(MissingTranslationPolicy.omit))) == [0, 61]
    assert section_bits(sections_shown(stories, "bs", rules(MissingTranslationPolicy.fallback))) == [0, 3, 61]
    assert sections_shown([], "bs", rules(MissingTranslationPolicy.fallback)) == 0


def test_every_missing_translation_blocks_by_policy() -> None:
    stories = [
        StoryLanguages(7, 0, frozenset({"en", "bs"})),
        StoryLanguages(8, 1, frozenset({"sr-Latn", "fr"})),
    ]
    assert missing_languages(stories, rules(MissingTranslationPolicy.block)) == [
        (7, "sr-Latn"),
        (8, "en"),
        (8, "bs"),
    ]


@given(_MASK)
def test_a_mask_is_the_sum_of_its_bits(mask: int) -> None:
    found = section_bits(mask)
    assert found == sorted(set(found))
    assert sum(1 << bit for bit in found) == mask


def test_all_sections_mask_contains_every_section() -> None:
    assert section_bits(ALL_SECTIONS) == list(range(62))


@given(_STORIES, _TAG, _RULES)
def test_a_story_is_shown_in_a_language_that_it_has(
    stories: list[StoryLanguages], edition: str, given_rules: LanguageRules
) -> None:
    expected = 0
    for one in stories:
        found = language_shown(one, edition, given_rules)
        if found is None:
            assert edition not in one.languages
            continue
        assert found in one.languages
        assert found == edition or given_rules.missing_translations is MissingTranslationPolicy.fallback
        assert found == edition or edition not in one.languages
        expected |= 1 << one.section_bit
    assert sections_shown(stories, edition, given_rules) == expected
