"""Which text of an issue a version is of."""

from dataclasses import dataclass
from typing import Any

from mailer.domain.states import TextSubject


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text of an issue in one language."""

    issue: int
    subject: TextSubject
    subject_id: int
    """The story, the contact note, or for front matter the issue."""
    language: str

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a row about this text."""
        return {
            "issue_id": self.issue,
            "subject": self.subject,
            "subject_id": self.subject_id,
            "language": self.language,
        }
