"""Front matter: the values before the text of a document.

Documents have ``key: value`` lines between two ``---`` lines. Those written for other tools have YAML there, or TOML
between two ``+++`` lines, or a JSON object: their keys for the same things are read, and all others are reported.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from mailer.domain.document.datelines import read_datelines
from mailer.domain.document.model import DocumentError, ParseWarning
from mailer.domain.document.sentences import excerpt, one_line
from mailer.domain.document.source import without_control_characters

PARTIAL_KEYS = ("partial_subject", "partial_preheader", "partial_intro")
KEYS = ("subject", "preheader", "number", "date", "language", *PARTIAL_KEYS)
_OTHER_KEYS = {
    "title": "subject",
    "description": "preheader",
    "summary": "preheader",
    "issue": "number",
    "lang": "language",
}
"""The keys of other tools: Hugo, Jekyll, Pandoc."""
_FENCES = {"---": ("---", "..."), "+++": ("+++",), "{": ("}",)}
"""First line → last lines."""
_YAML_KEY = re.compile(r"""(["']?)([^\W_][^:]{0,99}?)\1\s*:(.*)""")
_DATE_AND_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ]\s*\d{1,2}:\d\d.*")
_QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“”", "«": "»"}

_Entry = tuple[int, str, str | None]
"""Line, key, and value; None for a value that is not one text, such as a list."""


def read_front_matter(lines: Sequence[str], language: str, warnings: list[ParseWarning]) -> tuple[dict[str, str], int]:
    """Return the values without enclosing quotes, and the number of lines of the front matter (0 if there is none).

    ``language`` is that of a date in words, unless the front matter names another. Keys without a meaning add a
    warning. Raises DocumentError, with the line number, for a duplicated key, a line that cannot be read, an invalid
    date, and front matter without an end.
    """
    start = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    fence = lines[start].rstrip() if start < len(lines) else ""
    if fence not in _FENCES or (fence == "---" and not _has_yaml_key(lines[start + 1 :])):
        return {}, 0
    end = next((at for at in range(start + 1, len(lines)) if lines[at].rstrip() in _FENCES[fence]), None)
    if end is None:
        raise DocumentError(
            f"The front matter begins with “{fence}” in line {start + 1}, but there is no “{_FENCES[fence][0]}” line "
            "to end it."
        )
    entries = (_yaml_entries if fence == "---" else _table_entries)(lines, start, end)
    found: dict[str, tuple[int, str]] = {}
    elsewhere: list[tuple[int, str, str]] = []
    for line, written_key, value in entries:
        key = written_key.lower()
        if key in KEYS and value is not None:
            if key in found:
                raise DocumentError(f"Line {line} has the key “{key}” a second time.")
            found[key] = (line, value)
        elif key in _OTHER_KEYS and value:
            elsewhere.append((line, written_key, value))
        else:
            warnings.append(ParseWarning(line, f"“{excerpt(written_key)}” in the front matter was left out."))
    for line, written_key, value in elsewhere:
        key = _OTHER_KEYS[written_key.lower()]
        if found.get(key, (0, ""))[1]:
            message = f"“{written_key}” in the front matter was left out, since “{key}” has a value."
            warnings.append(ParseWarning(line, message))
        else:
            found[key] = (line, value)
    values = {key: one_line(without_control_characters(value)[0]) for key, (_, value) in found.items()}
    if values.get("date"):
        values["date"] = _iso_date(values["date"], values.get("language") or language, found["date"][0])
    return values, end + 1


def _has_yaml_key(lines: Sequence[str]) -> bool:
    """Return whether the first line with content is a key, so that ``---`` is no horizontal rule."""
    content = (line for line in lines if line.strip() and not line.startswith("#"))
    match = _YAML_KEY.match(next(content, ""))
    return match is not None and (not match[2].count(" ") or match[2].lower() in KEYS)


def _yaml_entries(lines: Sequence[str], start: int, end: int) -> Iterator[_Entry]:
    """Yield the entries on the first level of a YAML mapping.

    A text that YAML would refuse, such as one with a colon, is taken as written.
    """
    entry: tuple[int, str, list[str]] | None = None
    for number, line in enumerate([*lines[start + 1 : end], "end:"], start=start + 2):
        if not line.strip() or line.startswith("#"):
            continue
        if entry and (line[0].isspace() or line.startswith("- ") or line == "-"):
            entry[2].append(line.strip())
            continue
        key = _YAML_KEY.fullmatch(line.strip())
        if key is None:
            raise DocumentError(
                f"Line {number} is not of the form “key: value”, like each line between the two “---” lines."
            )
        if entry:
            yield entry[0], entry[1], _yaml_text(entry[2])
        entry = (number, key[2].rstrip(), [key[3].strip()])


def _yaml_text(lines: list[str]) -> str | None:
    """Return the text of a value on one or several lines, or None for a list or a mapping."""
    value, *more = lines
    if more and (not value or re.fullmatch(r"[|>][-+\d]{0,2}", value)):
        is_list = not value and (more[0].startswith("-") or _YAML_KEY.match(more[0]))
        return None if is_list else " ".join(more)
    return _unquoted(" ".join(lines))


def _unquoted(value: str) -> str:
    """Return a value without the quotes around the whole of it, and without escapes and a comment in YAML's manner."""
    quote = value[:1]
    if quote not in _QUOTES:
        return value
    inside = r'(?:[^"\\]|\\.)*' if quote == '"' else "(?:[^']|'')*" if quote == "'" else f"[^{quote}{_QUOTES[quote]}]*"
    match = re.fullmatch(rf"{quote}({inside})[{_QUOTES[quote]}](?:\s+#.*)?", value)
    if match is None:
        return value
    if quote == '"':
        try:
            return str(json.loads(f'"{match[1]}"', strict=False))
        except ValueError:
            return match[1].replace('\\"', '"')
    return match[1].replace("''", "'") if quote == "'" else match[1]


def _table_entries(lines: Sequence[str], start: int, end: int) -> Iterator[_Entry]:
    """Yield the entries on the first level of a TOML document or a JSON object. Raises DocumentError if it is none."""
    is_json = lines[start].startswith("{")
    try:
        if is_json:
            table: Mapping[str, object] = json.loads("\n".join(lines[start : end + 1]))
        else:
            table = tomllib.loads("\n" * (start + 1) + "\n".join(lines[start + 1 : end]))
    except (ValueError, RecursionError) as error:
        name, first, last = ("JSON", "{", "}") if is_json else ("TOML", "+++", "+++")
        raise DocumentError(
            f"The front matter between “{first}” in line {start + 1} and “{last}” in line {end + 1} "
            f"is not {name}: {error}."
        ) from None
    for key, value in table.items():
        line = next((at for at in range(start, end) if lines[at].lstrip(" \t\"'[").startswith(key)), start) + 1
        yield line, key, str(value) if isinstance(value, str | int | date) and not isinstance(value, bool) else None


def _iso_date(value: str, language: str, line: int) -> str:
    """Return a date in ISO 8601, from one with or without a time, or in words. Raises DocumentError."""
    written = _DATE_AND_TIME.sub(r"\1", value)
    try:
        return date.fromisoformat(written).isoformat()
    except ValueError:
        (dateline, *more), _ = read_datelines(value, language)
        if not more and len(dateline.dates) == 1 and dateline.dates[0].start == dateline.dates[0].end:
            return dateline.dates[0].start.isoformat()
        raise DocumentError(f"Line {line} has the date “{excerpt(value)}”; write dates as 2026-09-30.") from None
