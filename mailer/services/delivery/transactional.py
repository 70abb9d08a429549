"""Sends transactional emails about single subscriptions and accounts, such as confirmations and magic links.

Services add them as rows. They are sent at least once, with the same Message-ID: a worker that is killed after the
relay's reply and before the commit sends an email again.
"""

import random
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from email.utils import format_datetime
from functools import partial

from mailer.domain import headers
from mailer.domain.decisions import attribute_refusals, decide
from mailer.domain.email_addresses import to_smtp
from mailer.domain.headers import TransactionalHeaders, transactional_headers
from mailer.domain.message import CompiledMessage, compile_message, mailbox
from mailer.domain.outcomes import Outcome, Reply, redact_addresses
from mailer.domain.ports import Clock, Limiter, MailUrls, Signer, SmtpPool, TransactionalRenderer
from mailer.domain.rate_limits import RateLimit, TokenRequest
from mailer.domain.relay_routes import RelayRoute, by_weight
from mailer.domain.states import DeliveryState
from mailer.domain.suppressions import SuppressionSource
from mailer.domain.throttling import ThrottleScope, ThrottleState, effective_rate
from mailer.domain.transfer import Envelope, TransferResult
from mailer.domain.urls import TokenPrefix
from mailer.models import IssueTest
from mailer.services.delivery.transactional_emails import (
    ACTIVE_SUBSCRIPTION_KINDS,
    NEW_ADDRESS_KINDS,
    content_of,
    link_url,
    obsolete_reason,
    recipient_of,
)
from mailer.store import subscribers, throttles, transactional
from mailer.store.database import Database, DatabaseDown, Session
from mailer.store.transactional import TransactionalContext

_NO_TOKEN = "x" * 22
"""In the links of a test, instead of a reader's token."""


class _NullJournal:
    """A journal that records nothing. An email with an unknown outcome is sent again."""

    def before_final_dot(self, key: Hashable) -> None: ...

    def after_reply(self, key: Hashable, reply: Reply) -> None: ...


@dataclass(frozen=True, slots=True)
class TransactionalLimits:
    lease: timedelta = timedelta(minutes=2)
    """How long a worker owns claimed emails before it must renew the lease."""
    retry_interval: timedelta = timedelta(minutes=2)
    other_relay_delay: timedelta = timedelta(seconds=1)
    """Delay after an email could not be attempted. Shorter than the relay's breaker, so that another relay is used."""
    queue_lifetime: timedelta = timedelta(days=2)
    emails_per_round: int = 50


