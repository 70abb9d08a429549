"""Whether a transactional email is still needed, to whom it goes, where its link leads, and what it says."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mailer.domain.accounts import LINK_LIFETIME
from mailer.domain.content import Theme, TransactionalContent
from mailer.domain.email_addresses import masked
from mailer.domain.locales import direction
from mailer.domain.localized import sender_display_name
from mailer.domain.ports import MailUrls
from mailer.domain.states import Frequency, SubscriptionState, TextSubject
from mailer.domain.subscription_ref import MAGIC_LINK_LIFETIME, LinkKind
from mailer.domain.suppressions import LIFTED_BY_OPT_IN
from mailer.domain.text_overrides import overrides_for
from mailer.domain.transactional import TransactionalEmailKind
from mailer.store import subscribers
from mailer.store.database import Session
from mailer.store.subscribers import can_undo
from mailer.store.text_requests import RequestContext
from mailer.store.transactional import TransactionalContext

NEW_ADDRESS_KINDS = (TransactionalEmailKind.address_new,)
"""Kinds that go to an address that its owner has not confirmed yet."""
ACTIVE_SUBSCRIPTION_KINDS = (TransactionalEmailKind.welcome, TransactionalEmailKind.preferences_changed)
"""Kinds that are only sent while the subscription is active."""


@dataclass(frozen=True, slots=True)
class Recipient:
    email_id: int
    address: str
    name: str


def obsolete_reason(session: Session, context: TransactionalContext, now: datetime) -> str:
    """Return why an email is no longer needed; empty if it is."""
    kind = context.email.kind
    if kind is TransactionalEmailKind.confirm:
        assert context.signup
        if context.signup.confirmed_at:
            return "confirmed already"
        suppression = subscribers.suppression(session, context.signup.address_hash)
        return "suppressed" if suppression and suppression.source not in LIFTED_BY_OPT_IN else ""
    if context.issue_test:
        return ""
    if context.text_request:
        return _obsolete_request(session, kind, context.text_request, now)
    if context.account_link:
        if context.account is None or context.account.disabled_at or context.account_link.used_at:
            return "not needed any more"
        return ""
    if context.change:
        if context.change.done_at:
            return "done already"
        if kind in NEW_ADDRESS_KINDS:
            suppression = subscribers.suppression(session, context.change.address_hash)
            return "suppressed" if suppression and suppression.source not in LIFTED_BY_OPT_IN else ""
    if context.subscriber is None:
        return "no such subscriber"
    if subscribers.suppression(session, context.subscriber.address_hash):
        return "suppressed"
    left = context.subscription is None or context.subscription.state is not SubscriptionState.active
    return "unsubscribed" if left and kind in ACTIVE_SUBSCRIPTION_KINDS else ""


def _obsolete_request(session: Session, kind: TransactionalEmailKind, context: RequestContext, now: datetime) -> str:
    """Return why an email about a requested text is no longer needed; empty if it is."""
    request = context.request
    if kind is TransactionalEmailKind.text_handed_in:
        return "" if context.asked_by and not context.asked_by.disabled_at else "nobody waits for it"
    if request.handed_in_at or request.done_at or request.withdrawn_at or not context.is_editable:
        return "not needed any more"
    if context.asked:
        return "not needed any more" if context.asked.disabled_at else ""
    if request.expires_at <= now:
        return "not needed any more"
    return "suppressed" if subscribers.suppression(session, request.address_hash or b"") else ""


def recipient_of(context: TransactionalContext) -> Recipient:
    """Return to whom an email goes, by name only if the address is known to be theirs."""
    if context.text_request:
        account, request = context.text_request.asked, context.text_request.request
        if context.email.kind is TransactionalEmailKind.text_handed_in:
            account = context.text_request.asked_by
        if account:
            return Recipient(context.email.id, account.address, account.name)
        return Recipient(context.email.id, request.address, request.name)
    if context.account:
        return Recipient(context.email.id, context.account.address, context.account.name)
    if context.signup:
        # No name: anyone may have filled in the form.
        return Recipient(context.email.id, context.signup.address, "")
    assert context.subscriber
    if context.change and context.email.kind in NEW_ADDRESS_KINDS:
        # No name either: the subscriber chose it, and this address has not confirmed anything yet.
        return Recipient(context.email.id, context.change.address, "")
    return Recipient(context.email.id, context.subscriber.address, context.subscriber.name)


def link_url(context: TransactionalContext, urls: MailUrls, now: datetime) -> str:
    """Return where the main link of an email leads. ``now``: from when a magic link counts its lifetime."""
    if context.text_request:
        return _text_request_url(context.email.kind, context.text_request, urls)
    match context.email.kind:
        case TransactionalEmailKind.confirm:
            assert context.signup
            return urls.confirm_url(context.signup.id)
        case TransactionalEmailKind.address_old | TransactionalEmailKind.address_new:
            assert context.change
            return urls.change_address_url(context.change.id, new=context.email.kind in NEW_ADDRESS_KINDS)
        case TransactionalEmailKind.invitation | TransactionalEmailKind.password_reset:
            assert context.account_link
            return urls.account_link_url(context.account_link.id)
    assert context.subscriber
    if context.email.kind is TransactionalEmailKind.magic_link:
        return urls.manage_url(int(now.timestamp()), context.subscriber.id, context.newsletter.slug)
    return urls.preferences_url(context.newsletter.id, context.subscriber.id)


def _text_request_url(kind: TransactionalEmailKind, context: RequestContext, urls: MailUrls) -> str:
    request = context.request
    if kind is TransactionalEmailKind.text_handed_in and context.asked is None:
        return urls.page_url(f"desk/issues/{request.issue_id}/requests/{request.id}")
    if context.asked is None:
        return urls.text_request_url(request.id)
    place = f"stories/{request.subject_id}" if request.subject is TextSubject.story else "front"
    return urls.page_url(f"desk/issues/{request.issue_id}/{place}/{request.language}")


def content_of(context: TransactionalContext, link: str, unsubscribe: str, now: datetime) -> TransactionalContent:
    """Return what the template of an email shows. ``unsubscribe``: empty if the email has no such link."""
    newsletter, language = context.newsletter, context.email.language
    mask = context.signup.sections if context.signup else context.subscription.sections if context.subscription else 0
    other_address = ""
    if context.change and context.subscriber:
        other_address = (
            context.subscriber.address if context.email.kind in NEW_ADDRESS_KINDS else context.change.address
        )
    name = newsletter.localize(newsletter.names, language).text
    lifetime = MAGIC_LINK_LIFETIME
    if context.account_link:
        lifetime = LINK_LIFETIME[context.account_link.kind]
    subscription = context.subscription
    paused_until = subscription.paused_until if subscription else None
    return TransactionalContent(
        kind=context.email.kind,
        language=language,
        direction=direction(language),
        newsletter=name,
        sender_name=sender_display_name(newsletter.sender_name, newsletter.names, name),
        postal_address=newsletter.postal_address,
        reply_to=newsletter.reply_to,
        action_url=link,
        unsubscribe=unsubscribe,
        sections=tuple(
            newsletter.localize(section.titles, language).text
            for section in context.sections
            if section.always_included or mask >> section.bit & 1
        ),
        languages=tuple(
            context.signup.languages if context.signup else context.subscriber.languages if context.subscriber else ()
        ),
        masked_address=masked(other_address) if other_address else "",
        monthly=subscription is not None and subscription.frequency == Frequency.monthly,
        text_only=context.subscriber is not None and context.subscriber.text_only,
        paused_until=paused_until if paused_until and paused_until > now else None,
        can_undo=subscription is not None and can_undo(subscription, LinkKind.mail, now),
        link_lifetime_hours=int(lifetime / timedelta(hours=1)),
        invited_by=context.account_link.invited_by if context.account_link else "",
        text_request=context.text_request.text if context.text_request else None,
        theme=Theme(**newsletter.theme),
        text_overrides=overrides_for(newsletter.text_overrides, language),
    )
