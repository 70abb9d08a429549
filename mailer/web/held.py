"""What is held about a reader, in words of the reader's language where there are such, and all of it as it is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from mailer.adapters import cldr
from mailer.domain.locales import native_name
from mailer.domain.states import SkipReason
from mailer.domain.suppressions import BY_HAND, COMPLAINT, ERASED, HARD_BOUNCE, MOVED
from mailer.services.preferences import Profile
from mailer.web.pages import N_

_LABELS = {
    "address": N_("Your email address"),
    "name": N_("Name"),
    "languages": N_("Languages"),
    "time_zone": N_("Time zone"),
    "text_only": N_("Text only"),
    "newsletter": N_("Newsletter"),
    "issue": N_("Issue"),
    "subject": N_("Subject"),
    "sections": N_("Sections"),
    "new_sections": N_("New sections"),
    "frequency": N_("How often"),
    "paused_until": N_("Paused until"),
    "tracking": N_("Reading statistics"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Yes” or “No”: whether they agreed.
    "given": N_("Consent given"),
    # TRANSLATORS: On the page with everything stored about a reader, beside the words that they agreed to.
    "wording": N_("Wording"),
    # TRANSLATORS: On the page with everything stored about a reader, beside where they agreed, such as a form.
    "source": N_("Source"),
    # TRANSLATORS: On the page with everything stored about a reader, beside the reason why nothing is sent.
    "reason": N_("Reason"),
    # TRANSLATORS: On the page with everything stored about a reader, beside a day.
    "created_at": N_("Since"),
    # TRANSLATORS: On the page with everything stored about a reader, beside a day and time.
    "at": N_("When"),
    "finished_at": N_("When"),
    "sent_at": N_("When"),
}
"""Column → what the page calls it. What has no name here stands among the fields as they are stored."""
_KINDS = {
    "confirm": N_("Confirm my subscription"),
    "welcome": N_("You are subscribed"),
    "key": N_("Manage my subscription"),
    "address-old": N_("Your change of address"),
    "address-new": N_("Your change of address"),
    "unsubscribe": N_("Unsubscribe"),
    # TRANSLATORS: On the page with everything stored about a reader, below “Delivery problems and
    # unsubscribing”.
    "bounce": N_("An email could not be delivered"),
    "delay": N_("An email could not be delivered"),
}
"""Kind of a mail about the subscription, or of feedback → what it was about."""
_SOURCES = {
    "subscribe page": N_("Subscribe"),
    "form on another site": N_("Subscribe"),
    "unsubscribe page": N_("Unsubscribe"),
    "one click": N_("Unsubscribe"),
    "mail": N_("Unsubscribe"),
    "all newsletters": N_("Unsubscribe from all newsletters"),
    "all newsletters, own page": N_("Unsubscribe from all newsletters"),
    "undo on the unsubscribe page": N_("Restore my subscription"),
    "own page": N_("Your subscription"),
    "preferences page": N_("Your subscription"),
}
"""Where consent was given or withdrawn on a page of ours → what that page or button is called. Any other place
is told in the words of whoever noted it."""
_REASONS = {
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why they get no emails.
    HARD_BOUNCE: N_("Emails could not be delivered to your address"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why they get no emails.
    COMPLAINT: N_("You reported our emails as spam"),
    ERASED: N_("Everything has been erased"),
    MOVED: N_("Your address has been changed"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why they get no emails.
    BY_HAND: N_("Our team stopped sending to this address"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.unsubscribed: N_("The subscription had ended"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.unconfirmed: N_("The subscription was not confirmed"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.suppressed: N_("We do not send emails to this address"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.paused: N_("The subscription was paused"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.monthly: N_("You receive one email a month"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.no_language: N_("The issue was not available in your languages"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.nothing_in_sections: N_("The issue had no stories in your sections"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.cancelled: N_("Sending was cancelled"),
}
"""Why nothing is sent to an address, or why an issue was not → what the page says. Any other reason is told in the
words of whoever noted it."""


@dataclass(frozen=True, slots=True)
class Told:
    """A row: in words, and as it is stored."""

    said: list[tuple[str, str, str]]
    """Name, value, and the language of the value where it is not the page's."""
    stored: list[tuple[str, str]]


class Words:
    """Says rows of one reader in the language of their page."""

    def __init__(self, reader: Profile, gettext: Callable[[str], str]) -> None:
        self._language = reader.language
        self._gettext = gettext
        self._newsletters = {other.slug: other.name.text for other in reader.newsletters}
        self._here = reader.slug
        self._sections = reader.section_names
        self._zone = ZoneInfo(reader.time_zone)

    def told(self, row: Mapping[str, Any]) -> Told:
        given = {name: value for name, value in row.items() if value not in (None, "", [], {})}
        said = []
        if "state" in row:
            said.append((*self._state(str(row["state"])), ""))
        if kind := _KINDS.get(str(row.get("kind"))):
            said.append((self._gettext(_LABELS["subject"]), self._gettext(kind), ""))
        for name, value in given.items():
            if name in _LABELS:
                about = "tracking" if name == "given" and row.get("kind") == "tracking" else name
                tongue = "en" if name == "reason" and value not in _REASONS else ""
                said.append((self._gettext(_LABELS[about]), self._value(name, value, row), tongue))
        return Told(said, [(name, _stored(value)) for name, value in given.items()])

    def _state(self, state: str) -> tuple[str, str]:
        if state in ("active", "unsubscribed", "pending"):
            return self._gettext(N_("Subscribed")), self._yes(state == "active")
        # TRANSLATORS: On the page with everything stored about a reader, beside “Yes” or “No”: was an issue sent.
        return self._gettext(N_("Sent")), self._yes(state == "sent")

    def _yes(self, value: bool) -> str:
        return self._gettext(N_("Yes") if value else N_("No"))

    def _value(self, name: str, value: Any, row: Mapping[str, Any]) -> str:
        match name:
            case "newsletter":
                return self._newsletters.get(value, str(value))
            case "languages":
                return cldr.listed(tuple(map(native_name, value)), self._language)
            case "sections":
                named = self._sections if row.get("newsletter") == self._here else {}
                return cldr.listed(tuple(named.get(key, key) for key in value), self._language)
            case "time_zone":
                return cldr.zone_name(value, self._language, datetime.now().date())
            case "frequency":
                return self._gettext(N_("Once a month") if value == "monthly" else N_("Every issue"))
            case "reason":
                return self._gettext(_REASONS[value]) if value in _REASONS else str(value)
            case "source":
                return self._gettext(_SOURCES[value]) if value in _SOURCES else str(value)
        if isinstance(value, bool):
            return self._yes(value)
        if isinstance(value, datetime):
            there = value.astimezone(self._zone)
            return f"{cldr.day(there.date(), self._language)}, {there:%H:%M}"
        return str(value)


def _stored(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
