"""Watch: what goes on in the queues, at the relays and towards the destinations; and holding one of them by hand."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mailer.domain.destinations import Destinations
from mailer.domain.outcomes import Outcome
from mailer.domain.ports import Telemetry
from mailer.domain.routes import Route
from mailer.domain.states import IssueState
from mailer.domain.throttling import Kind, Throttle, rate_in_force
from mailer.domain.traffic import QUEUES, Presence
from mailer.store import batches, deliveries, issues, mail_domains, newsletters, queues, throttles
from mailer.store.database import Database
from mailer.store.deliveries import Counts
from mailer.store.queues import Depth

_DEFERRED = (Outcome.RETRY, Outcome.SOFT, Outcome.POLICY)
_DESTINATIONS = 15


class NoSuchName(LookupError):
    """There is no such relay or destination."""


@dataclass(frozen=True, slots=True)
class Queue:
    """``entering`` and ``leaving`` are a second; None where one look cannot tell."""

    name: str
    waiting: int
    later: int
    """What cannot be taken now: its time has not come, nothing may go there, or its issue is paused."""
    oldest_seconds: float | None
    entering: float | None
    leaving: float | None
    hints: int | None
    """Messages in the broker; None when it does not answer."""


@dataclass(frozen=True, slots=True)
class Line:
    """A relay or a destination. Rates are messages a second; ``limit`` None: there is none."""

    name: str
    rate: float | None
    """None when Redis does not answer."""
    limit: float | None
    nominal: float | None
    deferred: float | None
    """Deferred a second, just now."""
    waiting: int
    """Deliveries that were deferred, or that wait for leave to go there."""
    state: str
    """``open`` (all is well), ``slowed``, ``shut``, ``trying``, ``held`` (by hand)."""
    until: datetime | None
    reason: str
    warm_up: tuple[int, int] | None = None
    """Handed over today, and allowed today."""


@dataclass(frozen=True, slots=True)
class Going:
    """An issue that is going out."""

    issue: int
    newsletter: str
    number: str
    state: IssueState
    counts: Counts
    rate: float | None
    why: str
    """Of a paused one: why it was paused, and by whom."""
    scheduled_at: datetime | None
    """Of one that has not begun."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it at one moment."""

    at: datetime
    issues: Sequence[Going]
    queues: Sequence[Queue]
    workers: Sequence[Presence]
    relays: Sequence[Line]
    destinations: Sequence[Line]
    """Those that are held back, and the busiest of the others."""
    more_destinations: int
    """How many others there are."""
    redis: bool
    """Whether Redis answers: without it nobody knows of workers, rates and hints."""
    unserved: Sequence[str]
    """Queues that no worker takes from."""
    silent_seconds: float | None
    """How long ago a worker last took a tick of the clock, at least; None when nobody can know."""
    held_back: int
    """Deliveries that wait for leave to go to their destination, and were not tried before."""
    retries: int
    """Deliveries that wait for another attempt, due or not."""
    next_retry: datetime | None
    uncertain: Mapping[int, int]
    lost_claims: int
    """Batches whose worker was lost and that nobody has taken over yet."""
    depths: Sequence[Depth] = ()


