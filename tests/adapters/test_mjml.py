"""The mail as its readers' clients get it: rendered, parsed again, compared with what was meant."""

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from mailer.adapters.cldr import join_titles
from mailer.adapters.i18n import Catalogues
from mailer.adapters.markdown import inline_text
from mailer.adapters.mjml import Renderer, TooLarge, UnsafeLink, to_html
from mailer.adapters.variants import VariantDocument
from mailer.domain.content import (
    Dateline,
    DateRange,
    EditionContent,
    EditionPicture,
    EditionSection,
    EditionStory,
    EditionUrls,
    Theme,
)
from mailer.domain.markdown import TooDeep, TooLong, is_allowed_link

TEMPLATES = Path(__file__).parents[2] / "templates"
RENDERER = Renderer(TEMPLATES, Catalogues(TEMPLATES / "locales"))
PREFERENCES, UNSUBSCRIBE = "slot0f3a9cpreferencesx", "slot0f3a9cunsubscribex"
NAME, ADDRESS = "slot0f3a9cnamex", "slot0f3a9caddressx"

# Everything that XML and HTML can say, but line ends and tabs, which HTML reads as blanks.
PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=40)


def story(number: int = 1, **changes: object) -> EditionStory:
    full = EditionStory(
        key=f"story-{number}",
        headline=f"Headline {number}",
        body=f"A *first* paragraph.\n\nA [second one](https://example.org/body/{number}).",
        language="en",
        datelines=(Dateline("", (DateRange(date(2026, 7, 12), date(2026, 7, 14)),), "Mirova, Selvania"),),
        picture=EditionPicture(f"https://pictures.example.org/{number}.jpg", 1184, 790, f"Picture {number}"),
        link=f"https://example.org/stories/{number}",
        contacts=(f"*For info:* [Ina Sample](mailto:ina{number}@example.org)",),
    )
    return replace(full, **changes)  # type: ignore[arg-type]


def edition(*sections: EditionSection, **changes: object) -> EditionContent:
    content = EditionContent(
        language="en",
        direction="ltr",
        newsletter="The Lumen Basin Quarterly",
        tagline="News from nine countries and one river",
        issue_label="2026/3",
        issue_date=date(2026, 9, 30),
        subject="Nine countries, one charter",
        preheader="A charter signed, floods foreseen.",
        intro="Welcome to the [third issue](https://example.org/intro).",
        sections=sections or (EditionSection("news", "News", "en", (story(1), story(2)), "#0b5566"),),
        unfollowed_sections=("Health", "Culture"),
        postal_address="Old Customs House\n0000 Aldeva",
        sender_name="Lumen Basin Regional Programme",
        reply_to="quarterly@example.org",
        urls=EditionUrls(
            web_view="https://news.example.org/view/2026-3",
            preferences=f"https://news.example.org/p/{PREFERENCES}",
            unsubscribe=f"https://news.example.org/u/{UNSUBSCRIBE}",
            website="https://example.org/?a=1&b=2",
        ),
        header_image=EditionPicture("https://pictures.example.org/top.jpg", 1280, 440, "A river"),
        subscriber_name=NAME,
        subscriber_address=ADDRESS,
    )
    return replace(content, **changes)  # type: ignore[arg-type]


