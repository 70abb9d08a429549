"""Reads the send journal of a lost worker."""

import re
from dataclasses import dataclass, field

from mailer.domain.outcomes import Reply

_LINE = re.compile(r"([DW]) (\d+)|A (\d+) (\d{3})(?: (\d\.\d{1,3}\.\d{1,3}))?(?: (.*))?")


@dataclass(frozen=True, slots=True)
class JournalEvidence:
    """What a journal proves about the deliveries of one claim."""

    final_dot_sent: frozenset[int] = frozenset()
    """Subscribers whose final dot may have been sent."""
    replies: dict[int, Reply] = field(default_factory=dict)
    """The relay's replies to the final dot, by subscriber."""


def read_journal(text: str) -> JournalEvidence:
    """Return the evidence in a claim's journal.

    A line cut short by a crash is ignored: the complete D line is written before the dot is sent.
    """
    final_dot_sent: set[int] = set()
    replies: dict[int, Reply] = {}
    for line in text.split("\n")[:-1]:
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        if match[1] == "D":
            final_dot_sent.add(int(match[2]))
            replies.pop(int(match[2]), None)  # that was a refusal of an earlier try
        elif match[1] == "W":
            final_dot_sent.discard(int(match[2]))
        else:
            replies[int(match[3])] = Reply(int(match[4]), match[5] or "", match[6] or "")
    return JournalEvidence(frozenset(final_dot_sent), replies)
