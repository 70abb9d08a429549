"""Parses a mail into HTML, text and attachments, including malformed MIME."""

from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser

from mailer.devtools.inbox.headers import decoded, headers


@dataclass(frozen=True, slots=True)
class Attachment:
    """A MIME part that is neither the HTML nor the text, such as a picture."""

    name: str
    """The file name in the mail, or empty."""
    content_type: str
    content_id: str
    """The id for ``cid:`` URLs in the HTML, without angle brackets, or empty."""
    data: bytes


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """A parsed mail."""

    headers: tuple[tuple[str, str], ...]
    """Names and decoded values, in order. The trace headers of the inbox come first."""
    html: str
    """The first HTML part, or empty. Untrusted."""
    text: str
    """The first plain text part, or empty."""
    attachments: tuple[Attachment, ...]


def parse_mail(data: bytes) -> ParsedMail:
    """Parse a mail. Never raises: undecodable text gets replacement characters."""
    message = BytesParser().parsebytes(data)
    html = text = ""
    files = []
    for part in message.walk():
        if part.is_multipart():
            continue
        content_type = part.get_content_type()
        attached = part.get_content_disposition() == "attachment"
        if content_type == "text/html" and not attached and not html:
            html = _text(part)
        elif content_type == "text/plain" and not attached and not text:
            text = _text(part)
        else:
            files.append(
                Attachment(
                    name=_file_name(part),
                    content_type=content_type,
                    content_id=decoded(str(part.get("Content-ID", ""))).strip("<> "),
                    data=_payload(part),
                )
            )
    return ParsedMail(tuple(headers(message)), html, text, tuple(files))


def _payload(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _text(part: Message) -> str:
    content = _payload(part)
    try:
        text = content.decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        text = content.decode("utf-8", "replace")
    return _printable(text)


def _file_name(part: Message) -> str:
    try:
        return decoded(_printable(part.get_filename() or ""))
    except ValueError:
        return ""


def _printable(text: str) -> str:
    """Replace lone surrogates, which some charsets decode to and no page can contain."""
    return text.encode("utf-8", "replace").decode()
