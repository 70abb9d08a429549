"""Sending notes in this process, and reading them in the inbox."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import urlsplit

from mailer.adapters.inbox import RunningInbox
from mailer.bootstrap import Mailer
from mailer.services import notes
from tests.mails import html, text


def send_notes(parts: Mailer, now: datetime | None = None) -> int:
    return notes.send_due(
        parts.database,
        parts.outbox,
        parts.routes,
        parts.limiter,
        parts.note_renderer,
        parts.links,
        parts.signer,
        "",
        now or datetime.now(UTC),
        50,
    )


def mails_to(inbox: RunningInbox, address: str) -> list[EmailMessage]:
    """What came to an address, the oldest first."""
    return [
        message_from_bytes(inbox.inbox.read(caught), policy=policy.default)
        for caught in inbox.messages()
        if caught.recipients[0] == address
    ]


def link_in(mail: EmailMessage, room: str) -> str:
    """The path of the one link to a room (``/k/``) that both parts of a mail have."""
    found = {urlsplit(link).path for link in re.findall(r"https?://[^\s<>\"]+", text(mail) + html(mail))}
    (path,) = {path for path in found if path.startswith(room)}
    return path
