"""Classifies each heading and paragraph as title, section, headline, dateline or text."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
    levels = _read_levels(blocks, language, warnings)
    items: list[OutlineItem] = []
    for at, block in enumerate(blocks):
        runs, rest = bold_runs(block.text)
        if not block.level:
            items += _paragraph(block.line, block.text, runs, rest, language)
        elif len(runs) > 1 or (runs and not rest.strip() and _has_dateline(runs, rest, language)):
            warnings.append(
                ParseWarning(
                    block.line,
                    f"The heading “{excerpt(runs[0])}” is all bold; it was read as a bold paragraph.",
                )
            )
            items += _paragraph(block.line, block.text, runs, rest, language)
        else:
            text = runs[0] if runs and not rest.strip() else block.text
            items.append(_heading(block, text, levels, items, warnings))
            before_text = at + 1 < len(blocks) and not blocks[at + 1].level
            items += _split_run_in(items[-1], language, before_text, warnings)
    return _classify_bold(items, warnings)


@dataclass(frozen=True, slots=True)
class _Levels:
    """What the levels of headings mean in a document."""

    title: Block | None
    section: int
    headline: int
    """Headings above this level are section titles, those below it are inside stories."""


def _read_levels(blocks: Sequence[Block], language: str, warnings: list[ParseWarning]) -> _Levels:
    """Return what the levels of headings mean, judged by the whole document.

    The usual levels are 1 for the title, 2 for sections and 3 for headlines. Documents from a word processor have
    sections on level 1.
    """
    title = _title(blocks)
    used = sorted({block.level for block in blocks if block.level and block is not title})
    if not used:
        return _Levels(title, 2, 3)
    top, *lower = used
    if top == 1 and len(lower) > 1 and _mostly_followed_by_heading(blocks, lower[0]):
        firsts = [block for block in blocks if block.level == 1]
        if len(firsts) == 1:
            warnings.append(
                ParseWarning(firsts[0].line, f"The title “{excerpt(firsts[0].text)}” comes after other text.")
            )
            title = firsts[0]
        return _Levels(title, lower[0], lower[1])
    if top == 3 and not (lower and _mostly_followed_by_heading(blocks, 3)):
        return _Levels(title, 2, 3)
    if title and used == [2] and _all_followed_by_dateline(blocks, 2, language):
        return _Levels(title, 1, 2)
    headline = lower[0] if lower else max(3, top + 1)
    if headline != 3 or top == 1:
        line = next(block.line for block in blocks if block.level and block is not title)
        read = f", level {headline} as headlines" if lower else ""
        warnings.append(ParseWarning(line, f"Level {top} headings were read as sections{read}."))
    return _Levels(title, top, headline)


def _title(blocks: Sequence[Block]) -> Block | None:
    """Return the heading on level 1 before everything else, unless it is a section as those after it are."""
    firsts = [at for at, block in enumerate(blocks) if block.level == 1]
    if not firsts or firsts[0] > 0:
        return None
    if len(firsts) == 1:
        return blocks[0]
    deeper = any(block.level > 1 for block in blocks)

    def has_story(part: Sequence[Block]) -> bool:
        return any(block.level > 1 if deeper else bold_only(block.text) for block in part)

    is_title = not has_story(blocks[: firsts[1]]) and has_story(blocks[firsts[1] :])
    return blocks[0] if is_title else None


def _mostly_followed_by_heading(blocks: Sequence[Block], level: int) -> bool:
    followed = [after.level > level for block, after in pairwise(blocks) if block.level == level]
    return sum(followed) * 2 > len(followed)


def _all_followed_by_dateline(blocks: Sequence[Block], level: int, language: str) -> bool:
    following = [bold_runs(after.text) for block, after in pairwise(blocks) if block.level == level]
    return all(runs and begins_with_date(runs[0], language) for runs, _ in following) and bool(following)


def _heading(
    block: Block, text: str, levels: _Levels, items: list[OutlineItem], warnings: list[ParseWarning]
) -> OutlineItem:
    if block is levels.title:
        return OutlineItem("title", block.line, text)
    if block.level == levels.headline:
        return OutlineItem("headline", block.line, text)
    if block.level < levels.headline:
        if block.level < levels.section:
            message = f"The level {block.level} heading “{excerpt(text)}” was read as a section title."
            warnings.append(ParseWarning(block.line, message))
        return OutlineItem("section", block.line, text)
    if items and items[-1].kind == "section":
        warnings.append(
            ParseWarning(
                block.line,
                f"“{excerpt(text)}” skips a heading level after the section; it was read as a headline.",
            )
        )
        return OutlineItem("headline", block.line, text)
    source = f"{'#' * max(4, block.level)} {text}"
    return OutlineItem("text", block.line, source, source=source)


def _split_run_in(
    heading: OutlineItem, language: str, before_text: bool, warnings: list[ParseWarning]
) -> list[OutlineItem]:
    """Remove from a heading the bold headline or the dateline and text that run on from it; return their items.

    ``before_text``: text follows, which would have no headline otherwise.
    """
    at = heading.text.find("**")
    if at <= 0:
        return []
    source = heading.text[at:]
    runs, rest = bold_runs(source)
    has_dateline = _has_dateline(runs, rest, language)
    if not has_dateline and not (heading.kind == "section" and before_text and bold_only(source)):
        return []
    heading.text = heading.text[:at].rstrip()
    what = "dateline" if has_dateline else "headline"
    warnings.append(ParseWarning(heading.line, f"A {what} was separated from the heading “{excerpt(heading.text)}”."))
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
