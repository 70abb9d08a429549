"""The source of a document as numbered lines, without what is not for readers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mailer.domain.document.model import DocumentError, ParseWarning
from mailer.domain.document.sentences import excerpt

_BREAK = re.compile("\r\n|\r|\n")
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)
"""Control characters, separators of lines, interlinear annotations, and what is no character in Unicode."""
_BETWEEN_WORDS = frozenset("\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029")
"""Those that separate words."""
_COMMENT_START = re.compile(r"(?<!\\)<!(?:--|—|–)")
_COMMENT_END = re.compile(r"(?:--|—|–)>")
"""Word processors replace two hyphens by a dash."""
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^`]*)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number in the source, counted from 1."""

    number: int
    text: str
    is_code: bool = False
    """Whether it is part of a fenced code block, or begins or ends one."""


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


def without_comments(lines: Sequence[str], first_line: int, warnings: list[ParseWarning]) -> list[Line]:
    """Return the lines without HTML comments. Each comment adds a warning.

    Comments are internal notes, so they are left out everywhere, even where Markdown would print them as code.
    Raises DocumentError for a comment without an end.
    """
    result: list[Line] = []
    comment: list[str] = []
    begun: Line | None = None  # the text before an open comment,
    begun_at = 0  # and its index in the result
    for number, rest in enumerate(lines, start=first_line):
        text = ""
        while True:
            if begun is None:
                start = _COMMENT_START.search(rest)
                text += rest[: start.start()] if start else rest
                if start is None:
                    break
                rest = rest[start.end() :]
                begun, begun_at = Line(number, text), len(result)
                if rest.startswith((">", "->")):
                    begun, rest = None, rest.partition(">")[2]
                continue
            end = _COMMENT_END.search(rest)
            comment.append(rest[: end.start()] if end else rest)
            if end is None:
                break
            if words := " ".join(comment).strip():
                warnings.append(ParseWarning(begun.number, f"A comment was left out: “{excerpt(words)}”."))
            comment.clear()
            rest = rest[end.end() :]
            if begun_at < len(result) and begun.text.strip():  # the line continues after the comment
                del result[begun_at:]
                number, text = begun.number, begun.text
            if text.endswith(" "):
                rest = rest.lstrip(" ")
            begun = None
        result.append(Line(number, text.rstrip() if begun else text))
    if begun is not None:
        raise DocumentError(
            f"The comment that begins with “<!--” in line {begun.number} has no “-->” to end it. "
            "Comments are not printed, so all text after it would be missing."
        )
    return result


def mark_code(lines: Sequence[Line], warnings: list[ParseWarning]) -> list[Line]:
    """Return the lines with those of fenced code blocks marked. A fence without an end is left out, with a warning."""
    fences = [
        (at, found[1], found[2].strip()) for at, line in enumerate(lines) if (found := _FENCE.fullmatch(line.text))
    ]
    result = list(lines)
    never_closed: dict[str, int] = {}
    index = 0
    while index < len(fences):
        at, fence, _ = fences[index]
        mark = fence[0]
        if len(fence) >= never_closed.get(mark, len(fence) + 1):
            end = None
        else:
            closing = (
                later
                for later in range(index + 1, len(fences))
                if fences[later][1].startswith(fence) and not fences[later][2]
            )
            end = next(closing, None)
        if end is None:
            never_closed[mark] = min(len(fence), never_closed.get(mark, len(fence)))
            result[at] = replace(lines[at], text="")
            warnings.append(ParseWarning(lines[at].number, f"The code block that begins with “{fence}” has no end."))
            index += 1
            continue
        last = fences[end][0]
        result[at : last + 1] = [replace(line, is_code=True) for line in lines[at : last + 1]]
        index = end + 1
    return result
