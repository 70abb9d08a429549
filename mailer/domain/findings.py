"""What a check of an issue finds: the kind, how serious it is, and where."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailer.domain.staff_texts import StaffText, ngettext


class FindingKind(StrEnum):
    """What a finding is about."""

    render_error = "render_error"
    no_stories = "no_stories"
    no_language = "no_language"
    no_postal_address = "no_postal_address"
    no_default_language = "no_default_language"
    empty_subject = "empty_subject"
    empty_preheader = "empty_preheader"
    empty_headline = "empty_headline"
    no_alt_text = "no_alt_text"
    broken_link = "broken_link"
    not_shown = "not_shown"
    """Part of a text that cannot be shown as it is meant, such as a footnote."""
    missing_translation = "missing_translation"
    draft = "draft"
    """A text that is written and that readers do not get, since it is not ready."""
    stale_translation = "stale_translation"
    """A translation whose source has changed since."""
    untitled_section = "untitled_section"
    unoffered_section = "unoffered_section"
    language_without_text = "language_without_text"
    """Readers' preferred language, in which the issue has no text at all."""
    other_language_readable = "other_language_readable"
    """Readers get a story in a language that is not theirs, or not at all, though it is ready in one that is."""
    absent_story = "absent_story"
    """A subject, preheader or introduction speaks of a story that many of its readers do not get."""
    clipped_by_gmail = "clipped_by_gmail"
    dead_link = "dead_link"
    """A web address that was looked up and leads nowhere."""
    unclear_link = "unclear_link"
    """A web address that could not be looked up."""
    sender_records = "sender_records"
    """SPF, DKIM or DMARC of the sender's domain."""


class Severity(StrEnum):
    """How serious a finding is, the worst first."""

    blocks = "blocks"
    """The issue cannot be approved."""
    warning = "warning"
    note = "note"


class Part(StrEnum):
    """The part of an issue that a finding is about."""

    issue = "issue"
    subject = "subject"
    preheader = "preheader"
    introduction = "introduction"
    section = "section"
    story = "story"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in an issue a finding is. ``title``: of a section or story, in a language that the reader reads."""

    part: Part
    title: str = ""
    section: str = ""
    """The key of the section."""
    story: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about an issue, with a sentence for a coordinator."""

    kind: FindingKind
    severity: Severity
    text: str
    languages: tuple[str, ...] = ()
    """The languages whose editions are concerned. Empty: the issue itself."""
    sections: int | None = None
    """The section mask, if only one edition is concerned."""
    subscribers: int | None = None
    """How many readers are concerned, where that is known."""
    of_subscribers: int | None = None
    """How many readers these editions have, where ``subscribers`` is a part of them."""
    editions: int | None = None
    """How many editions are concerned, where that is known."""
    looked_at: datetime | None = None
    """When it was looked up in the network."""
    places: tuple[Place, ...] = ()

    @property
    def blocks(self) -> bool:
        return self.severity is Severity.blocks

    @property
    def message(self) -> str:
        """The sentence in English, after the languages that it is about and before the number of readers."""
        text = f"{', '.join(self.languages)}: {self.text}" if self.languages else self.text[:1].upper() + self.text[1:]
        return f"{text.removesuffix('.')} ({self.share})." if self.share else text

    @property
    def share(self) -> StaffText | None:
        """How many of the readers are concerned, where both are known."""
        if self.subscribers is None or self.of_subscribers is None:
            return None
        return ngettext(
            "%(count)s of %(num)s reader", "%(count)s of %(num)s readers", self.of_subscribers, count=self.subscribers
        )
