"""Splits Markdown into headings and paragraphs, and joins those separated by a page break."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from mailer.domain.document.contacts import split_contact
from mailer.domain.document.definitions import link_target
from mailer.domain.document.emphasis import bold_only, bold_runs
from mailer.domain.document.model import ParsedLink, ParsedPicture, ParseWarning
from mailer.domain.document.sentences import (
    ends_sentence,
    excerpt,
    starts_caseless,
    starts_lowercase,
)
from mailer.domain.document.source import Line
from mailer.domain.markdown import complete_link, is_allowed_link, tag_attributes

_NOT_PROSE = re.compile(r"\s*(?:[-+*•–]\s|\d{1,3}[.)]\s|\(?\w{1,3}\)\s|[>|<]|!\[|```|~~~|    |\t)")
_TABLE_RULE = re.compile(r"^[ ]{0,3}\|?[ ]*:?-+:?[ ]*\|[-:| ]*$", re.MULTILINE)
PICTURE = re.compile(r"(?<!\\)!\[([^\[\]]*)\]\(\s*(?=\S)(<[^<>]*>|(?:[^()<>\"]|\([^()<>\"]*\))+)(?:\"[^\"]*\"\s*)?\)")
"""A picture in Markdown: alt text, and path or URL."""
_LINK = re.compile(r"\[([^\[\]]+)\]\(\s*<?((?:[^\s()<>\"]|\([^\s()<>]*\))+)>?\s*(?:\"[^\"]*\"|'[^']*')?\s*\)")
_ATTRIBUTES = re.compile(r"(?<=[)\]])\{(?:[#.][^{}]*|[\w-]+=[^{}]*)\}|\s\{[#.][^{}]*\}\s*$")
"""Pandoc's attributes of pictures, links, spans and headings."""
_SPAN = re.compile(r"(?<!\\)\[([^\[\]]*)\]\{[#.][^{}]*\}")
_DRAWN_TABLE = re.compile(r"-{2,}(?: +-{2,})+|\+[-=:]+(?:\+[-=:]+)*\+")
"""A line of a table that is drawn with dashes, as by Pandoc unless told otherwise."""
_DIV = re.compile(r":{3,}\s*(?:\{[^{}]*\}|[\w-]*)\s*:*")
_IMG = re.compile(r"(?<!\\)<img\b(?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*>", re.IGNORECASE)
_BLOCK_TAG = re.compile(
    r"(?<!\\)<(/?)(p|div|figure|figcaption|center|section|article|header|footer|main|aside|hr|ul|ol|li|h[1-6])\b"
    r"((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*)>",
    re.IGNORECASE,
)
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


def split_blocks(lines: Sequence[Line], warnings: list[ParseWarning]) -> list[Block]:
    """Return headings and paragraphs in order. Horizontal rules are dropped, block-level HTML is read as Markdown."""
    blocks: list[Block] = []
    open_: list[Line] = []

    def close() -> None:
        if open_:
            text = "\n".join(line.text for line in open_)
            is_html = "<" in text and not open_[0].is_code
            blocks.extend(_html_blocks(open_[0].number, text) if is_html else [Block(open_[0].number, 0, [text])])
            open_.clear()

    for at, source in enumerate(lines):
        number, raw = source.number, source.text
        if source.is_code:
            if open_ and not open_[-1].is_code:
                close()
            open_.append(source)
            continue
        if open_ and open_[-1].is_code:
            close()
        raw = _without_attributes(raw)
        line = raw.strip().strip(_INVISIBLE).strip()
        marks = set("".join(line.split()))
        if line[:1] in ("-", "+") and _DRAWN_TABLE.fullmatch(line) and (line[0] == "-" or not open_):
            message = (
                "A table drawn with dashes cannot be read; write “|” between its columns, as “pandoc -t gfm” does."
            )
            warnings.append(ParseWarning(number, message))
        if not line or (line[0] == ":" and _DIV.fullmatch(line)):
            close()
        elif (
            len(open_) == 1
            and marks in ({"="}, {"-"})
            and len(line) >= 3
            and " " not in line
            and _is_setext_heading(open_[0].text)
        ):
            blocks.append(Block(open_[0].number, 1 if marks == {"="} else 2, [open_.pop().text.strip()]))
        elif len(marks) == 1 and line[0] in "-*_=" and len(line) >= 3:
            close()
        elif (level := _heading_level(line)) and len(raw) - len(raw.lstrip(" ")) < 4:
            close()
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
            open_.append(Line(number, raw.rstrip()))
            after = lines[at + 1].text if at + 1 < len(lines) else ""
            if len(open_) == 1 and (PICTURE.fullmatch(line) or _is_standalone_bold(line, after)):
                close()
    close()
    return blocks


