"""Decoding of documents."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.document import MAX_DOCUMENT_BYTES, DocumentError, decode

TEXT = "## Порт\n\n### Zlatić\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    ],
)
def test_text_is_decoded(data: bytes) -> None:
    assert decode(data) == TEXT


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"%PDF-1.7\n...", "a PDF"),
        (b"PK\x03\x04\x14\0[Content_Types].xml PK\x03\x04word/document.xml", "a Word document"),
        (b"PK\x03\x04\x14\0mimetypeapplication/vnd.oasis.opendocument.text", "an OpenDocument text"),
        (b"PK\x03\x04\x14\0letter.md", "a ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Word"),
        (b"{\\rtf1 abc}", "RTF"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"<!DOCTYPE html><p>News", "a web page"),
        (b"News\0\0\1\2", "binary data"),
        ("Première\nlettre".encode("latin-1"), "not UTF-8 text .see line 1"),
        (b"one\ntwo\n\xff", "see line 3"),
        (codecs.BOM_UTF16_LE + b"a\0b", "not UTF-16 text"),
        (codecs.BOM_UTF32_LE + "News".encode("utf-32-le"), "binary data"),
        (b"a" * (50 * 1024 * 1024), "is 50 MB; a newsletter document is at most 5 MB"),
        (b"a" * (MAX_DOCUMENT_BYTES + 1), r"is 5\.1 MB"),
    ],
    ids=range(17),
)
def test_binary_data_is_refused_in_one_sentence(data: bytes, said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        decode(data)


def test_largest_document_is_accepted() -> None:
    assert len(decode(b"a" * MAX_DOCUMENT_BYTES)) == MAX_DOCUMENT_BYTES


@given(st.binary())
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        assert decode(data).strip()
    except DocumentError as error:
        assert str(error).startswith("The file is")
