"""The settings of a newsletter, and how a TOML file with them is read."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from mailer.domain.errors import UserError
from mailer.domain.languages import InvalidLanguageTag, canonical_tag
from mailer.domain.localized import ui_languages
from mailer.domain.states import TrackingMode
from mailer.domain.subscriber_fields import read_address, read_time_zone
from mailer.domain.text_overrides import TextOverrides

MAX_LINE_CHARS = 1000


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


def _language_tag(value: str) -> str:
    try:
        return canonical_tag(value)
    except InvalidLanguageTag as error:
        raise ValueError(str(error)) from None


def _email_address(value: str) -> str:
    try:
        ascii_email = validate_email(value, check_deliverability=False, test_environment=True).ascii_email
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    if ascii_email is None:
        raise ValueError("the part before the @ must be ASCII, because many mail servers cannot reply otherwise")
    return ascii_email


def _subscriber_address(value: str) -> str:
    return read_address(value)[0]


def _single_line(value: str) -> str:
    if len(value) > MAX_LINE_CHARS:
        raise ValueError(f"must have at most {MAX_LINE_CHARS} characters")
    if re.search(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", value):
        raise ValueError("must be a single line")
    return value.strip()


def _multi_line(value: str) -> str:
    if len(value) > MAX_LINE_CHARS:
        raise ValueError(f"must have at most {MAX_LINE_CHARS} characters")
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f\u0085\u2028\u2029]", value.replace("\r\n", "\n")):
        raise ValueError("must be text without control characters")
    if not value.strip():
        raise ValueError("must not be empty: every email needs a postal address")
    return value.replace("\r\n", "\n").strip()


def _time_zone(value: str) -> str:
    return read_time_zone(value.strip())


LanguageTag = Annotated[str, AfterValidator(_language_tag)]
EmailAddress = Annotated[str, AfterValidator(_email_address)]
SubscriberAddress = Annotated[str, AfterValidator(_subscriber_address)]
SingleLine = Annotated[str, AfterValidator(_single_line)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
OptionalUrl = Annotated[str, Field(pattern=r"^(https?://[^\s<>\"]+)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _setting(description: str, example: str, **limits: Any) -> Any:
    """Return a setting's description and an example, as it is written in the file."""
    return Field(description=description, examples=[example], **limits)


class ThemeSettings(_Strict):
    """The colours of a newsletter."""

    accent: Annotated[Colour, _setting("Links, buttons and headings", 'accent = "#0b5c7a"')] = "#0b5c7a"
    text: Annotated[Colour, _setting("Text", 'text = "#1c2430"')] = "#1c2430"
    surface: Annotated[Colour, _setting("Behind the text", 'surface = "#ffffff"')] = "#ffffff"
    background: Annotated[Colour, _setting("Around the email", 'background = "#f2efe9"')] = "#f2efe9"


class SectionSettings(_Strict):
    """A section of a newsletter, with titles and descriptions by language."""

    key: Annotated[
        str,
        _setting(
            "Its name in commands, readers' files and URLs: lower-case letters, digits and hyphens. Never change it",
            'key = "water-and-rivers"',
            pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        ),
    ]
    titles: Annotated[
        dict[LanguageTag, SingleLine],
        _setting("Its titles by language, as in the documents", 'titles = {en = "Water and rivers"}', min_length=1),
    ]
    descriptions: Annotated[
        dict[LanguageTag, SingleLine],
        _setting("What readers are told where they choose", 'descriptions = {en = "Levels, wetlands, ferries."}'),
    ] = {}
    always_included: Annotated[bool, _setting("Whether it is in everyone's edition", "always_included = true")] = False
    colour: Annotated[Colour | Literal[""], _setting("The colour of its heading", 'colour = "#0b5c7a"')] = ""


