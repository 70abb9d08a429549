"""Notes: mails about a subscription (confirm, welcome, the link of one's own page) go out one by one.

They are written as rows by whoever wants one sent. Sending is at least once, under the same Message-ID each time:
a worker that is killed between the relay's answer and the record sends a note again.
"""

import random
import time
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import partial

from mailer.domain.addresses import masked, on_the_wire
from mailer.domain.content import NoteContent, Theme
from mailer.domain.handover import Envelope, Result
from mailer.domain.headers import NoteHead, note_headers
from mailer.domain.limits import Ask, Limit
from mailer.domain.locales import direction
from mailer.domain.message import compile_message
from mailer.domain.outcomes import Outcome, Reply, impersonal
from mailer.domain.phrases import own_words
from mailer.domain.ports import Limiter, Links, NoteRenderer, Outbox, Signer
from mailer.domain.routes import Route, in_turn
from mailer.domain.states import DeliveryState, SubscriptionState
from mailer.domain.suppressions import LIFTED_BY_OPT_IN
from mailer.domain.throttling import Kind, Throttle, rate_in_force
from mailer.domain.ties import KEY_LASTS
from mailer.domain.verdicts import rule
from mailer.domain.wording import signed, worded
from mailer.store import notes, readers, throttles
from mailer.store.database import Database, DatabaseDown, Session
from mailer.store.notes import Open

_LEASE = timedelta(minutes=2)
_RETRY = timedelta(minutes=2)
_ELSEWHERE = timedelta(seconds=1)
"""Until a note is due again that was not tried: sooner than its relay, so that another one has its turn."""
_GIVE_UP = timedelta(days=2)
_TO_THE_NEW = ("address-new",)
_IN_FORCE = ("welcome",)
"""Kinds that make sense as long as the subscription does."""


class _Unwritten:
    """No journal: a note that was perhaps taken is sent again."""

    def about_to_finish(self, key: Hashable) -> None: ...

    def answered(self, key: Hashable, reply: Reply) -> None: ...


@dataclass(frozen=True, slots=True)
class _Addressed:
    note: int
    address: str
    name: str


def send_due(
    database: Database,
    outbox: Outbox,
    routes: Sequence[Route],
    limiter: Limiter,
    renderer: NoteRenderer,
    links: Links,
    signer: Signer,
    bounce_domain: str,
    now: datetime,
    limit: int,
) -> int:
    """Send some of the notes that are due; returns how many were handed to the relay.

    Several workers may do this at once. ``bounce_domain`` empty: that of the newsletter's sender.
    """
    began = time.monotonic()
    with database.transaction() as session:
        held = throttles.present(session)
        shut = {name for (kind, name), one in held.items() if kind is Kind.relay and one.is_shut(now)}
        usable = in_turn(routes, shut, {})
        wanted = notes.due(session, now, limit)
        if not usable or not wanted:
            return 0
        route = usable[0]
        rate = rate_in_force(route.rate, held.get((Kind.relay, route.relay)), now)
        limits = [Limit(f"relay:{route.relay}", rate)] if rate else []
        granted = limiter.take([Ask(limits, wanted, ahead=True)])[0].count if limits else wanted
        claimed = notes.claim(session, now, _LEASE, granted)
        found = notes.opened(session, claimed)
        envelopes: list[Envelope] = []
        for one in found:
            if why := _moot(session, one):
                notes.settle(session, one.note.id, given_up_at=now, reply=f"not sent: {why}")
                continue
            try:
                envelopes.append(_envelope(one, renderer, links, signer, bounce_domain, now))
            except ValueError as error:
                notes.settle(session, one.note.id, given_up_at=now, reply=f"not sent: {type(error).__name__}")
    if limits and granted > len(envelopes):
        limiter.give_back([Ask(limits, granted - len(envelopes))])
    if not envelopes:
        return 0
    landing = outbox.hand_over(envelopes, _Unwritten(), route.relay)
    while True:
        try:
            done = landing.result(_LEASE.total_seconds() / 4)
        except TimeoutError:
            # The relay may take ten minutes over one final dot: nobody else sends the notes meanwhile.
            until = now + timedelta(seconds=time.monotonic() - began) + _LEASE
            with suppress(DatabaseDown), database.transaction() as session:
                notes.keep(session, claimed, until)
        else:
            break
    now += timedelta(seconds=time.monotonic() - began)
    _record(database, route.relay, found, done.results, now)
    return len(envelopes)


def _record(
    database: Database, relay: str, found: Sequence[Open], results: Sequence[Result], now: datetime
) -> None:
    by_id = {one.note.id: one for one in found}
    with database.transaction() as session:
        for result in results:
            one = by_id[int(str(result.key))]
            ruling = rule(result, one.note.attempts, now, _RETRY, _GIVE_UP, random.Random())
            said = ruling.reply[:500]
            if ruling.state is DeliveryState.sent:
                notes.settle(session, one.note.id, sent_at=now, reply=said)
            elif ruling.state is DeliveryState.failed:
                notes.settle(session, one.note.id, given_up_at=now, reply=said)
                if ruling.suppress and one.subscriber and one.note.kind not in _TO_THE_NEW:
                    # Without the address that it quotes: a suppression outlives its reader.
                    detail = impersonal(said)
                    readers.suppress(session, one.subscriber.address_hash, ruling.suppress, detail)
            elif not ruling.attempted:
                before = one.note.attempts - 1
                again = now + (_RETRY if result.outcome is Outcome.SENDER else _ELSEWHERE)
                notes.settle(session, one.note.id, due_at=again, reply=said, attempts=before)
            else:
                again = ruling.due_at or now + _RETRY
                late = result.outcome is Outcome.UNKNOWN and now - one.note.created_at > _GIVE_UP
                notes.settle(
                    session, one.note.id, due_at=again, reply=said, given_up_at=now if late else None
                )
        _react(session, relay, results, now)


