"""Texts for staff that can be translated.

Such a text is a string, its English text, so that the command line and logs print it as it is. Pages translate it with
their catalogue. ``pybabel extract`` finds the messages in the calls of ``gettext`` and ``ngettext``.
"""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, Protocol

Value = str | int | float | date | tuple[str, ...]
"""A value in a message. A tuple is a list, whose items are separated by commas."""
FormatValue = Callable[["int | float | date | LanguageTag"], str]
"""Formats numbers and dates, and names languages."""


class Translations(Protocol):
    """A catalogue, such as ``gettext.NullTranslations``."""

    def gettext(self, message: str, /) -> str: ...
    def ngettext(self, singular: str, plural: str, number: int, /) -> str: ...


class LanguageTag(str):
    """A language in a message: its tag in English texts for the command line, its name on pages."""


class StaffText(str):
    """A text in English, with its message and the values in it. See ``gettext``."""

    message: str
    plural: str
    """The message for several; empty if there is no number to agree with."""
    values: dict[str, Value]

    def translated(self, catalogue: Translations, format_value: FormatValue) -> str:
        """Return the text in another language."""
        return _render(self.message, self.plural, self.values, catalogue, format_value)


def gettext(message: str, **values: Value) -> StaffText:
    """Return a text with values: ``gettext("Removed: %(title)s", title=…)``. A percent sign is written ``%%``."""
    return _staff_text(message, "", values)


def ngettext(singular: str, plural: str, number: int, **values: Value) -> StaffText:
    """Return the text for a number, which is the value ``%(num)s``."""
    return _staff_text(singular, plural, {"num": number} | values)


def to_json(text: str) -> Any:
    """Return what ``from_json`` reads: a string, or for a text with a message an object."""
    if not isinstance(text, StaffText):
        return text
    return {
        "message": text.message,
        "plural": text.plural,
        "values": {name: _value_to_json(value) for name, value in text.values.items()},
    }


def from_json(stored: Any) -> str:
    """Return the text that ``to_json`` stored."""
    if isinstance(stored, str):
        return stored
    values = {name: _value_from_json(value) for name, value in stored["values"].items()}
    return _staff_text(stored["message"], stored["plural"], values)


class _English:
    def gettext(self, message: str, /) -> str:
        return message

    def ngettext(self, singular: str, plural: str, number: int, /) -> str:
        return singular if number == 1 else plural


def _format_english(value: int | float | date | LanguageTag) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, date):
        return f"{value:%-d %B %Y}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _staff_text(message: str, plural: str, values: dict[str, Value]) -> StaffText:
    text = StaffText(_render(message, plural, values, _English(), _format_english))
    text.message, text.plural, text.values = message, plural, values
    return text


def _render(
    message: str, plural: str, values: Mapping[str, Value], catalogue: Translations, format_value: FormatValue
) -> str:
    def text_of(value: Value) -> str:
        if isinstance(value, StaffText):
            return value.translated(catalogue, format_value)
        if isinstance(value, tuple):
            return ", ".join(map(text_of, value))
        return value if isinstance(value, str) and not isinstance(value, LanguageTag) else format_value(value)

    if plural:
        number = values["num"]
        assert isinstance(number, int)
        pattern = catalogue.ngettext(message, plural, number)
    else:
        pattern = catalogue.gettext(message)
    return pattern % {name: text_of(value) for name, value in values.items()}


def _value_to_json(value: Value) -> Any:
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, LanguageTag):
        return {"language": str(value)}
    return to_json(value) if isinstance(value, str) else value


def _value_from_json(stored: Any) -> Value:
    match stored:
        case list():
            return tuple(map(from_json, stored))
        case {"date": day}:
            return date.fromisoformat(day)
        case {"language": tag}:
            return LanguageTag(tag)
        case int() | float():
            return stored
    return from_json(stored)
