"""Explains in plain sentences why a reader received an issue as they did, or why not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailer.domain.editions import section_bits
from mailer.domain.labels import (
    DELIVERY_STATE_LABELS,
    ISSUE_STATE_LABELS,
    SKIP_REASON_CAUSES,
    describe_consent_channel,
    describe_resolution,
    describe_suppression,
)
from mailer.domain.languages import choose_language
from mailer.domain.ports import MailUrls
from mailer.domain.providers import Providers
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.staff_texts import LanguageTag, StaffText, gettext, ngettext
from mailer.domain.states import DeliveryState, IssueState, SkipReason, SubscriptionState
from mailer.domain.throttling import FOREVER, ThrottleScope, ThrottleState
from mailer.models import Delivery, Issue, Subscription
from mailer.services.delivery.subscriber_edition import possible_edition
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
        suppressed: str = ""
        if suppression:
            suppressed = gettext(
                "The address was suppressed on %(day)s: %(reason)s.",
                day=suppression.created_at.date(),
                reason=describe_suppression(suppression.reason, suppression.note),
            )
        sentences = [suppressed] if suppressed else []
        if subscriber is None:
            sentences.append(gettext("The address %(address)s is unknown.", address=address))
            return Explanation(issue, address, "unknown", None, None, [], None, sentences)
        subscription = subscribers.subscription(session, newsletter.id, subscriber.id)
        if subscription is not None:
            sentences += _standing_sentences(address, subscription, now)
        sentences.append(_languages_sentence(address, subscriber.languages))
        titles = {
            section.bit: section.titles.get(newsletter.default_language) or next(iter(section.titles.values()))
            for section in newsletters.sections(session, newsletter.id)
        }
        always = newsletters.always_mask(session, newsletter.id)
        if subscription is None:
            sentences.append(gettext("They have no subscription to %(newsletter)s.", newsletter=newsletter.slug))
            return Explanation(issue, address, "no subscription", None, None, [], None, sentences)
        followed = [titles[bit] for bit in section_bits(subscription.sections) if bit in titles]
        if len(followed) == len(titles):
            sentences.append(gettext("They follow every section."))
        elif followed:
            sentences.append(gettext("They follow %(sections)s.", sections="; ".join(followed)))
        else:
            sentences.append(gettext("They follow no section."))
        for consent in subscribers.consents(session, subscriber.id):
            if consent.newsletter_id == newsletter.id:
                where = describe_consent_channel(consent.channel, consent.note)
                day = consent.at.date()
                sentences.append(
                    gettext("Consent given on %(day)s by way of %(where)s.", day=day, where=where)
                    if consent.given
                    else gettext("Consent withdrawn on %(day)s by way of %(where)s.", day=day, where=where)
                )
        delivery = deliveries.detail(session, issue, subscriber.id)
        sources = digests.sources_for(session, row, subscriber.id)
        if row.digest_month:
            sentences.append(_digest_sentence(session, row, sources))
        if delivery is None:
            reason = None
            if row.digest_month and not sources:
                pass
            elif row.frozen_at is None:
                _, reason = possible_edition(session, row, subscriber, sources, now)
                sentences.append(
                    gettext(
                        "Issue %(issue)s is %(state)s: its audience is not frozen yet.",
                        issue=str(issue),
                        state=ISSUE_STATE_LABELS[row.state],
                    )
                )
                if reason:
                    cause = SKIP_REASON_CAUSES[reason]
                    sentences.append(
                        gettext("If it were sent now, they would receive nothing: %(cause)s.", cause=cause)
                    )
                else:
                    sentences.append(gettext("If it were sent now, they would receive it."))
            else:
                sentences.append(
                    gettext("They were not subscribed when the audience was frozen, %(at)s.", at=_moment(row.frozen_at))
                )
            return Explanation(issue, address, "no delivery", reason, None, [], None, sentences)
        section_titles: list[str] = []
        if delivery.language:
            section_titles = [titles[bit] for bit in section_bits(delivery.sections or 0) if bit in titles]
            rules = [tag for tag in newsletter.languages if tag in issues.front_matter(session, issue)]
            choice = choose_language(subscriber.languages, rules, newsletter.fallbacks, newsletter.default_language)
            why = gettext("chosen")
            if choice and choice.language == delivery.language:
                wanted = LanguageTag(choice.wanted)
                why = {
                    "asked": gettext("because they read %(language)s", language=wanted),
                    "fallback": gettext("because the newsletter falls back from %(language)s to it", language=wanted),
                    "default": gettext(
                        "because it is the newsletter's default and there is no edition in their languages"
                    ),
                }[choice.reason]
            sentences.append(
                gettext(
                    "Their edition is in %(language)s, %(why)s, with: %(sections)s.",
                    language=LanguageTag(delivery.language),
                    why=why,
                    sections="; ".join(section_titles),
                )
            )
            if set(section_bits(always)) & set(section_bits(delivery.sections or 0)) - set(
                section_bits(subscription.sections)
            ):
                sentences.append(
                    gettext("It includes a section that every reader receives, whether they chose it or not.")
                )
            if delivery.fallback_count:
                sentences.append(
                    ngettext(
                        "%(num)s of its stories had no %(language)s text and were included in another language, with "
                        "a label.",
                        "%(num)s of its stories had no %(language)s text and were included in another language, with "
                        "a label.",
                        delivery.fallback_count,
                        language=LanguageTag(delivery.language),
                    )
                )
        sentences += _outcome_sentences(delivery, row.state, now)
        bounced_at, bounce = None, ""
        if delivery.state == DeliveryState.sent and (found := feedback.bounce(session, issue, subscriber.id)):
            bounced_at, bounce = found
            said = bounce or gettext("no reason given")
            sentences.append(
                gettext("It came back on %(at)s: %(reason)s.", at=_moment(bounced_at, seconds=True), reason=said)
            )
        if delivery.skip_reason == SkipReason.digest_only:
            sentences.append(_held_sentence(session, delivery.digest, subscriber.id))
        reason = delivery.skip_reason
        if delivery.state in (DeliveryState.pending, DeliveryState.failed):
            digest, at = row.digest_month is not None, max(now, delivery.due_at)
            reason = eligibility.of_subscriber(session, newsletter.id, subscriber.id, at, digest=digest)
            if reason:
                cause = SKIP_REASON_CAUSES[reason]
                sentences.append(
                    gettext("It will be skipped: %(cause)s.", cause=cause)
                    if delivery.state == DeliveryState.pending
                    else gettext("It would not be retried: %(cause)s.", cause=cause)
                )
        message, relay = None, None
        if delivery.attempts:
            stored = session.get(Delivery, (issue, subscriber.id))
            relay = stored.relay if stored else None
            (slots,) = context.urls.subscriber_slots(issue, [subscriber.id])
            domain = context.bounce_domain or newsletter.sender_domain
            message = f"<{slots.message}@{domain}>"
            sentences.append(
                gettext("Its Message-ID is %(id)s; it was sent through the relay “%(relay)s”.", id=message, relay=relay)
                if relay
                else gettext("Its Message-ID is %(id)s.", id=message)
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
            at = _moment(subscription.changed_at)
            return [gettext("%(address)s unsubscribed on %(at)s.", address=address, at=at)]
        case SubscriptionState.pending:
            return [gettext("%(address)s has not confirmed the subscription.", address=address)]
    if subscription.paused_until and subscription.paused_until > now:
        at = _moment(subscription.paused_until)
        return [gettext("%(address)s has paused the newsletter until %(at)s.", address=address, at=at)]
    return []


def _digest_sentence(session: Session, digest: Issue, sources: int) -> str:
    """Return which issues a digest holds for a subscriber; ``sources`` is their mask."""
    held = [id for position, id in enumerate(digest.digest_source_ids) if sources >> position & 1]
    if not held:
        return gettext("It is a digest. It holds nothing for them.")
    numbers = [issues.by_id(session, id).number for id in held]
    return gettext("It is a digest. For them it holds %(numbers)s.", numbers=", ".join(numbers))


def _held_sentence(session: Session, digest: int | None, subscriber: int) -> str:
    """Return what became of an issue that a subscriber gets in a digest."""
    if digest is None:
        return gettext("It waits for their next digest.")
    number = issues.by_id(session, digest).number
    if not (delivery := deliveries.detail(session, digest, subscriber)):
        return gettext("It is in digest %(digest)s (%(number)s).", digest=str(digest), number=number)
    if delivery.state == DeliveryState.pending:
        what = gettext("due %(at)s", at=_moment(delivery.due_at))
    else:
        what = DELIVERY_STATE_LABELS[DeliveryState(delivery.state)]
    if delivery.finished_at:
        what = gettext("%(state)s on %(at)s", state=what, at=_moment(delivery.finished_at))
    if delivery.skip_reason:
        cause = SKIP_REASON_CAUSES[delivery.skip_reason]
        what = gettext("%(where)s: %(problem)s", where=what, problem=cause)
    return gettext(
        "It is in digest %(digest)s (%(number)s), which is %(state)s.", digest=str(digest), number=number, state=what
    )


def _blockers(session: Session, context: SendContext, address: str, max_rate: float | None) -> list[str]:
    """Return sentences about suspensions, breakers and rate limits that delay a delivery."""
    active_throttles = throttles.load_all(session)
    context.providers.refresh_mx(mail_domains.mx_hosts(session))
    sentences = []
    relays = [active_throttles.get((ThrottleScope.relay, route.relay)) for route in context.routes]
    if all(relay and relay.is_open(context.now) for relay in relays):
        sentences += [
            _throttle_sentence(relay, gettext("The relay %(name)s", name=relay.name), context.now)
            for relay in relays
            if relay
        ]
    domain = address.rpartition("@")[2].lower()
    for name in dict.fromkeys((context.providers.for_address(address), domain)):
        if throttle := active_throttles.get((ThrottleScope.provider, name)):
            sentences.append(_throttle_sentence(throttle, name, context.now))
    if max_rate:
        sentences.append(gettext("The issue is limited to %(rate)s messages a second.", rate=max_rate))
    return list(filter(None, sentences))


def _throttle_sentence(throttle: ThrottleState, subject: str, now: datetime) -> str:
    """Return how a throttle delays mail; empty if it no longer does."""
    why = throttle.reason.rstrip(".")
    if throttle.open_until and throttle.is_open(now):
        # A suspension until resumed is stored with an end in the far future.
        until = _moment(throttle.open_until) if throttle.open_until < FOREVER else gettext("it is resumed")
        return (
            gettext("%(name)s is suspended until %(until)s: %(why)s.", name=subject, until=until, why=why)
            if throttle.manual
            else gettext("%(name)s is blocked until %(until)s: %(why)s.", name=subject, until=until, why=why)
        )
    if throttle.is_half_open(now):
        return gettext("%(name)s was blocked, and is now tested with a few messages: %(why)s.", name=subject, why=why)
    if slow := throttle.current_rate(now):
        return gettext(
            "%(name)s is slowed down to %(rate)s a second: %(why)s.", name=subject, rate=float(slow), why=why
        )
    return ""


def _outcome_sentences(
    delivery: deliveries.DeliveryDetail,
    state: IssueState,
    now: datetime,
) -> list[str]:
    tries = gettext("at the first attempt")
    if delivery.attempts != 1:
        tries = ngettext("after %(num)s attempt", "after %(num)s attempts", delivery.attempts)
    at = _moment(delivery.finished_at, seconds=True) if delivery.finished_at else ""
    reply = delivery.last_reply or ""
    due_at = _moment(delivery.due_at)
    due = (
        gettext("has been due since %(at)s", at=due_at)
        if delivery.due_at <= now
        else gettext("is due %(at)s", at=due_at)
    )
    resolved: str = ""
    if delivery.resolution and delivery.resolution_source:
        resolved = describe_resolution(
            delivery.resolution, delivery.resolution_source, delivery.resolved_by, delivery.resolution_note
        )
    match delivery.state:
        case "sent" | "failed" if resolved:
            text = gettext("Its outcome was unknown. It was %(resolved)s, on %(at)s.", resolved=resolved, at=at)
        case "sent":
            text = gettext(
                "It was sent on %(at)s, %(tries)s; the relay said: %(reply)s.", at=at, tries=tries, reply=reply
            )
        case "failed" if reply.startswith("4"):
            text = gettext("It was given up (%(at)s, %(tries)s): %(reply)s.", at=at, tries=tries, reply=reply)
        case "failed":
            text = gettext("It could not be delivered (%(at)s, %(tries)s): %(reply)s.", at=at, tries=tries, reply=reply)
        case "skipped":
            cause = SKIP_REASON_CAUSES[delivery.skip_reason or SkipReason.cancelled]
            text = gettext("Nothing was sent: %(cause)s.", cause=cause)
        case "uncertain":
            text = gettext(
                "It was transferred, but no reply was received: %(reply)s. It is not sent again automatically.",
                reply=reply,
            )
        case "sending":
            text = gettext("A worker is sending it right now.")
        case _ if state is IssueState.paused:
            text = gettext("It is waiting, because the issue is paused.")
        case _ if resolved:
            text = gettext("It is %(resolved)s; it %(due)s.", resolved=resolved, due=due)
        case _ if delivery.attempts:
            text = gettext("The last attempt was deferred: %(reply)s. The next %(due)s.", reply=reply, due=due)
        case _:
            text = gettext("It is queued; it %(due)s.", due=due)
    sentences: list[str] = [text]
    if delivery.resends and delivery.state in ("sent", "failed"):
        sentences.append(
            gettext("It was sent twice, because the first outcome was unknown. The reader may have received it twice.")
        )
    return sentences


def _languages_sentence(address: str, languages: Sequence[str]) -> StaffText:
    tags = tuple(map(LanguageTag, languages))
    if len(tags) > 1:
        return gettext("%(address)s reads %(languages)s, in that order.", address=address, languages=tags)
    if tags:
        return gettext("%(address)s reads %(languages)s.", address=address, languages=tags)
    return gettext("%(address)s has no preferred language.", address=address)


def _moment(at: datetime, *, seconds: bool = False) -> StaffText:
    time = f"{at:%H:%M:%S}" if seconds else f"{at:%H:%M}"
    return gettext("%(day)s at %(time)s UTC", day=at.date(), time=time)