def _without_attributes(line: str) -> str:
    """Return a line with HTML pictures as Markdown and without Pandoc's attributes."""
    if "<" in line:
        line = _IMG.sub(_markdown_picture, line)
    return _ATTRIBUTES.sub("", _SPAN.sub(r"\1", line)) if "{" in line else line


def _markdown_picture(tag: re.Match[str]) -> str:
    values = tag_attributes(tag[0])
    alt = " ".join(values.get("alt", "").replace("[", "(").replace("]", ")").split())
    return f"![{alt}]({link_target(values.get('src', ''))})"


def _html_blocks(line: int, text: str) -> Iterator[Block]:
    """Yield the paragraphs and headings of a paragraph with HTML. ``line`` is its first line."""
    text = _IMG.sub(lambda tag: _markdown_picture(tag) + "\n" * tag[0].count("\n"), text)
    level = at = 0
    start, is_hidden = line, False
    words = ""
    for tag in (*_BLOCK_TAG.finditer(text), None):
        part = text[at : tag.start() if tag else len(text)]
        words += part
        if words.strip() and not is_hidden:
            first = start + len(words[: len(words) - len(words.lstrip())].splitlines())
            yield Block(first, level, [" ".join(words.split()) if level else words.strip("\n")])
        start += part.count("\n")
        if tag:
            at = tag.end()
            name, is_start = tag[2].lower(), not tag[1]
            start += tag[0].count("\n")
            level = int(name[1]) if is_start and name[1:].isdigit() else 0
            # Pandoc repeats the alt text of a picture as a hidden caption.
            is_hidden = is_start and name == "figcaption" and "aria-hidden" in tag[3].lower()
            words = "- " if is_start and name == "li" else ""


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


def _is_standalone_bold(line: str, after: str) -> bool:
    """Return whether a bold line is a paragraph of its own: text follows that does not continue it."""
    if not line.startswith(("**", "__")) or not bold_only(line) or line.endswith((":**", ":__")):
        return False
    after = after.strip()
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
    return not (_NOT_PROSE.match(text) or standalone_link(text) or _is_contact_note(text) or _TABLE_RULE.search(text))


def _is_contact_note(text: str) -> bool:
    note = split_contact(text)
    return note is not None and not note.preceding_text and (note.asks_for_contact or note.is_italic)


def standalone_picture(text: str) -> ParsedPicture | None:
    """Return the picture if the text consists of one, else None."""
    match = PICTURE.fullmatch(text.strip())
    return parsed_picture(match) if match else None


def parsed_picture(match: re.Match[str]) -> ParsedPicture:
    """Return the picture that PICTURE has matched."""
    return ParsedPicture(unquote(match[2].strip().strip("<>")), " ".join(match[1].split()))


def picture_paths(text: str) -> list[str]:
    """Return the paths of the pictures in a text."""
    return [parsed_picture(match).path for match in PICTURE.finditer(text)]


def replace_pictures(text: str, target: Callable[[str], str]) -> str:
    """Return a text with the target of each picture replaced by what ``target`` returns for its path."""

    def replaced(match: re.Match[str]) -> str:
        picture = parsed_picture(match)
        return f"![{picture.alt}]({target(picture.path)})"

    return PICTURE.sub(replaced, text)


def standalone_link(text: str) -> ParsedLink | None:
    """Return the link if the text consists of one that can be shown, else None."""
    match = _LINK.fullmatch(text.strip())
    url = complete_link(match[2]) if match else ""
    return ParsedLink(url, match[1].strip()) if match and is_allowed_link(url) else None
