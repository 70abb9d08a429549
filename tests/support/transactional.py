"""Sending transactional emails in this process, and reading them in the inbox."""

import re
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import urlsplit

from mailer.bootstrap import Container
from mailer.devtools.inbox import InboxServer
from tests.support.emails import html_body, text_body


def send_transactional(app: Container, now: datetime | None = None) -> int:
    return app.transactional_sender.send_due(now or app.clock.now())


def emails_to(inbox: InboxServer, address: str) -> list[EmailMessage]:
    """What came to an address, the oldest first."""
    return [
        message_from_bytes(inbox.inbox.read(caught), policy=policy.default)
        for caught in inbox.messages()
        if caught.recipients[0] == address
    ]


def link_path(message: EmailMessage, prefix: str) -> str:
    """The path of the one link to a room (``/k/``) that both parts of a mail have."""
    found = {
        urlsplit(link).path for link in re.findall(r"https?://[^\s<>\"]+", text_body(message) + html_body(message))
    }
    (path,) = {path for path in found if path.startswith(prefix)}
    return path
