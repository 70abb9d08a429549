"""Which stories a subject or introduction speaks of."""

import re

import pytest

from mailer.domain.mentions import StoryIndex, StoryWording, count_words
from tests.conftest import SAMPLE


def headlines(language: str) -> tuple[list[str], str, StoryIndex]:
    """The headlines, the front matter and introduction, and the index of the sample."""
    source = (SAMPLE / f"2026-3.{language}.md").read_text("utf-8")
    stories = re.findall(r"^### (.*)\n((?:(?!##).*\n)*)", source, re.MULTILINE)
    index = StoryIndex({at: StoryWording(*story) for at, story in enumerate(stories)})
    return [headline for headline, _ in stories], source.partition("\n## ")[0], index


@pytest.mark.parametrize(
    ("text", "stories"),
    [
        ("Nine countries, one river charter – The Lumen Basin Quarterly 2026/3", ["Nine countries sign"]),
        ("An electric ferry", ["The ferry at Port Selin"]),
        ("Ferries!", []),  # Ferry is another word, and guessing costs trust
        ("Floods foreseen a day earlier, and a library that travels", ["New gauges warn", "The travelling library"]),
        ("News from the river", []),
        ("Welcome to the third issue of 2026. Read them in any order. Every letter gets an answer.", []),
        ("See [our page](https://example.org/electric-ferry-port-selin).", []),
        ("", []),
    ],
)
def test_mentions_in_english(text: str, stories: list[str]) -> None:
    titles, _, index = headlines("en")
    found = [titles[at] for at in index.mentioned(text)]
    assert len(found) == len(stories)
    assert all(title.startswith(beginning) for title, beginning in zip(found, stories, strict=True))


@pytest.mark.parametrize("language", ["en", "fr", "es", "bs", "hr", "sr-Latn", "sr-Cyrl", "sl", "mk", "ro", "bg", "el"])
def test_subject_of_the_sample_speaks_of_its_first_story(language: str) -> None:
    _, front, index = headlines(language)
    subject = re.search(r'^subject: "(.*)"', front, re.MULTILINE)
    assert subject and index.mentioned(subject[1]) == [0]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ja", "今月号は河川憲章の話題です。"),
        ("zh", "九国签署河流宪章"),
        ("ar", "ميثاق النهر الجديد"),
        ("de", "Die Flusscharta"),
    ],
)
def test_scripts_without_spaces_or_case(language: str, text: str) -> None:
    stories = {
        "ja": ("九か国が河川憲章に署名", "電動フェリーが就航"),
        "zh": ("九国签署流域河流宪章", "渡轮改用电力"),
        "ar": ("تسع دول توقّع ميثاق النهر", "العبّارة تعمل بالكهرباء"),
        "de": ("Neun Länder unterzeichnen die Flusscharta", "Die Fähre fährt elektrisch"),
    }[language]
    index = StoryIndex({at: StoryWording(headline, "") for at, headline in enumerate(stories)})
    assert index.mentioned(text) == [0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("Two words", 2),
        ("**Bold** – it's *one* [link here](https://example.org/a b)", 5),
        ("l’eau, aujourd’hui", 2),
        ("九国签署 charter", 5),
        ("— … !", 0),
    ],
)
def test_count_words(text: str, words: int) -> None:
    assert count_words(text) == words
