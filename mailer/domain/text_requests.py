"""Requests for texts: somebody is asked to write or translate one text of an issue until a day."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

MAX_WORDS_CHARS = 2000
"""Of what a colleague writes with a request, or when a text is sent back."""
MAX_DAYS_AHEAD = 76
"""How far ahead a text can be due, so that its link works for LINK_DAYS after that."""
LINK_DAYS = 14
"""How many days after the due day a link works."""
MAX_LINK_LIFETIME = timedelta(days=90)
REMINDER_DAYS = 2
"""How many days before the due day a reminder is sent."""
REMINDER_TIME = time(8)
"""In the newsletter's time zone."""


class TextTask(StrEnum):
    """What somebody is asked to do."""

    writing = "writing"
    translation = "translation"


class RequestState(StrEnum):
    """How far a requested text has come, those that need attention first."""

    handed_in = "handed_in"
    """It waits for somebody to take it in or send it back."""
    late = "late"
    open = "open"
    done = "done"
    """It was taken in; or a colleague with an account has marked the text as ready."""
    withdrawn = "withdrawn"


@dataclass(frozen=True, slots=True)
class RequestedText:
    """What emails about a requested text say."""

    task: TextTask
    number: str
    """The issue's."""
    headline: str
    """One line of Markdown; empty if there is none yet, and for front matter."""
    is_front_matter: bool
    language: str
    due_on: date
    words: str
    """What the colleague who asks adds; in a text that is sent back, what is to be changed."""
    asked_by: str
    asked_of: str
    link_until: date | None
    """The last day on which the link works. None for somebody with an account."""

    @property
    def paragraphs(self) -> list[str]:
        return [" ".join(line.split()) for line in self.words.splitlines() if line.strip()]


def state_of(
    *,
    due_on: date,
    today: date,
    handed_in_at: datetime | None,
    done_at: datetime | None,
    withdrawn_at: datetime | None,
) -> RequestState:
    if withdrawn_at:
        return RequestState.withdrawn
    if done_at:
        return RequestState.done
    if handed_in_at:
        return RequestState.handed_in
    return RequestState.late if due_on < today else RequestState.open


def link_expires_at(due_on: date, asked_at: datetime, zone: ZoneInfo) -> datetime:
    """Return when a link stops working: at the end of a day some time after the due day."""
    end = datetime.combine(due_on + timedelta(days=LINK_DAYS + 1), time(), zone)
    return min(end, asked_at + MAX_LINK_LIFETIME)


def reminder_due(due_on: date, asked_at: datetime, zone: ZoneInfo) -> datetime | None:
    """Return when to send the reminder: two days before the due day, or on it if the text was asked for later.

    Return None for a text that is due on the day on which it was asked for.
    """
    asked_on = asked_at.astimezone(zone).date()
    if asked_on >= due_on:
        return None
    early = due_on - timedelta(days=REMINDER_DAYS)
    return datetime.combine(early if asked_on < early else due_on, REMINDER_TIME, zone)
