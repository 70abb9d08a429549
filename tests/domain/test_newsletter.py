"""Newsletter settings: the sample is valid, and every error is named."""

import pytest

from mailer.domain.newsletter import NewsletterError, read_newsletter
from mailer.settings import ROOT

LEAST = """
slug = "lumen"
sender_name = "Lumen"
sender_address = "lumen@example.org"
postal_address = "1 Example Quay"
list_id = "lumen.example.org"
default_language = "en"
languages = ["en", "sr-latn"]
names = {EN = "Lumen"}
"""


def test_the_sample() -> None:
    made = read_newsletter((ROOT / "docs/sample/newsletter.toml").read_text("utf-8"))
    assert made.slug == "lumen-basin"
    assert len(made.sections) == 6
    assert len(made.languages) == 18
    assert all(set(made.languages) <= set(section.titles) for section in made.sections)
    assert set(made.fallbacks) <= set(made.languages)


def test_minimal_settings() -> None:
    made = read_newsletter(LEAST)
    assert made.languages == ["en", "sr-Latn"], "tags have one spelling"
    assert made.names == {"en": "Lumen"}
    assert made.tracking == "aggregate"
    assert (made.reply_to, made.website, made.sections) == ("", "", [])


def test_non_ascii_sender_domain_is_converted() -> None:
    made = read_newsletter(LEAST.replace("lumen@example.org", "lumen@пример.org"))
    assert made.sender_address == "lumen@xn--e1afmkfd.org"


@pytest.mark.parametrize(
    ("change", "to", "complaint"),
    [
        ('slug = "lumen"', 'slug = "Lumen River"', "slug:"),
        ('"lumen@example.org"', '"lumen"', "sender_address:"),
        ('"lumen@example.org"', '"лумен@example.org"', "sender_address:"),
        (
            'sender_name = "Lumen"',
            r'sender_name = "Lumen\nBcc: x@example.org"',
            "sender_name: must be a single line",
        ),
        ('postal_address = "1 Example Quay"', "", "postal_address:"),
        ('"lumen.example.org"', '"lumen"', "list_id:"),
        ('default_language = "en"', 'default_language = "fr"', "default_language fr is not among languages"),
        ('"sr-latn"', '"klingonish"', "klingonish"),
        ("names = ", "nam = ", "nam:"),
        ('{EN = "Lumen"}', "{}", "names needs at least one name"),
        ("slug =", "slug", "This is not TOML"),
        ('slug = "lumen"', 'slug = "lumen"\ntracking = "all"', "tracking:"),
        ('slug = "lumen"', 'slug = "lumen"\nwebsite = "javascript:alert(1)"', "website:"),
        ('slug = "lumen"', 'slug = "lumen"\ntheme = {accent = "red;}"}', "theme.accent:"),
        (
            'slug = "lumen"',
            'slug = "lumen"\ntext_overrides = {fr = {a = "b"}}',
            "text_overrides: fr is not among languages",
        ),
        ('slug = "lumen"', 'slug = "lumen"\ntext_overrides = {en = {a = 1}}', "text_overrides.en.a"),
        (
            'slug = "lumen"',
            'slug = "lumen"\nsections = [{key = "a", titles = {en = "A"}}, {key = "a", titles = {en = "B"}}]',
            "two sections have the key a",
        ),
    ],
)
def test_invalid_settings_are_named(change: str, to: str, complaint: str) -> None:
    assert change in LEAST
    with pytest.raises(NewsletterError) as refused:
        read_newsletter(LEAST.replace(change, to, 1))
    assert complaint in str(refused.value)


def test_a_newsletter_has_at_most_62_sections() -> None:
    def with_sections(count: int) -> str:
        listed = ", ".join(f'{{key = "s{n}", titles = {{en = "S"}}}}' for n in range(count))
        return LEAST.replace("slug =", f"sections = [{listed}]\nslug =")

    assert len(read_newsletter(with_sections(62)).sections) == 62
    with pytest.raises(NewsletterError, match="at most 62 sections"):
        read_newsletter(with_sections(63))


def test_every_mistake_is_on_a_line_of_its_own() -> None:
    with pytest.raises(NewsletterError) as refused:
        read_newsletter(LEAST.replace("lumen@example.org", "x").replace('"lumen.example.org"', '"y"'))
    assert len(str(refused.value).splitlines()) == 2
