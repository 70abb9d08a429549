"""Says of each heading and paragraph what it is: title, section, headline, dateline or text."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.document.blocks import Block, link
from mailer.domain.document.bold import bold_only, bold_runs
from mailer.domain.document.contacts import ending
from mailer.domain.document.datelines import begins_with_date, holds_date
from mailer.domain.document.letters import begins_small, in_capitals, shortened, without_case
from mailer.domain.document.parts import Unsure

_COLONS = (":", "：")


@dataclass(slots=True)
class Item:
    """A part of the document. ``kind`` is ``title``, ``section``, ``headline``, ``dateline``, ``perhaps``
    (a bold run that is a dateline only where one is missing) or ``text``. ``rest`` is what follows a
    dateline in its paragraph; ``source`` is the paragraph as written."""

    kind: str
    line: int
    text: str
    rest: str = ""
    source: str = ""


def outline(blocks: Sequence[Block], language: str, unsure: list[Unsure]) -> list[Item]:
    """What each block is. Bold paragraphs are headlines; in capitals before a headline, section titles."""
    shift = _shift(blocks, unsure)
    items: list[Item] = []
    begun = False
    for block in blocks:
        runs, rest = bold_runs(block.text)
        if not block.level:
            items += _paragraph(block.line, block.text, runs, rest, language)
        elif runs and not rest.strip() and (len(runs) > 1 or _dated(runs, rest, language)):
            unsure.append(
                Unsure(
                    block.line,
                    f"The heading “{shortened(runs[0])}” was read as the bold text that it is made of.",
                )
            )
            items += _paragraph(block.line, block.text, runs, rest, language)
        else:
            text = runs[0] if runs and not rest.strip() else block.text
            items += _heading(block.line, max(1, block.level + shift), text, begun, items, unsure)
            items += _run_in(items[-1], language, unsure)
        begun = begun or items[-1].kind in ("title", "section", "headline")
    return _settled(items, unsure)


def _shift(blocks: Sequence[Block], unsure: list[Unsure]) -> int:
    """How far the levels are off: sections are level 2 and headlines level 3, unless the document has no
    level 3 and its levels 1 and 2, or 4 and above, are plainly used that way."""
    levels = [block.level for block in blocks if block.level]
    bold = any(not block.level and bold_only(block.text) for block in blocks)
    if 3 in levels or bold or not levels:
        return 0
    shift = 0
    if levels.count(1) > 1 and 2 in levels and max(levels) == 2:
        shift = 1
    elif min(levels) > 2:
        shift = 2 - min(levels)
    if shift:
        line = next(block.line for block in blocks if block.level)
        unsure.append(
            Unsure(
                line,
                f"Level {2 - shift} headings were read as sections, level {3 - shift} as headlines.",
            )
        )
    return shift


def _heading(
    line: int, level: int, text: str, begun: bool, items: list[Item], unsure: list[Unsure]
) -> list[Item]:
    if level == 1 and not begun:
        if items:
            unsure.append(Unsure(line, f"The title “{shortened(text)}” comes after other text."))
        return [Item("title", line, text)]
    if level <= 2:
        if level == 1:
            unsure.append(
                Unsure(line, f"The level 1 heading “{shortened(text)}” was read as a section title.")
            )
        return [Item("section", line, text)]
    if level == 3:
        return [Item("headline", line, text)]
    if items and items[-1].kind == "section":
        unsure.append(
            Unsure(
                line,
                f"“{shortened(text)}” skips a heading level after the section; it was read as a headline.",
            )
        )
        return [Item("headline", line, text)]
    source = f"{'#' * level} {text}"
    return [Item("text", line, source, source=source)]


def _run_in(heading: Item, language: str, unsure: list[Unsure]) -> list[Item]:
    """The dateline and text that ran into a heading, taken out of it."""
    at = heading.text.find("**")
    if at <= 0:
        return []
    source = heading.text[at:]
    runs, rest = bold_runs(source)
    if not _dated(runs, rest, language):
        return []
    heading.text = heading.text[:at].rstrip()
    unsure.append(Unsure(heading.line, f"A dateline ran into the heading “{shortened(heading.text)}”."))
    return _paragraph(heading.line, source, runs, rest, language)


def _is_note(text: str) -> bool:
    note = ending(text)
    return note is not None and note.named and not note.before


def _dated(runs: list[str], rest: str, language: str) -> bool:
    return _colon(runs, rest) and any(holds_date(run, language) for run in runs)


def _colon(runs: list[str], rest: str) -> bool:
    return bool(runs) and (runs[-1].rstrip().endswith(_COLONS) or rest.lstrip().startswith(_COLONS))


def _paragraph(line: int, source: str, runs: list[str], rest: str, language: str) -> list[Item]:
    """The headings and the dateline that a paragraph's leading bold runs are, or its text."""
    text = [Item("text", line, source, source=source)]
    if not runs or (not rest.strip() and len(runs) == 1 and (link(runs[0]) or _is_note(runs[0]))):
        return text
    colon = _colon(runs, rest)
    starts = (begins_with_date, holds_date) if colon else (begins_with_date,)
    first = next((at for test in starts for at, run in enumerate(runs) if test(run, language)), None)
    if first is None and colon:
        first = len(runs) - 1
        kind = "perhaps"
    elif first is not None and (colon or not rest.strip()):
        kind = "dateline" if colon else "perhaps"
    elif rest.strip():
        return text
    else:
        first, kind = len(runs), ""
    heads = [runs[0], " ".join(runs[1:first])] if first > 1 else runs[:first]
    items = [Item("bold", line, run, source=source) for run in heads]
    if kind:
        after = rest.lstrip()
        if after.startswith(_COLONS) and not runs[-1].rstrip().endswith(_COLONS):
            after = after[1:]
        dateline = " ".join(runs[first:])
        items.append(Item(kind, line, dateline, after.strip(), f"**{dateline}**{rest}" if first else source))
    return items


def _settled(items: list[Item], unsure: list[Unsure]) -> list[Item]:
    """The items, each bold text settled as a section title or a headline."""
    settled: list[Item] = []
    for at, item in enumerate(items):
        if item.kind != "bold":
            settled.append(item)
            continue
        before = settled[-1] if settled else None
        after = items[at + 1] if at + 1 < len(items) else None
        run_on = before is not None and before.line == item.line
        if run_on and before is not None and before.kind == "headline":
            before.text = f"{before.text} {item.text}"
            unsure.append(
                Unsure(
                    item.line,
                    f"Bold texts ran together and were read as one headline: “{shortened(before.text)}”.",
                )
            )
            continue
        heads = after is not None and after.kind in ("bold", "headline")
        together = after is not None and after.kind == "bold" and after.line == item.line and not run_on
        capitals = in_capitals(item.text) or without_case(item.text)
        if after and together and (capitals or not begins_small(after.text)):
            unsure.append(
                Unsure(
                    item.line,
                    f"Two headings ran together: “{shortened(item.text)}” was read as a section title, "
                    f"“{shortened(after.text)}” as the headline of a story.",
                )
            )
            settled.append(Item("section", item.line, item.text, source=item.source))
        elif heads and capitals and not run_on:
            unsure.append(
                Unsure(
                    item.line,
                    f"The bold text “{shortened(item.text)}” was read as a section title, "
                    "because a headline follows it.",
                )
            )
            settled.append(Item("section", item.line, item.text, source=item.source))
        else:
            settled.append(Item("headline", item.line, item.text, source=item.source))
    return settled
