"""Text overrides: valid ones, and error messages for the others."""

import pytest

from mailer.domain.text_overrides import (
    CatalogueMessage,
    OverrideText,
    override_error,
    override_errors,
    overrides_for,
)

COUNTED = CatalogueMessage("%(num)d story in %(section)s", "%(num)d stories in %(section)s")
LEAVE = CatalogueMessage("Unsubscribe")
ADDRESS = CatalogueMessage("This email was sent to: %(address)s", ends_in_slot=True)


def test_overrides_are_found_by_the_nearest_tag() -> None:
    overrides = {"sr": {"a": "1"}, "sr-Latn": {"a": "2"}}
    assert overrides_for(overrides, "sr-Latn-BA") == {"a": "2"}
    assert overrides_for(overrides, "sr-Cyrl") == {"a": "1"}
    assert overrides_for(overrides, "fr") == {}


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        (LEAVE, "Se désabonner"),
        (LEAVE, "100 %% off"),
        (COUNTED, ["%(num)d in %(section)s"] * 3),
        (ADDRESS, "Sent to %(address)s"),
    ],
)
def test_valid_overrides_are_accepted(phrase: CatalogueMessage, words: OverrideText) -> None:
    assert override_error(phrase, words, 3) == ""


@pytest.mark.parametrize(
    ("phrase", "words", "complaint"),
    [
        (LEAVE, "  ", "must not be empty"),
        (LEAVE, ["Leave"], "one text"),
        (LEAVE, "Leave %(newsletter)s", "must contain no placeholder"),
        (LEAVE, "100 % off", "write a percent sign as %%"),
        (LEAVE, "100%(off", "write a percent sign as %%"),
        (COUNTED, "%(num)d in %(section)s", "a list of 3"),
        (COUNTED, ["%(num)d in %(section)s"] * 2, "a list of 3"),
        (COUNTED, ["%(num)d in %(section)s", "one", "two"], "must contain %(num)d, %(section)s"),
        (COUNTED, ["%(num)s in %(section)s"] * 3, "must contain %(num)d, %(section)s"),
        (ADDRESS, "%(address)s gets this", "must end with a space and %(address)s"),
        (ADDRESS, "Sent to: %(address)s.", "must end with a space and %(address)s"),
        (ADDRESS, "Sent to:%(address)s", "a space and"),
    ],
)
def test_invalid_overrides_give_a_reason(phrase: CatalogueMessage, words: OverrideText, complaint: str) -> None:
    assert complaint in override_error(phrase, words, 3)


def test_invalid_overrides_are_listed_with_language_and_suggestion() -> None:
    known = {phrase.text: phrase for phrase in (COUNTED, LEAVE, ADDRESS)}
    overrides = {"fr": {"Unsubscribe": "Partir", "Unsuscribe": "Partir"}, "sr": {"Unsubscribe": ""}}
    assert list(override_errors(overrides, known, lambda language: 2)) == [
        ("fr", "Unsuscribe", "there is no such text. Did you mean “Unsubscribe”?"),
        ("sr", "Unsubscribe", "the text must not be empty"),
    ]
