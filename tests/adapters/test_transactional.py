"""Transactional emails: a folder per kind, with equivalent bodies."""

import re
from dataclasses import replace
from datetime import date
from html import unescape
from pathlib import Path

import pytest

from mailer.adapters.i18n import Catalogues
from mailer.adapters.transactional import TransactionalRenderer
from mailer.domain.content import TransactionalContent
from mailer.domain.text_requests import RequestedText, TextTask
from mailer.domain.transactional import TEMPLATE_KINDS, TransactionalEmailKind

TEMPLATES = Path(__file__).parents[2] / "templates"
RENDERER = TransactionalRenderer(TEMPLATES, Catalogues(TEMPLATES / "locales"), Catalogues(TEMPLATES / "staff_locales"))


def email(kind: TransactionalEmailKind, language: str = "en") -> TransactionalContent:
    return TransactionalContent(
        kind=kind,
        language=language,
        direction="ltr",
        newsletter="Rain & Rivers <weekly>",
        sender_name="Lumen Basin",
        postal_address="1 Quay Street\nAldeva",
        reply_to="quarterly@example.org",
        action_url="https://news.example.org/k/1?a=b&c=d",
        unsubscribe="https://news.example.org/u/1",
        sections=("Water and rivers", "Health"),
        languages=("fr", "en"),
        masked_address="a…@example.org",
        link_lifetime_hours=2,
        text_request=RequestedText(
            task=TextTask.translation,
            number="2026/3",
            headline="The *river* & its bridges",
            is_front_matter=False,
            language="fr",
            due_on=date(2026, 12, 4),
            words="Short sentences: our readers are young.\n\nThank you!",
            asked_by="Amina Demir",
            asked_of="Jean Morel",
            link_until=date(2026, 12, 18),
        ),
    )


def test_each_kind_is_a_folder() -> None:
    folders = {path.parent.name for path in (TEMPLATES / "email").glob("*/subject.txt")}
    assert folders == set(TEMPLATE_KINDS)
    for kind in TEMPLATE_KINDS:
        files = {path.name for path in (TEMPLATES / "email" / kind).iterdir()}
        assert files == {"subject.txt", "body.txt", "body.mjml"}


@pytest.mark.parametrize("language", ["en", "fr", "ar"])
@pytest.mark.parametrize("kind", TEMPLATE_KINDS)
def test_html_and_text_have_the_same_content(kind: TransactionalEmailKind, language: str) -> None:
    rendered = RENDERER.render(email(kind, language))
    body = rendered.html.partition("<body")[2]
    main = re.search(r"<h1.*?</a>\s*<!--", body, re.DOTALL)
    assert main
    paragraphs = re.findall(r"<(?:p|h1|a)\b[^>]*>(.*?)</(?:p|h1|a)>", main[0], re.DOTALL)
    html = [" ".join(unescape(re.sub("<[^>]+>", "", paragraph)).split(" ")) for paragraph in paragraphs]
    text = [re.sub("[ \n]+", " ", part) for part in rendered.text.partition("\n" + "-" * 72)[0].strip().split("\n\n")]
    button, link = text[-1].rsplit(" ", 1)
    assert html == [*text[:-1], button]
    assert link == "<https://news.example.org/k/1?a=b&c=d>"
    assert 'href="https://news.example.org/k/1?a=b&amp;c=d"' in main[0]


def test_first_paragraph_is_the_preview_text() -> None:
    rendered = RENDERER.render(email(TransactionalEmailKind.confirm))
    assert rendered.subject == "Please confirm your subscription: Rain & Rivers <weekly>"
    lead = "Someone, probably you, asked us to send Rain &amp; Rivers &lt;weekly&gt; to this address."
    assert rendered.html.partition("<body")[2].count(lead) == 2  # hidden at the top, and in its place
    assert "One more step" in rendered.html and "One more step" not in rendered.subject


def test_sections_are_listed_only_if_there_are_any() -> None:
    assert (
        "You will receive these sections: Water and rivers · Health."
        in RENDERER.render(email(TransactionalEmailKind.welcome)).text
    )
    assert "these sections" not in RENDERER.render(replace(email(TransactionalEmailKind.welcome), sections=())).text
