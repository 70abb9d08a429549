"""Decodes the bytes of an uploaded document."""

import codecs
import math

from mailer.domain.document.model import DocumentError

MEGABYTE = 1024 * 1024
MAX_DOCUMENT_BYTES = 5 * MEGABYTE
"""A long newsletter is 30 KB."""

# The first bytes of files that people upload by mistake (magic numbers as in the `file` utility).
_MAGIC_NUMBERS = (
    (b"%PDF", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Word or Office file"),
    (b"{\\rtf", "a rich text (RTF) file"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"\x1f\x8b", "a compressed (gzip) file"),
)
_ZIP_MARKERS = (
    (b"opendocument.text", "an OpenDocument text"),
    (b"word/", "a Word document"),
    (b"xl/", "an Excel workbook"),
    (b"ppt/", "a PowerPoint file"),
)
_ADVICE = "save the newsletter as Markdown text in UTF-8 and try again."


def decode(data: bytes, file_size: int = 0) -> str:
    """Return the text of a document in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    ``file_size`` is the size of the file in bytes, if ``data`` is only its beginning.
    Raises DocumentError for any other encoding and for files above MAX_DOCUMENT_BYTES.
    """
    if not data:
        raise DocumentError("The file is empty.")
    if kind := _detect_file_type(data):
        raise DocumentError(f"The file is {kind}, not Markdown text; {_ADVICE}")
    if (file_size := max(file_size, len(data))) > MAX_DOCUMENT_BYTES:
        tenths = math.ceil(file_size * 10 / MEGABYTE)
        megabytes = tenths // 10 if tenths % 10 == 0 else tenths / 10
        raise DocumentError(
            f"The file is {megabytes} MB; a newsletter document is at most {MAX_DOCUMENT_BYTES // MEGABYTE} MB. "
            "Leave pictures out of the text and add them to the issue."
        )
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in data:
        raise DocumentError(f"The file is not text but binary data; {_ADVICE}")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        encoding_name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise DocumentError(f"The file is not {encoding_name} text (see line {line}); {_ADVICE}") from None
    if "\0" in text:
        raise DocumentError(f"The file is not text but binary data; {_ADVICE}")
    if not text.strip():
        raise DocumentError("The file is empty: it contains only white space.")
    return text


def _detect_file_type(data: bytes) -> str:
    """Return the type of a file that is not text, by its first bytes, or an empty string."""
    for magic, name in _MAGIC_NUMBERS:
        if data.startswith(magic):
            return name
    if data.startswith(b"PK\x03\x04"):
        return next((name for marker, name in _ZIP_MARKERS if marker in data), "a ZIP archive")
    if data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    return ""
