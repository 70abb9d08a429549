"""Reads Word documents (.docx) as Markdown, with their pictures, for the importer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from zipfile import BadZipFile, ZipFile, ZipInfo

import mammoth
from markdownify import markdownify

from mailer.domain.document import DocumentError

MAX_UNPACKED_BYTES = 100 * 1024 * 1024
"""A .docx file is an archive, which can be small and unpack to anything."""
MAX_ENTRIES = 5000
MAX_XML_TAGS = 100_000
"""In all parts together; an issue with 100 stories has some 20,000. Each costs the library time."""
_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
"""
_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}


@dataclass(frozen=True, slots=True)
class WordDocument:
    markdown: str
    pictures: Mapping[str, bytes]
    """Name → content. The text refers to them by these names."""


def is_docx(data: bytes, file_name: str) -> bool:
    """Return whether this is a Word document: by its content, or by its name if its archive is damaged."""
    if not data.startswith(b"PK"):
        return False
    try:
        with ZipFile(BytesIO(data)) as archive:
            return "word/document.xml" in archive.namelist()
    except BadZipFile:
        return file_name.lower().endswith(".docx")


def read_docx(data: bytes, name: str) -> WordDocument:
    """Return a Word document as Markdown. ``name`` begins the names of its pictures. Raises DocumentError."""
    try:
        with ZipFile(BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
                raise DocumentError(
                    "The Word document is too large. Take pictures out of it and upload them beside it."
                )
            if _count_tags(archive, entries) > MAX_XML_TAGS:
                raise DocumentError("The Word document is too long. Split it, or upload it as Markdown.")
    except DocumentError:
        raise
    except Exception:  # zipfile raises what the methods of compression and encryption do
        raise DocumentError("The Word document is damaged. Open it in Word, save it again, and upload it.") from None
    pictures: dict[str, bytes] = {}

    def keep(picture: mammoth.documents.Image) -> dict[str, str]:
        extension = _EXTENSIONS.get(picture.content_type)
        if extension is None:
            return {"src": "", "alt": picture.alt_text or ""}
        path = f"{name}-{len(pictures) + 1}.{extension}"
        with picture.open() as stream:
            pictures[path] = stream.read()
        return {"src": path, "alt": picture.alt_text or ""}

    try:
        html = mammoth.convert_to_html(
            BytesIO(data), style_map=_STYLES, convert_image=mammoth.images.img_element(keep)
        ).value
        markdown = markdownify(html, heading_style="ATX", bullets="-", sup_symbol="<sup>", sub_symbol="<sub>")
    except Exception:  # the library raises whatever its parsers do
        raise DocumentError("The Word document cannot be read. Save it again as .docx, and upload it.") from None
    return WordDocument(markdown, pictures)


def _count_tags(archive: ZipFile, entries: Sequence[ZipInfo]) -> int:
    """Return the number of XML tags in the parts of a document, or somewhat more than MAX_XML_TAGS."""
    tags = 0
    for entry in entries:
        if entry.filename.lower().endswith((".xml", ".rels")):
            with archive.open(entry) as part:
                while tags <= MAX_XML_TAGS and (text := part.read(1 << 20)):
                    tags += text.count(b"<")
    return tags
