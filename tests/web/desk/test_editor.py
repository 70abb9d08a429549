"""The editor of texts in a real browser: keys, paste, tables, links, direction, and what it may not do."""

import json
from collections.abc import Callable, Iterator
from gettext import NullTranslations
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from mailer.bootstrap import TEMPLATE_ROOT
from mailer.domain.text_tree import to_markdown, to_tree
from mailer.web.pages import make_environment
from mailer.web.staff import STAFF_CSP

SITE = "http://desk.example"
STATIC = TEMPLATE_ROOT / "web" / "static"
PASTED = Path(__file__).parent / "pasted"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Editor</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/base.css"><link rel="stylesheet" href="/staff.css">
<link rel="stylesheet" href="/editor.css"></head><body><main><h1>Editor</h1>
<a href="#before">before</a><div id="place"></div><a href="#after">after</a></main></body></html>"""
# ProseMirror looks at the caret again 20 ms after it got the focus.
OPEN = """async ([options, texts]) => {
  const { createEditor } = await import("/editor.js");
  window.changes = 0;
  window.pictures = [];
  window.editor = createEditor(document.querySelector("#place"), {
    ...options, texts, onChange: () => window.changes++,
    ...(options.pictures ? { onPicture: (file) => window.pictures.push(file.name) } : {}),
  });
  window.editor.focus();
  await new Promise((done) => setTimeout(done, 30));
}"""
PASTE = """async ([html, text, files]) => {
  // The editor learns from an event where the caret is.
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)));
  const clipboardData = new DataTransfer();
  if (html !== null) clipboardData.setData("text/html", html);
  if (text !== null) clipboardData.setData("text/plain", text);
  for (const name of files) clipboardData.items.add(new File(["x"], name, { type: "image/png" }));
  document.querySelector(".ProseMirror").dispatchEvent(
    new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""

Open = Callable[..., "Editor"]


class Editor:
    """An editor in a page."""

    def __init__(self, page: Page, texts: dict[str, str]) -> None:
        self.page = page
        self.texts = texts
        self.field = page.get_by_role("textbox")

    def tree(self) -> dict[str, Any]:
        tree: dict[str, Any] = self.page.evaluate("editor.tree()")
        return tree

    def outline(self) -> str:
        return "\n".join(outline(node) for node in self.tree()["content"])

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def paste(self, html: str | None = None, text: str | None = None, files: tuple[str, ...] = ()) -> None:
        self.page.evaluate(PASTE, [html, text, list(files)])

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=self.texts[name], exact=True)


def outline(node: dict[str, Any], depth: int = 0) -> str:
    """Return a node in one line and those in it in lines below, all attributes and marks included."""
    attrs = "".join(
        f" {name}={json.dumps(value, ensure_ascii=False)}" for name, value in sorted(node.get("attrs", {}).items())
    )
    if node["type"] == "text":
        marks = " ".join(
            mark["type"] + (f"<{mark['attrs']['href']}>" if "attrs" in mark else "") for mark in node.get("marks", ())
        )
        return f"{'  ' * depth}{json.dumps(node['text'], ensure_ascii=False)}{f' {marks}' if marks else ''}"
    return "\n".join(
        [f"{'  ' * depth}{node['type']}{attrs}", *(outline(inner, depth + 1) for inner in node.get("content", ()))]
    )


def paragraph(text: str = "", *marks: str) -> dict[str, Any]:
    content = [{"type": "text", "text": text, "marks": [{"type": mark} for mark in marks]}] if text else []
    return {"type": "paragraph", "content": content}


