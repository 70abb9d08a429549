"""How much may go out now, by which relay, and to which destinations: asked before each micro-batch is taken, and
told after it what the relay and the destinations had to say.

The rates are those of the settings and of the issue, less what relays and destinations asked for (the table
``throttle``). All workers draw from the same buckets. Where no rate is set and nothing is held back, nothing is asked.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from mailer.domain.destinations import Destinations
from mailer.domain.limits import Ask, Limit, worthwhile
from mailer.domain.outcomes import Outcome
from mailer.domain.ports import Limiter, Telemetry
from mailer.domain.routes import Route, in_turn
from mailer.domain.throttling import Kind, Throttle, rate_in_force, wants_less
from mailer.domain.traffic import Passage
from mailer.services.send.tally import Tally
from mailer.store import issues, mail_domains, throttles
from mailer.store.database import Database, DatabaseDown, Session

_log = logging.getLogger("mailer")
_FRESH = 1.0
"""Seconds for which what was read of throttles and issues' rates is good: orders act within two."""
_LEARN = 300.0
"""Seconds between readings of what DNS said of domains."""
_PROBES = {Kind.relay: 1, Kind.destination: 3}
"""Messages that try a half-open breaker. A relay that hangs up after the dot costs each of them its certainty."""
_PROBE_LEASE = timedelta(seconds=60)
_IN_TURN = 1000
"""Messages back to which it is looked whose turn is next: a relay that was away catches up on no more."""
_REST = 60.0
"""Seconds after which a relay that has sent its day's allowance is asked about again: some may have come back."""
_TIGHT = 60.0
"""Seconds for which a destination that ran out of its rate is asked for before its deliveries are taken."""


@dataclass(slots=True)
class Leave:
    """What may be taken now. ``count`` 0: nothing, before ``wait`` seconds are over."""

    route: Route | None = None
    count: int = 0
    wait: float = 0.0
    limits: Sequence[Limit] = ()
    """The buckets that all of it was drawn from."""
    quotas: dict[str, int] | None = None
    """The most for each destination that has a limit; None when none has."""
    waits: dict[str, float] = field(default_factory=dict)
    """Seconds until more may go to a destination whose quota is 0."""
    probes: set[tuple[Kind, str]] = field(default_factory=set)
    """Half-open breakers that this worker tries."""

    def domains(self, destinations: Destinations) -> tuple[list[str], list[str], list[int]] | None:
        """The quotas by domain, as the ledger takes them: domains, their destinations, their quotas."""
        if self.quotas is None:
            return None
        rows = [
            (domain, name, quota)
            for name, quota in self.quotas.items()
            for domain in destinations.domains(name)
        ]
        return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


