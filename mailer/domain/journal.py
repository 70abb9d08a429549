"""What a journal of hand-overs proves about deliveries whose worker is gone."""

import re
from dataclasses import dataclass, field

from mailer.domain.outcomes import Reply

_LINE = re.compile(r"([DW]) (\d+)|A (\d+) (\d{3})(?: (\d\.\d{1,3}\.\d{1,3}))?(?: (.*))?")


@dataclass(frozen=True, slots=True)
class JournalEvidence:
    final_dot_sent: frozenset[int] = frozenset()
    """Subscribers whose message may have been finished."""
    replies: dict[int, Reply] = field(default_factory=dict)
    """The relay's replies to finished messages."""


def read_journal(text: str) -> JournalEvidence:
    """Evidence of one claim. A line cut short by a crash counts for nothing: the whole D line stands before
    the dot goes out."""
    handed: set[int] = set()
    answered: dict[int, Reply] = {}
    for line in text.split("\n")[:-1]:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        if found[1] == "D":
            handed.add(int(found[2]))
        elif found[1] == "W":
            handed.discard(int(found[2]))
        else:
            answered[int(found[3])] = Reply(int(found[4]), found[5] or "", found[6] or "")
    return JournalEvidence(frozenset(handed), answered)
