"""Explains in plain sentences why a reader received an issue as they did, or why not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailer.domain.editions import section_bits
from mailer.domain.labels import (
    SKIP_REASON_CAUSES,
    describe_consent_channel,
    describe_resolution,
    describe_suppression,
)
from mailer.domain.languages import choose_language
from mailer.domain.ports import MailUrls
from mailer.domain.providers import Providers
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.states import DeliveryState, IssueState, SkipReason, SubscriptionState
from mailer.domain.throttling import FOREVER, ThrottleScope, ThrottleState
from mailer.models import Delivery, Issue, Subscriber, Subscription
from mailer.services.delivery.expand import language_choices
from mailer.store import (
    deliveries,
    digests,
    eligibility,
    feedback,
    issues,
    mail_domains,
    newsletters,
    subscribers,
    throttles,
)
from mailer.store.audience import LanguageRequest
from mailer.store.database import Database, Session


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation as ``sentences`` for people, and as fields for programs."""

    issue: int
    address: str
    state: str
    skip_reason: SkipReason | None
    """Why the reader received nothing or, before sending or after a failure, would receive nothing now."""
    language: str | None
    sections: list[str]
    finished_at: datetime | None
    sentences: list[str] = field(default_factory=list)
    message_id: str | None = None
    """The Message-ID, as in the relay's log; None if the message was never transferred."""
    relay: str | None = None
    """The relay of the last transfer, if known."""
    bounced_at: datetime | None = None
    """When it came back after it was sent; None if it has not."""
    bounce: str = ""
    """What the receiving server said then."""


@dataclass(frozen=True, slots=True)
class SendContext:
    """What affects a delivery apart from its database rows."""

    now: datetime
    routes: Sequence[RelayRoute]
    providers: Providers
    urls: MailUrls
    bounce_domain: str
    """The configured bounce domain; empty for the sender's domain."""


