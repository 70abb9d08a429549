"""Editions as they are compiled from the rows of an issue."""

import re
from collections.abc import Callable
from itertools import chain, combinations
from pathlib import Path

from mailer.adapters.markdown import inline_text
from mailer.bootstrap import Container
from mailer.domain.content import EditionUrls
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.mentions import StoryIndex, StoryWording
from mailer.domain.partial_editions import edition_subject_and_preheader
from mailer.domain.ports import PreparedPicture
from mailer.models import Picture
from mailer.services.archive import mail_files
from mailer.services.issues import compile, issue_pictures
from mailer.services.issues.issue_pictures import NewPicture
from mailer.store import pictures as picture_table

Import = Callable[..., int]

SAMPLE = Path(__file__).parents[3] / "docs" / "sample"


def compiled(app: Container, issue: int, language: str, sections: int = ALL_SECTIONS) -> compile.CompiledEdition:
    source = compile.load_issue(app.database, app.urls, issue)
    return compile.EditionCompiler(source, app.renderer, app.urls, "").compile_edition(
        app.urls.web_view_url(1, 1), language, sections
    )


def test_no_sample_mail_promises_a_story_that_it_does_not_have(app: Container, import_issue: Import) -> None:
    """In no language, and with no choice of sections."""
    tags = sorted((file.name.split(".")[1] for file in SAMPLE.glob("2026-3.*.md")), key=lambda tag: tag != "en")
    source = compile.load_issue(app.database, app.urls, import_issue(*tags))
    for language in tags:
        content = source.compose(language, ALL_SECTIONS, EditionUrls(""))
        headlines = {
            section.key: [inline_text(story.headline) for story in section.stories] for section in content.sections
        }
        assert sum(map(len, headlines.values())) == 16
        for keys in chain.from_iterable(combinations(headlines, size) for size in range(1, 6)):
            subject, preheader = edition_subject_and_preheader(content, keys, inline_text)
            held = [headline for key in keys for headline in headlines[key]]
            assert subject.startswith(tuple(held)), (language, subject)
            assert set(preheader.split(" · ")) <= set(held), (language, preheader)
        index = StoryIndex(
            {
                int(story.key): StoryWording(story.headline, story.body)
                for section in content.sections
                for story in section.stories
            }
        )
        assert content.partial_intro and index.mentioned(content.partial_intro) == [], language
        assert index.mentioned(content.intro), language


def test_partial_edition_is_stored_and_sent_with_its_own_subject(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    edition = compiled(app, issue, "en", 0b10)
    assert edition.subject == "New gauges warn of floods a day earlier – The Lumen Basin Quarterly 2026/3"
    assert b"Subject: =?utf-8?q?New_gaug" in edition.message.serialize()[0]
    assert "charter" not in edition.web_view_html
    assert compiled(app, issue, "en").subject.startswith("Nine countries, one river charter")


def test_a_full_mail_loads_less_than_500_kb_of_pictures(
    app: Container, import_issue: Import, pictures: Callable[[str], PreparedPicture]
) -> None:
    issue = import_issue("en")
    issue_pictures.set_header_image(
        app.database, issue, NewPicture(pictures("pictures/masthead.jpg"), "masthead.jpg"), "tests", None
    )
    images = re.findall(r'<img [^>]*src="([^"]+)"[^>]* width="(\d+)"', compiled(app, issue, "en").web_view_html)
    sizes: dict[str, list[int]] = {}
    for url, width in images:
        file = mail_files.picture(app.database, app.picture_store, url.rpartition("/")[2].partition(".")[0])
        assert file
        sizes.setdefault(width, []).append(len(file.data))
    assert {width: len(each) for width, each in sizes.items()} == {"640": 1, "592": 6, "200": 10}
    assert sum(map(sum, sizes.values())) < 500_000
    assert max(sizes["200"]) < 20_000


def test_picture_stored_before_there_were_thumbnails_gets_one(
    app: Container, pictures: Callable[[str], PreparedPicture]
) -> None:
    charter = pictures("pictures/01-charter.jpg")
    with app.database.transaction() as session:
        id = picture_table.save(session, charter, None)
        session.get_one(Picture, id).thumbnail_id = None
        session.flush()
        assert picture_table.save(session, charter, None) == id
        assert picture_table.thumbnails(session, [id])
