"""Which text of an issue a version is of."""

from dataclasses import dataclass

from mailer.domain.states import TextSubject


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text of an issue in one language."""

    issue: int
    subject: TextSubject
    subject_id: int
    """The story, the contact note, or for front matter the issue."""
    language: str
