"""What a subscriber chooses of a newsletter: one type for the import, sign-up, forms, undo and export."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.languages import match_language
from mailer.domain.localized import N_
from mailer.domain.states import Frequency
from mailer.domain.subscription_ref import LinkKind

_NEW_SECTIONS_BIT = 1 << 61
"""Set for subscribers who follow sections that are added later."""


class NotOffered(ValueError):
    """A choice names a section, a language or anything else that is not offered."""


class NothingChosen(ValueError):
    """A choice leaves the subscriber without any section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """The choices of one subscriber for one newsletter. FIELDS says more about each."""

    sections: int = ALL_SECTIONS
    """Mask of the sections followed; bits of sections that do not exist yet are set for who follows new ones too."""
    languages: tuple[str, ...] = ()
    """BCP 47 tags, best first."""
    frequency: Frequency = Frequency.each
    paused_until: datetime | None = None
    text_only: bool = False
    """No HTML."""
    time_zone: str = "UTC"
    tracking: bool = False
    """Consents to tracking as a person."""
    name: str = ""

    @property
    def new_sections(self) -> bool:
        """Whether sections that are added later are followed too."""
        return bool(self.sections & _NEW_SECTIONS_BIT)


@dataclass(frozen=True, slots=True)
class PreferenceField:
    name: str
    """In Preferences, and of the column."""
    label: str
    """On the readers' pages; to be translated."""
    per_newsletter: bool
    """A column of ``subscription``; else of ``subscriber``, for all newsletters at once."""
    by_mail_link: bool
    """A link of any email may change it. Emails are forwarded, and show these anyway."""


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
    """Return the names of the fields that a kind of link may change."""
    return tuple(field.name for field in FIELDS if field.by_mail_link or link_kind is LinkKind.magic)


def restricted(current: Preferences, wanted: Preferences, link_kind: LinkKind) -> Preferences:
    """Return ``wanted`` as far as a kind of link may change it."""
    return replace(current, **{name: getattr(wanted, name) for name in changeable(link_kind)})


def snapshot(preferences: Preferences, link_kind: LinkKind) -> dict[str, Any]:
    """Return what a change by this kind of link replaces, as JSON."""
    values = {name: getattr(preferences, name) for name in changeable(link_kind)}
    until = preferences.paused_until
    return values | {"paused_until": until.isoformat() if until else None, "link_kind": link_kind}


def restored(current: Preferences, previous: Mapping[str, Any]) -> Preferences:
    """Return the preferences with those of a snapshot brought back."""
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
    """Return the mask of the sections with these bits. Those that everybody gets need no choosing: of them,
    ``current`` stays. Raises NotOffered and NothingChosen."""
    bits = {section.bit for section in offered}
    always = {section.bit for section in offered if section.always_included}
    followed = set(chosen)
    if not bits >= followed:
        raise NotOffered(NotOffered.__doc__)
    if bits and not followed and not always:
        raise NothingChosen(NothingChosen.__doc__)
    kept = current & _mask(always)
    to_come = ALL_SECTIONS & ~_mask(bits) if new_sections else 0
    return _mask(followed - always) | kept | to_come


def _mask(bits: Iterable[int]) -> int:
    return sum(1 << bit for bit in bits)


def with_unlisted_languages(chosen: Sequence[str], current: Sequence[str], offered: Sequence[str]) -> tuple[str, ...]:
    """Return the chosen languages as the subscriber's list: ``sr-Latn-BA`` stays when ``sr-Latn`` was chosen for
    it, and languages that this newsletter does not offer keep their place for the others."""
    theirs: dict[str, str] = {}
    for tag in current:
        theirs.setdefault(match_language(tag, offered) or "", tag)
    result = [theirs.get(tag, tag) for tag in dict.fromkeys(chosen)]
    for place, tag in enumerate(current):
        if match_language(tag, offered) is None:
            result.insert(place, tag)
    return tuple(result)