class Page(HTMLParser):
    """The elements of a document, in order, and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in {"meta", "img", "br", "link"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def attributes(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for attributes in self.all(tag)]


def links_of(html: str) -> set[str | None]:
    return {url for url in Page(html).attributes("a", "href") if not (url or "#").startswith("#")}


def in_one_section(one: EditionStory) -> EditionContent:
    return edition(EditionSection("news", "News", "en", (one,), "#0b5566"))


def test_tables_code_and_pictures_in_a_text() -> None:
    source = '| a | b |\n|---|--:|\n| c | d |\n\n```\nx\n  y\n```\n\n![Boat](https://example.org/b.jpg "900x600")'
    content = edition(EditionSection("news", "News", "en", (story(1, body=source), story(2, body=source)), "#0b5566"))
    html = RENDERER.render(content).html
    assert html.count('<table class="d" border="1" cellpadding="6" cellspacing="0"') == 2
    assert html.count('<th style="text-align:inherit">a</th>') == html.count('<td align="right">d</td>') == 2
    assert html.count("<pre>x\n  y\n</pre>") == 2
    widths = re.findall(r'<img src="https://example.org/b.jpg" alt="Boat" width="(\d+)" style="display:block', html)
    assert widths == ["592", "360"], "as wide as the text beside a story's own picture"


def test_credit_of_a_picture_is_below_it_and_in_the_text() -> None:
    picture = EditionPicture("https://pictures.example.org/1.jpg", 1184, 790, "Boats")
    stories = [story(number, picture=replace(picture, credit=f"Photo: A < {number}")) for number in (1, 2)]
    rendered = RENDERER.render(edition(EditionSection("news", "News", "en", tuple(stories), "#0b5566")))
    for number in (1, 2):
        assert re.search(
            f'alt="Boats" [^>]*/></a>\\s*<!--[^>]*><br /><!.endif.--><span [^>]*>Photo: A &lt; {number}</span>',
            rendered.html,
        )
        assert f"[Boats · Photo: A < {number}]" in rendered.text
    without = [story(number, picture=picture) for number in (1, 2)]
    plain = RENDERER.render(edition(EditionSection("news", "News", "en", tuple(without), "#0b5566")))
    assert "Boats" not in plain.text
    bare = re.sub(r'\s*<!--\[if mso\]><br ?/?><!\[endif\]--><span class="q".*?</span>', "", rendered.html)
    assert bare == plain.html


@settings(max_examples=min(150, settings().max_examples))
@given(PRINTABLE, PRINTABLE, PRINTABLE.filter(lambda path: is_allowed_link(f"https://example.org/{path}")))
def test_every_character_is_preserved_in_attributes_and_text(alt: str, subject: str, path: str) -> None:
    picture = EditionPicture("https://pictures.example.org/1.jpg", 1184, 790, alt)
    told = story(picture=picture, headline=subject, link=f"https://example.org/{path}")
    page = Page(RENDERER.render(replace(in_one_section(told), subject=subject)).html)
    assert page.attributes("img", "alt") == ["A river", alt]
    assert page.texts["title"] == [subject]
    assert page.attributes("div", "aria-label").count(subject) == 1
    assert page.texts["h3"] == [inline_text(subject)]
    assert page.attributes("a", "href").count(f"https://example.org/{path}") == 3


@pytest.mark.parametrize(
    "words",
    [
        "Prix\u00a0: 5\u202f€",
        "क्षि नमस्\u200dते",
        "السَّلامُ عليكم\u200f",
        "שָׁלוֹם",
        "ที่นี่",
        "❤\ufe0f 👨\u200d👩\u200d👧",
        'a "quoted" \\u{94d} \\ word',
        "&#233; &amp; <b>",
    ],
)
def test_text_that_mjml_would_corrupt_is_preserved(words: str) -> None:
    page = Page(to_html_of_image(words))
    assert page.attributes("img", "alt") == page.attributes("img", "title") == [words]
    assert page.attributes("a", "title") == [words]


def to_html_of_image(words: str) -> str:
    return to_html(
        f'<mjml><mj-body><mj-section><mj-column><mj-image src="a.png" alt="{escape(words)}" '
        f'title="{escape(words)}" /><mj-text><a title="{escape(words)}">x</a></mj-text></mj-column></mj-section>'
        "</mj-body></mjml>"
    )


@given(st.text(st.characters(categories=["Cc"]), min_size=1, max_size=5))
@settings(max_examples=50)
def test_control_characters_are_removed(controls: str) -> None:
    picture = EditionPicture("https://pictures.example.org/1.jpg", 1184, 790, f"a{controls}b")
    rendered = RENDERER.render(in_one_section(story(picture=picture, headline=f"a{controls}b")))
    (_, alt) = Page(rendered.html).attributes("img", "alt")
    assert alt is not None and re.fullmatch("a *b", alt)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", rendered.html + rendered.text)


def test_deep_and_long_texts_are_refused_before_they_reach_the_renderer() -> None:
    for deep in ("<sup>" * 3000, ">" * 3000, "1. " * 3000):
        with pytest.raises(TooDeep):
            RENDERER.render(edition(intro=deep))
    with pytest.raises(TooLong):
        RENDERER.render(edition(intro="word " * 5000))
    with pytest.raises(TooLong):
        RENDERER.render(in_one_section(story(headline="x" * 3_000_000)))
    with pytest.raises(TooLarge):
        RENDERER.render(edition(newsletter="x" * 3_000_000))


def test_text_like_markup_is_escaped() -> None:
    nasty = '</mj-text><mj-include path="x"/><script>alert(1)</script>{{ 7 * 7 }} %(x)s'
    told = story(headline=nasty, body=nasty, contacts=(nasty,), datelines=(Dateline(nasty),))
    content = replace(
        in_one_section(told),
        newsletter=nasty,
        subject=nasty,
        preheader=nasty,
        intro=nasty,
        unfollowed_sections=(nasty,),
    )
    page = Page(RENDERER.render(content).html)
    assert not page.all("script") and not page.all("mj-include")
    assert page.texts["h1"] == page.texts["h3"] == page.texts["title"] == [nasty]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "/relative", "data:text/html,x", "https://", "//x.org"])
def test_invalid_link_is_refused(url: str) -> None:
    with pytest.raises(UnsafeLink):
        RENDERER.render(in_one_section(story(link=url)))


def test_a_colour_cannot_carry_css() -> None:
    css = "#0b5c7a;}body{display:none"
    content = edition(
        EditionSection("news", "News", "en", (story(),), css),
        theme=Theme(accent=css, text="red", background="#fff"),
    )
    html = RENDERER.render(content).html
    assert "body{display" not in html and "red" not in re.findall(r"color:(\w+)", html)
    assert "#f2efe9" in html  # the default ground, for three digits are not expanded by every client


def test_only_pictures_are_loaded() -> None:
    html = RENDERER.render(edition()).html
    assert not re.search(r"@import|<link|<script|url\(|fonts\.googleapis", html)
    assert all((src or "").startswith("https://pictures.example.org/") for src in Page(html).attributes("img", "src"))


def test_every_mjml_tag_is_known() -> None:
    """The MJML renderer drops an unknown tag, and all that stands in it, without a word."""
    known = {
        *("mjml", "mj-head", "mj-title", "mj-raw", "mj-attributes", "mj-style", "mj-body"),
        *("mj-section", "mj-column", "mj-text", "mj-image"),
    }
    used = set()
    for template in (TEMPLATES / "email").rglob("*.mjml"):
        used |= set(re.findall(r"</?(mj[\w-]*)", template.read_text("utf-8")))
    assert used == known
    unknown = "<mjml><mj-body><mj-section><mj-column><{0}>x{0}</{0}></mj-column></mj-section></mj-body></mjml>"
    assert "xmj-text" in to_html(unknown.format("mj-text"))


def test_html_and_text_have_the_same_links() -> None:
    rendered = RENDERER.render(edition())
    in_text = re.findall(r"https?://[^\s<>]+", rendered.text)
    in_text += [f"mailto:{address}" for address in re.findall(r"[\w.]+@[\w.]+\w", rendered.text)]
    assert set(in_text) == links_of(rendered.html)
    assert len(links_of(rendered.html)) == 12


@pytest.mark.parametrize("language", ["en", "fr", "sr-Cyrl", "ar", "tr"])
def test_slots_are_preserved_and_reader_slots_end_their_lines(language: str) -> None:
    way = "rtl" if language == "ar" else "ltr"
    rendered = RENDERER.render(edition(language=language, direction=way))
    for slot in (NAME, ADDRESS):
        assert len(re.findall(rf" {slot}</p>", rendered.html)) == 1
        assert len(re.findall(rf" {slot}\n", rendered.text)) == 1
    for slot in (PREFERENCES, UNSUBSCRIBE):
        assert rendered.html.count(slot) == rendered.text.count(slot) == 1


@pytest.mark.parametrize(("sections", "columns"), [(0, 0), (1, 0), (2, 2), (5, 2)])
def test_contents_list_is_omitted_for_a_single_story(sections: int, columns: int) -> None:
    several = [EditionSection(f"s{n}", f"Title {n}", "en", (story(n), story(10 + n))) for n in range(sections)]
    rendered = RENDERER.render(edition(*several) if several else in_one_section(story()))
    assert ("In this issue" in rendered.html) is ("In this issue" in rendered.text) is bool(several)
    assert rendered.html.count('<div class="h"') == columns


def test_the_web_view_has_no_slots_and_no_subscription() -> None:
    content = edition(subscriber_name="", subscriber_address="", urls=EditionUrls(web_view=""))
    rendered = RENDERER.render(content)
    for part in (rendered.html, rendered.text):
        assert "Dear" not in part and "Unsubscribe" not in part and "You are receiving" not in part
        assert "Old Customs House" in part
        assert "in your browser" not in part


def test_the_frame_of_the_document() -> None:
    html = RENDERER.render(edition()).html
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en" and page.all("html")[0]["dir"] == "ltr"
    assert page.texts["title"] == ["Nine countries, one charter"]
    assert page.texts["h1"] == ["The Lumen Basin Quarterly"]
    assert "A charter signed, floods foreseen." in html.split("<h1>")[0]
    assert {"name": "color-scheme", "content": "light dark"} in page.all("meta")
    assert "@media (prefers-color-scheme:dark)" in html and "[data-ogsc]" in html
    assert None not in page.attributes("img", "alt")
    assert set(page.attributes("table", "role")) == {"presentation"}
    assert "#s-1" in page.attributes("a", "href") and "s-1" in page.attributes("a", "name")
    assert "12–14 July 2026 · Mirova, Selvania" in html and "30 September 2026" in html


def test_right_to_left_mirrors_the_layout() -> None:
    told = story(language="ar", headline="ميثاق", body="نهر")
    content = edition(
        EditionSection("news", "أخبار", "ar", (told, told), "#0b5566"),
        language="ar",
        direction="rtl",
    )
    html = RENDERER.render(content).html
    page = Page(html)
    assert page.all("html")[0]["dir"] == "rtl"
    assert "direction:ltr" not in html and 'align="left"' not in html and "→" not in html
    assert {attributes["dir"] for _, attributes in page.elements if "dir" in attributes} == {"rtl"}
    texts = re.findall(r"<div style=\"font-family[^>]*text-align:(\w+)", html)
    assert set(texts) == {"right", "center"} and texts.count("center") == 1  # the link above the header image
    assert "30 سبتمبر 2026" in html


def test_fallback_story_is_labelled_and_has_its_language() -> None:
    told = story(language="ar", is_fallback=True, headline="ميثاق", body="نهر")
    rendered = RENDERER.render(in_one_section(told))
    label = "This story is not yet available in English. You are reading it in Arabic."
    page = Page(rendered.html)
    assert label in [text.strip() for text in page.texts["p"]] and label in " ".join(rendered.text.split())
    marked = [attributes for attributes in page.all("div") if attributes.get("lang") == "ar"]
    assert {"lang": "ar", "dir": "rtl", "style": "text-align:right"} in marked
    assert "12–14 يوليو 2026" in rendered.html and "12–14 يوليو 2026" in rendered.text
    (picture,) = (attributes for attributes in page.all("img") if attributes["alt"] == "Picture 1")
    assert (picture["lang"], picture["dir"]) == ("ar", "rtl")
    inside = rendered.html.partition('<div lang="ar" dir="rtl"')[2].partition("</div></div>")[0]
    assert re.search("قراءة المزيد\\s?(&nbsp;|\u00a0)←</a>", inside)
    assert "قراءة المزيد <https://example.org/stories/1>" in rendered.text


def test_a_section_says_once_that_its_stories_are_in_another_language() -> None:
    def told(number: int, language: str) -> EditionStory:
        return story(number, language=language, is_fallback=language != "en")

    content = edition(
        EditionSection("news", "News", "en", (told(1, "en"), told(2, "fr"), told(3, "fr"), told(4, "sq"))),
        EditionSection("water", "Water", "en", (told(5, "fr"), told(6, "fr"))),
    )
    rendered = RENDERER.render(content)
    notes = [
        "These stories are not yet available in English. You are reading them in French.",
        "This story is not yet available in English. You are reading it in Albanian.",
        "These stories are not yet available in English. You are reading them in French.",
    ]
    html = " ".join(re.sub("<[^>]*>", " ", rendered.html).split())
    for part in (html, " ".join(rendered.text.split())):
        assert re.findall(r"Th(?:is|ese) stor[^.]*\. [^.]*\.", part) == notes
        assert part.index("Headline 1", part.index("12–14")) < part.index(notes[0]) < part.rindex("Headline 2")
        # Each story names its language above its headline, in that language.
        assert len(re.findall(r"Français 12", part)) == 4 and part.count("Shqip 12") == 1


@pytest.mark.parametrize("alphabet", ["Brodovi ", "Бродови ", "قوارب "])
def test_a_full_edition_is_not_clipped(alphabet: str) -> None:
    """Six sections, sixteen stories of 900 letters, long URLs: at most 90 kB decoded."""
    words = (alphabet * 200).strip()
    stories = [
        story(
            number,
            headline=words[:60],
            body=f"{words[:450]}\n\n{words[:450]}",
            language="xx",
            link="https://news.example.org/c/" + "x" * 60 + str(number),
            picture=EditionPicture("https://pictures.example.org/" + "x" * 60, 1184, 790, words[:150]),
            contacts=(words[:60],),
        )
        for number in range(16)
    ]
    sections = [EditionSection(f"s{n}", words[:25], "xx", tuple(stories[n::6]), "#0b5566") for n in range(6)]
    rendered = RENDERER.render(edition(*sections, intro=words[:600], language="ru"))
    assert len(rendered.html.encode()) <= 90_000
    assert "&#1" not in rendered.html  # real letters, one or two bytes each


def test_text_part_is_readable() -> None:
    told = story(body="Sentence with many words. " * 20)
    text = RENDERER.render(edition(EditionSection("news", "News", "en", (told, story(2)), "#0b5566"))).text
    assert all(len(line) <= 72 or "://" in line for line in text.splitlines())
    assert "\n\n\n" not in text and "&" not in text.replace("?a=1&b=2", "") and "<p" not in text
    assert "Unsubscribe <https://" in text and "Dear slot" in text
    order = [text.index(words) for words in ("Dear", "In this issue", "Sentence", "Your subscription", "Old Customs")]
    assert order == sorted(order)
    assert "This issue has 2 more sections that you do not follow: Health · Culture." in " ".join(text.split())


def test_a_translation_is_text_and_not_markup(tmp_path: Path) -> None:
    (tmp_path / "email").symlink_to(TEMPLATES / "email")
    catalogue = tmp_path / "locales" / "fr" / "LC_MESSAGES" / "messages.po"
    catalogue.parent.mkdir(parents=True)
    catalogue.write_text('msgid "Read more"\nmsgstr "<b>Plus</b> & plus"\n', "utf-8")
    content = replace(in_one_section(story(language="fr")), language="fr")
    rendered = Renderer(tmp_path, Catalogues(tmp_path / "locales")).render(content)
    assert "&lt;b&gt;Plus&lt;/b&gt; &amp; plus" in rendered.html
    assert "<b>Plus</b> & plus" in rendered.text


def test_text_overrides_are_in_html_and_text() -> None:
    rendered = RENDERER.render(edition(text_overrides={"Unsubscribe": "Leave <us>"}))
    assert "Leave &lt;us&gt;" in rendered.html and "Leave <us> <https://" in rendered.text
    assert "Unsubscribe" not in rendered.html + rendered.text


SEVERAL = [
    EditionSection(f"s{n}", f"Title & {n}", "en", tuple(story(10 * n + k) for k in range(n)), f"#0b55{n}6")
    for n in range(1, 5)
]


@given(st.sets(st.integers(1, 4), min_size=1))
@settings(max_examples=15)
def test_edition_cut_from_variants_equals_its_own_rendering(chosen: set[int]) -> None:
    content = edition(*SEVERAL, unfollowed_sections=())
    sheet = RENDERER.render_language(content)
    keys = {f"s{number}" for number in chosen}
    rendered = sheet.edition(keys, "https://news.example.org/view/2026-3?edition=7&b=1")
    titles = [section.title for section in SEVERAL if section.key in keys]
    others = [section.title for section in SEVERAL if section.key not in keys]
    page = Page(rendered.html)
    assert page.texts["h2"][0 if sum(chosen) == 1 else 1 : -1] == titles
    words = " ".join(" ".join(page.texts["p"]).split())
    assert f"the sections you follow: {join_titles(titles)}." in words
    assert (f"that you do not follow: {join_titles(others)}." in words) is bool(others)
    assert page.attributes("a", "href").count("https://news.example.org/view/2026-3?edition=7&b=1") == 1
    assert "https://news.example.org/view/2026-3?edition=7&b=1>" in rendered.text
    # Section by section: the same text, as words of their own, that the edition's own MJML gives.
    alone = RENDERER.render(
        replace(content, sections=tuple(s for s in SEVERAL if s.key in keys), unfollowed_sections=tuple(others))
    )
    assert rendered.text == alone.text.replace("view/2026-3", "view/2026-3?edition=7&b=1")
    assert Page(alone.html).texts["h3"] == page.texts["h3"]
    names, _ = sheet.visible_parts(keys)
    by_itself = to_html(VariantDocument(RENDERER.mjml_source(content)).select(names))
    assert re.sub(r"\s|<!--.*?-->", "", by_itself.partition("<h1>")[2].partition("Your subscription")[0]) == re.sub(
        r"\s|<!--.*?-->", "", rendered.html.partition("<h1>")[2].partition("Your subscription")[0]
    )


def test_partial_edition_has_its_own_subject_preheader_and_introduction() -> None:
    content = edition(
        *SEVERAL,
        unfollowed_sections=(),
        partial_subject="{headline} & more",
        partial_preheader="{headlines}",
        partial_intro="Only *yours*.",
    )
    sheet = RENDERER.render_language(content)
    whole, partial = (sheet.edition(keys, "https://x.example.org") for keys in ({"s1", "s2", "s3", "s4"}, {"s2"}))
    assert (whole.subject, whole.preheader) == (content.subject, content.preheader)
    assert (partial.subject, partial.preheader) == ("Headline 20 & more", "Headline 21")
    for rendered in (whole, partial):
        page = Page(rendered.html)
        assert page.texts["title"] == [rendered.subject]
        assert page.attributes("div", "aria-label").count(rendered.subject) == 1
        assert rendered.preheader in [text.strip() for text in page.texts["div"]]
    assert "Only <em>yours</em>." in partial.html and "Only yours." in partial.text
    assert "third issue" not in partial.html + partial.text and "Only" not in whole.html + whole.text
    assert "third issue" in whole.html and "third issue" in whole.text


def test_web_view_equals_the_edition_without_personal_data() -> None:
    content = edition(*SEVERAL)
    nobody = replace(
        content,
        subscriber_name="",
        subscriber_address="",
        urls=EditionUrls(web_view="", website=content.urls.website),
    )
    mail = RENDERER.render(nobody).html
    # In a mail program it is an article among others, in the browser the main part of its page.
    page = mail.replace('aria-roledescription="email" role="article"', 'role="main"')
    assert page != mail
    assert RENDERER.render(content).web_view_html == page


def test_link_arrow_does_not_wrap_alone() -> None:
    html = RENDERER.render(edition()).html
    assert re.search(r"Read more\s?(&nbsp;|\u00a0)→</a>", html)
    assert "Read more →" not in html
