"""A real newsletter, from its document to inboxes. It is not part of the repository."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import date

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from mailer.domain.document import decode, parse
from mailer.domain.newsletter_check import read_newsletter
from mailer.services.issues import document_import
from mailer.services.newsletters.apply import apply_newsletter
from tests.support.emails import emails_by_recipient, html_body, text_body
from tests.support.real_newsletter import REAL_NEWSLETTER, requires_real_newsletter

SETTINGS = """
slug = "lumen-basin"
sender_name = "Regional Programme"
sender_address = "news@example.org"
postal_address = "1 Example Quay"
list_id = "regional.example.org"
default_language = "en"
languages = ["en"]
names = {en = "Regional Newsletter"}
"""


def words(text: str) -> Counter[str]:
    """The words of a text without its marks and the addresses of its links."""
    text = re.sub(r"\]\([^)]*\)|https?://\S+", " ", re.sub(r"</?su[bp]>", "", text))
    return Counter(re.findall(r"[^\W_]+", text.casefold()))


@requires_real_newsletter
def test_real_newsletter_is_delivered_by_section(
    app: Container,
    inbox: InboxServer,
    add_subscribers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    apply_newsletter(app.database, read_newsletter(SETTINGS))
    document = parse(decode(REAL_NEWSLETTER.read_bytes()), "en")
    done = document_import.import_document(
        app.database,
        document,
        "lumen-basin",
        "en",
        number="2018/1",
        today=date(2018, 4, 1),
        picture_loader=app.picture_loader(REAL_NEWSLETTER.parent),
        picture_store=app.picture_store,
        actor="tests",
        new_sections=True,
    )
    assert (done.sections, done.stories, done.contacts) == (6, 18, 7)
    add_subscribers("""
        ann@example.org;en;
        bea@example.org;en;human-trafficking
        cil@example.org;en;organized-crime|drug-prevention-treatment-and-care
    """)
    prepare(done.issue)
    assert send() == 3
    got = emails_by_recipient(inbox)

    def said(*numbers: int) -> Counter[str]:
        sections = [document.sections[number] for number in numbers]
        found: Counter[str] = Counter()
        for section in sections:
            found += words(section.title)
            for story in section.stories:
                found += words("\n".join([story.headline, story.body, *(note.text for note in story.contacts)]))
        return found

    everything = words(text_body(got["ann@example.org"]))
    assert words(document.intro) + said(*range(6)) - everything == Counter(), "no word of any story is missing"
    for story in (story for section in document.sections for story in section.stories):
        for dateline in story.datelines:
            assert words(dateline.place) - everything == Counter()

    for name, numbers in (("bea", (2,)), ("cil", (4, 5))):
        plain, rich = text_body(got[f"{name}@example.org"]), html_body(got[f"{name}@example.org"])
        assert said(*numbers) - words(plain) == Counter()
        others = [section for number, section in enumerate(document.sections) if number not in numbers]
        for story in (story for section in others for story in section.stories):
            opening = " ".join(re.findall(r"[\w’'-]+", re.sub(r"<[^>]*>", "", story.body))[:8])
            for part in (plain, rich):
                assert opening not in re.sub(r"\s+", " ", part)
