"""The newsletter that this service was asked for, from its document to inboxes. It is not part of the
repository: without it beside the checkout there is nothing to test."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import date

from mailer.adapters.inbox import RunningInbox
from mailer.bootstrap import Mailer
from mailer.domain.document import decode, parse
from mailer.domain.newsletter import read_newsletter
from mailer.services import author
from mailer.services.newsletter import apply_newsletter
from tests.mails import html, mails, text
from tests.real import REAL, needs_it

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


@needs_it
def test_the_real_newsletter_reaches_its_readers_by_section(
    parts: Mailer,
    inbox: RunningInbox,
    add_readers: Callable[[str], None],
    prepare: Callable[[int], None],
    send: Callable[[], int],
) -> None:
    apply_newsletter(parts.database, read_newsletter(SETTINGS))
    document = parse(decode(REAL.read_bytes()), "en")
    done = author.import_document(
        parts.database,
        document,
        "lumen-basin",
        "en",
        number="2018/1",
        today=date(2018, 4, 1),
        pictures=parts.picture_from(REAL.parent),
        actor="tests",
    )
    assert (done.sections, done.stories, done.contacts) == (6, 18, 7)
    add_readers("""
        ann@example.org;en;
        bea@example.org;en;human-trafficking
        cil@example.org;en;organized-crime|drug-prevention-treatment-and-care
    """)
    prepare(done.issue)
    assert send() == 3
    got = mails(inbox)

    def said(*numbers: int) -> Counter[str]:
        sections = [document.sections[number] for number in numbers]
        found: Counter[str] = Counter()
        for section in sections:
            found += words(section.title)
            for story in section.stories:
                found += words(
                    "\n".join([story.headline, story.body, *(note.text for note in story.contacts)])
                )
        return found

    everything = words(text(got["ann@example.org"]))
    assert words(document.intro) + said(*range(6)) - everything == Counter(), (
        "no word of any story is missing"
    )
    for story in (story for section in document.sections for story in section.stories):
        for dateline in story.datelines:
            assert words(dateline.place) - everything == Counter()

    for name, numbers in (("bea", (2,)), ("cil", (4, 5))):
        plain, rich = text(got[f"{name}@example.org"]), html(got[f"{name}@example.org"])
        assert said(*numbers) - words(plain) == Counter()
        others = [section for number, section in enumerate(document.sections) if number not in numbers]
        for story in (story for section in others for story in section.stories):
            opening = " ".join(re.findall(r"[\w’'-]+", re.sub(r"<[^>]*>", "", story.body))[:8])
            for part in (plain, rich):
                assert opening not in re.sub(r"\s+", " ", part)