def doc(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "doc", "content": list(content)}


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[tuple[Page, list[str], list[str]]]:
    """A tab of a browser, what it asks for, and what its console says."""
    asked: list[str] = []
    said: list[str] = []

    def serve(route: Route) -> None:
        path = route.request.url.removeprefix(SITE)
        asked.append(route.request.url)
        if path == "/":
            route.fulfill(body=PAGE, content_type="text/html", headers={"Content-Security-Policy": STAFF_CSP})
        else:
            kind = "text/javascript" if path.endswith(".js") else "text/css"
            route.fulfill(body=(STATIC / path[1:]).read_bytes(), content_type=kind)

    page = browser.new_page()
    page.route("**/*", serve)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page, asked, said
    page.close()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    template = '{% from "staff/_editor.html" import editor_texts with context %}{{ editor_texts() }}'
    loaded: dict[str, str] = json.loads(
        make_environment(TEMPLATE_ROOT).from_string(template).render(catalogue=NullTranslations())
    )
    return loaded


@pytest.fixture
def page(tab: tuple[Page, list[str], list[str]]) -> Iterator[Page]:
    """An empty page under the policy of the desk, which it must not break, nor ask anybody else."""
    page, asked, said = tab
    asked.clear()
    said.clear()
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{SITE}/")
    yield page
    assert all(url.startswith(f"{SITE}/") for url in asked), asked
    assert not said


@pytest.fixture
def open_editor(page: Page, texts: dict[str, str]) -> Open:
    def open_editor(*content: dict[str, Any], kind: str = "text", lang: str = "en", **more: Any) -> Editor:
        options = {"kind": kind, "lang": lang, "label": "Story", "tree": doc(*content), **more}
        page.evaluate(OPEN, [options, texts])
        return Editor(page, texts)

    return open_editor


@pytest.mark.parametrize("name", [path.stem for path in sorted(PASTED.glob("*.html"))])
def test_what_is_pasted_becomes_the_grammar(open_editor: Open, name: str) -> None:
    editor = open_editor()
    editor.paste((PASTED / f"{name}.html").read_text("utf-8"), "as plain text")
    assert editor.outline() == (PASTED / f"{name}.txt").read_text("utf-8").rstrip("\n")
    assert to_tree(to_markdown(editor.tree())) == editor.tree()
    assert editor.page.evaluate("window.harm") is None


def test_an_imitation_of_the_editors_own_clipboard_is_refused(open_editor: Open) -> None:
    editor = open_editor(paragraph("kept"))
    editor.press("End")
    context = json.dumps(["table", None, "table_row", None]).replace('"', "&quot;")
    editor.paste(f'<p data-pm-slice="0 0 {context}">not a row</p>', "")
    editor.paste('<ol data-pm-slice="0 0 []" start="evil"><li><p>an item</p></li></ol>', "")
    editor.paste('<p data-pm-slice="0 0 []"><a href="javascript:alert(1)">words</a></p>', "")
    assert "javascript" not in editor.outline()
    assert "table" not in editor.outline()
    assert editor.outline().startswith('paragraph\n  "kept')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo  words", 'paragraph\n  "one"\nparagraph\n  "two words"'),
        ("one\r\nstill one\r\n\r\ntwo\n", 'paragraph\n  "one"\n  hard_break\n  "still one"\nparagraph\n  "two"'),
        (
            "• a\n• b",
            'bullet_list tight=true\n  list_item\n    paragraph\n      "a"\n  list_item\n    paragraph\n      "b"',
        ),
        ("www.example.org", 'paragraph\n  "www.example.org" link<https://www.example.org>'),
    ],
)
def test_plain_text_is_pasted(open_editor: Open, text: str, expected: str) -> None:
    editor = open_editor()
    editor.paste(text=text)
    assert editor.outline() == expected


def test_what_is_pasted_is_bounded(open_editor: Open) -> None:
    editor = open_editor()
    editor.paste("<p>lists</p>" + "<ul><li>" * 40 + "deep" + "</li></ul>" * 40, "")
    assert editor.outline().count("list_item") == 6
    assert '"deep"' in editor.outline()
    editor.press("Control+a")
    editor.paste(text="word " * 100_000)
    assert editor.page.evaluate("editor.words()") == 40_000
    expect(editor.page.get_by_text(editor.texts["pasted_in_part"])).to_be_visible()
    editor.press("Control+a")
    editor.paste("<div><b>" * 20_000 + "kept" + "</b></div>" * 20_000 + "<p>and this</p>", "")
    assert editor.outline() == 'paragraph\n  "kept" strong\nparagraph\n  "and this"'


