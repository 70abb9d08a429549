"""Texts as trees, which the browser edits, and as Markdown, which is stored.

A tree is the JSON of a ProseMirror document: ``{"type": "doc", "content": [block, …]}``. Blocks are ``paragraph``,
``heading`` (of one level), ``blockquote``, ``bullet_list`` {tight} and ``ordered_list`` {start, tight} of
``list_item``, ``table`` of ``table_row`` of ``table_header`` and ``table_cell`` {align}, whose first row is its header,
and ``code_block``. Paragraphs, headings and cells hold ``text``, ``hard_break`` and ``picture`` {sha256, alt}, with the
marks ``link`` {href}, ``em``, ``strong``, ``strike``, ``sup`` and ``sub``, in this order. A line, such as a headline,
is a document with one paragraph.

A tree from outside is hostile: it is checked first, and its Markdown is read back, so that nothing is ever stored that
says something else. White space within lines is one space, and there is none at their ends. Blocks without content are
left out.
"""

from mailer.domain.text_tree.conversion import (
    canonical,
    canonical_line,
    contact_note_to_markdown,
    contact_note_to_tree,
    line_to_markdown,
    line_to_tree,
    plain_line,
    to_markdown,
    to_tree,
)
from mailer.domain.text_tree.model import InvalidTree, Tree
from mailer.domain.text_tree.tree_parser import MAX_NODES

__all__ = [
    "MAX_NODES",
    "InvalidTree",
    "Tree",
    "canonical",
    "canonical_line",
    "contact_note_to_markdown",
    "contact_note_to_tree",
    "line_to_markdown",
    "line_to_tree",
    "plain_line",
    "to_markdown",
    "to_tree",
]
