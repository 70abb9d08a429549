"""Received mail as a mail client parses it."""

import email
import email.policy
from email.message import EmailMessage

from mailer.devtools.inbox import InboxServer


def emails_by_recipient(inbox: InboxServer) -> dict[str, EmailMessage]:
    """Return the mail of each recipient, who must have exactly one."""
    emails: dict[str, EmailMessage] = {}
    for caught in inbox.messages():
        (recipient,) = caught.recipients
        assert recipient not in emails, f"{recipient} got two"
        emails[recipient] = email.message_from_bytes(inbox.inbox.read(caught), policy=email.policy.default)
    return emails


def html_body(message: EmailMessage) -> str:
    return _part(message, "html")


def text_body(message: EmailMessage) -> str:
    return _part(message, "plain")


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())
