"""A local inbox. It receives all mail over SMTP, stores it and delivers nothing."""

from mailer.devtools.inbox.catcher import InboxServer, start_inbox_server
from mailer.devtools.inbox.mail_store import CaughtMail, Inbox

__all__ = ["CaughtMail", "Inbox", "InboxServer", "start_inbox_server"]
