"""Describes a reader's data for the web page: translated labels, and the raw fields."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from mailer.adapters import cldr
from mailer.domain.consents import ConsentChannel
from mailer.domain.feedback import FeedbackKind
from mailer.domain.labels import CONSENT_CHANNEL_LABELS
from mailer.domain.locales import native_name
from mailer.domain.localized import N_
from mailer.domain.preferences import FIELDS
from mailer.domain.states import Frequency, SkipReason
from mailer.domain.suppressions import (
    SuppressionReason,
)
from mailer.domain.time_zones import time_zone
from mailer.domain.transactional import TransactionalEmailKind
from mailer.services.subscribers.preferences import Profile

_LABELS = {
    "address": N_("Your email address"),
    **{field.name: field.label for field in FIELDS},
    "newsletter": N_("Newsletter"),
    "issue": N_("Issue"),
    "subject": N_("Subject"),
    "new_sections": N_("New sections"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Yes” or “No”: whether they agreed.
    "given": N_("Consent given"),
    # TRANSLATORS: On the page with everything stored about a reader, beside the words that they agreed to.
    "wording": N_("Wording"),
    # TRANSLATORS: On the page with everything stored about a reader, beside where they agreed, such as a form.
    "channel": N_("Source"),
    # TRANSLATORS: On the page with everything stored about a reader, beside the reason why nothing is sent.
    "reason": N_("Reason"),
    "skip_reason": N_("Reason"),
    # TRANSLATORS: On the page with everything stored about a reader, beside a day.
    "created_at": N_("Since"),
    # TRANSLATORS: On the page with everything stored about a reader, beside a day and time.
    "at": N_("When"),
    "finished_at": N_("When"),
    "sent_at": N_("When"),
}
"""Column → label. Columns without a label are only shown among the raw fields."""
_KIND_LABELS: dict[str, str] = {
    TransactionalEmailKind.confirm: N_("Confirm my subscription"),
    TransactionalEmailKind.welcome: N_("You are subscribed"),
    TransactionalEmailKind.magic_link: N_("Manage my subscription"),
    TransactionalEmailKind.preferences_changed: N_("Your settings have been changed"),
    TransactionalEmailKind.address_old: N_("Your change of address"),
    TransactionalEmailKind.address_new: N_("Your change of address"),
    FeedbackKind.unsubscribe: N_("Unsubscribe"),
    # TRANSLATORS: On the page with everything stored about a reader, below “Delivery problems and
    # unsubscribing”.
    FeedbackKind.bounce: N_("An email could not be delivered"),
    FeedbackKind.delay: N_("An email could not be delivered"),
}
"""Kind of transactional email or of feedback → label."""
_CHANNEL_LABELS: dict[str, str] = {
    ConsentChannel.sign_up_form: N_("Subscribe"),
    ConsentChannel.embedded_form: N_("Subscribe"),
    ConsentChannel.unsubscribe_page: N_("Unsubscribe"),
    ConsentChannel.one_click: N_("Unsubscribe"),
    ConsentChannel.mailto: N_("Unsubscribe"),
    ConsentChannel.unsubscribe_all_by_mail_link: N_("Unsubscribe from all newsletters"),
    ConsentChannel.unsubscribe_all_on_manage_page: N_("Unsubscribe from all newsletters"),
    ConsentChannel.undo: N_("Restore my subscription"),
    ConsentChannel.manage_page: N_("Your subscription"),
    ConsentChannel.preferences_page: N_("Your subscription"),
}
"""Channel of a consent → the title of its page or button. Imports are described by the note from their file."""
_REASONS: dict[str, str] = {
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why they get no emails.
    SuppressionReason.hard_bounce: N_("Emails could not be delivered to your address"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why they get no emails.
    SuppressionReason.repeated_refusals: N_("Several issues in a row could not be delivered to your address"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why they get no emails.
    SuppressionReason.complaint: N_("You reported our emails as spam"),
    SuppressionReason.erased: N_("Everything has been erased"),
    SuppressionReason.address_changed: N_("Your address has been changed"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why they get no emails.
    SuppressionReason.manual: N_("Our team stopped sending to this address"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.unsubscribed: N_("The subscription had ended"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.unconfirmed: N_("The subscription was not confirmed"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.suppressed: N_("We do not send emails to this address"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.paused: N_("The subscription was paused"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.digest_only: N_("You receive one email a month"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.no_language: N_("The issue was not available in your languages"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.nothing_in_sections: N_("The issue had no stories in your sections"),
    # TRANSLATORS: On the page with everything stored about a reader, beside “Reason”: why an issue was not sent.
    SkipReason.cancelled: N_("Sending was cancelled"),
}
"""Suppression reason or skip reason → text."""


@dataclass(frozen=True, slots=True)
class DescribedRow:
    """A row with labels, and its raw fields."""

    labelled: list[tuple[str, str, str]]
    """(label, value, language of the value if it is not the page's)"""
    raw: list[tuple[str, str]]


class RowDescriber:
    """Describes the rows of one reader in the language of the page."""

    def __init__(self, profile: Profile, gettext: Callable[[str], str], today: date) -> None:
        self._today = today
        self._language = profile.frame.language
        self._gettext = gettext
        self._newsletters = {other.slug: other.name.text for other in profile.newsletters}
        self._slug = profile.frame.slug
        self._sections = profile.section_names
        self._time_zone = time_zone(profile.preferences.time_zone)

    def describe(self, row: Mapping[str, Any]) -> DescribedRow:
        filled = {name: value for name, value in row.items() if value not in (None, "", [], {})}
        labelled = []
        if "state" in row:
            labelled.append((*self._format_state(str(row["state"])), ""))
        if kind := _KIND_LABELS.get(str(row.get("kind"))):
            labelled.append((self._gettext(_LABELS["subject"]), self._gettext(kind), ""))
        for name, value in filled.items():
            if name in _LABELS:
                label_name = "tracking" if name == "given" and row.get("kind") == "tracking" else name
                english = name == "channel" and value not in _CHANNEL_LABELS and not row.get("note")
                language = "en" if english else ""
                labelled.append((self._gettext(_LABELS[label_name]), self._format_value(name, value, row), language))
        return DescribedRow(labelled, [(name, _raw_text(value)) for name, value in filled.items()])

    def _format_state(self, state: str) -> tuple[str, str]:
        if state in ("active", "unsubscribed", "pending"):
            return self._gettext(N_("Subscribed")), self._yes_or_no(state == "active")
        # TRANSLATORS: On the page with everything stored about a reader, beside “Yes” or “No”: was an issue sent.
        return self._gettext(N_("Sent")), self._yes_or_no(state == "sent")

    def _yes_or_no(self, value: bool) -> str:
        return self._gettext(N_("Yes") if value else N_("No"))

    def _format_value(self, name: str, value: Any, row: Mapping[str, Any]) -> str:
        match name:
            case "newsletter":
                return self._newsletters.get(value, str(value))
            case "languages":
                return cldr.join_items(tuple(map(native_name, value)), self._language)
            case "sections":
                named = self._sections if row.get("newsletter") == self._slug else {}
                return cldr.join_titles(named.get(key, key) for key in value)
            case "time_zone":
                return cldr.zone_name(value, self._language, self._today)
            case "frequency":
                return self._gettext(N_("Once a month") if value == Frequency.monthly else N_("Every issue"))
            case "reason" | "skip_reason":
                return self._gettext(_REASONS[value])
            case "channel":
                if value in _CHANNEL_LABELS:
                    return self._gettext(_CHANNEL_LABELS[value])
                return row.get("note") or CONSENT_CHANNEL_LABELS[value]
        if isinstance(value, bool):
            return self._yes_or_no(value)
        if isinstance(value, datetime):
            local = value.astimezone(self._time_zone)
            return f"{cldr.format_day(local.date(), self._language)}, {local:%H:%M}"
        return str(value)


def _raw_text(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
