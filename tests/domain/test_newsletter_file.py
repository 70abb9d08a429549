"""A newsletter's file: written from its settings, to start from, and described."""

import re
from datetime import time

import pytest
from pydantic import BaseModel

from mailer.domain.newsletter import NESTED, NewsletterSettings, example
from mailer.domain.newsletter_check import NewsletterError, read_newsletter
from mailer.domain.newsletter_file import reference_table, starter_file, to_toml
from mailer.settings import ROOT


def test_settings_are_read_again_from_their_file() -> None:
    sample = read_newsletter((ROOT / "docs/sample/newsletter.toml").read_text("utf-8"))
    assert read_newsletter(to_toml(sample)) == sample
    odd = sample.model_copy(
        update={
            "sender_name": 'A "quoted" \\ name — Ä',
            "public": False,
            "quiet_from": time(21),
            "quiet_until": time(7, 30),
            "text_overrides": {"fr": {"%(num)d story found": ["%(num)d récit", "%(num)d récits"], "A.b": "C"}},
        }
    )
    assert read_newsletter(to_toml(odd)) == odd


def test_starter_file_is_valid_as_it_is_and_with_every_example() -> None:
    text = starter_file("river-news")
    assert read_newsletter(text).slug == "river-news"
    everything = read_newsletter(re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.MULTILINE))
    unset = NewsletterSettings.model_fields.keys() - everything.model_fields_set
    assert unset == set()
    assert everything.sections[0].colour and everything.sections[0].descriptions


def test_starter_file_needs_a_slug() -> None:
    with pytest.raises(NewsletterError, match=r"^slug: “\.\./x” does not fit"):
        read_newsletter(starter_file("../x"))


def test_documented_table_matches_the_settings() -> None:
    page = (ROOT / "docs" / "newsletter.md").read_text("utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    assert table == reference_table(), "Put the output of `mailer newsletter settings` into docs/newsletter.md."


def test_every_setting_has_an_example_with_its_name() -> None:
    models: list[type[BaseModel]] = [NewsletterSettings, *NESTED.values()]
    for model in models:
        for name, field in model.model_fields.items():
            assert example(field).startswith(f"{name} = ")
            assert field.description