def look(
    database: Database,
    telemetry: Telemetry,
    routes: Sequence[Route],
    destinations: Destinations,
    now: datetime,
    before: Picture | None = None,
) -> Picture:
    """Everything that ops want to see. With a picture of a moment ``before``, flows can be told, too."""
    with database.transaction() as session:
        if before is None:
            destinations.learn(mail_domains.exchanges(session))
        depths = queues.depths(session, now)
        held = throttles.present(session)
        put_off = queues.put_off(session, now, 1000, held=_some_wait(routes, destinations, held, now))
        handed = {
            route.relay: throttles.handed_on(session, route.relay, now.date())
            for route in routes
            if route.warm_up
        }
        going = [
            Going(
                row.id,
                newsletters.by_id(session, row.newsletter_id).slug,
                row.number,
                row.state,
                deliveries.counts(session, row.id),
                row.rate,
                issues.why_paused(session, row.id) if row.state is IssueState.paused else "",
                row.scheduled_at if row.state is IssueState.scheduled else None,
            )
            for row in issues.in_state(session, (IssueState.scheduled, IssueState.sending, IssueState.paused))
        ]
        unsettled = queues.uncertain(session)
        lost = queues.overdue(session, now)
    lately = telemetry.lately()
    hints = telemetry.hints(list(QUEUES))
    workers = telemetry.present()
    rates: Counter[tuple[Kind, str]] = Counter()
    deferrals: Counter[tuple[Kind, str]] = Counter()
    leaving: Counter[str] = Counter()
    returning = 0.0
    for passage, rate in lately.items():
        if passage.outcome in (Outcome.WITHHELD, Outcome.RELAY):
            continue
        leaving[passage.queue] += rate  # type: ignore[assignment]
        for one in ((Kind.relay, passage.relay), (Kind.destination, passage.destination)):
            rates[one] += rate  # type: ignore[assignment]
            if passage.outcome in _DEFERRED:
                deferrals[one] += rate  # type: ignore[assignment]
        returning += rate if passage.outcome in _DEFERRED else 0.0
    waiting: Counter[str] = Counter()
    for row in put_off:
        waiting[destinations.of(f"@{row.domain}")] += row.waiting

    def line(kind: Kind, name: str, nominal: float) -> Line:
        throttle = held.get((kind, name))
        return Line(
            name=name,
            rate=rates[kind, name] if hints else None,
            limit=rate_in_force(nominal, throttle, now) or None,
            nominal=nominal or None,
            deferred=deferrals[kind, name] if hints else None,
            waiting=waiting[name] if kind is Kind.destination else 0,
            state=_state(throttle, now),
            until=throttle.shut_until if throttle and throttle.is_shut(now) else None,
            reason=throttle.reason if throttle else "",
        )

    names = (
        {name for kind, name in rates if kind is Kind.destination}
        | set(destinations.limited())
        | set(waiting)
    )
    first = [name for kind, name in sorted(held) if kind is Kind.destination]
    others = sorted(
        names.difference(first), key=lambda name: (-rates[Kind.destination, name], -waiting[name], name)
    )
    shown = first + others[: max(0, _DESTINATIONS - len(first))]
    flows: dict[str, Flow] = {depth.queue: _flow(depth, before, now) for depth in depths}
    if hints:
        # Batches tell what left both of these queues together; what was handed over is counted for each.
        flows["send"] = flows["send"][0], leaving["send"]
        flows["retry"] = returning, leaving["retry"]
    else:
        flows["send"], flows["retry"] = (flows["send"][0], None), (None, None)
    return Picture(
        at=now,
        issues=going,
        queues=[_queue(depth, flows[depth.queue], hints, now) for depth in depths],
        workers=workers,
        relays=[
            replace(
                line(Kind.relay, route.relay, route.rate),
                warm_up=(handed[route.relay], route.warm_up.allowed(now.date())) if route.warm_up else None,
            )
            for route in routes
        ],
        destinations=[line(Kind.destination, name, destinations.nominal(name)) for name in shown],
        more_destinations=len(first) + len(others) - len(shown),
        redis=bool(hints),
        unserved=_unserved(workers) if hints else [],
        silent_seconds=_silent(workers, now) if hints else None,
        held_back=put_off[0].all_waiting - put_off[0].all_again if put_off else 0,
        retries=put_off[0].all_again if put_off else 0,
        next_retry=put_off[0].all_next_again if put_off else None,
        uncertain=unsettled,
        lost_claims=lost,
        depths=depths,
    )


def _some_wait(
    routes: Sequence[Route],
    destinations: Destinations,
    held: Mapping[tuple[Kind, str], Throttle],
    now: datetime,
) -> bool:
    """Whether deliveries may wait for single destinations while others go out."""
    relays = [held.get((Kind.relay, route.relay)) for route in routes]
    if all(relay is not None and relay.is_shut(now) for relay in relays):
        return False
    limited = bool(destinations.rate or destinations.limited())
    return limited or any(kind is Kind.destination for kind, _ in held)


Flow = tuple[float | None, float | None]