def explain(database: Database, issue: int, address: str, address_hash: bytes, context: SendContext) -> Explanation:
    """Explain why a reader received this edition at this time, or why not. Raises IssueNotFound."""
    now = context.now
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        suppression = subscribers.suppression(session, address_hash)
        subscriber = subscribers.by_hash(session, address_hash)
        suppressed = ""
        if suppression:
            suppressed = (
                f"The address was suppressed on {suppression.created_at:%-d %B %Y}: "
                f"{describe_suppression(suppression.reason, suppression.note)}."
            )
        sentences = [suppressed] if suppressed else []
        if subscriber is None:
            sentences.append(f"The address {address} is unknown.")
            return Explanation(issue, address, "unknown", None, None, [], None, sentences)
        subscription = subscribers.subscription(session, newsletter.id, subscriber.id)
        if subscription is not None:
            sentences += _standing_sentences(address, subscription, now)
        order = ", in that order" if len(subscriber.languages) > 1 else ""
        sentences.append(
            f"{address} reads {', '.join(subscriber.languages)}{order}."
            if subscriber.languages
            else f"{address} has no preferred language."
        )
        titles = {
            section.bit: section.titles.get(newsletter.default_language) or next(iter(section.titles.values()))
            for section in newsletters.sections(session, newsletter.id)
        }
        always = newsletters.always_mask(session, newsletter.id)
        if subscription is None:
            sentences.append(f"They have no subscription to {newsletter.slug}.")
            return Explanation(issue, address, "no subscription", None, None, [], None, sentences)
        followed = [titles[bit] for bit in section_bits(subscription.sections) if bit in titles]
        sentences.append(
            "They follow every section."
            if len(followed) == len(titles)
            else f"They follow {'; '.join(followed) or 'no section'}."
        )
        for consent in subscribers.consents(session, subscriber.id):
            if consent.newsletter_id == newsletter.id:
                where = describe_consent_channel(consent.channel, consent.note)
                verb = "given" if consent.given else "withdrawn"
                sentences.append(f"Consent {verb} on {consent.at:%-d %B %Y} by way of {where}.")
        delivery = deliveries.detail(session, issue, subscriber.id)
        sources = digests.sources_for(session, row, subscriber.id)
        if row.digest_month:
            sentences.append(_digest_sentence(session, row, sources))
        if delivery is None:
            reason = None
            if row.digest_month and not sources:
                pass
            elif row.frozen_at is None:
                reason = _reason_before_expansion(session, row, subscriber, sources, always, now)
                sentences.append(f"Issue {issue} is {row.state.value}: its audience is not frozen yet.")
                if reason:
                    sentences.append(f"If it were sent now, they would receive nothing: {SKIP_REASON_CAUSES[reason]}.")
                else:
                    sentences.append("If it were sent now, they would receive it.")
            else:
                sentences.append(
                    f"They were not subscribed when the audience was frozen, {row.frozen_at:%-d %B %Y at %H:%M} UTC."
                )
            return Explanation(issue, address, "no delivery", reason, None, [], None, sentences)
        section_titles: list[str] = []
        if delivery.language:
            section_titles = [titles[bit] for bit in section_bits(delivery.sections or 0) if bit in titles]
            rules = [tag for tag in newsletter.languages if tag in issues.front_matter(session, issue)]
            choice = choose_language(subscriber.languages, rules, newsletter.fallbacks, newsletter.default_language)
            why = "chosen"
            if choice and choice.language == delivery.language:
                why = {
                    "asked": f"because they read {choice.wanted}",
                    "fallback": f"because the newsletter falls back from {choice.wanted} to it",
                    "default": "because it is the newsletter's default and there is no edition in their languages",
                }[choice.reason]
            sentences.append(f"Their edition is in {delivery.language}, {why}, with: {'; '.join(section_titles)}.")
            if set(section_bits(always)) & set(section_bits(delivery.sections or 0)) - set(
                section_bits(subscription.sections)
            ):
                sentences.append("It includes a section that every reader receives, whether they chose it or not.")
            if delivery.fallback_count:
                sentences.append(
                    f"{delivery.fallback_count} of its stories had no {delivery.language} text and were "
                    "included in another language, with a label."
                )
        sentences += _outcome_sentences(delivery, row.state, now)
        bounced_at, bounce = None, ""
        if delivery.state == DeliveryState.sent and (found := feedback.bounce(session, issue, subscriber.id)):
            bounced_at, bounce = found
            sentences.append(f"It came back on {bounced_at:%-d %B %Y at %H:%M:%S} UTC: {bounce or 'no reason given'}.")
        if delivery.skip_reason == SkipReason.digest_only:
            sentences.append(_held_sentence(session, delivery.digest, subscriber.id))
        reason = delivery.skip_reason
        if delivery.state in (DeliveryState.pending, DeliveryState.failed):
            digest, at = row.digest_month is not None, max(now, delivery.due_at)
            reason = eligibility.of_subscriber(session, newsletter.id, subscriber.id, at, digest=digest)
            if reason:
                what = "It will be skipped" if delivery.state == DeliveryState.pending else "It would not be retried"
                sentences.append(f"{what}: {SKIP_REASON_CAUSES[reason]}.")
        message, relay = None, None
        if delivery.attempts:
            stored = session.get(Delivery, (issue, subscriber.id))
            relay = stored.relay if stored else None
            (slots,) = context.urls.subscriber_slots(issue, [subscriber.id])
            domain = context.bounce_domain or newsletter.sender_domain
            message = f"<{slots.message}@{domain}>"
            sentences.append(
                f"Its Message-ID is {message}{f'; it was sent through the relay “{relay}”' if relay else ''}."
            )
        if delivery.state == DeliveryState.pending and row.state is IssueState.sending:
            sentences += _blockers(session, context, address, row.max_rate)
        return Explanation(
            issue,
            address,
            delivery.state,
            reason,
            delivery.language,
            section_titles,
            delivery.finished_at,
            sentences,
            message,
            relay,
            bounced_at,
            bounce,
        )


def _standing_sentences(address: str, subscription: Subscription, now: datetime) -> list[str]:
    """Return why a subscriber gets nothing at present, whatever became of this issue; empty if they get mail."""
    match subscription.state:
        case SubscriptionState.unsubscribed:
            return [f"{address} unsubscribed on {subscription.changed_at:%-d %B %Y at %H:%M} UTC."]
        case SubscriptionState.pending:
            return [f"{address} has not confirmed the subscription."]
    if subscription.paused_until and subscription.paused_until > now:
        return [f"{address} has paused the newsletter until {subscription.paused_until:%-d %B %Y at %H:%M} UTC."]
    return []


def _digest_sentence(session: Session, digest: Issue, sources: int) -> str:
    """Return which issues a digest holds for a subscriber; ``sources`` is their mask."""
    held = [id for position, id in enumerate(digest.digest_source_ids) if sources >> position & 1]
    if not held:
        return "It is a digest. It holds nothing for them."
    numbers = [issues.by_id(session, id).number for id in held]
    return f"It is a digest. For them it holds {', '.join(numbers)}."


def _held_sentence(session: Session, digest: int | None, subscriber: int) -> str:
    """Return what became of an issue that a subscriber gets in a digest."""
    if digest is None:
        return "It waits for their next digest."
    number = issues.by_id(session, digest).number
    if not (delivery := deliveries.detail(session, digest, subscriber)):
        return f"It is in digest {digest} ({number})."
    what = (
        delivery.state if delivery.state != DeliveryState.pending else f"due {delivery.due_at:%-d %B %Y at %H:%M} UTC"
    )
    when = f" on {delivery.finished_at:%-d %B %Y at %H:%M} UTC" if delivery.finished_at else ""
    why = f": {SKIP_REASON_CAUSES[delivery.skip_reason]}" if delivery.skip_reason else ""
    return f"It is in digest {digest} ({number}), which is {what}{when}{why}."


