"""What an edition says, before it has a look: the shape that the templates receive.

All text is in its final language. Rich text (intro, body) is Markdown: CommonMark, plus ``<sup>``
and ``<sub>``. A slot is a place that is filled for each reader when the message is sent; in the
content it stands as an opaque marker string (see ``mailer.domain.message``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from mailer.domain.text_overrides import OverrideText


@dataclass(frozen=True, slots=True)
class DateRange:
    """Days of an event, both ends included; ``start == end`` for a single day."""

    start: date
    end: date


@dataclass(frozen=True, slots=True)
class Dateline:
    """When and where. ``text`` is the dateline as written, without its final colon; when ``dates``
    is empty the text could not be read as dates and is shown as it stands."""

    text: str
    dates: tuple[DateRange, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class EditionPicture:
    """A picture as the mail shows it: an absolute URL, its size in pixels, and its alt text."""

    url: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True, slots=True)
class EditionStory:
    """One story in the edition. ``headline`` is one line of Markdown. ``language`` is that of its text: it
    differs from the edition's when the story fell back, and ``fell_back`` is then true."""

    key: str
    headline: str
    body: str
    language: str
    is_fallback: bool = False
    datelines: tuple[Dateline, ...] = ()
    picture: EditionPicture | None = None
    link: str = ""
    link_label: str = ""
    """What the link says; empty: "read more" in the edition's language."""
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
    """Colours as six-digit hex (``#0b5c7a``), the logo's absolute URL or an empty string."""

    accent: str = "#0b5c7a"
    text: str = "#1c2430"
    surface: str = "#ffffff"
    background: str = "#f2efe9"


@dataclass(frozen=True, slots=True)
class EditionUrls:
    """Absolute URLs for the frame of the mail. Those of one reader hold slot markers."""

    web_view: str
    preferences: str = ""
    unsubscribe: str = ""
    website: str = ""


@dataclass(frozen=True, slots=True)
class EditionContent:
    """Everything that one edition prints."""

    language: str
    direction: str
    """``ltr`` or ``rtl``."""
    newsletter: str
    tagline: str
    issue_label: str
    """The number as printed in the masthead, for instance ``2026/3``."""
    issue_date: date
    subject: str
    preheader: str
    intro: str
    sections: tuple[EditionSection, ...]
    unfollowed_sections: tuple[str, ...]
    """Titles of sections of this issue that this reader does not follow, in the edition's language."""
    postal_address: str
    sender_name: str
    reply_to: str
    urls: EditionUrls
    masthead_picture: EditionPicture | None = None
    subscriber_name: str = ""
    """The slot for the reader's name, or empty in the web view."""
    subscriber_address: str = ""
    """The slot for the reader's address, or empty in the web view."""
    greeting_boundary: str = ""
    """Stands before and behind the greeting where it is to be left out for readers without a name."""
    theme: Theme = field(default_factory=Theme)
    text_overrides: Mapping[str, OverrideText] = field(default_factory=dict)
    """The newsletter's own words for phrases of the catalogue: see mailer.domain.text_overrides."""


@dataclass(frozen=True, slots=True)
class TransactionalContent:
    """Everything that a transactional email prints: one about a subscription."""

    kind: str
    """Name of the folder with its templates, in ``templates/email``."""
    language: str
    direction: str
    newsletter: str
    sender_name: str
    postal_address: str
    reply_to: str
    action_url: str
    """Where its button leads."""
    email_address: str
    """To which it goes."""
    website: str = ""
    unsubscribe: str = ""
    sections: tuple[str, ...] = ()
    """Titles, in the email's language as far as there are any."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags, best first."""
    masked_address: str = ""
    """The other end of a change of address, masked."""
    monthly: bool = False
    """One email a month instead of each issue."""
    text_only: bool = False
    paused_until: datetime | None = None
    """None when nothing is paused."""
    can_undo: bool = False
    """The change that it is about can be undone where the button leads."""
    link_lifetime_hours: int = 0
    """How long the link opens."""
    theme: Theme = field(default_factory=Theme)
    text_overrides: Mapping[str, OverrideText] = field(default_factory=dict)
    """The newsletter's, for this language: see mailer.domain.text_overrides."""
