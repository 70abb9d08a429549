"""A local inbox: it takes every mail that is sent to it over SMTP, keeps it, and delivers it to nobody."""

from mailer.adapters.inbox.catcher import RunningInbox, start
from mailer.adapters.inbox.folder import CaughtMail, Inbox

__all__ = ["CaughtMail", "Inbox", "RunningInbox", "start"]