def _reason_before_expansion(
    session: Session, issue: Issue, subscriber: Subscriber, sources: int, always_mask: int, now: datetime
) -> SkipReason | None:
    request = LanguageRequest(subscriber.languages, sources)
    ((language, sections),) = language_choices(session, issue, [request])
    return eligibility.of_subscriber(
        session,
        issue.newsletter_id,
        subscriber.id,
        now,
        digest=issue.digest_month is not None,
        edition=eligibility.PossibleEdition(language, sections, always_mask),
    )


def _blockers(session: Session, context: SendContext, address: str, max_rate: float | None) -> list[str]:
    """Return sentences about suspensions, breakers and rate limits that delay a delivery."""
    active_throttles = throttles.load_all(session)
    context.providers.refresh_mx(mail_domains.mx_hosts(session))
    sentences = []
    relays = [active_throttles.get((ThrottleScope.relay, route.relay)) for route in context.routes]
    if all(relay and relay.is_open(context.now) for relay in relays):
        sentences += [_throttle_sentence(relay, f"The relay {relay.name}", context.now) for relay in relays if relay]
    domain = address.rpartition("@")[2].lower()
    for name in dict.fromkeys((context.providers.for_address(address), domain)):
        if throttle := active_throttles.get((ThrottleScope.provider, name)):
            sentences.append(_throttle_sentence(throttle, name, context.now))
    if max_rate:
        sentences.append(f"The issue is limited to {max_rate:g} messages a second.")
    return list(filter(None, sentences))


def _throttle_sentence(throttle: ThrottleState, subject: str, now: datetime) -> str:
    """Return how a throttle delays mail; empty if it no longer does."""
    why = throttle.reason.rstrip(".")
    if throttle.open_until and throttle.is_open(now):
        how = "is suspended" if throttle.manual else "is blocked"
        # A suspension until resumed is stored with an end in the far future.
        until = f"{throttle.open_until:%-d %B %Y at %H:%M} UTC" if throttle.open_until < FOREVER else ""
        return f"{subject} {how} until {until or 'it is resumed'}: {why}."
    if throttle.is_half_open(now):
        return f"{subject} was blocked, and is now tested with a few messages: {why}."
    slow = throttle.current_rate(now)
    return f"{subject} is slowed down to {slow:.3g} a second: {why}." if slow else ""


def _outcome_sentences(
    delivery: deliveries.DeliveryDetail,
    state: IssueState,
    now: datetime,
) -> list[str]:
    tries = "at the first attempt" if delivery.attempts == 1 else f"after {delivery.attempts} attempts"
    at = f"{delivery.finished_at:%-d %B %Y at %H:%M:%S} UTC" if delivery.finished_at else ""
    reply = delivery.last_reply or ""
    due = f"{'has been due since' if delivery.due_at <= now else 'is due'} {delivery.due_at:%-d %B %Y at %H:%M} UTC"
    resolved = ""
    if delivery.resolution and delivery.resolution_source:
        resolved = describe_resolution(
            delivery.resolution, delivery.resolution_source, delivery.resolved_by, delivery.resolution_note
        )
    sentences: list[str] = []
    match delivery.state:
        case "sent" | "failed" if resolved:
            sentences.append(f"Its outcome was unknown. It was {resolved}, on {at}.")
        case "sent":
            sentences.append(f"It was sent on {at}, {tries}; the relay said: {reply}.")
        case "failed" if reply.startswith("4"):
            sentences.append(f"It was given up ({at}, {tries}): {reply}.")
        case "failed":
            sentences.append(f"It could not be delivered ({at}, {tries}): {reply}.")
        case "skipped":
            sentences.append(f"Nothing was sent: {SKIP_REASON_CAUSES[delivery.skip_reason or SkipReason.cancelled]}.")
        case "uncertain":
            sentences.append(
                f"It was transferred, but no reply was received: {reply}. It is not sent again automatically."
            )
        case "sending":
            sentences.append("A worker is sending it right now.")
        case _ if state is IssueState.paused:
            sentences.append("It is waiting, because the issue is paused.")
        case _ if resolved:
            sentences.append(f"It is {resolved}; it {due}.")
        case _ if delivery.attempts:
            sentences.append(f"The last attempt was deferred: {reply}. The next {due}.")
        case _:
            sentences.append(f"It is queued; it {due}.")
    if delivery.resends and delivery.state in ("sent", "failed"):
        sentences.append(
            "It was sent twice, because the first outcome was unknown. The reader may have received it twice."
        )
    return sentences
