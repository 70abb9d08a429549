"""Reading and saving preferences."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailer.bootstrap import Container
from mailer.domain.consents import ConsentChannel
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.newsletter import NewsletterSettings, SectionSettings
from mailer.domain.newsletter_check import read_newsletter
from mailer.domain.preferences import NothingChosen, NotOffered, Preferences, section_mask
from mailer.domain.states import SubscriptionState
from mailer.domain.subscriber_fields import read_address
from mailer.domain.subscription_ref import UNDO_WINDOW, LinkKind, SubscriptionRef
from mailer.services.newsletters.apply import apply_newsletter
from mailer.services.subscribers.preferences import Profile, profile, save
from mailer.services.subscribers.unsubscribe import resubscribe, unsubscribe
from mailer.store import newsletters, subscribers

SAMPLE = Path(__file__).parents[3] / "docs" / "sample" / "newsletter.toml"
NOW = datetime(2026, 9, 30, 12, tzinfo=UTC)


class Someone:
    """One reader of the sample newsletter."""

    def __init__(self, app: Container, issue: int, address: str) -> None:
        self.database, self.issue = app.database, issue
        key = app.tokens.address_hash(read_address(address)[1])
        with self.database.transaction() as session:
            found = subscribers.by_hash(session, key)
            newsletter = newsletters.by_slug(session, "lumen-basin")
            assert found
            assert newsletter
            self.id, self.newsletter = found.id, newsletter.id
        self.tie = SubscriptionRef(self.id, issue=issue)

    @property
    def page(self) -> Profile:
        found = profile(self.database, self.tie, NOW)
        assert found
        return found

    @property
    def mask(self) -> int:
        with self.database.transaction() as session:
            tie = subscribers.subscription(session, self.newsletter, self.id)
            assert tie
            return tie.sections

    @property
    def languages(self) -> list[str]:
        with self.database.transaction() as session:
            found = subscribers.by_id(session, self.id)
            assert found
            return found.languages

    def choose(self, sections: list[int], languages: list[str], new_sections: bool = False) -> None:
        page = self.page
        mask = section_mask(sections, page.sections, new_sections=new_sections, current=page.preferences.sections)
        wanted = replace(page.preferences, sections=mask, languages=tuple(languages))
        assert save(self.database, self.tie, wanted, LinkKind.magic, NOW)


@pytest.fixture
def newsletter() -> NewsletterSettings:
    return read_newsletter(SAMPLE.read_text(encoding="utf-8"))


@pytest.fixture
def meet(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> Callable[[str], Someone]:
    """Take in a reader from a line of ``address;languages;sections``."""
    issue = import_issue("en")

    def run(line: str) -> Someone:
        add_subscribers(line)
        return Someone(app, issue, line.split(";")[0])

    return run


@pytest.mark.parametrize("new", [True, False])
def test_saved_preferences_are_exactly_the_chosen_ones(meet: Callable[[str], Someone], new: bool) -> None:
    ada = meet("ada@example.org;en;health-and-care")
    ada.choose([1, 4, 4], ["fr", "en", "fr"], new)
    to_come = ALL_SECTIONS & ~0b111111
    assert ada.mask == 0b010010 | (to_come if new else 0)
    assert ada.languages == ["fr", "en"]
    assert ada.page.preferences.new_sections is new


def test_new_section_is_added_for_followers_of_new_sections(
    app: Container, meet: Callable[[str], Someone], newsletter: NewsletterSettings
) -> None:
    ada, leila = meet("ada@example.org;en;"), meet("leila@example.org;en;")
    ada.choose([1], ["en"], True)
    leila.choose([1], ["en"], False)
    newsletter.sections.append(SectionSettings(key="weather", titles={"en": "Weather"}))
    apply_newsletter(app.database, newsletter)
    assert [s.title.text for s in ada.page.sections if s.followed] == ["Water and rivers", "Weather"]
    assert [s.title.text for s in leila.page.sections if s.followed] == ["Water and rivers"]


def test_always_included_section_keeps_the_earlier_choice(
    app: Container, meet: Callable[[str], Someone], newsletter: NewsletterSettings
) -> None:
    ada = meet("ada@example.org;en;news-and-events")
    leila = meet("leila@example.org;en;water-and-rivers")
    for everybody in (True, False):
        newsletter.sections[0].always_included = everybody
        apply_newsletter(app.database, newsletter)
        if everybody:
            ada.choose([], ["en"])
            leila.choose([1], ["en"])
    assert ada.mask == 0b01
    assert leila.mask == 0b10


def test_empty_selection_is_refused(meet: Callable[[str], Someone]) -> None:
    ada = meet("ada@example.org;en;")
    before = ada.mask, ada.languages
    with pytest.raises(NothingChosen):
        ada.choose([], ["fr"], True)
    for sections, languages in (([6], ["en"]), ([-1], ["en"]), ([0], []), ([0], ["en", "pt"])):
        with pytest.raises(NotOffered):
            ada.choose(sections, languages)
    assert (ada.mask, ada.languages) == before


@pytest.mark.parametrize(
    ("own", "shown", "chosen", "stored"),
    [
        # The region that the newsletter does not know stays, when its language stays.
        ("sr-Latn-BA en", ("sr-Latn", "en"), ["en", "sr-Latn"], ["en", "sr-Latn-BA"]),
        ("sr-Latn-BA en", ("sr-Latn", "en"), ["en"], ["en"]),
        # Languages that only other newsletters have keep their places.
        ("pt en", ("en",), ["fr"], ["pt", "fr"]),
        ("en pt fr", ("en", "fr"), ["fr", "en"], ["fr", "pt", "en"]),
        # Someone without any of the languages sees the one they are given.
        ("pt", ("en",), ["en"], ["pt", "en"]),
        ("sr", ("sr-Cyrl",), ["sr-Cyrl"], ["sr"]),
    ],
)
def test_languages_not_offered_are_kept(
    meet: Callable[[str], Someone], own: str, shown: tuple[str, ...], chosen: list[str], stored: list[str]
) -> None:
    ada = meet(f"ada@example.org;{own};")
    assert ada.page.languages == shown
    ada.choose([1], chosen)
    assert ada.languages == stored


def test_saving_unchanged_preferences_changes_nothing(meet: Callable[[str], Someone]) -> None:
    tags = st.sampled_from(["en", "en-GB", "fr-CH", "sr", "sr-Latn-BA", "sr-Cyrl", "pt", "zh-Hant", "ar", "de"])
    ada = meet("ada@example.org;en;")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
    @given(st.lists(tags, min_size=1, max_size=5, unique=True), st.integers(0, ALL_SECTIONS))
    def hold(languages: list[str], mask: int) -> None:
        with ada.database.transaction() as session:
            reader, tie = (
                subscribers.by_id(session, ada.id),
                subscribers.subscription(session, ada.newsletter, ada.id),
            )
            assert reader
            assert tie
            reader.languages, tie.sections = languages, mask | 1
        before = ada.page
        followed = [section.bit for section in before.sections if section.followed]
        ada.choose(followed, list(before.languages), before.preferences.new_sections)
        after = ada.page
        assert after.preferences.new_sections == before.preferences.new_sections
        # Somebody with none of the newsletter's languages is shown one, and has it once they save it.
        assert replace(after, preferences=before.preferences) == before

    hold()


def test_unsubscribing_can_be_undone_for_a_day(meet: Callable[[str], Someone]) -> None:
    ada = meet("ada@example.org;en;water-and-rivers")
    where = (ada.database, ada.tie)
    assert unsubscribe(*where, ConsentChannel.one_click, NOW)
    assert unsubscribe(*where, ConsentChannel.one_click, NOW + timedelta(hours=20))  # does not begin the day anew
    late = profile(*where, NOW + UNDO_WINDOW + timedelta(seconds=1))
    assert late
    assert not late.can_resubscribe
    assert not resubscribe(*where, LinkKind.mail, NOW + UNDO_WINDOW + timedelta(seconds=1))
    assert not ada.page.subscribed
    assert resubscribe(*where, LinkKind.mail, NOW + UNDO_WINDOW)
    assert ada.page.subscribed
    assert ada.mask == 0b10
    assert resubscribe(*where, LinkKind.mail, NOW + timedelta(days=400))  # is subscribed: nothing to take back


def test_unconfirmed_subscription_cannot_be_restored(meet: Callable[[str], Someone]) -> None:
    ada = meet("ada@example.org;en;")
    with ada.database.transaction() as session:
        subscribers.set_state(session, ada.newsletter, ada.id, SubscriptionState.pending, NOW)
    assert not resubscribe(ada.database, ada.tie, LinkKind.magic, NOW)
    assert not ada.page.subscribed


def test_page_of_an_unknown_subscriber(meet: Callable[[str], Someone]) -> None:
    ada = meet("ada@example.org;en;")
    for tie in (
        SubscriptionRef(ada.id + 1, ada.issue),
        SubscriptionRef(ada.id, ada.issue + 1),
        SubscriptionRef(ada.id),
        SubscriptionRef(ada.id, newsletter=99),
    ):
        where = (ada.database, tie)
        assert profile(*where, NOW) is None
        assert not unsubscribe(*where, ConsentChannel.one_click, NOW)
        assert not resubscribe(*where, LinkKind.mail, NOW)
        assert save(*where, Preferences(languages=("en",)), LinkKind.mail, NOW) is None