def test_a_story_is_written_with_the_keyboard_alone(open_editor: Open) -> None:
    editor = open_editor()
    editor.press("Control+b")
    editor.type("Lumen, 9 March.")
    editor.press("Control+b")
    editor.type(" CO")
    editor.press("Control+,")
    editor.type("2")
    editor.press("Control+,")
    editor.type(" falls")
    editor.press("Shift+Enter")
    editor.type("see www.example.org, here")
    editor.press("Enter")
    editor.type("9. mart is no list")
    editor.press("Enter")
    editor.type("## Measured")
    editor.press("Enter")
    editor.type("- one")
    editor.press("Enter", "Control+]")
    editor.type("two")
    editor.press("Enter", "Enter", "Enter")
    editor.type("> quoted")
    editor.press("Enter", "Enter")
    editor.type("end")
    assert (
        editor.outline()
        == """\
paragraph
  "Lumen, 9 March." strong
  " CO"
  "2" sub
  " falls"
  hard_break
  "see "
  "www.example.org" link<https://www.example.org>
  ", here"
paragraph
  "9. mart is no list"
heading
  "Measured"
bullet_list tight=true
  list_item
    paragraph
      "one"
    bullet_list tight=true
      list_item
        paragraph
          "two"
blockquote
  paragraph
    "quoted"
paragraph
  "end\""""
    )
    assert editor.page.evaluate("editor.words()") == 18
    written = editor.tree()
    for _ in range(60):
        editor.press("Control+z")
    assert editor.outline() == "paragraph"
    for _ in range(60):
        editor.press("Control+y")
    assert editor.tree() == written


def test_the_toolbar_is_one_tab_stop_and_tab_leaves_the_text(open_editor: Open) -> None:
    editor = open_editor(paragraph("word"))
    page = editor.page
    page.get_by_role("link", name="before").focus()
    editor.press("Tab")
    expect(editor.button("strong")).to_be_focused()
    editor.press("ArrowRight")
    expect(editor.button("em")).to_be_focused()
    editor.press("Tab")
    expect(editor.field).to_be_focused()
    editor.press("Control+a", "Alt+F10")
    expect(editor.button("em")).to_be_focused()
    editor.press("Enter")
    expect(editor.button("em")).to_have_attribute("aria-pressed", "true")
    expect(editor.button("em")).to_be_focused()
    editor.press("End")
    expect(editor.button("redo")).to_be_focused()
    expect(editor.button("redo")).to_have_attribute("aria-disabled", "true")
    editor.press("Escape")
    expect(editor.field).to_be_focused()
    editor.press("Tab")
    expect(page.get_by_role("link", name="after")).to_be_focused()
    assert editor.outline() == 'paragraph\n  "word" em'


