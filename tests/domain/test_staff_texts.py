"""Texts for staff: English as they are, translated with their values, kept in the database."""

import copy
import json
from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.staff_texts import LanguageTag, StaffText, from_json, gettext, ngettext, to_json


class French:
    def gettext(self, message: str, /) -> str:
        return {"%(what)s, on %(day)s": "le %(day)s : %(what)s", "100 %% sure": "sûr à 100 %%"}.get(message, message)

    def ngettext(self, singular: str, plural: str, number: int, /) -> str:
        return "%(num)s récit" if number < 2 else "%(num)s récits"


def format_value(value: object) -> str:
    return f"<{value}>"


def test_text_is_its_english_text() -> None:
    assert ngettext("%(num)s story", "%(num)s stories", 1) == "1 story"
    assert ngettext("%(num)s story", "%(num)s stories", 2000) == "2,000 stories"
    assert gettext("%(what)s, on %(day)s", what="x", day=date(2026, 10, 1)) == "x, on 1 October 2026"
    assert gettext("100 %% sure") == "100 % sure"
    assert gettext("at %(rate)s in %(language)s", rate=0.12345, language=LanguageTag("fr")) == "at 0.123 in fr"


def test_text_is_translated_with_the_texts_in_it() -> None:
    stories = ngettext("%(num)s story", "%(num)s stories", 0)
    text = gettext("%(what)s, on %(day)s", what=(stories, "100 %"), day=date(2026, 10, 1))
    assert text.translated(French(), format_value) == "le <2026-10-01> : <0> récit, 100 %"
    assert gettext("100 %% sure").translated(French(), format_value) == "sûr à 100 %"


def test_copied_text_can_be_translated() -> None:
    copied = copy.deepcopy(ngettext("%(num)s story", "%(num)s stories", 2))
    assert copied == "2 stories" and copied.translated(French(), str) == "2 récits"


_values = st.recursive(
    st.text() | st.integers(0, 10**9) | st.dates() | st.floats(0, 1e9) | st.builds(LanguageTag, st.text()),
    lambda inner: (
        st.builds(lambda value: gettext("%(what)s, on %(day)s", what=value, day="x"), inner)
        | st.lists(st.text(), max_size=3).map(tuple)
    ),
    max_leaves=4,
)


@given(_values)
def test_stored_text_is_the_same(value: object) -> None:
    text = gettext("%(what)s, on %(day)s", what=value, day=date(2026, 1, 2))  # type: ignore[arg-type]
    read = from_json(json.loads(json.dumps(to_json(text))))
    assert isinstance(read, StaffText)
    assert read == text
    assert read.translated(French(), format_value) == text.translated(French(), format_value)


def test_plain_text_is_stored_as_it_is() -> None:
    assert from_json(to_json("550 no such user")) == "550 no such user"
