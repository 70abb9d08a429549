"""Reads a newsletter written in Markdown, usually converted from PDF or Word, into sections and stories."""

from mailer.domain.document.blocks import picture_paths, replace_pictures
from mailer.domain.document.decoding import MAX_DOCUMENT_BYTES, decode
from mailer.domain.document.model import (
    DocumentError,
    ParsedContact,
    ParsedDocument,
    ParsedLink,
    ParsedPicture,
    ParsedSection,
    ParsedStory,
    ParseWarning,
)
from mailer.domain.document.parser import parse

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "DocumentError",
    "ParseWarning",
    "ParsedContact",
    "ParsedDocument",
    "ParsedLink",
    "ParsedPicture",
    "ParsedSection",
    "ParsedStory",
    "decode",
    "parse",
    "picture_paths",
    "replace_pictures",
]