def _react(session: Session, relay: str, results: Sequence[Result], now: datetime) -> None:
    """Open the breaker of a relay that cannot be used, and close it when it answers again."""
    trouble = next((result for result in results if result.outcome is Outcome.RELAY), None)
    held = throttles.present(session).get((Kind.relay, relay))
    if trouble:
        said = impersonal(str(trouble.reply) if trouble.reply else trouble.detail)
        throttles.change(session, Kind.relay, relay, partial(Throttle.opened, now=now, reason=said))
    elif held and held.is_half_open(now) and any(result.reply for result in results):
        throttles.change(session, Kind.relay, relay, partial(Throttle.recovered, now=now))


def _moot(session: Session, one: Open) -> str:
    """Why a note is not to be sent after all; empty when it is."""
    kind = one.note.kind
    if kind == "confirm":
        assert one.signup
        if one.signup.confirmed_at:
            return "confirmed already"
        suppression = readers.suppression(session, one.signup.address_hash)
        return "suppressed" if suppression and suppression.reason not in LIFTED_BY_OPT_IN else ""
    if one.change:
        if one.change.done_at:
            return "done already"
        if kind in _TO_THE_NEW:
            suppression = readers.suppression(session, one.change.address_hash)
            return "suppressed" if suppression and suppression.reason not in LIFTED_BY_OPT_IN else ""
    if one.subscriber is None:
        return "nobody to send it to"
    if readers.suppression(session, one.subscriber.address_hash):
        return "suppressed"
    left = one.subscription is None or one.subscription.state is not SubscriptionState.active
    return "has left" if left and kind in _IN_FORCE else ""


def _to(one: Open) -> _Addressed:
    if one.signup:
        # No name: whoever filled in the form may have written anything there.
        return _Addressed(one.note.id, one.signup.address, "")
    assert one.subscriber
    if one.change and one.note.kind in _TO_THE_NEW:
        return _Addressed(one.note.id, one.change.address, one.subscriber.name)
    return _Addressed(one.note.id, one.subscriber.address, one.subscriber.name)


def _link(one: Open, links: Links, now: datetime) -> str:
    match one.note.kind:
        case "confirm":
            assert one.signup
            return links.confirm_page(one.signup.id)
        case "address-old" | "address-new":
            assert one.change
            return links.address_page(one.change.id, new=one.note.kind in _TO_THE_NEW)
    assert one.subscriber
    if one.note.kind == "key":
        return links.key_page(int(now.timestamp()), one.subscriber.id, one.newsletter.slug)
    return links.choose_page(one.newsletter.id, one.subscriber.id)


def _content(one: Open, link: str, unsubscribe: str, to: _Addressed) -> NoteContent:
    newsletter, language = one.newsletter, one.note.language
    chains, default = newsletter.fallbacks, newsletter.default_language
    mask = one.signup.sections if one.signup else one.subscription.sections if one.subscription else 0
    other = ""
    if one.change and one.subscriber:
        other = one.subscriber.address if one.note.kind in _TO_THE_NEW else one.change.address
    name = worded(newsletter.names, language, chains, default).text
    return NoteContent(
        kind=one.note.kind,
        language=language,
        direction=direction(language),
        newsletter=name,
        sender_name=signed(newsletter.sender_name, newsletter.names, name),
        postal_address=newsletter.postal_address,
        reply_to=newsletter.reply_to,
        link=link,
        address=to.address,
        website=newsletter.website,
        unsubscribe=unsubscribe,
        sections=tuple(
            worded(section.titles, language, chains, default).text
            for section in one.sections
            if section.always_included or mask >> section.bit & 1
        ),
        languages=tuple(
            one.signup.languages if one.signup else one.subscriber.languages if one.subscriber else ()
        ),
        other_address=masked(other) if other else "",
        hours=int(KEY_LASTS / timedelta(hours=1)),
        theme=Theme(**newsletter.theme),
        own_words=own_words(newsletter.phrases, language),
    )


def _envelope(
    one: Open, renderer: NoteRenderer, links: Links, signer: Signer, bounce_domain: str, now: datetime
) -> Envelope:
    to, newsletter = _to(one), one.newsletter
    domain = bounce_domain or newsletter.sender_address.rpartition("@")[2]
    recipient, smtputf8 = on_the_wire(to.address)
    token = links.note_token(newsletter.id, one.note.id)
    leaving: tuple[str, str] | None = None
    if one.subscriber and one.note.kind in _IN_FORCE:
        mail = f"unsubscribe+{links.quit_token(newsletter.id, one.subscriber.id)}@{domain}"
        leaving = (links.quit_page(newsletter.id, one.subscriber.id), mail)
    rendered = renderer.render_note(_content(one, _link(one, links, now), leaving[0] if leaving else "", to))
    head = NoteHead(
        sender_name=newsletter.sender_name,
        sender_address=newsletter.sender_address,
        reply_to=newsletter.reply_to,
        recipient_name=to.name,
        recipient=recipient,
        subject=rendered.subject,
        date=format_datetime(now),
        message_id=f"{token}@{domain}",
        language=one.note.language,
        unsubscribe=leaving,
    )
    template = compile_message(note_headers(head), rendered.text, rendered.html, {})
    segments = template.fill({})
    message = b"".join([signer.sign(segments), *segments])
    return Envelope(
        key=one.note.id,
        sender=f"bounce+{token}@{domain}",
        recipient=recipient,
        message=message,
        size=len(message),
        smtputf8=smtputf8,
    )
