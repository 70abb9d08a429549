"""A subscriber's preferences for a newsletter, as used by import, sign-up, forms, undo and export."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.languages import match_language
from mailer.domain.localized import N_
from mailer.domain.states import Frequency
from mailer.domain.subscription_ref import LinkKind

NEW_SECTIONS_BIT = 1 << 61
"""Set for subscribers who follow sections that are added later."""


class NotOffered(ValueError):
    """A choice names a section, a language or anything else that is not offered."""


class NothingChosen(ValueError):
    """A choice leaves the subscriber without any section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The preferences of one subscriber for one newsletter. FIELDS describes each field."""

    sections: int = ALL_SECTIONS
    """Mask of the sections followed. Bits of sections that do not exist yet are set if new sections are followed."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags, best first."""
    frequency: Frequency = Frequency.each
    paused_until: datetime | None = None
    text_only: bool = False
    """Whether emails are sent without HTML."""
    time_zone: str = "UTC"
    tracking: bool = False
    """Whether they consent to individual tracking."""
    name: str = ""

    @property
    def new_sections(self) -> bool:
        """Whether sections that are added later are followed too."""
        return bool(self.sections & NEW_SECTIONS_BIT)


@dataclass(frozen=True, slots=True)
class PreferenceField:
    """Describes a field of Preferences."""

    name: str
    """Name of the field in Preferences and of its column."""
    label: str
    """Message id of the label on the subscribers' pages."""
    per_newsletter: bool
    """Whether the column is in ``subscription``; else it is in ``subscriber`` and applies to all newsletters."""
    by_mail_link: bool
    """Whether a link in any email may change it. Emails are forwarded, but they show these values anyway."""


FIELDS = (
    PreferenceField("sections", N_("Sections"), per_newsletter=True, by_mail_link=True),
    PreferenceField("languages", N_("Languages"), per_newsletter=False, by_mail_link=True),
    PreferenceField("frequency", N_("How often"), per_newsletter=True, by_mail_link=True),
    PreferenceField("paused_until", N_("Paused until"), per_newsletter=True, by_mail_link=True),
    PreferenceField("text_only", N_("Text only"), per_newsletter=False, by_mail_link=True),
    PreferenceField("time_zone", N_("Time zone"), per_newsletter=False, by_mail_link=False),
    PreferenceField("tracking", N_("Reading statistics"), per_newsletter=True, by_mail_link=False),
    PreferenceField("name", N_("Name"), per_newsletter=False, by_mail_link=False),
)


def changeable(link_kind: LinkKind) -> tuple[str, ...]:
    """Return the names of the fields that this kind of link may change."""
    return tuple(field.name for field in FIELDS if field.by_mail_link or link_kind is not LinkKind.mail)


def restricted(current: Preferences, wanted: Preferences, link_kind: LinkKind) -> Preferences:
    """Return ``current`` with those changes in ``wanted`` that this kind of link may make."""
    return replace(current, **{name: getattr(wanted, name) for name in changeable(link_kind)})


def snapshot(preferences: Preferences, link_kind: LinkKind) -> dict[str, Any]:
    """Return the fields that a change by this kind of link may replace, as a JSON object."""
    values = {name: getattr(preferences, name) for name in changeable(link_kind)}
    until = preferences.paused_until
    return values | {"paused_until": until.isoformat() if until else None, "link_kind": link_kind}


def restored(current: Preferences, previous: Mapping[str, Any]) -> Preferences:
    """Return the preferences with the fields of a snapshot restored."""
    values = {name: previous[name] for name in changeable(LinkKind(previous["link_kind"]))}
    until = values["paused_until"]
    values |= {
        "paused_until": datetime.fromisoformat(until) if until else None,
        "languages": tuple(values["languages"]),
        "frequency": Frequency(values["frequency"]),
    }
    return replace(current, **values)


class OfferedSection(Protocol):
    @property
    def bit(self) -> int: ...
    @property
    def always_included(self) -> bool: ...


def section_mask(
    chosen: Iterable[int], offered: Sequence[OfferedSection], *, new_sections: bool, current: int = 0
) -> int:
    """Return the mask of the chosen sections, given by their bits.

    Sections that every subscriber gets are not chosen; their bits are kept from ``current``.
    Raises NotOffered and NothingChosen.
    """
    bits = {section.bit for section in offered}
    always = {section.bit for section in offered if section.always_included}
    followed = set(chosen)
    if not bits >= followed:
        raise NotOffered(NotOffered.__doc__)
    if bits and not followed and not always:
        raise NothingChosen(NothingChosen.__doc__)
    kept = current & _mask(always)
    future = ALL_SECTIONS & ~_mask(bits) if new_sections else 0
    return _mask(followed - always) | kept | future


def _mask(bits: Iterable[int]) -> int:
    return sum(1 << bit for bit in bits)


def with_unlisted_languages(chosen: Sequence[str], current: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    """Return the subscriber's new list of languages after a choice among those offered.

    A current tag replaces the chosen tag that it matches (``sr-Latn-BA`` stays if ``sr-Latn`` was chosen). Current
    languages that this newsletter does not offer keep their position, since other newsletters may offer them.
    """
    current_by_offered: dict[str, str] = {}
    for tag in current:
        current_by_offered.setdefault(match_language(tag, offered) or "", tag)
    result = [current_by_offered.get(tag, tag) for tag in dict.fromkeys(chosen)]
    for position, tag in enumerate(current):
        if match_language(tag, offered) is None:
            result.insert(position, tag)
    return tuple(result)
