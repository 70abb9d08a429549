"""The source of a document as numbered lines, without what no text can have."""

import re

from mailer.domain.document.model import ParseWarning

_BREAK = re.compile("\r\n|\r|\n")
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)
"""Control characters, separators of lines, interlinear annotations, and what is no character in Unicode."""
_BETWEEN_WORDS = frozenset("\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029")
"""Those that separate words."""


def without_control_characters(text: str) -> tuple[str, list[str]]:
    """Return the text without control characters, and the names of those that were in it (``U+0007``)."""
    names = dict.fromkeys(f"U+{ord(found):04X}" for found in _CONTROL.findall(text))
    if not names:
        return text, []
    return _CONTROL.sub(lambda found: " " if found[0] in _BETWEEN_WORDS else "", text), list(names)


def split_lines(source: str, warnings: list[ParseWarning]) -> list[str]:
    """Return the lines as counted by an editor. Control characters are taken out, with a warning for each line."""
    lines = _BREAK.split(source.removeprefix("\ufeff"))
    if not _CONTROL.search(source):
        return lines
    for number, line in enumerate(lines):
        lines[number], names = without_control_characters(line)
        if names:
            warnings.append(
                ParseWarning(number + 1, f"Characters that no text can have were taken out: {', '.join(names)}.")
            )
    return lines
