"""The tables."""

from mailer.models.account import Account, AccountLink, AccountRole, AuditEvent, RecoveryCode, StaffSession
from mailer.models.base import Base
from mailer.models.delivery import (
    Batch,
    BatchRefusal,
    Delivery,
    DeliveryOrder,
    Edition,
    Feedback,
    IssueFigures,
    LanguageChoice,
    UnrecognizedMail,
)
from mailer.models.import_job import ImportJob, ImportJobPart
from mailer.models.issue import (
    Contact,
    ContactStory,
    ContactTranslation,
    Issue,
    IssueApproval,
    IssueEvent,
    IssueTranslation,
    OpenText,
    Story,
    StoryChange,
    StoryTranslation,
    TextVersion,
)
from mailer.models.network_lookup import IssueLookup, NetworkLookup
from mailer.models.newsletter import ContactCard, Newsletter, Section
from mailer.models.picture import LibraryPicture, Picture
from mailer.models.request import (
    AddressChange,
    IssueTest,
    RateLimitWindow,
    RetentionRun,
    Signup,
    TransactionalEmail,
)
from mailer.models.subscriber import AddressKey, Consent, Subscriber, SubscriberAlias, Subscription, Suppression
from mailer.models.text_request import TextRequest
from mailer.models.throttle import DrainOrder, FlowSample, MailDomain, RelayDailyUsage, Throttle
from mailer.models.upload import DocumentUpload, UploadedPicture

__all__ = [
    "Account",
    "AccountLink",
    "AccountRole",
    "AddressChange",
    "AddressKey",
    "AuditEvent",
    "Base",
    "Batch",
    "BatchRefusal",
    "Consent",
    "Contact",
    "ContactCard",
    "ContactStory",
    "ContactTranslation",
    "Delivery",
    "DeliveryOrder",
    "DocumentUpload",
    "DrainOrder",
    "Edition",
    "Feedback",
    "FlowSample",
    "ImportJob",
    "ImportJobPart",
    "Issue",
    "IssueApproval",
    "IssueEvent",
    "IssueFigures",
    "IssueLookup",
    "IssueTest",
    "IssueTranslation",
    "LanguageChoice",
    "LibraryPicture",
    "MailDomain",
    "NetworkLookup",
    "Newsletter",
    "OpenText",
    "Picture",
    "RateLimitWindow",
    "RecoveryCode",
    "RelayDailyUsage",
    "RetentionRun",
    "Section",
    "Signup",
    "StaffSession",
    "Story",
    "StoryChange",
    "StoryTranslation",
    "Subscriber",
    "SubscriberAlias",
    "Subscription",
    "Suppression",
    "TextRequest",
    "TextVersion",
    "Throttle",
    "TransactionalEmail",
    "UnrecognizedMail",
    "UploadedPicture",
]
