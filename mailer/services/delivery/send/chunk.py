"""One chunk of a batch: its deliveries are reserved, submitted to a relay, and their results collected."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from typing import cast

from mailer.domain import headers
from mailer.domain.decisions import attribute_refusals, decide
from mailer.domain.email_addresses import to_smtp
from mailer.domain.message import CompiledMessage, mailbox
from mailer.domain.outcomes import Outcome, redact_addresses
from mailer.domain.ports import Journal, MaySend, SubscriberSlots, TransferReport
from mailer.domain.relay_routes import RelayRoute
from mailer.domain.states import DeliveryState, PauseReason
from mailer.domain.throttling import ThrottleScope
from mailer.domain.transfer import Envelope
from mailer.domain.urls import TokenPrefix
from mailer.services.delivery.send.context import SendContext
from mailer.services.delivery.traffic import SendPermit
from mailer.services.delivery.traffic.chunk_stats import ChunkStats, summarize
from mailer.store import ledger
from mailer.store.batches import Claim
from mailer.store.database import Session
from mailer.store.ledger import DeliveryUpdate, DueDelivery

_MIN_TRANSFER_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Reservation:
    """Deliveries that are ``sending`` under this claim from the commit on."""

    deliveries: Sequence[DueDelivery]
    providers: Sequence[str]
    """Of each delivery."""
    messages: Mapping[int, CompiledMessage]
    """By edition."""
    cursor: int
    """The subscriber from which on to reserve the next deliveries."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk that is with the relay."""

    route: RelayRoute
    deliveries: Sequence[DueDelivery]
    providers: Sequence[str]
    """Of each delivery."""
    unsent: Sequence[DeliveryUpdate]
    """Deliveries that are not with the relay: their message could not be built, or their domain's rate is reached."""
    transfer: Future[TransferReport]
    submitted_at: float
    """On the monotonic clock."""
    day: date
    """On which it was reserved: a relay's warm-up counts by days."""
    probing_relay: bool
    """Whether it tries a relay that could not be used before."""


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """What is to be recorded of a chunk."""

    chunk: Chunk
    updates: Sequence[DeliveryUpdate]
    stats: ChunkStats
    journal_failed: bool
    relay_unavailable: bool
    pause_reason: PauseReason | None
    """The relay refuses the message itself, or our sender, which pauses the issue."""
    pause_detail: str
    """Its reply."""


def reserve(
    session: Session, context: SendContext, claim: Claim, cursor: int, permit: SendPermit, now: datetime
) -> Reservation:
    """Reserve the next deliveries that are due and may still be sent, as many as the permit allows."""
    shaper = context.traffic_shaper
    deliveries: Sequence[DueDelivery] = ()
    if permit.route is not None and permit.count:
        count = shaper.relays.limit_to_warm_up(session, permit.route, permit.count, now.date())
        quotas, skipped = permit.domain_quotas(shaper.providers), 1
        while count and skipped and not deliveries:
            deliveries, skipped, cursor = ledger.reserve(session, claim, cursor, count, quotas)
        shaper.relays.count_warm_up(session, permit.route, len(deliveries), now.date())
    return Reservation(
        deliveries,
        [shaper.providers.for_address(delivery.address) for delivery in deliveries],
        context.messages.load(session, {delivery.edition for delivery in deliveries}),
        cursor,
    )


