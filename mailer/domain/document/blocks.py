"""Splits Markdown into headings and paragraphs, and joins those separated by a page break."""

import re
from dataclasses import dataclass, field

from mailer.domain.document.contacts import split_contact
from mailer.domain.document.emphasis import bold_only, bold_runs
from mailer.domain.document.model import ParsedLink, ParsedPicture, ParseWarning
from mailer.domain.document.sentences import (
    ends_sentence,
    excerpt,
    starts_caseless,
    starts_lowercase,
)

_NOT_PROSE = re.compile(r"\s*(?:[-+*•–]\s|\d{1,3}[.)]\s|\(?\w{1,3}\)\s|[>|<]|!\[|```|~~~|    |\t)")
_PICTURE = re.compile(r"!\[([^\[\]]*)\]\(\s*(?=\S)([^()<>\"]+)\)")
_LINK = re.compile(r"\[([^\[\]]+)\]\((https?://(?:[^\s()<>]|\([^\s()<>]*\))+)\)")
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_COMMAS = (",", "،", "、", "，")
MAX_SALUTATION_CHARS = 60
"""A shorter paragraph that ends in a comma ("Dear readers,") is not joined with the next."""


@dataclass(slots=True)
class Block:
    """A heading (``level`` 1 to 6) or a paragraph (0). ``line`` is its first line in the source."""

    line: int
    level: int = 0
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text, joined from its pieces on several pages."""
        words = [self.pieces[0]]
        for piece in self.pieces[1:]:
            words.append(piece.strip() if words[-1].endswith("-") else f" {piece.strip()}")
        return "".join(words)


def split_blocks(lines: list[str], first_line: int, warnings: list[ParseWarning]) -> list[Block]:
    """Return headings and paragraphs in order. Horizontal rules are dropped.

    ``first_line`` is the number of the first line.
    """
    blocks: list[Block] = []
    open_: list[str] = []

    def close(end: int) -> None:
        if open_:
            blocks.append(Block(end - len(open_), 0, ["\n".join(open_)]))
            open_.clear()

    for number, raw in enumerate(lines, start=first_line):
        line = raw.strip().strip(_INVISIBLE).strip()
        marks = set("".join(line.split()))
        if not line:
            close(number)
        elif len(open_) == 1 and marks in ({"="}, {"-"}) and len(line) >= 3 and _is_setext_heading(open_[0]):
            blocks.append(Block(number - 1, 1 if marks == {"="} else 2, [open_.pop().strip()]))
        elif len(marks) == 1 and line[0] in "-*_=" and len(line) >= 3:
            close(number)
        elif (level := _heading_level(line)) and len(raw) - len(raw.lstrip(" ")) < 4:
            close(number)
            text = _heading_text(line, level)
            if not text:
                warnings.append(ParseWarning(number, "A heading without text was left out."))
                continue
            if not line[level].isspace():
                warnings.append(
                    ParseWarning(number, f"No space follows the “#”; “{excerpt(text)}” was read as a heading.")
                )
            blocks.append(Block(number, level, [text]))
        else:
            open_.append(raw.rstrip())
            if len(open_) == 1 and (_PICTURE.fullmatch(line) or _is_standalone_bold(line, lines, number - first_line)):
                close(number + 1)
    close(first_line + len(lines))
    return blocks


def _is_setext_heading(text: str) -> bool:
    """Return whether a line above a row of dashes is a heading rather than the last line of a page."""
    return len(text) < 200 and not ends_sentence(text) and not text.lstrip().startswith(("*", "_", "(", "|", "-"))


def _heading_level(line: str) -> int:
    """Return the level of a heading, or 0. "##News" without a space is a heading, "#news" is not."""
    level = len(line[:7]) - len(line[:7].lstrip("#"))
    after = line[level : level + 1]
    return level if level <= 6 and (not after or after.isspace() or level > 1) else 0


def _heading_text(line: str, level: int) -> str:
    text = line[level:].strip()
    bare = text.rstrip("#")
    return bare.rstrip() if not bare or bare[-1].isspace() else text


def _is_standalone_bold(line: str, lines: list[str], index: int) -> bool:
    """Return whether a bold line is a paragraph of its own: text follows that does not continue it."""
    if not line.startswith(("**", "__")) or not bold_only(line) or line.endswith((":**", ":__")):
        return False
    after = lines[index + 1].strip() if index + 1 < len(lines) else ""
    return bool(after) and not starts_lowercase(after) and not after.startswith((":", ","))


def join_pages(blocks: list[Block], warnings: list[ParseWarning]) -> list[Block]:
    """Return the blocks, joining those that belong to one sentence. Each join adds a warning."""
    joined: list[Block] = []
    for block in blocks:
        if joined and _continues(joined[-1], block):
            pieces, piece = joined[-1].pieces, block.pieces[0]
            if not block.level and bold_only(piece) and bold_only(pieces[-1]):
                pieces[-1], piece = pieces[-1].rstrip()[:-2], piece.lstrip()[2:]
            pieces.append(piece)
            what = "heading" if block.level or bold_only(block.pieces[0]) else "sentence"
            warnings.append(
                ParseWarning(
                    block.line,
                    f"A {what} broken by a page break was joined before “{excerpt(block.pieces[0])}”.",
                )
            )
            continue
        if joined and _lacks_full_stop(joined[-1], block):
            warnings.append(
                ParseWarning(
                    joined[-1].line,
                    f"The paragraph before “{excerpt(block.pieces[0])}” ends without a full stop; "
                    "the two were not joined.",
                )
            )
        joined.append(block)
    return joined


def _continues(before: Block, after: Block) -> bool:
    first, second = before.pieces[-1], after.pieces[0]
    if before.level != after.level:
        return False
    if before.level:
        return starts_lowercase(second) and not ends_sentence(first)
    if _markup_spans(first, second):
        return True
    if bold_only(first) or bold_only(second):
        return (
            bold_only(first)
            and bold_only(second)
            and first.lstrip()[0] == second.lstrip()[0]
            and starts_lowercase(bold_runs(second)[0][0])
            and not ends_sentence(first)
        )
    if not _is_prose(first) or not _is_prose(second) or ends_sentence(first):
        return False
    if first.rstrip().endswith(_COMMAS):
        return len(before.pieces) > 1 or len(first) >= MAX_SALUTATION_CHARS
    return starts_lowercase(second)


def _markup_spans(first: str, second: str) -> bool:
    """Return whether bold text or a bracket opens in the first paragraph and closes in the second."""
    if _NOT_PROSE.match(second):
        return False
    if first.count("**") % 2 and second.count("**") % 2:
        return True
    return first.rfind("(") > first.rfind(")") and 0 <= second.find(")") < (second.find("(") % (len(second) + 1))


def _lacks_full_stop(before: Block, after: Block) -> bool:
    first, second = before.pieces[-1], after.pieces[0]
    return (
        not before.level
        and not after.level
        and (len(first) >= MAX_SALUTATION_CHARS or (starts_caseless(second) and not first.rstrip().endswith(_COMMAS)))
        and _is_prose(first)
        and _is_prose(second)
        and not bold_only(first)
        and not bold_runs(second)[0]
        and not ends_sentence(first)
    )


def _is_prose(text: str) -> bool:
    """Return whether the text is not a list, quotation, table, picture, standalone link or contact note."""
    return not (_NOT_PROSE.match(text) or _LINK.fullmatch(text.strip()) or _is_contact_note(text))


def _is_contact_note(text: str) -> bool:
    note = split_contact(text)
    return note is not None and not note.preceding_text and (note.asks_for_contact or note.is_italic)


def standalone_picture(text: str) -> ParsedPicture | None:
    """Return the picture if the text consists of one, else None."""
    match = _PICTURE.fullmatch(text.strip())
    return ParsedPicture(match[2].strip(), match[1].strip()) if match else None


def standalone_link(text: str) -> ParsedLink | None:
    """Return the link if the text consists of one, else None."""
    match = _LINK.fullmatch(text.strip())
    return ParsedLink(match[2], match[1].strip()) if match else None