def test_a_link_is_set_checked_changed_and_removed(open_editor: Open) -> None:
    editor = open_editor(paragraph("the figures"))
    page, texts = editor.page, editor.texts
    editor.press("Control+a", "Control+k")
    address = page.get_by_label(texts["link_address"])
    expect(address).to_be_focused()
    editor.press("Enter")
    expect(page.get_by_text(texts["link_missing"])).to_be_visible()
    address.fill("javascript:alert(1)")
    editor.press("Enter")
    expect(page.get_by_text(texts["link_wrong"])).to_be_visible()
    expect(address).to_have_attribute("aria-invalid", "true")
    assert Axe().run(page).violations_count == 0
    address.fill("example.org/figures")
    editor.press("Enter")
    expect(editor.field).to_be_focused()
    assert editor.outline() == 'paragraph\n  "the figures" link<https://example.org/figures>'
    editor.press("End", "ArrowLeft")
    expect(page.get_by_role("link", name="example.org/figures")).to_be_visible()
    page.get_by_role("button", name=texts["link_change"]).click()
    expect(address).to_have_value("https://example.org/figures")
    address.fill("ina@example.org")
    page.get_by_role("button", name=texts["link_save"]).click()
    assert editor.outline() == 'paragraph\n  "the figures" link<mailto:ina@example.org>'
    editor.press("Control+k")
    page.get_by_role("button", name=texts["link_remove"]).click()
    assert editor.outline() == 'paragraph\n  "the figures"'
    editor.press("End", "Control+k")
    page.get_by_label(texts["link_words"]).fill("here")
    address.fill("www.example.org")
    editor.press("Enter")
    editor.type(" it ends")
    assert editor.outline() == 'paragraph\n  "the figures"\n  "here" link<https://www.example.org>\n  " it ends"'
    editor.press("Control+k", "Escape")
    expect(editor.field).to_be_focused()
    editor.press("Control+a")
    editor.paste(text="https://example.org/all")
    assert editor.outline() == 'paragraph\n  "the figureshere it ends" link<https://example.org/all>'


def test_a_table_is_filled_changed_and_left(open_editor: Open) -> None:
    editor = open_editor(paragraph("before"))
    editor.press("End")
    editor.button("table").click()
    editor.type("Town")
    editor.press("Tab", "Tab", "Tab")
    editor.type("Lumen")
    editor.press("Enter")
    editor.paste("<p>Ostrov</p><p>and more</p>", "")
    editor.press("Enter")
    editor.type("after")

    def choose(name: str) -> None:
        editor.button("table").click()
        editor.page.get_by_role("menuitem", name=editor.texts[name], exact=True).click()

    def cells() -> list[str]:
        return editor.page.locator("tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(one => one.localName + ':' + one.innerText.trim()).join(' '))"
        )

    assert editor.outline().endswith('paragraph\n  "after"')
    assert cells() == ["th:Town th: th:", "td:Lumen td: td:", "td:Ostrov\nand more td: td:"]
    editor.page.get_by_text("Town").click()
    choose("column_after")
    choose("row_after")
    choose("align_right")
    assert cells() == [
        "th:Town th: th: th:",
        "td: td: td: td:",
        "td:Lumen td: td: td:",
        "td:Ostrov\nand more td: td: td:",
    ]
    assert editor.outline().count('align="right"') == 4
    choose("delete_row")
    choose("delete_row")
    assert cells() == ["th:Lumen th: th: th:", "td:Ostrov\nand more td: td: td:"]
    editor.page.locator("th").nth(1).click()
    choose("delete_column")
    assert cells() == ["th:Lumen th: th:", "td:Ostrov\nand more td: td:"]
    editor.paste("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td><td>4</td></tr></table>", "")
    assert cells() == ["th:Lumen th:1 th:2", "td:Ostrov\nand more td:3 td:4"]
    editor.page.locator("td").last.click()
    editor.press("Tab")
    expect(editor.page.get_by_role("link", name="after")).to_be_focused()
    editor.page.locator("td").last.click()
    choose("delete_table")
    assert editor.outline() == 'paragraph\n  "before"\nparagraph\n  "after"'