def _queue(depth: Depth, flow: Flow, hints: Mapping[str, int], now: datetime) -> Queue:
    oldest = (now - depth.oldest) / timedelta(seconds=1) if depth.oldest else None
    return Queue(depth.queue, depth.waiting, depth.later, oldest, *flow, hints.get(depth.queue))


def _flow(depth: Depth, before: Picture | None, now: datetime) -> Flow:
    """What entered and what left a queue a second since the picture before."""
    earlier = next((one for one in before.depths if one.queue == depth.queue), None) if before else None
    if before is None or earlier is None:
        return None, None
    seconds = max((now - before.at) / timedelta(seconds=1), 0.001)
    # Issues that ended take their counts along: that is no flow.
    entering, leaving = depth.entered - earlier.entered, depth.left - earlier.left
    return max(0.0, entering / seconds), max(0.0, leaving / seconds)


def _unserved(workers: Sequence[Presence]) -> list[str]:
    """The queues that no present worker takes from."""
    served = {queue for one in workers for queue in one.queues}
    return [queue for queue in QUEUES if queue not in served]


def _silent(workers: Sequence[Presence], now: datetime) -> float | None:
    """How long ago a worker last took a task of the clock's; since its start, if it never did."""
    last = [one.consumed.get("control", one.since) for one in workers if "control" in one.queues]
    return now.timestamp() - max(last) if last else None


def _state(throttle: Throttle | None, now: datetime) -> str:
    if throttle is None:
        return "open"
    if throttle.is_shut(now):
        return "held" if throttle.by_hand else "shut"
    if throttle.is_half_open(now):
        return "trying"
    return "slowed" if throttle.rate_now(now) else "open"


_FOR_GOOD = datetime(9000, 1, 1, tzinfo=UTC)


class Held(NamedTuple):
    """What a name was taken for: a relay's, a group's, or a receiving domain."""

    kind: Kind
    name: str
    before: str
    """Its state until now, as in a ``Line``."""
    known: bool = True
    """False for a domain at which nobody reads."""


def hold(
    database: Database,
    routes: Sequence[Route],
    destinations: Destinations,
    name: str,
    until: datetime | None,
    why: str,
) -> Held:
    """Let nothing go to a relay or a destination, before ``until`` or before ``release``. Raises NoSuchName.

    Without ``why``, what was said of a hold by hand that this one replaces stands on.
    """
    kind, found = _named(routes, destinations, name)
    now = datetime.now(UTC)

    def held(one: Throttle) -> Throttle:
        reason = why or (one.reason if _state(one, now) == "held" else "held by hand")
        return replace(
            one, shut_until=until or _FOR_GOOD, trips=0, probed_until=None, by_hand=True, reason=reason
        )

    known = True
    if kind is Kind.destination and found not in [group.name for group in destinations.groups]:
        with database.transaction() as session:
            known = queues.reads_at(session, found)
    with database.transaction() as session:
        before, _ = throttles.change(session, kind, found, held)
    return Held(kind, found, _state(before, now), known)


def release(database: Database, routes: Sequence[Route], destinations: Destinations, name: str) -> Held:
    """Let mail go there again at full rate, whatever held it back. Raises NoSuchName."""
    kind, found = _named(routes, destinations, name)
    now = datetime.now(UTC)
    with database.transaction() as session:
        before, _ = throttles.change(
            session, kind, found, lambda one: replace(one.closed(), rate=None, aim=None)
        )
        batches.look_again(session, now)
    return Held(kind, found, _state(before, now))


def forget_recovered(database: Database, now: datetime) -> None:
    """Let go of what was slowed down and has its old rate again."""
    with database.transaction() as session:
        throttles.forget(session, now - timedelta(days=1))


def _named(routes: Sequence[Route], destinations: Destinations, name: str) -> tuple[Kind, str]:
    if name in [route.relay for route in routes]:
        return Kind.relay, name
    groups = {group.name.lower(): group.name for group in destinations.groups}
    if name.lower() in groups:
        return Kind.destination, groups[name.lower()]
    if "." in name:
        return Kind.destination, destinations.of(f"@{name}")
    known = ", ".join([*(route.relay for route in routes), *groups.values()])
    raise NoSuchName(f"“{name}” is no relay and no receiving domain; there is {known}, and any domain.")
