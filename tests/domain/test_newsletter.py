"""Newsletter settings: the sample is valid, and every error is named."""

import pytest

from mailer.domain.newsletter_check import NewsletterError, read_newsletter
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
        ('{EN = "Lumen"}', "{}", "names: needs at least one entry. Example: names = {en = "),
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
    with pytest.raises(NewsletterError, match="sections: has more than 62 entries"):
        read_newsletter(with_sections(63))


def test_every_mistake_is_on_a_line_of_its_own() -> None:
    with pytest.raises(NewsletterError) as refused:
        read_newsletter(LEAST.replace("lumen@example.org", "x").replace('"lumen.example.org"', '"y"'))
    assert len(str(refused.value).splitlines()) == 2


def test_all_errors_are_named_at_once_each_with_an_example() -> None:
    with pytest.raises(NewsletterError) as refused:
        read_newsletter("""
slug = "Lumen River"
names = {}
sender_nam = "x"
sender_address = "lumen"
reply_to = "x"
postal_address = " "
languages = ["en", "klingonish"]
default_language = "fr"
quiet_from = 21:00:00
list_id = "lumen.example.org"
theme = {accent = "red", txt = "#000000"}
text_overrides = {de = {a = 1}}
[[sections]]
key = "a"
titles = {en = "A\\nB"}
[[sections]]
key = "a"
[[sections]]
titles = {}
""")
    lines = str(refused.value).splitlines()
    starts = [
        "slug: “Lumen River” does not fit. ",
        "names: needs at least one entry. ",
        "sender_name: is missing. ",
        "sender_address: ",
        "reply_to: ",
        "postal_address: must not be empty",
        "languages.1: “klingonish” is not a language tag",
        "theme.accent: “red” does not fit. ",
        "text_overrides.de.a: ",
        "section “a”, titles.en: must be a single line. ",
        "section “a”, titles: is missing. ",
        "section number 3, key: is missing. ",
        "section number 3, titles: needs at least one entry. ",
        "quiet hours need two different times. ",
        "default_language fr is not among languages. ",
    ]
    for start in starts:
        (line,) = (line for line in lines if line.startswith(start))
        assert ". Example: " in line
    rest = [line for line in lines if not any(line.startswith(start) for start in starts)]
    assert sorted(rest) == [
        "sender_nam: there is no such setting. Did you mean sender_name?",
        "text_overrides: de is not among languages",
        "theme.txt: there is no such setting. Did you mean text?",
        "two sections have the key a. Give each section a key of its own",
    ]


def test_errors_of_text_overrides_are_named_with_the_others() -> None:
    source = LEAST.replace('["en"', '["de"') + 'text_overrides = {de = {a = "b"}}\n'
    with pytest.raises(NewsletterError) as refused:
        read_newsletter(source, lambda overrides: [(tag, "a", "no such text") for tag in overrides])
    assert "default_language en is not among" in str(refused.value)
    assert "text_overrides.de: “a”: no such text" in str(refused.value)


@pytest.mark.parametrize(
    "source",
    ["sections = 1", "sections = [1, 2]", 'languages = "en"', "languages = [1]", "theme = 1", "names = [1]", "a.b = 1",
     "default_language = 1", "text_overrides = [1]", "quiet_from = 1979-05-27", '[[sections]]\nkey = ["a"]',
     "text_overrides = {1 = {}}", 'names = {"" = 1}', 'names = {"[key]" = 1}'],
)  # fmt: skip
def test_values_of_any_type_are_refused_in_words(source: str) -> None:
    with pytest.raises(NewsletterError, match="slug: is missing"):
        read_newsletter(source)


def test_a_problem_knows_where_it_is_and_says_it_without_the_file_for_a_form() -> None:
    with pytest.raises(NewsletterError) as refused:
        read_newsletter(
            LEAST.replace('"lumen@example.org"', '"x"').replace('{EN = "Lumen"}', '{en = "A\\nB"}')
            + 'time_zone = "CET"\nquiet_from = 21:00:00\n[theme]\naccent = "red"\n'
        )
    problems = {problem.path: problem.message for problem in refused.value.problems}
    assert problems[("names", "en")] == "must be a single line"
    assert "time zone of a place" in problems[("time_zone",)]
    assert problems[("quiet_from",)] == "quiet hours need two different times"
    assert set(problems) == {
        ("sender_address",),
        ("names", "en"),
        ("time_zone",),
        ("quiet_from",),
        ("theme", "accent"),
    }
    assert "Example" not in "".join(problems.values())


def test_no_line_is_endless() -> None:
    with pytest.raises(NewsletterError, match="sender_name: must have at most 1000 characters"):
        read_newsletter(LEAST.replace('sender_name = "Lumen"', f'sender_name = "{"x" * 1001}"'))
