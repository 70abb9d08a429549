"""Texts from Markdown to trees and back."""

from collections.abc import Callable

from mailer.domain.markdown import TooDeep, TooLong, find_problems, parse, parse_line
from mailer.domain.staff_texts import gettext
from mailer.domain.text_tree.markdown_writer import blocks_markdown, line_markdown
from mailer.domain.text_tree.model import MARKS, Block, InvalidTree, Run, Tree, not_from_the_editor
from mailer.domain.text_tree.one_form import one_line, tidy_document, tidy_runs
from mailer.domain.text_tree.token_parser import TokenParser, runs_of, with_pictures
from mailer.domain.text_tree.tree_parser import TreeParser


def to_tree(markdown: str) -> Tree:
    """Return a text as a tree. Raises TooLong and TooDeep."""
    return _json(_read_text(markdown))


def to_markdown(tree: object) -> str:
    """Return the Markdown of a tree from outside. Raises InvalidTree, TooLong and TooDeep."""
    document = tidy_document(TreeParser().document(tree))
    return _checked(document, blocks_markdown(document.blocks, tight=False), _read_text)


def canonical(markdown: str) -> str:
    """Return a text as ``to_markdown`` writes it.

    One that has problems, is too long or too deep stays as it is, so that a check names them.
    """
    try:
        return markdown if find_problems(with_pictures(markdown)) else to_markdown(to_tree(markdown))
    except (InvalidTree, TooLong, TooDeep):
        return markdown


def line_to_tree(markdown: str) -> Tree:
    """Return a line without links, such as a headline, as a tree. Raises TooLong and TooDeep."""
    return _json(_read_line(markdown))


def line_to_markdown(tree: object) -> str:
    """Return the Markdown of a line without links from outside. Raises InvalidTree, TooLong and TooDeep."""
    document = TreeParser().line(tree)
    runs = document.blocks[0].runs
    if any(run.kind == "picture" or any(kind == "link" for kind, _ in run.marks) for run in runs):
        raise not_from_the_editor()
    return _checked(document, line_markdown(runs, " ", _read_line_runs), _read_line)


def canonical_line(markdown: str) -> str:
    """Return a line without links as ``line_to_markdown`` writes it, or as it is, like ``canonical``."""
    try:
        return markdown if find_problems(markdown) else line_to_markdown(line_to_tree(markdown))
    except (InvalidTree, TooLong, TooDeep):
        return markdown


def plain_line(markdown: str) -> str:
    """Return one line of Markdown without its formatting, or as it is if no email can show it."""
    try:
        return "".join(run.text for run in _read_line_runs(markdown)) if markdown else ""
    except (TooLong, TooDeep):
        return markdown


def contact_note_to_tree(markdown: str) -> Tree:
    """Return a contact note as a tree of one line. Its paragraphs are joined. Raises TooLong and TooDeep."""
    return _json(one_line(_read_text(markdown)))


def contact_note_to_markdown(tree: object) -> str:
    """Return the Markdown of a contact note from outside. Raises InvalidTree, TooLong and TooDeep."""
    document = TreeParser().line(tree)
    return _checked(document, blocks_markdown(document.blocks, tight=False), _read_text)


def _read_text(markdown: str) -> Block:
    return tidy_document(Block("doc", TokenParser(parse(with_pictures(markdown))).blocks()))


def _read_line(markdown: str) -> Block:
    return Block("doc", (Block("paragraph", runs=_read_line_runs(markdown)),))


def _read_line_runs(markdown: str) -> tuple[Run, ...]:
    """Return the runs of a line without links, in which pictures are their alternative texts."""
    return tidy_runs(
        [
            Run(
                "text",
                " " if run.kind == "hard_break" else run.text,
                frozenset(mark for mark in run.marks if mark[0] != "link"),
            )
            for run in runs_of(parse_line(markdown))
        ]
    )


def _checked(document: Block, markdown: str, read: Callable[[str], Block]) -> str:
    """Return the Markdown if it says what the document says. Raises InvalidTree, TooLong and TooDeep."""
    if read(markdown) != document:
        raise InvalidTree(gettext("This text cannot be kept exactly as it is here. Write the last change differently."))
    return markdown


def _json(block: Block) -> Tree:
    """Return a block as the browser reads it."""
    node: Tree = {"type": block.kind}
    if block.attributes:
        node["attrs"] = dict(block.attributes)
    content = [_json(inner) for inner in block.blocks] or [_run_json(run) for run in block.runs]
    if content:
        node["content"] = content
    return node


def _run_json(run: Run) -> Tree:
    if run.kind == "hard_break":
        return {"type": "hard_break"}
    if run.kind == "text":
        node: Tree = {"type": "text", "text": run.text}
    else:
        node = {"type": "picture", "attrs": {"sha256": run.sha256, "alt": run.text}}
    if run.marks:
        node["marks"] = [
            {"type": kind, "attrs": {"href": href}} if kind == "link" else {"type": kind}
            for kind, href in sorted(run.marks, key=lambda mark: MARKS.index(mark[0]))
        ]
    return node
