"""The tables."""

from mailer.models.base import Base
from mailer.models.delivery import Batch, Delivery, Edition, Feedback, LanguageChoice
from mailer.models.issue import (
    Contact,
    ContactStory,
    ContactTranslation,
    Issue,
    IssueEvent,
    IssueTranslation,
    Picture,
    Story,
    StoryTranslation,
)
from mailer.models.newsletter import Newsletter, Section
from mailer.models.reader import Consent, Merged, Subscriber, Subscription, Suppression
from mailer.models.request import AddressChange, Attempt, Note, Signup, Sweep
from mailer.models.throttle import MailDomain, RelayDay, Throttle

__all__ = [
    "AddressChange",
    "Attempt",
    "Base",
    "Batch",
    "Consent",
    "Contact",
    "ContactStory",
    "ContactTranslation",
    "Delivery",
    "Edition",
    "Feedback",
    "Issue",
    "IssueEvent",
    "IssueTranslation",
    "LanguageChoice",
    "MailDomain",
    "Merged",
    "Newsletter",
    "Note",
    "Picture",
    "RelayDay",
    "Section",
    "Signup",
    "Story",
    "StoryTranslation",
    "Subscriber",
    "Subscription",
    "Suppression",
    "Sweep",
    "Throttle",
]
