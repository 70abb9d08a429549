"""The settings of a newsletter, read from a TOML file."""

import re
import tomllib
from datetime import time
from typing import Annotated, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mailer.domain.errors import UserError
from mailer.domain.languages import InvalidLanguageTag, canonical_tag
from mailer.domain.localized import ui_languages
from mailer.domain.states import TrackingMode


class NewsletterError(UserError, ValueError):
    """Invalid newsletter settings. The message has one line per problem."""


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


def _single_line(value: str) -> str:
    if re.search(r"[\x00-\x1f\x7f\u0085\u2028\u2029]", value):
        raise ValueError("must be a single line")
    return value.strip()


def _multi_line(value: str) -> str:
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f\u0085\u2028\u2029]", value.replace("\r\n", "\n")):
        raise ValueError("must be text without control characters")
    if not value.strip():
        raise ValueError("must not be empty: every email needs a postal address")
    return value.replace("\r\n", "\n").strip()


LanguageTag = Annotated[str, AfterValidator(_language_tag)]
EmailAddress = Annotated[str, AfterValidator(_email_address)]
SingleLine = Annotated[str, AfterValidator(_single_line)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
OptionalUrl = Annotated[str, Field(pattern=r"^(https?://[^\s<>\"]+)?$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ThemeSettings(_Strict):
    """The colours of a newsletter."""

    accent: Colour = "#0b5c7a"
    text: Colour = "#1c2430"
    surface: Colour = "#ffffff"
    background: Colour = "#f2efe9"


class SectionSettings(_Strict):
    """A section of a newsletter, with titles and descriptions by language."""

    key: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    always_included: bool = False
    colour: Colour | Literal[""] = ""
    titles: dict[LanguageTag, SingleLine]
    descriptions: dict[LanguageTag, SingleLine] = {}


class NewsletterSettings(_Strict):
    """A newsletter: sender, languages, theme, sections and sending rules."""

    slug: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    sender_name: SingleLine
    sender_address: EmailAddress
    reply_to: EmailAddress | Literal[""] = ""
    postal_address: Annotated[str, AfterValidator(_multi_line), Field(min_length=1)]
    website: OptionalUrl = ""
    list_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$")]
    tracking: TrackingMode = TrackingMode.aggregate
    default_language: LanguageTag
    languages: Annotated[list[LanguageTag], Field(min_length=1)]
    fallbacks: dict[LanguageTag, list[LanguageTag]] = {}
    names: dict[LanguageTag, SingleLine]
    taglines: dict[LanguageTag, SingleLine] = {}
    theme: ThemeSettings = ThemeSettings()
    quiet_from: time | None = None
    quiet_until: time | None = None
    """No first attempt between ``quiet_from`` and this, in each reader's time zone."""
    digest_time: time = time(9)
    """When the monthly digest is sent, in each reader's time zone."""
    max_late_hours: Annotated[int, Field(ge=1, le=168)] = 3
    """An issue that is later than this when it could be sent waits until somebody sends it."""
    public: bool = True
    uncertain_policy: Literal["keep", "resend"] = "keep"
    """How to handle an uncertain delivery: keep it for a person to resolve, or send it again."""
    suppress_after_refused_issues: Annotated[int, Field(ge=2, le=50)] = 5
    suppress_after_refused_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Suppress an address that refuses so many issues in a row, over at least so many days."""
    text_overrides: dict[LanguageTag, dict[str, SingleLine | list[SingleLine]]] = {}
    """Replacements for catalogue messages: see mailer.domain.text_overrides."""
    sections: list[SectionSettings] = []

    @model_validator(mode="after")
    def _consistent(self) -> "NewsletterSettings":
        if (self.quiet_from is None) != (self.quiet_until is None) or (
            self.quiet_from is not None and self.quiet_from == self.quiet_until
        ):
            raise ValueError("quiet hours need two different times: quiet_from = 21:00:00, quiet_until = 07:00:00")
        if self.default_language not in self.languages:
            raise ValueError(f"default_language {self.default_language} is not among languages")
        keys = [section.key for section in self.sections]
        if duplicates := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"two sections have the key {', '.join(sorted(duplicates))}")
        if unknown := self.text_overrides.keys() - {*self.languages, *ui_languages(self.languages)}:
            raise ValueError(f"text_overrides: {', '.join(sorted(unknown))} is not among languages")
        if not self.names:
            raise ValueError("names needs at least one name")
        if len(self.sections) > 62:
            raise ValueError("a newsletter has at most 62 sections")
        return self


def read_newsletter(source: str) -> NewsletterSettings:
    """Read settings from TOML. Raises NewsletterError."""
    try:
        return NewsletterSettings.model_validate(tomllib.loads(source))
    except tomllib.TOMLDecodeError as error:
        raise NewsletterError(f"This is not TOML: {error}") from None
    except ValidationError as error:
        lines = []
        for item in error.errors(include_url=False, include_input=False):
            field = ".".join(str(key) for key in item["loc"])
            lines.append(f"{field}: {item['msg'].removeprefix('Value error, ')}" if field else item["msg"])
        raise NewsletterError("\n".join(lines)) from None