@dataclass(frozen=True, slots=True)
class TransactionalSender:
    """Sends the transactional emails that are due. Several workers may run it at once."""

    database: Database
    smtp_pool: SmtpPool
    routes: Sequence[RelayRoute]
    limiter: Limiter
    renderer: TransactionalRenderer
    urls: MailUrls
    signer: Signer
    clock: Clock
    bounce_domain: str
    """Empty for the domain of the newsletter's sender."""
    limits: TransactionalLimits = TransactionalLimits()

    def send_due(self, now: datetime) -> int:
        """Send some of the emails that are due. Return how many were submitted to the relay.

        They count in a relay's warm-up. Where every relay has sent all that the day allows, they go out all the same,
        because somebody is waiting for them.
        """
        began = self.clock.monotonic()
        with self.database.transaction() as session:
            breakers = throttles.load_all(session)
            blocked = {
                name
                for (scope, name), throttle in breakers.items()
                if scope is ThrottleScope.relay and throttle.is_open(now)
            }
            usable = by_weight(self.routes, blocked, {})
            due_count = transactional.count_due(session, now, self.limits.emails_per_round)
            if not usable or not due_count:
                return 0
            route = next((route for route in usable if _has_room(session, route, now.date())), usable[0])
            rate = effective_rate(route.rate, breakers.get((ThrottleScope.relay, route.relay)), now)
            buckets = [RateLimit(f"relay:{route.relay}", rate)] if rate else []
            granted = due_count
            if buckets:
                (grant,) = self.limiter.acquire([TokenRequest(buckets, due_count, may_borrow=True)])
                granted = grant.tokens
            claimed = transactional.claim(session, now, self.limits.lease, granted)
            contexts = transactional.load_contexts(session, claimed)
            envelopes = self._build_envelopes(session, contexts, now)
            _count_warm_up(session, route, len(envelopes), now.date())
        if buckets and granted > len(envelopes):
            self.limiter.release([TokenRequest(buckets, granted - len(envelopes))])
        if not envelopes:
            return 0
        transfer = self.smtp_pool.transfer(envelopes, _NullJournal(), route.relay)
        while True:
            try:
                report = transfer.result(self.limits.lease.total_seconds() / 4)
                break
            except TimeoutError:
                # A relay may take ten minutes to reply to the final dot. The lease keeps other workers away.
                until = now + self._since(began) + self.limits.lease
                with suppress(DatabaseDown), self.database.transaction() as session:
                    transactional.renew_lease(session, claimed, until)
        self._record_results(route, contexts, report.results, now + self._since(began), now.date())
        return len(envelopes)

    def _since(self, began: float) -> timedelta:
        return timedelta(seconds=self.clock.monotonic() - began)

    def _build_envelopes(
        self, session: Session, contexts: Sequence[TransactionalContext], now: datetime
    ) -> list[Envelope]:
        """Build the messages. Give up emails that are obsolete or cannot be built."""
        envelopes = []
        for context in contexts:
            reason = obsolete_reason(session, context, now)
            if not reason:
                try:
                    envelopes.append(self._build_envelope(context, now))
                    continue
                except ValueError as error:
                    reason = type(error).__name__
            transactional.record_result(session, context.email.id, given_up_at=now, last_reply=f"not sent: {reason}")
        return envelopes

    def _record_results(
        self,
        route: RelayRoute,
        contexts: Sequence[TransactionalContext],
        results: Sequence[TransferResult],
        now: datetime,
        day: date,
    ) -> None:
        """Record the results of a transfer that was counted in the relay's warm-up on ``day``."""
        by_id = {context.email.id: context for context in contexts}
        with self.database.transaction() as session:
            results = attribute_refusals(results, probing=False)
            attempted = sum(
                self._record_result(session, by_id[int(str(result.key))], result, now) for result in results
            )
            _count_warm_up(session, route, attempted - len(results), day)
            _update_breaker(session, route.relay, results, now)

    def _record_result(
        self, session: Session, context: TransactionalContext, result: TransferResult, now: datetime
    ) -> bool:
        """Record the result of one email. Return whether it counts as an attempt."""
        email, limits = context.email, self.limits
        decision = decide(
            result,
            email.attempts,
            email.policy_refusals,
            now,
            limits.retry_interval,
            limits.queue_lifetime,
            random.Random(),
        )
        reply = decision.reply[:500]
        policy_refusals = email.policy_refusals + decision.policy_refused
        record = partial(
            transactional.record_result, session, email.id, last_reply=reply, policy_refusals=policy_refusals
        )
        if decision.state is DeliveryState.sent:
            record(sent_at=now)
        elif decision.state is DeliveryState.failed:
            record(given_up_at=now)
            if decision.suppression_reason and context.subscriber and email.kind not in NEW_ADDRESS_KINDS:
                # The reply may quote the address, and the suppression is kept after an erasure.
                subscribers.suppress(
                    session,
                    context.subscriber.address_hash,
                    decision.suppression_reason,
                    SuppressionSource.system,
                    redact_addresses(reply),
                )
        elif not decision.counts_as_attempt:
            sender_rejected = result.outcome is Outcome.SENDER_REJECTED
            delay = limits.retry_interval if sender_rejected else limits.other_relay_delay
            record(due_at=now + delay, attempts=email.attempts - 1)
        else:
            late = result.outcome is Outcome.UNKNOWN and now - email.created_at > limits.queue_lifetime
            record(due_at=decision.due_at or now + limits.retry_interval, given_up_at=now if late else None)
        return decision.counts_as_attempt

    def _build_test_envelope(self, context: TransactionalContext, test: IssueTest, now: datetime) -> Envelope:
        """Build a test of an issue as its readers get it. Its personal links are nobody's."""
        domain = self.bounce_domain or context.newsletter.sender_domain
        recipient, smtputf8 = to_smtp(test.address)
        token = self.urls.transactional_token(context.newsletter.id, context.email.id)
        message = CompiledMessage.deserialize(test.message, test.slots).without_greeting
        values = message.encode_slots(
            {
                "unsubscribe": f"{TokenPrefix.unsubscribe}{_NO_TOKEN}",
                "preferences": f"{TokenPrefix.preferences}{_NO_TOKEN}",
                "name": "",
                "address": test.address,
            }
        )
        values[headers.TO] = mailbox("", recipient, "To")
        values[headers.DATE] = format_datetime(now).encode("ascii")
        values[headers.MESSAGE_ID] = token.encode()
        values[headers.UNSUBSCRIBE] = values[headers.MAILTO_UNSUBSCRIBE] = _NO_TOKEN.encode()
        return self._signed(context, message.fill(values), token, domain, recipient, smtputf8)

    def _build_envelope(self, context: TransactionalContext, now: datetime) -> Envelope:
        if context.issue_test:
            return self._build_test_envelope(context, context.issue_test, now)
        to, newsletter = recipient_of(context), context.newsletter
        domain = self.bounce_domain or newsletter.sender_domain
        recipient, smtputf8 = to_smtp(to.address)
        token = self.urls.transactional_token(newsletter.id, context.email.id)
        unsubscribe: tuple[str, str] | None = None
        if context.subscriber and context.email.kind in ACTIVE_SUBSCRIPTION_KINDS:
            mail = f"unsubscribe+{self.urls.unsubscribe_token(newsletter.id, context.subscriber.id)}@{domain}"
            unsubscribe = (self.urls.unsubscribe_url(newsletter.id, context.subscriber.id), mail)
        rendered = self.renderer.render(
            content_of(context, link_url(context, self.urls, now), unsubscribe[0] if unsubscribe else "", now)
        )
        head = TransactionalHeaders(
            sender_name=newsletter.sender_name,
            sender_address=newsletter.sender_address,
            reply_to=newsletter.reply_to,
            recipient_name=to.name,
            recipient=recipient,
            subject=rendered.subject,
            date=format_datetime(now),
            message_id=f"{token}@{domain}",
            language=context.email.language,
            unsubscribe=unsubscribe,
        )
        template = compile_message(transactional_headers(head), rendered.text, rendered.html, {})
        return self._signed(context, template.fill({}), token, domain, recipient, smtputf8)

    def _signed(
        self,
        context: TransactionalContext,
        segments: Sequence[bytes],
        token: str,
        domain: str,
        recipient: str,
        smtputf8: bool,
    ) -> Envelope:
        message = b"".join([self.signer.sign(segments), *segments])
        return Envelope(
            key=context.email.id,
            sender=f"bounce+{token}@{domain}",
            recipient=recipient,
            message=message,
            size=len(message),
            smtputf8=smtputf8,
        )


