"""A page with every component of the pages for staff, for designers and tests. It is served in development only."""

from fastapi import APIRouter, Response

from mailer.domain import urls
from mailer.web.staff import PageOf, SignedIn

router = APIRouter(include_in_schema=False)


def _text(words: str, *marks: str, href: str = "") -> dict[str, object]:
    named: list[dict[str, object]] = [{"type": mark} for mark in marks]
    if href:
        named.append({"type": "link", "attrs": {"href": href}})
    return {"type": "text", "text": words, "marks": named}


def _node(kind: str, *content: dict[str, object]) -> dict[str, object]:
    return {"type": kind, "content": list(content)}


def _item(*content: dict[str, object]) -> dict[str, object]:
    return _node("list_item", _node("paragraph", *content))


_LINE = _node(
    "doc", _node("paragraph", _text("Air in the basin: CO"), _text("2", "sub"), _text(" falls for the third year"))
)
_CONTACT = _node(
    "doc", _node("paragraph", _text("Ina Kovač, "), _text("ina@example.org", href="mailto:ina@example.org"))
)
_TEXT = _node(
    "doc",
    _node(
        "paragraph",
        _text("Lumen, 9 March. ", "strong"),
        _text("The council has published "),
        _text("the figures of the first quarter", href="https://example.org/figures"),
        _text(". They are "),
        _text("lower", "em"),
        _text(" than in 2025, and lower still than in the year before."),
    ),
    _node("heading", _text("What was measured")),
    _node(
        "bullet_list",
        _item(_text("1,204 households in eight towns")),
        _item(_text("every hour, from the 1"), _text("st", "sup"), _text(" of January")),
    ),
    _node("blockquote", _node("paragraph", _text("We had hoped for this, but not so soon."))),
    _node(
        "table",
        _node(
            "table_row",
            _node("table_header", _text("Town")),
            _node("table_header", _text("2025")),
            _node("table_header", _text("2026")),
        ),
        _node(
            "table_row",
            _node("table_cell", _text("Lumen")),
            _node("table_cell", _text("41")),
            _node("table_cell", _text("37")),
        ),
        _node(
            "table_row",
            _node("table_cell", _text("Ostrov")),
            _node("table_cell", _text("38")),
            _node("table_cell", _text("36")),
        ),
    ),
)
_ARABIC = _node(
    "doc",
    _node("paragraph", _text("لومن، 9 مارس. ", "strong"), _text("نشر المجلس الأرقام الأولى لبرنامج EU4 (2026).")),
    _node("bullet_list", _item(_text("1204 أسر في ثماني بلدات")), _item(_text("Lumen Basin Council"))),
)


@router.get(urls.COMPONENTS)
def components(page: PageOf, staff: SignedIn) -> Response:
    return page("desk/components", staff, line=_LINE, contact=_CONTACT, text=_TEXT, arabic=_ARABIC)
