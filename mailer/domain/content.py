"""The content of an edition, as the templates receive it.

All text is in its final language. Rich text (intro, body) is Markdown (see
``mailer.domain.markdown``). A slot is filled for each reader when the message is sent; the content has an opaque marker
string in its place (see ``mailer.domain.message``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from mailer.domain.text_overrides import OverrideText
from mailer.domain.text_requests import RequestedText
from mailer.domain.transactional import TransactionalEmailKind


@dataclass(frozen=True, slots=True)
class DateRange:
    """The days of an event, both ends included. ``start == end`` for a single day."""

    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Dateline:
    """When and where something happened."""

    text: str
    """The dateline as written, without its final colon."""
    dates: tuple[DateRange, ...] = ()
    """Empty if the text could not be read as dates; then the text is shown."""
    place: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what is stored."""
        dates = [{"start": span.start.isoformat(), "end": span.end.isoformat()} for span in self.dates]
        return {"text": self.text, "dates": dates, "place": self.place}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Dateline":
        spans = ((date.fromisoformat(span["start"]), date.fromisoformat(span["end"])) for span in stored["dates"])
        return cls(stored["text"], tuple(DateRange(start, end) for start, end in spans), stored["place"])


@dataclass(frozen=True, slots=True)
class EditionPicture:
    """A picture in a mail: its absolute URL, its size in pixels and its alt text."""

    url: str
    width: int
    height: int
    alt: str
    thumbnail_url: str = ""
    """The URL of a smaller version. Empty if there is none."""
    credit: str = ""
    """Who took or owns it, printed below it."""


@dataclass(frozen=True, slots=True)
class EditionStory:
    """A story in an edition."""

    key: str
    headline: str
    """One line of Markdown."""
    body: str
    language: str
    """The language of the text."""
    is_fallback: bool = False
    """Whether the text is in another language than the edition."""
    datelines: tuple[Dateline, ...] = ()
    picture: EditionPicture | None = None
    link: str = ""
    link_label: str = ""
    """The text of the link. Empty for "read more" in the edition's language."""
    contacts: tuple[str, ...] = ()
    """Contact notes (inline Markdown) printed after this story."""


@dataclass(frozen=True, slots=True)
class EditionSection:
    """A section that has at least one story in this edition."""

    key: str
    title: str
    language: str
    stories: tuple[EditionStory, ...]
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a newsletter as six-digit hex (``#0b5c7a``)."""

    accent: str = "#0b5c7a"
    text: str = "#1c2430"
    surface: str = "#ffffff"
    background: str = "#f2efe9"


@dataclass(frozen=True, slots=True)
class EditionUrls:
    """The absolute URLs in the header and footer of a mail. A reader's own URLs have slot markers."""

    web_view: str
    preferences: str = ""
    unsubscribe: str = ""
    website: str = ""


@dataclass(frozen=True, slots=True)
class EditionContent:
    """The complete content of an edition."""

    language: str
    direction: str
    """``ltr`` or ``rtl``."""
    newsletter: str
    tagline: str
    issue_label: str
    """The number as printed at the top, such as ``2026/3``."""
    issue_date: date
    subject: str
    preheader: str
    intro: str
    sections: tuple[EditionSection, ...]
    unfollowed_sections: tuple[str, ...]
    """Titles of the issue's sections that are not in this edition, in the edition's language."""
    postal_address: str
    sender_name: str
    reply_to: str
    urls: EditionUrls
    header_image: EditionPicture | None = None
    subscriber_name: str = ""
    """The slot marker for the reader's name. Empty in the web view."""
    subscriber_address: str = ""
    """The slot marker for the reader's address. Empty in the web view."""
    greeting_boundary: str = ""
    """The marker before and after the greeting, which readers without a name do not get."""
    theme: Theme = field(default_factory=Theme)
    text_overrides: Mapping[str, OverrideText] = field(default_factory=dict)
    """The newsletter's replacements for catalogue messages: see mailer.domain.text_overrides."""
    partial_subject: str = ""
    """For editions without some of the issue's sections: see mailer.domain.partial_editions. Empty for the same."""
    partial_preheader: str = ""
    partial_intro: str = ""

    @property
    def shown_intro(self) -> str:
        """The introduction for the sections of this content."""
        return (self.unfollowed_sections and self.partial_intro) or self.intro


@dataclass(frozen=True, slots=True)
class TransactionalContent:
    """The complete content of a transactional email."""

    kind: TransactionalEmailKind
    """Also the name of the folder with its templates in ``templates/email``."""
    language: str
    direction: str
    newsletter: str
    sender_name: str
    postal_address: str
    reply_to: str
    action_url: str
    """The URL of the button."""
    unsubscribe: str = ""
    sections: tuple[str, ...] = ()
    """Section titles, in the email's language if translated."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags, best first."""
    masked_address: str = ""
    """The other address of a change of address, masked."""
    monthly: bool = False
    """One email a month instead of each issue."""
    text_only: bool = False
    paused_until: datetime | None = None
    """None if the subscription is not paused."""
    can_undo: bool = False
    """Whether the page behind the button can undo the change."""
    link_lifetime_hours: int = 0
    """How long the link works."""
    invited_by: str = ""
    """Only for an invitation: the colleague who sent it."""
    text_request: RequestedText | None = None
    """Only for an email about a text that somebody is asked for."""
    theme: Theme = field(default_factory=Theme)
    text_overrides: Mapping[str, OverrideText] = field(default_factory=dict)
    """The newsletter's replacements for catalogue messages in this language."""