class Gate:
    """One for a process; threads share it."""

    def __init__(
        self,
        database: Database,
        limiter: Limiter,
        telemetry: Telemetry,
        routes: Sequence[Route],
        destinations: Destinations,
    ) -> None:
        self.destinations = destinations
        self.routes = routes
        self._database = database
        self._limiter = limiter
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._handed: Counter[str] = Counter()
        self._throttles: Mapping[tuple[Kind, str], Throttle] = {}
        self._rates: Mapping[int, float] = {}
        self._read_at = -1e9
        self._learnt_at = -1e9
        self._tight: dict[str, float] = {}
        self._resting: dict[str, float] = {}
        """Relays that have sent all that a day of their warm-up allows, and until when nobody asks them."""

    # Before a micro-batch is taken.

    def leave(self, issue: int, want: int) -> Leave:
        """Leave to take up to ``want`` deliveries of an issue."""
        self._refresh()
        now = datetime.now(UTC)
        found = Leave(wait=60.0)
        rate = self._rates.get(issue)
        for route in in_turn(self.routes, self._unusable(now, found), self._handed):
            limits = [Limit(f"issue:{issue}", rate)] if rate else []
            if at_most := self._rate(Kind.relay, route.relay, route.rate, now):
                limits.append(Limit(f"relay:{route.relay}", at_most))
            wanted = min(want, _PROBES[Kind.relay]) if (Kind.relay, route.relay) in found.probes else want
            if not limits:
                found.route, found.count = route, wanted
                break
            grant = self._limiter.take([Ask(limits, wanted, worthwhile(wanted, limits))])[0]
            if grant.count:
                found.route, found.count, found.limits = route, grant.count, limits
                break
            found.wait = min(found.wait, max(grant.wait, 0.01))
        self._let_go(
            found, [probe for probe in found.probes if found.route is None or probe[1] != found.route.relay]
        )
        if found.count:
            self._destine(found, now)
        return found

    def is_shut(self) -> bool:
        """Whether no relay can be used at this moment, nor tried."""
        self._refresh()
        now = datetime.now(UTC)
        return all(
            (held := self._throttles.get((Kind.relay, route.relay))) is not None and held.is_shut(now)
            for route in self.routes
        )

    def _unusable(self, now: datetime, leave: Leave) -> set[str]:
        """Relays that are shut, tried by somebody else, or done for today."""
        shut = set()
        for route in self.routes:
            held = self._throttles.get((Kind.relay, route.relay))
            if held is not None and held.shut_until is not None:
                if held.is_half_open(now) and self._probe(held, now):
                    leave.probes.add((Kind.relay, route.relay))
                else:
                    shut.add(route.relay)
                    left = (held.shut_until - now) / timedelta(seconds=1)
                    leave.wait = min(leave.wait, max(left, 1.0))
            if self._resting.get(route.relay, 0.0) > time.monotonic():
                shut.add(route.relay)
        return shut

    def _probe(self, held: Throttle, now: datetime) -> bool:
        with self._database.transaction() as session:
            return throttles.probe(session, held.kind, held.name, now, _PROBE_LEASE)

    def _rate(self, kind: Kind, name: str, nominal: float, now: datetime) -> float:
        return rate_in_force(nominal, self._throttles.get((kind, name)), now)

    def _destine(self, leave: Leave, now: datetime) -> None:
        """Draw for the destinations that have limits, before it is known how many of them will be taken."""
        names = set(self.destinations.limited())
        names |= {name for kind, name in self._throttles if kind is Kind.destination}
        self._tight = {name: until for name, until in self._tight.copy().items() if until > time.monotonic()}
        names |= self._tight.keys()
        if not names:
            return
        leave.quotas = {}
        asks: dict[str, Ask] = {}
        for name in names:
            held = self._throttles.get((Kind.destination, name))
            if held is not None and held.shut_until is not None:
                if held.is_half_open(now) and self._probe(held, now):
                    leave.probes.add((Kind.destination, name))
                    leave.quotas[name] = _PROBES[Kind.destination]
                else:
                    leave.quotas[name] = 0
                    leave.waits[name] = max((held.shut_until - now) / timedelta(seconds=1), 1.0)
            elif rate := self._rate(Kind.destination, name, self.destinations.nominal(name), now):
                limits = [Limit(f"destination:{name}", rate)]
                asks[name] = Ask(limits, leave.count, worthwhile(leave.count, limits))
        for name, grant in zip(asks, self._limiter.take(list(asks.values())) if asks else (), strict=True):
            leave.quotas[name] = grant.count
            if not grant.count:
                leave.waits[name] = grant.wait

    # After it was taken.

    def settle(self, leave: Leave, taken: Sequence[str]) -> dict[str, float]:
        """Give back what was granted and not used; ``taken`` are the destinations of what was.

        Returns the destinations whose quota is used up, and the seconds until more may go there.
        """
        if leave.route is not None:
            with self._lock:
                self._handed[leave.route.relay] += len(taken)
                if self._handed.total() > _IN_TURN:
                    for relay in self._handed:
                        self._handed[relay] //= 2
            if not taken:
                self._let_go(leave, [probe for probe in leave.probes if probe[0] is Kind.relay])
        back = []
        if leave.limits and leave.count > len(taken):
            back.append(Ask(leave.limits, leave.count - len(taken)))
        used = Counter(taken) if leave.quotas else Counter()
        now = datetime.now(UTC)
        used_up = {}
        for name, quota in (leave.quotas or {}).items():
            if quota <= used[name]:
                used_up[name] = max(leave.waits.get(name, 0.0), 0.05)
            elif (Kind.destination, name) in leave.probes:
                if not used[name]:
                    self._let_go(leave, [(Kind.destination, name)])
            elif rate := self._rate(Kind.destination, name, self.destinations.nominal(name), now):
                back.append(Ask([Limit(f"destination:{name}", rate)], quota - used[name]))
        if back:
            self._limiter.give_back(back)
        return used_up

    def admit(self, leave: Leave, destinations: Sequence[str]) -> list[float]:
        """For each delivery that was taken: 0 if it may go, else the seconds after which it may be tried.

        For the domains that have no bucket of their own in the quotas: each has the common rate.
        """
        if not self.destinations.rate:
            return [0.0] * len(destinations)
        unasked = Counter(name for name in destinations if leave.quotas is None or name not in leave.quotas)
        asks = []
        for name, count in unasked.items():
            rate = self.destinations.nominal(name)
            asks.append(Ask([Limit(f"destination:{name}", rate)], count) if rate else None)
        grants = iter(self._limiter.take([ask for ask in asks if ask]))
        left = {}
        for name, ask in zip(unasked, asks, strict=True):
            if ask:
                grant = next(grants)
                left[name] = [grant.count, max(grant.wait, 0.2)]
                if grant.count < ask.want:
                    self._tight[name] = time.monotonic() + _TIGHT
        waits = []
        for name in destinations:
            allowance = left.get(name)
            if allowance is None:
                waits.append(0.0)
            elif allowance[0] >= 1:
                allowance[0] -= 1
                waits.append(0.0)
            else:
                waits.append(allowance[1])
        return waits

    def rest(self, route: Route) -> None:
        """A relay that warms up has sent all that this day allows."""
        self._resting[route.relay] = time.monotonic() + _REST

    # When results are there.

    def count(self, tally: Tally, queue: str) -> None:
        """Tell those who watch."""
        self._telemetry.count(
            {
                Passage(queue, tally.relay, destination, outcome): count
                for destination, outcomes in tally.outcomes.items()
                for outcome, count in outcomes.items()
            }
        )

    def react(self, session: Session, tally: Tally, now: datetime) -> None:
        """Slow down, open and close breakers, as the results say. Part of the transaction that records them."""
        changed = False
        relay = self._throttles.get((Kind.relay, tally.relay))
        whole: Counter[str] = sum(tally.outcomes.values(), Counter())
        tried = relay is not None and relay.is_half_open(now)
        silent = tried and not tally.answered and bool(whole[Outcome.UNKNOWN] or whole[Outcome.RETRY])
        if whole[Outcome.RELAY] or silent:
            said = tally.words.get("", "")
            opened = partial(Throttle.opened, now=now, reason=said, for_long=whole[Outcome.UNKNOWN] > 0)
            changed = self._change(session, Kind.relay, tally.relay, opened, "cannot be used")
        elif tried and tally.answered:
            recovered = partial(Throttle.recovered, now=now)
            changed = self._change(session, Kind.relay, tally.relay, recovered, "works again")
        if wants_less(whole, tally.closing):
            pace = sum(whole.values()) / tally.seconds
            changed |= self._slow(session, Kind.relay, tally.relay, pace, tally.words.get("", ""), now)
        for name in sorted(tally.outcomes):
            outcomes, said = tally.outcomes[name], tally.words.get(name, "")
            held = self._throttles.get((Kind.destination, name))
            tried = held is not None and held.is_half_open(now)
            refused = outcomes[Outcome.POLICY] if tried else tally.refused.get(name, 0)
            accepted = outcomes[Outcome.ACCEPTED]
            if refused and (not accepted or (refused >= 3 and refused * 5 >= accepted + refused)):
                opened = partial(Throttle.opened, now=now, reason=said)
                changed |= self._change(session, Kind.destination, name, opened, "refuses us")
            elif accepted and tried:
                recovered = partial(Throttle.recovered, now=now)
                changed |= self._change(session, Kind.destination, name, recovered, "takes mail again")
            if wants_less(outcomes, tally.deferred.get(name, 0)):
                pace = sum(outcomes.values()) / tally.seconds
                changed |= self._slow(session, Kind.destination, name, pace, said, now)
        if changed:
            self._read_at = -1e9

    def _slow(self, session: Session, kind: Kind, name: str, pace: float, said: str, now: datetime) -> bool:
        """``pace`` is that of this micro-batch: what all workers told of the last seconds lags behind a burst."""
        lately = self._telemetry.lately()
        present = sum(
            rate
            for passage, rate in lately.items()
            if name == (passage.relay if kind is Kind.relay else passage.destination)
        )
        nominal = (
            next((route.rate for route in self.routes if route.relay == name), 0.0)
            if kind is Kind.relay
            else self.destinations.nominal(name)
        )
        slowed = partial(Throttle.slowed, now=now, present=max(present, pace), nominal=nominal, reason=said)
        return self._change(session, kind, name, slowed, "asks for less")

    def _change(
        self, session: Session, kind: Kind, name: str, how: Callable[[Throttle], Throttle], what: str
    ) -> bool:
        """Change what holds one back, and tell those who read logs; whether anything changed."""
        before, after = throttles.change(session, kind, name, how)
        if after == before:
            return False
        _log.warning("The %s %s %s%s", kind.value, name, what, f": {after.reason}" if after.reason else ".")
        return True

    def _let_go(self, leave: Leave, probes: Iterable[tuple[Kind, str]]) -> None:
        """Breakers that this worker meant to try and did not: somebody else may."""
        for kind, name in list(probes):
            leave.probes.discard((kind, name))
            # Nothing depends on it: a probe ends by itself.
            with suppress(DatabaseDown), self._database.transaction() as session:
                throttles.end_probe(session, kind, name)

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._read_at < _FRESH:
            return
        with self._database.transaction() as session:
            at = datetime.now(UTC)
            held = throttles.present(session)
            self._throttles = {key: one for key, one in held.items() if one.shut_until or one.rate_now(at)}
            self._rates = issues.rates(session)
            if now - self._learnt_at > _LEARN:
                self.destinations.learn(mail_domains.exchanges(session))
                self._learnt_at = now
        self._read_at = now