def test_arabic_runs_right_to_left_and_what_is_foreign_in_it_does_not(open_editor: Open) -> None:
    arabic = paragraph("نشر المجلس EU4 (2026)")
    items = {"type": "list_item", "content": [paragraph("بلدات")]}
    editor = open_editor(arabic, paragraph("Lumen"), {"type": "bullet_list", "content": [items]}, lang="ar")
    expect(editor.field).to_have_attribute("lang", "ar")
    expect(editor.field).to_have_attribute("dir", "rtl")
    directions = editor.page.locator(".ProseMirror > *").evaluate_all("all => all.map(one => one.dir)")
    assert directions == ["rtl", "ltr", "rtl"]
    editor.press("Control+Home", "Control+b")
    editor.type("لومن ")
    editor.press("Control+End", "Enter")
    editor.type("(2026)")
    assert editor.outline().startswith('paragraph\n  "لومن " strong\n  "نشر المجلس EU4 (2026)"')
    assert editor.page.locator("li").last.evaluate("item => getComputedStyle(item).direction") == "rtl"


@pytest.mark.parametrize("kind", ["line", "note"])
def test_a_line_stays_one(open_editor: Open, kind: str) -> None:
    editor = open_editor(paragraph("CO"), kind=kind)
    editor.press("End")
    editor.paste('<h2>2<br>falls</h2><ul><li>and <a href="https://example.org">then</a></li></ul>', "")
    editor.press("Enter", "Shift+Enter")
    editor.type("!")
    linked = '"\n  "then" link<https://example.org>\n  "!"' if kind == "note" else 'then!"'
    assert editor.outline() == f'paragraph\n  "CO2 falls and {linked}'
    expect(editor.field).to_have_attribute("aria-multiline", "false")


def test_a_picture_that_is_pasted_alone_is_handed_over(open_editor: Open) -> None:
    editor = open_editor(paragraph("text"), pictures=True)
    editor.paste(files=("photo.png",))
    editor.paste('<meta charset="utf-8"><img src="https://example.net/a.jpg">', None, ("copied.png",))
    editor.press("End")
    editor.paste("<p>words</p>", "words", ("rendered.png",))
    assert editor.page.evaluate("pictures") == ["photo.png", "copied.png"]
    assert editor.outline() == 'paragraph\n  "textwords"'


def test_a_text_from_outside_comes_in_beneath_the_caret(open_editor: Open) -> None:
    editor = open_editor(paragraph("one"), paragraph("two"))
    editor.press("Control+End")
    editor.type("!")
    assert editor.page.evaluate("changes") == 1
    editor.page.evaluate("tree => editor.setTree(tree)", doc(paragraph("one and more"), paragraph("two!")))
    editor.type("?")
    assert editor.outline() == 'paragraph\n  "one and more"\nparagraph\n  "two!?"'
    assert editor.page.evaluate("changes") == 2
    editor.page.evaluate("editor.setEditable(false)")
    editor.field.focus()
    editor.type("lost")
    editor.press("Control+b")
    editor.paste(text="lost")
    assert editor.outline() == 'paragraph\n  "one and more"\nparagraph\n  "two!?"'
    expect(editor.field).to_have_attribute("aria-readonly", "true")
    expect(editor.button("strong")).to_have_attribute("aria-disabled", "true")


def test_on_paper_there_is_only_the_text(open_editor: Open) -> None:
    editor = open_editor(paragraph("words"))
    editor.page.emulate_media(media="print")
    expect(editor.field).to_be_visible()
    expect(editor.page.get_by_role("toolbar")).to_be_hidden()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_editor_is_accessible_and_fits(open_editor: Open, width: int, scheme: Any) -> None:
    link = {"type": "text", "text": "link", "marks": [{"type": "link", "attrs": {"href": "https://example.org"}}]}
    editor = open_editor(paragraph("words", "strong"), {"type": "paragraph", "content": [link]})
    page = editor.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    editor.press("Control+End")
    editor.paste("<table><tr><th>Town</th>" + "<th>Long-worded year</th>" * 7 + "</tr></table>", "")
    page.get_by_text("Town").click()
    editor.button("table").click()
    expect(page.get_by_role("menuitem").first).to_be_focused()
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    menu = page.get_by_role("menu").bounding_box()
    assert menu
    assert menu["x"] >= 0
    assert menu["x"] + menu["width"] <= width
