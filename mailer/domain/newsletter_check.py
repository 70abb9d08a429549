"""Reads a newsletter's settings, and explains each problem in words."""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mailer.domain.errors import UserError
from mailer.domain.languages import InvalidLanguageTag, canonical_tag
from mailer.domain.localized import ui_languages
from mailer.domain.newsletter import NESTED, NewsletterSettings, example
from mailer.domain.text_overrides import TextOverrides


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with settings."""

    path: tuple[str | int, ...]
    """Where: ``("theme", "accent")``, ``("sections", 2, "titles", "fr")``."""
    message: str
    place: str = ""
    """The path as a file's author knows it; empty if the message says it."""
    example: str = ""
    """How it is written in a file."""

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        return f"{place}{self.message}" + (f". Example: {self.example}" if self.example else "")


class NewsletterError(UserError, ValueError):
    """Invalid newsletter settings. The message has one line per problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


OverrideErrors = Callable[[TextOverrides], Iterable[tuple[str, str, str]]]
"""Yields (language, text, what is wrong) for each invalid text override."""


def read_newsletter(source: str, override_errors: OverrideErrors | None = None) -> NewsletterSettings:
    """Read settings from TOML. Raises NewsletterError with every problem."""
    try:
        data = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise NewsletterError(
            [
                Problem((), f"This is not TOML: {error}"),
                Problem((), f"A setting is a line such as: {example(_field_at(['slug']))}"),
            ]
        ) from None
    return check_newsletter(data, override_errors)


def check_newsletter(data: Mapping[str, Any], override_errors: OverrideErrors | None = None) -> NewsletterSettings:
    """Return settings from the data of a file or a form. Raises NewsletterError with every problem."""
    problems: dict[str, Problem] = {}
    settings = None
    try:
        settings = NewsletterSettings.model_validate(data)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            path = _path_in(data, item["loc"])
            place = _place(data, path)
            problems.setdefault(place, Problem(tuple(path), *_explain(item, path, place)))
    found = [*problems.values(), *_inconsistencies(data)]
    if settings and override_errors:
        found += [
            Problem(("text_overrides", language, text), f"“{text}”: {wrong}", f"text_overrides.{language}")
            for language, text, wrong in override_errors(settings.text_overrides)
        ]
    if found or settings is None:
        raise NewsletterError(found)
    return settings


def _path_in(data: object, loc: Sequence[int | str]) -> list[int | str]:
    """Return the beginning of a location that exists in the data, and a missing key after it."""
    path: list[int | str] = []
    for part in loc:
        if isinstance(data, dict) and isinstance(part, str) and part != "[key]":
            path.append(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
        else:
            break
    return path


def _place(data: Mapping[str, Any], path: Sequence[int | str]) -> str:
    """Return a path as it is named in a message: ``theme.accent``, or with a section's key."""
    if path[0] != "sections" or len(path) < 2:
        return ".".join(map(str, path))
    section = data["sections"][path[1]]
    key = section.get("key") if isinstance(section, dict) else None
    name = f"“{key}”" if isinstance(key, str) else f"number {int(path[1]) + 1}"
    return f"section {name}, {'.'.join(map(str, path[2:]))}".removesuffix(", ")


def _field_at(path: Sequence[int | str]) -> FieldInfo:
    """Return the innermost setting of a path."""
    nested = NESTED.get(str(path[0]))
    inner = next((part for part in path[1:] if isinstance(part, str)), "")
    return nested.model_fields[inner] if nested and inner else NewsletterSettings.model_fields[str(path[0])]


def _explain(item: Mapping[str, Any], path: Sequence[int | str], place: str) -> tuple[str, str, str]:
    """Return message, place and example of a problem."""
    if item["type"] == "extra_forbidden":
        known = NESTED.get(str(path[0]), NewsletterSettings) if len(path) > 1 else NewsletterSettings
        similar = get_close_matches(str(path[-1]), known.model_fields, 1)
        hint = f" Did you mean {similar[0]}?" if similar else f" There are: {', '.join(known.model_fields)}."
        return f"there is no such setting.{hint}", place, ""
    field = _field_at(path)
    message = item["msg"].removeprefix("Value error, ").removesuffix(".")
    if item["type"] == "missing":
        message = f"is missing. {field.description}"
    elif item["type"] == "string_pattern_mismatch":
        message = f"“{str(item['input'])[:80]}” does not fit. {field.description}"
    elif item["type"] == "too_short":
        message = "needs at least one entry"
    elif item["type"] == "too_long":
        message = f"has more than {item['ctx']['max_length']} entries"
    return message, place, example(field)


def _inconsistencies(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield each contradiction between settings, whatever else is wrong."""
    start, end = data.get("quiet_from"), data.get("quiet_until")
    if (start is None) != (end is None) or (start is not None and start == end):
        yield Problem(
            ("quiet_from",),
            "quiet hours need two different times",
            example="quiet_from = 21:00:00, quiet_until = 07:00:00",
        )
    languages = _canonical_tags(data.get("languages"))
    default = _canonical_tags([data.get("default_language")])
    if languages and default and not set(default) <= set(languages):
        yield Problem(
            ("default_language",),
            f"default_language {default[0]} is not among languages",
            example=f'default_language = "{languages[0]}"',
        )
    seeds = data.get("seed_list")
    if isinstance(seeds, dict) and languages and (unknown := set(_canonical_tags([*seeds.values()])) - set(languages)):
        yield Problem(("seed_list",), f"seed_list: {', '.join(sorted(unknown))} is not among languages")
    sections = data.get("sections")
    keys = (
        [section.get("key") for section in sections if isinstance(section, dict)] if isinstance(sections, list) else []
    )
    if duplicates := {str(key) for key in keys if key and keys.count(key) > 1}:
        last = max(at for at, key in enumerate(keys) if str(key) in duplicates)
        yield Problem(
            ("sections", last, "key"),
            f"two sections have the key {', '.join(sorted(duplicates))}. Give each section a key of its own",
        )
    overrides = data.get("text_overrides")
    if isinstance(overrides, dict) and languages:
        known = {*languages, *ui_languages(languages)}
        if unknown := set(_canonical_tags(list(overrides))) - known:
            yield Problem(("text_overrides",), f"text_overrides: {', '.join(sorted(unknown))} is not among languages")


def _canonical_tags(values: object) -> list[str]:
    """Return the valid tags of a list that may be anything."""
    tags = []
    for value in values if isinstance(values, list) else []:
        try:
            tags.append(canonical_tag(value))
        except (InvalidLanguageTag, AttributeError, TypeError):
            continue
    return tags
