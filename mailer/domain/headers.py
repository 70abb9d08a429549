"""The headers of an edition: the same for all its readers but for the slots.

Sources: RFC 5322 (fields), RFC 2369 (List-Help, List-Owner, List-Archive), RFC 2919 (List-ID), RFC 8058 (one-click
unsubscribe), Gmail's Feedback-ID, RFC 3282 (Content-Language).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.message import Slot, header_text, mailbox

Piece = bytes | Slot

TO, DATE, MESSAGE_ID, UNSUBSCRIBE, MAIL_UNSUBSCRIBE = (
    "to",
    "date",
    "message-id",
    "unsubscribe",
    "mail-unsubscribe",
)
"""The slots in the headers."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sends, and where answers go."""

    sender_name: str
    sender_address: str
    reply_to: str
    list_id: str
    list_name: str
    bounce_domain: str
    page: str
    """What the address of a reader's page begins with."""
    feedback: str
    """``a:b:c`` of the Feedback-ID: no value of one person."""
    archive: str = ""
    """Address of the public archive; empty where there is none."""


def edition_headers(origin: Origin, subject: str, language: str) -> list[tuple[str, Sequence[Piece]]]:
    """Names and values, in the order of printing. Raises UnsafeHeader."""
    contact = (origin.reply_to or origin.sender_address).encode("ascii")
    sender_id = "".join(c for c in origin.list_id if c.isalnum())[:15]
    headers: list[tuple[str, Sequence[Piece]]] = [
        ("Date", [DATE]),
        ("From", [mailbox(origin.sender_name, origin.sender_address, "From")]),
        ("To", [TO]),
        ("Subject", [header_text(subject, "Subject")]),
        ("Message-ID", [b"<", MESSAGE_ID, b"@" + origin.bounce_domain.encode("ascii") + b">"]),
    ]
    if origin.reply_to and origin.reply_to != origin.sender_address:
        headers.append(("Reply-To", [contact]))
    domain = origin.bounce_domain.encode("ascii")
    return [
        *headers,
        ("List-ID", [f"{origin.list_name} <{origin.list_id}>".encode("ascii")]),
        (
            "List-Unsubscribe",
            # Folded only between the addresses: receivers cannot read a folded one.
            [
                b"<" + origin.page.encode("ascii") + b"u/",
                UNSUBSCRIBE,
                b">,\r\n <mailto:unsubscribe+",
                MAIL_UNSUBSCRIBE,
                b"@" + domain + b"?subject=unsubscribe>",
            ],
        ),
        ("List-Unsubscribe-Post", [b"List-Unsubscribe=One-Click"]),
        ("List-Help", [b"<mailto:" + contact + b"?subject=help>"]),
        ("List-Owner", [b"<mailto:" + contact + b">"]),
        *([("List-Archive", [b"<" + origin.archive.encode("ascii") + b">"])] if origin.archive else []),
        ("Feedback-ID", [f"{origin.feedback}:{sender_id}".encode("ascii")]),
        ("Content-Language", [language.encode("ascii")]),
        ("Precedence", [b"bulk"]),
        ("Auto-Submitted", [b"auto-generated"]),
    ]


@dataclass(frozen=True, slots=True)
class NoteHead:
    """What the headers of a note say. ``unsubscribe``: page and mail address, of a note to a subscriber."""

    sender_name: str
    sender_address: str
    reply_to: str
    recipient_name: str
    recipient: str
    subject: str
    date: str
    message_id: str
    language: str
    unsubscribe: tuple[str, str] | None = None


def note_headers(head: NoteHead) -> list[tuple[str, Sequence[Piece]]]:
    """Names and values of a mail to one person, in the order of printing. Raises UnsafeHeader."""
    headers: list[tuple[str, Sequence[Piece]]] = [
        ("Date", [head.date.encode("ascii")]),
        ("From", [mailbox(head.sender_name, head.sender_address, "From")]),
        ("To", [mailbox(head.recipient_name, head.recipient, "To")]),
        ("Subject", [header_text(head.subject, "Subject")]),
        ("Message-ID", [f"<{head.message_id}>".encode("ascii")]),
    ]
    if head.reply_to and head.reply_to != head.sender_address:
        headers.append(("Reply-To", [head.reply_to.encode("ascii")]))
    if head.unsubscribe:
        page, mail = (part.encode("ascii") for part in head.unsubscribe)
        headers += [
            ("List-Unsubscribe", [b"<" + page + b">,\r\n <mailto:" + mail + b"?subject=unsubscribe>"]),
            ("List-Unsubscribe-Post", [b"List-Unsubscribe=One-Click"]),
        ]
    return [
        *headers,
        ("Content-Language", [head.language.encode("ascii")]),
        ("Auto-Submitted", [b"auto-generated"]),
    ]
