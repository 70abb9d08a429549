"""Reads a newsletter written in Markdown, usually converted from PDF or Word, into sections and stories."""

from mailer.domain.document.decoding import LIMIT, decode
from mailer.domain.document.parts import (
    Contact,
    Document,
    DocumentError,
    Link,
    Picture,
    Section,
    Story,
    Unsure,
)
from mailer.domain.document.reading import parse

__all__ = [
    "LIMIT",
    "Contact",
    "Document",
    "DocumentError",
    "Link",
    "Picture",
    "Section",
    "Story",
    "Unsure",
    "decode",
    "parse",
]
