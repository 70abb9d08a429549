"""The one form of texts that read the same."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from mailer.domain.text_tree.model import Block, Run

_SPACE = re.compile(r"[ \t\n\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]+")
_LINE_END = re.compile(r"\r\n?")


def tidy_document(document: Block) -> Block:
    return Block("doc", _tidy_blocks(document.blocks) or (Block("paragraph"),))


def one_line(document: Block) -> Block:
    """Return a document as one paragraph without line breaks."""

    def lines(block: Block) -> Iterator[tuple[Run, ...]]:
        if block.runs:
            yield block.runs
        for inner in block.blocks:
            yield from lines(inner)

    runs = [
        replace(run, kind="text", text=" ") if run.kind == "hard_break" else run
        for line in lines(document)
        for run in (*line, Run("text", " "))
    ]
    return Block("doc", (Block("paragraph", runs=tidy_runs(runs)),))


def _tidy_blocks(blocks: Iterable[Block]) -> tuple[Block, ...]:
    return tuple(tidied for block in blocks if (tidied := _tidy(block)))


def _tidy(block: Block) -> Block | None:
    """Return a block in its one form, or None if there is nothing in it."""
    match block.kind:
        case "paragraph" | "heading":
            runs = tidy_runs(block.runs, one_line=block.kind == "heading")
            return Block(block.kind, runs=runs) if runs else None
        case "code_block":
            lines = _LINE_END.sub("\n", block.runs[0].text).expandtabs(4).strip("\n") if block.runs else ""
            return Block("code_block", runs=(Run("text", lines),)) if lines.strip() else None
        case "blockquote":
            blocks = _tidy_blocks(block.blocks)
            return Block("blockquote", blocks) if blocks else None
        case "table":
            return _tidy_table(block)
        case _:
            return _tidy_list(block)


def _tidy_list(block: Block) -> Block | None:
    items = [_tidy_blocks(item.blocks) for item in block.blocks]
    if not any(items):
        return None
    has_paragraph = any(inner.kind == "paragraph" for item in items for inner in item)
    can_be_loose = has_paragraph and (len(items) > 1 or len(items[0]) > 1)
    attributes = {**block.attributes, "tight": block.attributes["tight"] or not can_be_loose}
    return Block(
        block.kind, tuple(Block("list_item", item or (Block("paragraph"),)) for item in items), attributes=attributes
    )


def _tidy_table(block: Block) -> Block | None:
    """Return a table whose rows have as many cells as the longest, aligned like the first one."""
    width = max((len(row.blocks) for row in block.blocks), default=0)
    if not width:
        return None
    alignments = [cell.attributes["align"] for cell in block.blocks[0].blocks]
    alignments += [None] * (width - len(alignments))
    rows: list[Block] = []
    for row in block.blocks:
        runs = [tidy_runs(cell.runs, one_line=True) for cell in row.blocks]
        runs += [()] * (width - len(runs))
        kind = "table_cell" if rows else "table_header"
        cells = (
            Block(kind, runs=run, attributes={"align": align}) for run, align in zip(runs, alignments, strict=True)
        )
        rows.append(Block("table_row", tuple(cells)))
    return Block("table", tuple(rows))


def tidy_runs(runs: Sequence[Run], *, one_line: bool = True) -> tuple[Run, ...]:
    """Return runs whose white space is single spaces between words, with the marks that both words have.

    No line break is at the ends, and only one at a place where ``one_line`` cannot have more.
    """
    tidied: list[Run] = []
    gap = breaks = 0
    for run in _words(runs):
        if run.kind == "hard_break":
            breaks += 1
        elif not run.text and run.kind == "text":
            gap += 1
        else:
            if tidied and (gap or breaks):
                marks = tidied[-1].marks & run.marks
                between = [Run("hard_break", marks=marks)] * (min(breaks, 1) if one_line else breaks)
                tidied += between or [Run("text", " ", marks)]
            tidied.append(run)
            gap = breaks = 0
    return tuple(_merged(_stripped(_stripped(tidied, str.lstrip)[::-1], str.rstrip)[::-1]))


def _stripped(runs: list[Run], strip: Callable[[str], str]) -> list[Run]:
    """Return runs without line breaks and white space of any kind before the first word, as the parser reads them."""
    for at, run in enumerate(runs):
        if run.kind == "picture":
            return runs[at:]
        if text := strip(run.text):
            return [replace(run, text=text), *runs[at + 1 :]]
    return []


def _words(runs: Iterable[Run]) -> Iterator[Run]:
    """Yield the words of runs, with an empty text where there is white space, and what is no text."""
    for run in runs:
        if run.kind == "picture":
            yield replace(run, text=" ".join(run.text.split()))
        elif run.kind == "hard_break":
            yield run
        else:
            for at, word in enumerate(_SPACE.split(run.text)):
                if at:
                    yield Run("text")
                if word:
                    yield Run("text", word, run.marks)


def _merged(runs: Iterable[Run]) -> Iterator[Run]:
    """Yield runs with adjacent texts of the same marks as one."""
    for (kind, marks), same in groupby(runs, key=lambda run: (run.kind, run.marks)):
        if kind == "text":
            yield Run("text", "".join(run.text for run in same), marks)
        else:
            yield from same
