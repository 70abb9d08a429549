"""What is stored about persons: the tables of an export, and the categories that retention deletes."""

from enum import StrEnum


class PersonalDataTable(StrEnum):
    """A table in the export of a person's data."""

    subscriber = "subscriber"
    subscriptions = "subscriptions"
    consents = "consents"
    deliveries = "deliveries"
    feedback = "feedback"
    unrecognized_mails = "unrecognized mails"
    signups = "sign-ups"
    address_changes = "changes of address"
    transactional_emails = "mails about the subscription"
    suppression = "suppression"


class RetentionCategory(StrEnum):
    """What a retention run deletes or redacts."""

    requests = "requests"
    address_changes = "changes of address"
    transactional_emails = "transactional emails"
    feedback = "feedback"
    replies = "replies"
    unrecognized_mails = "unrecognized mails"
    text_requests = "requests for texts"
    text_versions = "versions of texts"
    attempts = "attempts"
    """Counts of rate limits."""
    subscribers = "readers"
