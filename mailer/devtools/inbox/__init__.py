"""A local inbox: it takes every mail that is sent to it over SMTP, keeps it, and delivers it to nobody."""

from mailer.devtools.inbox.catcher import InboxServer, start_inbox_server
from mailer.devtools.inbox.mail_store import CaughtMail, Inbox

__all__ = ["CaughtMail", "Inbox", "InboxServer", "start_inbox_server"]