class NewsletterSettings(_Strict):
    """A newsletter: sender, languages, theme, sections and sending rules."""

    slug: Annotated[
        str,
        _setting(
            "The newsletter's name in commands and URLs: lower-case letters, digits and hyphens. Never change it",
            'slug = "river-news"',
            pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$",
        ),
    ]
    names: Annotated[
        dict[LanguageTag, SingleLine],
        _setting("The newsletter's names by language", 'names = {en = "River News"}', min_length=1),
    ]
    taglines: Annotated[
        dict[LanguageTag, SingleLine],
        _setting("A line below the name, by language", 'taglines = {en = "News from both banks"}'),
    ] = {}
    sender_name: Annotated[SingleLine, _setting("Who the email is from", 'sender_name = "River News"')]
    sender_address: Annotated[
        EmailAddress, _setting("The address that it is from", 'sender_address = "news@example.org"')
    ]
    reply_to: Annotated[
        EmailAddress | Literal[""],
        _setting("Where replies go, if not to the sender's address", 'reply_to = "editors@example.org"'),
    ] = ""
    postal_address: Annotated[
        str,
        AfterValidator(_multi_line),
        _setting(
            "The postal address at the foot of every email; several lines between three quotation marks",
            'postal_address = "1 Example Quay, 0000 Exampletown"',
        ),
    ]
    website: Annotated[OptionalUrl, _setting("Your website", 'website = "https://www.example.org"')] = ""
    list_id: Annotated[
        str,
        _setting(
            "The list's identifier, by which mail programs sort: a name in your domain (RFC 2919). Never change it",
            'list_id = "news.example.org"',
            pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$",
        ),
    ]
    languages: Annotated[
        list[LanguageTag],
        AfterValidator(lambda tags: list(dict.fromkeys(tags))),
        _setting(
            "The languages that issues may have, as BCP 47 tags, the most important first",
            'languages = ["en", "fr", "sr-Latn"]',
            min_length=1,
        ),
    ]
    default_language: Annotated[
        LanguageTag,
        _setting("The language for readers for whom no other fits; one of languages", 'default_language = "en"'),
    ]
    fallbacks: Annotated[
        dict[LanguageTag, list[LanguageTag]],
        _setting("For each language, where to look when a text is missing", 'fallbacks = {fr = ["en"]}'),
    ] = {}
    tracking: Annotated[
        TrackingMode,
        _setting(
            "What is recorded about clicks and opens: none, aggregate (counts only) or individual (with consent)",
            'tracking = "none"',
        ),
    ] = TrackingMode.aggregate
    quiet_from: Annotated[
        time | None,
        _setting("Start of the hours, on the reader's clock, without a first attempt", "quiet_from = 21:00:00"),
    ] = None
    quiet_until: Annotated[time | None, _setting("End of these hours", "quiet_until = 07:00:00")] = None
    time_zone: Annotated[
        str,
        AfterValidator(_time_zone),
        _setting("The time zone that sending times are given in", 'time_zone = "Europe/Paris"'),
    ] = "UTC"
    digest_time: Annotated[
        time, _setting("When the monthly digest is sent, on each reader's clock", "digest_time = 09:00:00")
    ] = time(9)
    max_late_hours: Annotated[
        int,
        _setting(
            "An issue that could be sent only so many hours late waits until somebody sends it, from 1 to 168",
            "max_late_hours = 3",
            ge=1,
            le=168,
        ),
    ] = 3
    four_eyes: Annotated[
        bool,
        _setting(
            "Whether a language of an issue is approved by somebody else than who imported it last", "four_eyes = true"
        ),
    ] = False
    public: Annotated[bool, _setting("Whether anybody may read the archive and subscribe", "public = false")] = True
    uncertain_policy: Annotated[
        Literal["keep", "resend"],
        _setting(
            "What to do with a delivery of unknown outcome: keep it for a person to resolve, or resend it",
            'uncertain_policy = "resend"',
        ),
    ] = "keep"
    suppress_after_refused_issues: Annotated[
        int,
        _setting(
            "An address that refuses so many issues in a row is suppressed, from 2 to 50",
            "suppress_after_refused_issues = 5",
            ge=2,
            le=50,
        ),
    ] = 5
    suppress_after_refused_days: Annotated[
        int,
        _setting(
            "And only if it has refused them over so many days, from 1 to 365",
            "suppress_after_refused_days = 30",
            ge=1,
            le=365,
        ),
    ] = 30
    seed_list: Annotated[
        dict[SubscriberAddress, LanguageTag],
        _setting(
            "Addresses that get every issue in full when it goes out, each with its language, beside the readers; at "
            "most 50",
            'seed_list = {"editor@example.org" = "en"}',
            max_length=50,
        ),
    ] = {}
    theme: Annotated[ThemeSettings, _setting("The colours", 'theme = {accent = "#0b5c7a"}')] = ThemeSettings()
    text_overrides: Annotated[
        dict[LanguageTag, dict[str, SingleLine | list[SingleLine]]],
        _setting(
            "Your own wording for texts of emails and pages, by language",
            'text_overrides = {en = {"Unsubscribe" = "Leave this list"}}',
        ),
    ] = {}
    """See mailer.domain.text_overrides."""
    revision: Annotated[
        int,
        _setting(
            "As `mailer newsletter show` writes it: what was changed at the desk after it is not overwritten",
            "revision = 12",
            ge=0,
            lt=2**31,
        ),
    ] = 0
    sections: Annotated[
        list[SectionSettings],
        _setting(
            "What readers can follow, in print order, at most 62",
            'sections = [{key = "news", titles = {en = "News"}}]',
            max_length=62,
        ),
    ] = []


NESTED: dict[str, type[BaseModel]] = {"theme": ThemeSettings, "sections": SectionSettings}


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


def example(field: FieldInfo) -> str:
    """Return how a setting is written in the file."""
    assert field.examples
    return str(field.examples[0])


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