def submit(
    context: SendContext,
    claim: Claim,
    reservation: Reservation,
    permit: SendPermit,
    journal: Journal,
    bounce_domain: str,
    may_send: MaySend,
) -> Chunk:
    """Build the messages and hand them to the relay's connections; return at once."""
    assert permit.route is not None
    deliveries = reservation.deliveries
    envelopes: list[Envelope] = []
    unsent: list[DeliveryUpdate] = []
    now = context.clock.now()
    date_header = format_datetime(now).encode()
    waits = context.traffic_shaper.acquire_per_domain(permit, reservation.providers)
    slots = context.urls.subscriber_slots(claim.issue, [delivery.subscriber for delivery in deliveries])
    for delivery, slot, wait in zip(deliveries, slots, waits, strict=True):
        if wait:
            due_at = now + timedelta(seconds=wait)
            unsent.append(DeliveryUpdate(delivery.subscriber, DeliveryState.pending, "", due_at, attempted=False))
            continue
        message = reservation.messages[delivery.edition]
        try:
            envelopes.append(_build_envelope(context, delivery, slot, message, date_header, bounce_domain))
        except ValueError as error:
            unsent.append(DeliveryUpdate(delivery.subscriber, DeliveryState.failed, f"not sent: {error}"))
    transfer = context.smtp_pool.transfer(envelopes, journal, permit.route.relay, may_send)
    return Chunk(
        permit.route,
        deliveries,
        reservation.providers,
        unsent,
        transfer,
        context.clock.monotonic(),
        now.date(),
        (ThrottleScope.relay, permit.route.relay) in permit.probes,
    )


def _build_envelope(
    context: SendContext,
    delivery: DueDelivery,
    slots: SubscriberSlots,
    message: CompiledMessage,
    date_header: bytes,
    bounce_domain: str,
) -> Envelope:
    recipient, smtputf8 = to_smtp(delivery.address)
    if not delivery.name:
        message = message.without_greeting
    if delivery.text_only:
        message = message.text_only
    values = message.encode_slots(
        {
            "unsubscribe": f"{TokenPrefix.unsubscribe}{slots.unsubscribe}",
            "preferences": f"{TokenPrefix.preferences}{slots.preferences}",
            "name": delivery.name,
            "address": delivery.address,
        }
    )
    values[headers.TO] = mailbox(delivery.name, recipient, "To")
    values[headers.DATE] = date_header
    values[headers.MESSAGE_ID] = slots.message.encode()
    values[headers.UNSUBSCRIBE] = slots.unsubscribe.encode()
    values[headers.MAILTO_UNSUBSCRIBE] = slots.mail_unsubscribe.encode()
    segments = message.fill(values)
    signature = context.signer.sign(segments)
    return Envelope(
        key=delivery.subscriber,
        sender=f"bounce+{slots.bounce}@{bounce_domain}",
        recipient=recipient,
        message=[signature, *segments] if signature else segments,
        size=len(signature) + message.size + sum(map(len, segments[1::2])),
        smtputf8=smtputf8,
    )


def collect(context: SendContext, chunk: Chunk, report: TransferReport) -> ChunkResult:
    """Decide what each result means for its delivery, and count the results."""
    now = context.clock.now()
    seconds = max(context.clock.monotonic() - chunk.submitted_at, _MIN_TRANSFER_SECONDS)
    context.chunk_size.adapt(len(chunk.deliveries), seconds, context.smtp_pool.capacity(chunk.route.relay))
    by_subscriber = {delivery.subscriber: delivery for delivery in chunk.deliveries}
    limits = context.limits
    updates = list(chunk.unsent)
    relay_unavailable = False
    pause_reason: PauseReason | None = None
    pause_detail = ""
    results = attribute_refusals(report.results, chunk.probing_relay)
    for result in results:
        subscriber = cast(int, result.key)
        if result.outcome in (Outcome.CONTENT_REJECTED, Outcome.SENDER_REJECTED):
            rejected = result.outcome is Outcome.SENDER_REJECTED
            pause_reason = PauseReason.sender_rejected if rejected else PauseReason.content_rejected
            pause_detail = redact_addresses(str(result.reply))
        relay_unavailable |= result.outcome is Outcome.RELAY_UNAVAILABLE
        delivery = by_subscriber[subscriber]
        decision = decide(
            result,
            delivery.attempts,
            delivery.policy_refusals,
            now,
            limits.min_backoff,
            limits.queue_lifetime,
            context.rng,
        )
        updates.append(DeliveryUpdate(subscriber, *decision))
    stats = summarize(chunk.route.relay, chunk.deliveries, chunk.providers, results, seconds)
    return ChunkResult(chunk, updates, stats, report.error is not None, relay_unavailable, pause_reason, pause_detail)
