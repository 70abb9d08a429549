"""Editions as they are compiled from the rows of an issue."""

import re
from collections.abc import Callable

from mailer.bootstrap import Container
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.ports import PreparedPicture
from mailer.models import Picture
from mailer.services.archive import pages
from mailer.services.issues import compile, issue_pictures
from mailer.store import issues

Import = Callable[..., int]


def compiled(app: Container, issue: int, language: str, sections: int = ALL_SECTIONS) -> compile.CompiledEdition:
    source = compile.load_issue(app.database, app.urls, issue)
    return compile.EditionCompiler(source, app.renderer, app.urls, "").compile_edition(1, language, sections)


def test_a_full_mail_loads_less_than_500_kb_of_pictures(
    app: Container, import_issue: Import, pictures: Callable[[str], PreparedPicture]
) -> None:
    issue = import_issue("en")
    issue_pictures.set_header_image(app.database, issue, pictures("pictures/masthead.jpg"), "tests")
    images = re.findall(r'<img [^>]*src="([^"]+)"[^>]* width="(\d+)"', compiled(app, issue, "en").web_view_html)
    sizes: dict[str, list[int]] = {}
    for url, width in images:
        file = pages.picture(app.database, url.rpartition("/")[2].partition(".")[0])
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
        id = issue_pictures.store_picture(session, charter)
        session.get_one(Picture, id).thumbnail_id = None
        session.flush()
        assert issue_pictures.store_picture(session, charter) == id
        assert issues.thumbnails(session, [id])
