"""The difference between two states of a text, in words."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from typing import Any, TypeVar

from mailer.domain.markdown import TooDeep, TooLong
from mailer.domain.text_tree import Tree, line_to_tree, to_tree

_MAX_PAIRS = 100_000
"""Paragraphs or words that are compared with each other. Beyond this, what is between the same ends is replaced whole:
the time grows with more than the square of the length."""
_MAX_SIMILAR_PAIRS = 2_000
"""Changed paragraphs that are compared with each other for one that has become another."""
_TEXTS = ("body", "intro", "partial_intro", "text")
_LINES = ("headline", "link_label")
_ORDER = (
    *("subject", "preheader", "intro", "partial_subject", "partial_preheader", "partial_intro"),
    *("headline", "datelines", "body", "alt", "picture_credit", "link", "link_label", "text"),
)
"""The fields as they stand on the page of a text. Stored versions have them in the database's order."""
_Item = TypeVar("_Item")
_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")


class RunKind(StrEnum):
    same = "same"
    added = "added"
    removed = "removed"


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a paragraph."""

    kind: RunKind
    text: str


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field that differs, with all its paragraphs."""

    field: str
    paragraphs: tuple[tuple[Run, ...], ...]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[FieldDifference]:
    """Return the fields of two contents of a text that differ, as they stand on its page.

    Formatting is compared too, and not shown.
    """
    found = []
    for name in sorted({*old, *new}, key=_ORDER.index):
        before, after = old.get(name) or "", new.get(name) or ""
        if before != after:
            paragraphs = tuple(_compare(_paragraphs(name, before), _paragraphs(name, after)))
            found.append(FieldDifference(name, paragraphs))
    return found


_Word = tuple[str, str]
"""A word, a sign or white space, and its formatting."""


def _paragraphs(name: str, value: Any) -> list[tuple[_Word, ...]]:
    """Return the words of a field by paragraph."""
    if isinstance(value, list):  # datelines
        return [_words(line["text"]) for line in value]
    try:
        if name in _TEXTS:
            return list(_text_blocks(to_tree(value), ""))
        if name in _LINES:
            return list(_text_blocks(line_to_tree(value), ""))
    except (TooLong, TooDeep):
        pass
    return [_words(line) for line in value.split("\n") if line.strip()]


def _words(text: str, formatting: str = "") -> tuple[_Word, ...]:
    return tuple((word, formatting) for word in _TOKEN.findall(text))


def _text_blocks(node: Tree, begins: str) -> Iterator[tuple[_Word, ...]]:
    """Yield the words of each paragraph, heading and row of a table, items of lists with what they begin with."""
    kind, content = node["type"], node.get("content", [])
    if kind in ("paragraph", "heading", "code_block"):
        words = [word for part in content for word in _part_words(part, kind)]
        if words:
            yield (*_words(begins), *words)
    elif kind == "table_row":
        cells = [[word for part in cell.get("content", []) for word in _part_words(part, kind)] for cell in content]
        yield tuple(word for at, cell in enumerate(cells) for word in ((*_words(" | "), *cell) if at else cell))
    else:
        for at, inner in enumerate(content):
            if kind == "list_item":
                yield from _text_blocks(inner, "" if at else begins)
            elif kind == "ordered_list":
                yield from _text_blocks(inner, f"{node['attrs']['start'] + at}. ")
            else:
                yield from _text_blocks(inner, "• " if kind == "bullet_list" else "")


def _part_words(part: Tree, block: str) -> tuple[_Word, ...]:
    formatting = " ".join([block, *(f"{mark['type']}{mark.get('attrs', {})}" for mark in part.get("marks", []))])
    match part["type"]:
        case "text":
            return _words(part["text"], formatting)
        case "picture":
            return ((f"[{part['attrs']['alt']}]", part["attrs"]["sha256"]),)
        case _:
            return _words("\n")


def _compare(old: Sequence[tuple[_Word, ...]], new: Sequence[tuple[_Word, ...]]) -> Iterator[tuple[Run, ...]]:
    """Yield the paragraphs of both texts in order, those that have become another as one."""
    for same, before, after in _steps(old, new):
        if same:
            yield from ((Run(RunKind.same, _text(words)),) for words in before)
            continue
        waiting, counts = list(before), [_count(words) for words in before]
        comparable = len(before) * len(after) <= _MAX_SIMILAR_PAIRS
        for words in after:
            count = _count(words)
            like = next((at for at, other in enumerate(counts) if comparable and _is_similar(other, count)), None)
            if like is None:
                yield (Run(RunKind.added, _text(words)),)
                continue
            yield from ((Run(RunKind.removed, _text(gone)),) for gone in waiting[:like])
            yield tuple(_compare_words(waiting[like], words))
            del waiting[: like + 1], counts[: like + 1]
        yield from ((Run(RunKind.removed, _text(gone)),) for gone in waiting)


def _count(words: Sequence[_Word]) -> Counter[str]:
    return Counter(word for word, _ in words if not word.isspace())


def _is_similar(old: Counter[str], new: Counter[str]) -> bool:
    """Return whether one paragraph has become the other: half of the longer one's words are in both."""
    shorter, longer = sorted((old.total(), new.total()))
    return 2 * shorter >= longer and 2 * (old & new).total() >= longer


def _compare_words(old: Sequence[_Word], new: Sequence[_Word]) -> Iterator[Run]:
    removed = added = ""
    for same, before, after in _steps(old, new):
        text = _text(before)
        if same and not (text.isspace() and (removed or added)):
            yield from _changed(removed, added)
            removed = added = ""
            yield Run(RunKind.same, text)
        else:
            # Spaces between changed words are changed with them, so that a changed phrase is one.
            removed, added = removed + text, added + _text(after)
    yield from _changed(removed, added)


def _changed(removed: str, added: str) -> Iterator[Run]:
    if removed == added and removed.isspace():
        yield Run(RunKind.same, removed)
        return
    if removed:
        yield Run(RunKind.removed, removed)
    if added:
        yield Run(RunKind.added, added)


def _text(words: Sequence[_Word]) -> str:
    return "".join(word for word, _ in words)


def _steps(old: Sequence[_Item], new: Sequence[_Item]) -> Iterator[tuple[bool, Sequence[_Item], Sequence[_Item]]]:
    """Yield the parts of two sequences in order: whether they are the same, the old part, the new part."""
    start = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), None)
    if start is None:
        start = min(len(old), len(new))
    rest = min(len(old), len(new)) - start
    end = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    if start:
        yield True, old[:start], new[:start]
    if len(before) * len(after) > _MAX_PAIRS:
        yield False, before, after
    else:
        matcher = SequenceMatcher(None, before, after, autojunk=False)
        for kind, from_, to, new_from, new_to in matcher.get_opcodes():
            yield kind == "equal", before[from_:to], after[new_from:new_to]
    if end:
        yield True, old[len(old) - end :], new[len(new) - end :]