def _has_room(session: Session, route: RelayRoute, day: date) -> bool:
    """Return whether the relay has sent less than its warm-up allows on that day."""
    return route.warm_up is None or throttles.daily_sent(session, route.relay, day) < route.warm_up.limit_on(day)


def _count_warm_up(session: Session, route: RelayRoute, count: int, day: date) -> None:
    """Count emails of a relay that warms up; a negative number gives back what was not attempted."""
    if route.warm_up is not None and count:
        throttles.lock_daily_sent(session, route.relay, day)
        throttles.add_daily_sent(session, route.relay, day, count)


def _update_breaker(session: Session, relay: str, results: Sequence[TransferResult], now: datetime) -> None:
    """Open the breaker of a relay that cannot be used, and close it when it answers again."""
    of_relay = [result for result in results if result.outcome in (Outcome.RELAY_UNAVAILABLE, Outcome.RELAY_BUSY)]
    only_busy = all(result.outcome is Outcome.RELAY_BUSY for result in of_relay)
    failure = None if only_busy and len(of_relay) < len(results) else next(iter(of_relay), None)
    throttle = throttles.load_all(session).get((ThrottleScope.relay, relay))
    if failure:
        reason = redact_addresses(str(failure.reply) if failure.reply else failure.detail)
        throttles.update(session, ThrottleScope.relay, relay, partial(ThrottleState.trip, now=now, reason=reason))
    elif throttle and throttle.is_half_open(now) and any(result.reply for result in results):
        throttles.update(session, ThrottleScope.relay, relay, partial(ThrottleState.recover, now=now))
