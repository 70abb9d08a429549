"""The settings of a newsletter, and how a TOML file with them is read."""

import re
from datetime import time
from typing import Annotated, Any, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from mailer.domain.languages import InvalidLanguageTag, canonical_tag
from mailer.domain.states import TrackingMode
from mailer.domain.subscriber_fields import read_address, read_time_zone

MAX_LINE_CHARS = 1000


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
            "An issue that is more than so many hours late waits until someone sends it, from 1 to 168",
            "max_late_hours = 3",
            ge=1,
            le=168,
        ),
    ] = 3
    four_eyes: Annotated[
        bool,
        _setting(
            "Whether a language of an issue is approved by someone other than the person who last imported it",
            "four_eyes = true",
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
            "As `mailer newsletter show` writes it: later changes at the desk are not overwritten",
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


def example(field: FieldInfo) -> str:
    """Return how a setting is written in the file."""
    assert field.examples
    return str(field.examples[0])
