"""Writes a newsletter's settings as a TOML file, a new file to start from, and the reference of all settings."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import time

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mailer.domain.newsletter import NESTED, NewsletterSettings, SectionSettings, example

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(settings: NewsletterSettings) -> str:
    """Return the file that ``read_newsletter`` reads as these settings. Defaults are left out."""
    values = settings.model_dump(exclude_defaults=True, exclude={"sections"})
    lines = [f"{name} = {_value(value)}" for name, value in values.items() if not isinstance(value, dict)]
    for name, value in values.items():
        if isinstance(value, dict):
            lines += _table([name], value)
    for section in settings.sections:
        section_values = section.model_dump(exclude_defaults=True)
        lines += ["", "[[sections]]"]
        lines += [f"{name} = {_value(value)}" for name, value in section_values.items() if not isinstance(value, dict)]
        for name, value in section_values.items():
            if isinstance(value, dict):
                lines += _table(["sections", name], value)
    return "\n".join(lines) + "\n"


def starter_file(slug: str) -> str:
    """Return a file to start a newsletter from: what it needs with examples, the rest as comments."""
    lines = ["# A newsletter. Change the examples, then: mailer newsletter apply FILE", ""]
    for name, field in NewsletterSettings.model_fields.items():
        line = f"slug = {json.dumps(slug)}" if name == "slug" else example(field)
        if name != "sections":
            lines += [f"# {field.description}.", line if field.is_required() else f"# {line}", ""]
    lines += ["# What readers can follow, in print order. Repeat this part for each section."]
    lines += ["[[sections]]"]
    for field in SectionSettings.model_fields.values():
        lines += [f"# {field.description}.", example(field) if field.is_required() else f"# {example(field)}"]
    return "\n".join(lines) + "\n"


def reference_table() -> str:
    """Return a Markdown table of all settings."""
    rows = ["| setting | default | what it is | example |", "|---|---|---|---|"]
    for name, field in _all_fields(NewsletterSettings):
        default = "required" if field.is_required() else _default(field)
        rows.append(f"| `{name}` | {default} | {field.description} | `{example(field)}` |")
    return "\n".join(rows)


def _all_fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        if nested := NESTED.get(name):
            yield from _all_fields(nested, f"{name}.")


def _default(field: FieldInfo) -> str:
    default = field.default
    return (
        f"`{_value(default)}`" if default not in ("", {}, [], None) and not isinstance(default, BaseModel) else "empty"
    )


def _table(path: list[str], values: Mapping[str, object]) -> list[str]:
    """Return a table, and tables for the tables in it."""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in values.items() if key not in inner]
    if lines:
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for key, value in inner.items():
        lines += _table([*path, key], value)
    return lines


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, time):
        return value.isoformat()
    return str(value) if isinstance(value, int) else json.dumps(str(value), ensure_ascii=False)
