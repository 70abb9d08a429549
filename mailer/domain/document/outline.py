"""Classifies each heading and paragraph as title, section, headline, dateline or text."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.document.blocks import Block, standalone_link
from mailer.domain.document.contacts import split_contact
from mailer.domain.document.datelines import begins_with_date, contains_date
from mailer.domain.document.emphasis import bold_only, bold_runs
from mailer.domain.document.model import ParseWarning
from mailer.domain.document.sentences import excerpt, is_all_caps, is_caseless, starts_lowercase

_COLONS = (":", "：")


@dataclass(slots=True)
class OutlineItem:
    """A part of the document."""

    kind: str
    """``title``, ``section``, ``headline``, ``dateline``, ``perhaps`` or ``text``.

    ``perhaps`` is a bold run that is a dateline if the story has none.
    """
    line: int
    text: str
    rest: str = ""
    """The text after a dateline in its paragraph."""
    source: str = ""
    """The paragraph as written."""


def outline(blocks: Sequence[Block], language: str, warnings: list[ParseWarning]) -> list[OutlineItem]:
    """Return the classified items of the blocks.

    Bold paragraphs are headlines, or section titles if they are in capitals and a headline follows.
    """
    shift = _level_shift(blocks, warnings)
    items: list[OutlineItem] = []
    has_heading = False
    for block in blocks:
        runs, rest = bold_runs(block.text)
        if not block.level:
            items += _paragraph(block.line, block.text, runs, rest, language)
        elif runs and not rest.strip() and (len(runs) > 1 or _has_dateline(runs, rest, language)):
            warnings.append(
                ParseWarning(
                    block.line,
                    f"The heading “{excerpt(runs[0])}” is all bold; it was read as a bold paragraph.",
                )
            )
            items += _paragraph(block.line, block.text, runs, rest, language)
        else:
            text = runs[0] if runs and not rest.strip() else block.text
            items += _heading(block.line, max(1, block.level + shift), text, has_heading, items, warnings)
            items += _split_run_in_dateline(items[-1], language, warnings)
        has_heading = has_heading or items[-1].kind in ("title", "section", "headline")
    return _classify_bold(items, warnings)


def _level_shift(blocks: Sequence[Block], warnings: list[ParseWarning]) -> int:
    """Return the number to add to heading levels so that sections have level 2 and headlines level 3.

    It differs from 0 only if the document has no level 3 and clearly uses other levels for these.
    """
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
        warnings.append(
            ParseWarning(
                line,
                f"Level {2 - shift} headings were read as sections, level {3 - shift} as headlines.",
            )
        )
    return shift


def _heading(
    line: int,
    level: int,
    text: str,
    has_heading: bool,
    items: list[OutlineItem],
    warnings: list[ParseWarning],
) -> list[OutlineItem]:
    if level == 1 and not has_heading:
        if items:
            warnings.append(ParseWarning(line, f"The title “{excerpt(text)}” comes after other text."))
        return [OutlineItem("title", line, text)]
    if level <= 2:
        if level == 1:
            warnings.append(ParseWarning(line, f"The level 1 heading “{excerpt(text)}” was read as a section title."))
        return [OutlineItem("section", line, text)]
    if level == 3:
        return [OutlineItem("headline", line, text)]
    if items and items[-1].kind == "section":
        warnings.append(
            ParseWarning(
                line,
                f"“{excerpt(text)}” skips a heading level after the section; it was read as a headline.",
            )
        )
        return [OutlineItem("headline", line, text)]
    source = f"{'#' * level} {text}"
    return [OutlineItem("text", line, source, source=source)]


def _split_run_in_dateline(heading: OutlineItem, language: str, warnings: list[ParseWarning]) -> list[OutlineItem]:
    """Remove a dateline and text from a heading that they run on from; return their items."""
    at = heading.text.find("**")
    if at <= 0:
        return []
    source = heading.text[at:]
    runs, rest = bold_runs(source)
    if not _has_dateline(runs, rest, language):
        return []
    heading.text = heading.text[:at].rstrip()
    warnings.append(ParseWarning(heading.line, f"A dateline was separated from the heading “{excerpt(heading.text)}”."))
    return _paragraph(heading.line, source, runs, rest, language)


def _is_contact_note(text: str) -> bool:
    note = split_contact(text)
    return note is not None and note.asks_for_contact and not note.preceding_text


def _has_dateline(runs: list[str], rest: str, language: str) -> bool:
    return _has_colon(runs, rest) and any(contains_date(run, language) for run in runs)


def _has_colon(runs: list[str], rest: str) -> bool:
    return bool(runs) and (runs[-1].rstrip().endswith(_COLONS) or rest.lstrip().startswith(_COLONS))


def _paragraph(line: int, source: str, runs: list[str], rest: str, language: str) -> list[OutlineItem]:
    """Return the headings and the dateline in a paragraph's leading bold runs, or the paragraph as text."""
    text = [OutlineItem("text", line, source, source=source)]
    if not runs or (not rest.strip() and len(runs) == 1 and (standalone_link(runs[0]) or _is_contact_note(runs[0]))):
        return text
    colon = _has_colon(runs, rest)
    starts = (begins_with_date, contains_date) if colon else (begins_with_date,)
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
    items = [OutlineItem("bold", line, run, source=source) for run in heads]
    if kind:
        after = rest.lstrip()
        if after.startswith(_COLONS) and not runs[-1].rstrip().endswith(_COLONS):
            after = after[1:]
        dateline = " ".join(runs[first:])
        items.append(OutlineItem(kind, line, dateline, after.strip(), f"**{dateline}**{rest}" if first else source))
    return items


def _classify_bold(items: list[OutlineItem], warnings: list[ParseWarning]) -> list[OutlineItem]:
    """Return the items, with each bold text classified as a section title or a headline."""
    classified: list[OutlineItem] = []
    for at, item in enumerate(items):
        if item.kind != "bold":
            classified.append(item)
            continue
        before = classified[-1] if classified else None
        after = items[at + 1] if at + 1 < len(items) else None
        run_on = before is not None and before.line == item.line
        if run_on and before is not None and before.kind == "headline":
            before.text = f"{before.text} {item.text}"
            warnings.append(
                ParseWarning(
                    item.line,
                    f"Bold texts in one paragraph were read as one headline: “{excerpt(before.text)}”.",
                )
            )
            continue
        headline_follows = after is not None and after.kind in ("bold", "headline")
        same_paragraph = after is not None and after.kind == "bold" and after.line == item.line and not run_on
        capitals = is_all_caps(item.text) or is_caseless(item.text)
        if after and same_paragraph and (capitals or not starts_lowercase(after.text)):
            warnings.append(
                ParseWarning(
                    item.line,
                    f"Two headings are in one paragraph: “{excerpt(item.text)}” was read as a section title, "
                    f"“{excerpt(after.text)}” as the headline of a story.",
                )
            )
            classified.append(OutlineItem("section", item.line, item.text, source=item.source))
        elif headline_follows and capitals and not run_on:
            warnings.append(
                ParseWarning(
                    item.line,
                    f"The bold text “{excerpt(item.text)}” was read as a section title, because a headline follows it.",
                )
            )
            classified.append(OutlineItem("section", item.line, item.text, source=item.source))
        else:
            classified.append(OutlineItem("headline", item.line, item.text, source=item.source))
    return classified
