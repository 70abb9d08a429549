"""Link definitions and footnotes, which stand anywhere in a document and are used elsewhere."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from mailer.domain.document.model import ParseWarning
from mailer.domain.document.sentences import excerpt
from mailer.domain.document.source import Line
from mailer.domain.markdown import MAX_LENGTH, complete_link, is_allowed_link

_LINK = re.compile(
    r" {0,3}\[(?!\^)((?:[^\[\]\\]|\\.){1,200})\]:[ \t]*(<[^<>]*>|[^\s<>]+)"
    r"""(?:[ \t]+("[^"]*"|'[^']*'|\([^()]*\)))?[ \t]*"""
)
_TITLE = re.compile(r"""[ \t]+("[^"]*"|'[^']*'|\([^()]*\))[ \t]*""")
_FOOTNOTE = re.compile(r" {0,3}\[\^([^\[\]\s]{1,100})\]:[ \t]*(.*)")
_BRACKETED = re.compile(r"\[([^\[\]]{1,200})\]")
_USE = re.compile(r"\\.|(`+)|(!?)\[((?:[^\[\]\\`]|\\.)*)\](?:\[([^\[\]]*)\])?(?![(:\[])", re.DOTALL)
_FOOTNOTE_USE = re.compile(r"(?<!\\)(?:\[\^([^\[\]\s]{1,100})\]|\^\[((?:[^\[\]]|\[[^\[\]]*\])*)\])")
_COMMENT_TARGETS = ("#", "<>", "<#>")
"""What a definition leads to that is a comment: ``[//]: # (internal)``."""


def _key(label: str) -> str:
    return " ".join(label.split()).casefold()


class Definitions:
    """The definitions of a document."""

    def __init__(self) -> None:
        self._links: dict[str, str] = {}
        self._footnotes: dict[str, Line] = {}
        self._used_footnotes: set[str] = set()

    def collect(self, lines: Sequence[Line], warnings: list[ParseWarning]) -> list[Line]:
        """Take the definitions out of the lines and return the others.

        One that nothing refers to, and that is not just words in brackets, adds a warning.
        """
        used = {
            _key(label) for line in lines if not _LINK.fullmatch(line.text) for label in _BRACKETED.findall(line.text)
        }
        rest: list[Line] = []
        at = 0
        while at < len(lines):
            line = lines[at]
            at += 1
            if line.is_code:
                rest.append(line)
            elif found := _FOOTNOTE.fullmatch(line.text):
                end = _end_of_footnote(lines, at)
                text = "\n".join([found[2], *(after.text.strip() for after in lines[at:end])]).strip()
                if _key(found[1]) in self._footnotes:
                    message = f"The footnote “{found[1]}” has a text already; this one was left out: “{excerpt(text)}”."
                    warnings.append(ParseWarning(line.number, message))
                self._footnotes.setdefault(_key(found[1]), Line(line.number, text))
                rest.append(Line(line.number, ""))
                at = end
            elif (found := _LINK.fullmatch(line.text)) and self._is_definition(found, used):
                if not found[3] and at < len(lines) and (title := _TITLE.fullmatch(lines[at].text)):
                    found_title: str | None = title[1]
                    at += 1
                else:
                    found_title = found[3]
                self._define(line.number, found[1], found[2], found_title or "", used, warnings)
                rest.append(Line(line.number, ""))
            else:
                rest.append(line)
        return rest

    def _is_definition(self, found: re.Match[str], used: set[str]) -> bool:
        """Return whether a line is a definition, rather than words such as "[Ana]: hello"."""
        target = found[2].strip("<>")
        return _key(found[1]) in used or found[2] in _COMMENT_TARGETS or is_allowed_link(complete_link(target))

    def _define(
        self, line: int, label: str, target: str, title: str, used: set[str], warnings: list[ParseWarning]
    ) -> None:
        key = _key(label)
        if key in used and key not in self._links:
            self._links[key] = link_target(target)
        elif target in _COMMENT_TARGETS:
            warnings.append(ParseWarning(line, f"A comment was left out: “{excerpt(title[1:-1] or label)}”."))
        else:
            message = f"The address “{excerpt(target)}” of “{excerpt(label)}” is not used and was left out."
            warnings.append(ParseWarning(line, message))

    def resolve(self, text: str) -> str:
        """Return the text with its links by reference written as ``[words](url)``."""
        if not self._links or "[" not in text or len(text) > MAX_LENGTH:
            return text
        runs: dict[int, list[int]] = {}
        for run in re.finditer("`+", text):
            runs.setdefault(len(run[0]), []).append(run.start())
        parts: list[str] = []
        at = code_end = 0
        for found in _USE.finditer(text):
            if found.start() < code_end:
                continue
            if ticks := found[1]:
                starts = runs.get(len(ticks), [])
                after = bisect_right(starts, found.start())
                code_end = starts[after] + len(ticks) if after < len(starts) else code_end
                continue
            words = found[3]
            is_shortcut = not found[4]
            url = self._links.get(_key(found[4] or words)) if words is not None else None
            if url is None or (is_shortcut and text[: found.start()].endswith("]")):
                continue
            parts += (text[at : found.start()], f"{found[2]}[{words}]({url})")
            at = found.end()
        return "".join((*parts, text[at:]))

    def footnotes(self) -> "FootnoteNumbers":
        """Return the footnotes for one story, which are numbered from 1."""
        return FootnoteNumbers(self)

    def unused_footnotes(self) -> Iterator[ParseWarning]:
        """Yield a warning for each footnote that no text refers to."""
        for label, line in self._footnotes.items():
            if label not in self._used_footnotes:
                message = f"The footnote “{label}” is not referred to and was left out: “{excerpt(line.text)}”."
                yield ParseWarning(line.number, message)

    def footnote(self, label: str) -> Line | None:
        """Return the text of a footnote, which then counts as used, or None."""
        self._used_footnotes.add(_key(label))
        return self._footnotes.get(_key(label))


class FootnoteNumbers:
    """Numbers the footnotes of one story."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._numbers: dict[str, int] = {}
        self.paragraphs: list[tuple[int, str]] = []
        """The footnotes so far: line, and paragraph that begins with the number."""

    def number(self, line: int, text: str) -> str:
        """Return the text with its references to footnotes as raised numbers."""
        return _FOOTNOTE_USE.sub(lambda found: self._number(line, found), text) if "^" in text else text

    def _number(self, line: int, found: re.Match[str]) -> str:
        label = found[1]
        note = Line(line, found[2].strip()) if label is None else self._definitions.footnote(label)
        if note is None:
            return found[0]
        key = _key(label) if label is not None else f"^{len(self.paragraphs)}"
        if key not in self._numbers:
            self._numbers[key] = len(self.paragraphs) + 1
            text = self._definitions.resolve(note.text)
            self.paragraphs.append((note.number, f"<sup>{self._numbers[key]}</sup> {text}"))
        return f"<sup>{self._numbers[key]}</sup>"


def _end_of_footnote(lines: Sequence[Line], start: int) -> int:
    """Return the index after the lines of a footnote: up to a blank line that no indented line follows."""
    at = start
    while at < len(lines):
        text = lines[at].text
        if not text.strip():
            if at + 1 >= len(lines) or not lines[at + 1].text.startswith(("  ", "\t")):
                break
        elif lines[at].is_code or text.startswith("#") or _LINK.fullmatch(text) or _FOOTNOTE.fullmatch(text):
            break
        at += 1
    return at


def link_target(url: str) -> str:
    """Return a URL or path as it is written in the brackets of a link."""
    url = url.strip("<>")
    return f"<{url}>" if re.search(r"[\s()]", url) or not url else url
