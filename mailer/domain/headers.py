"""The headers of an edition and of a transactional email. Only the slots differ between readers.

Sources: RFC 5322 (fields), RFC 2369 (List-Help, List-Owner, List-Archive), RFC 2919 (List-ID), RFC 8058 (one-click
unsubscribe), Gmail's Feedback-ID, RFC 3282 (Content-Language).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.message import Slot, header_text, mailbox
from mailer.domain.urls import TokenPrefix

HeaderPiece = bytes | Slot

TO, DATE, MESSAGE_ID, UNSUBSCRIBE, MAILTO_UNSUBSCRIBE = (
    "to",
    "date",
    "message-id",
    "unsubscribe",
    "mail-unsubscribe",
)
"""The slots in the headers."""


@dataclass(frozen=True, slots=True)
class SenderIdentity:
    """The sender and the addresses for replies and bounces."""

    sender_name: str
    sender_address: str
    reply_to: str
    list_id: str
    list_name: str
    bounce_domain: str
    page_url_prefix: str
    """The part of a reader's page URL before the token."""
    feedback_id: str
    """``a:b:c`` of the Feedback-ID. It must not identify a person."""
    archive_url: str = ""
    """URL of the public archive. Empty if there is none."""


def edition_headers(sender: SenderIdentity, subject: str, language: str) -> list[tuple[str, Sequence[HeaderPiece]]]:
    """Return the headers of an edition as names and values, in order. Raises UnsafeHeader."""
    contact = (sender.reply_to or sender.sender_address).encode("ascii")
    sender_id = "".join(c for c in sender.list_id if c.isalnum())[:15]
    headers: list[tuple[str, Sequence[HeaderPiece]]] = [
        ("Date", [DATE]),
        ("From", [mailbox(sender.sender_name, sender.sender_address, "From")]),
        ("To", [TO]),
        ("Subject", [header_text(subject, "Subject")]),
        ("Message-ID", [b"<", MESSAGE_ID, b"@" + sender.bounce_domain.encode("ascii") + b">"]),
    ]
    if sender.reply_to and sender.reply_to != sender.sender_address:
        headers.append(("Reply-To", [contact]))
    domain = sender.bounce_domain.encode("ascii")
    return [
        *headers,
        ("List-ID", [f"{sender.list_name} <{sender.list_id}>".encode("ascii")]),
        (
            "List-Unsubscribe",
            # Fold only between the URLs: some receivers do not unfold a URL.
            [
                b"<" + sender.page_url_prefix.encode("ascii") + TokenPrefix.unsubscribe.encode("ascii"),
                UNSUBSCRIBE,
                b">,\r\n <mailto:unsubscribe+",
                MAILTO_UNSUBSCRIBE,
                b"@" + domain + b"?subject=unsubscribe>",
            ],
        ),
        ("List-Unsubscribe-Post", [b"List-Unsubscribe=One-Click"]),
        ("List-Help", [b"<mailto:" + contact + b"?subject=help>"]),
        ("List-Owner", [b"<mailto:" + contact + b">"]),
        *([("List-Archive", [b"<" + sender.archive_url.encode("ascii") + b">"])] if sender.archive_url else []),
        ("Feedback-ID", [f"{sender.feedback_id}:{sender_id}".encode("ascii")]),
        ("Content-Language", [language.encode("ascii")]),
        ("Precedence", [b"bulk"]),
        ("Auto-Submitted", [b"auto-generated"]),
    ]


@dataclass(frozen=True, slots=True)
class TransactionalHeaders:
    """The header fields of a transactional email."""

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
    """Page URL and mail address, for an email to a subscriber."""


def transactional_headers(fields: TransactionalHeaders) -> list[tuple[str, Sequence[HeaderPiece]]]:
    """Return the headers of a transactional email, in order. Raises UnsafeHeader."""
    headers: list[tuple[str, Sequence[HeaderPiece]]] = [
        ("Date", [fields.date.encode("ascii")]),
        ("From", [mailbox(fields.sender_name, fields.sender_address, "From")]),
        ("To", [mailbox(fields.recipient_name, fields.recipient, "To")]),
        ("Subject", [header_text(fields.subject, "Subject")]),
        ("Message-ID", [f"<{fields.message_id}>".encode("ascii")]),
    ]
    if fields.reply_to and fields.reply_to != fields.sender_address:
        headers.append(("Reply-To", [fields.reply_to.encode("ascii")]))
    if fields.unsubscribe:
        page, mail = (url.encode("ascii") for url in fields.unsubscribe)
        headers += [
            ("List-Unsubscribe", [b"<" + page + b">,\r\n <mailto:" + mail + b"?subject=unsubscribe>"]),
            ("List-Unsubscribe-Post", [b"List-Unsubscribe=One-Click"]),
        ]
    return [
        *headers,
        ("Content-Language", [fields.language.encode("ascii")]),
        ("Auto-Submitted", [b"auto-generated"]),
    ]
