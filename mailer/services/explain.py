"""Explain: why one reader got what they got of an issue, or why not, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailer.domain.destinations import Destinations
from mailer.domain.editions import bits
from mailer.domain.languages import choose
from mailer.domain.ports import Links
from mailer.domain.routes import Route
from mailer.domain.settling import is_due_again, is_settled
from mailer.domain.states import DeliveryState, IssueState
from mailer.domain.throttling import Kind, Throttle
from mailer.models import Delivery
from mailer.store import deliveries, issues, mail_domains, newsletters, readers, throttles
from mailer.store.database import Database, Session
from mailer.store.issues import NotFound


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a reader got what they got. ``sentences`` tell it in plain words; the rest is for programs."""

    issue: int
    address: str
    state: str
    reason: str | None
    language: str | None
    sections: list[str]
    finished_at: datetime | None
    sentences: list[str] = field(default_factory=list)
    message_id: str | None = None
    """As it stands in the message and in the relay's log; None when it was never handed over."""
    relay: str | None = None
    """Where it was handed over last, if that is known."""


@dataclass(frozen=True, slots=True)
class Around:
    """What decides about a delivery besides the rows about it."""

    now: datetime
    routes: Sequence[Route]
    destinations: Destinations
    links: Links
    bounce_domain: str
    """The one that is set; empty for the sender's."""


_WHY_NOT = {
    "unsubscribed": "They have unsubscribed, so nothing was sent.",
    "unconfirmed": "They never confirmed their subscription, so nothing was sent.",
    "suppressed": "Their address must not be mailed, so nothing was sent.",
    "paused": "They had paused the newsletter at that time, so nothing was sent.",
    "monthly": "They get one mail a month with that month's issues instead of each issue.",
    "no_language": "The issue has no language that they read, nor one that the newsletter falls back to.",
    "nothing_in_sections": "None of the sections they follow has a story in this issue.",
    "cancelled": "The issue was cancelled before their turn came.",
}


def explain(
    database: Database, issue: int, address: str, address_hash: bytes, around: Around | None = None
) -> Explanation:
    """Why this reader got this edition at this time, or why not. Raises NotFound.

    ``around``: tells also what holds the delivery back, and how its message is found in the relay's log.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None:
            raise NotFound(f"There is no issue {issue}. See them with: mailer issue list.")
        newsletter = newsletters.by_id(session, row.newsletter_id)
        suppression = readers.suppression(session, address_hash)
        reader = readers.by_hash(session, address_hash)
        suppressed = ""
        if suppression:
            suppressed = (
                f"The address was suppressed on {suppression.created_at:%-d %B %Y}: {suppression.reason}"
                + (f" ({suppression.detail})." if suppression.detail else ".")
            )
        if reader is None:
            sentences = [f"Nobody with the address {address} is known here."]
            return Explanation(
                issue, address, "unknown", None, None, [], None, [*sentences, *filter(None, [suppressed])]
            )
        tie = readers.subscription(session, newsletter.id, reader.id)
        order = ", in that order" if len(reader.languages) > 1 else ""
        say = [f"{address} reads {', '.join(reader.languages) or 'no language in particular'}{order}."]
        titles = {
            section.bit: section.titles.get(newsletter.default_language)
            or next(iter(section.titles.values()))
            for section in newsletters.sections(session, newsletter.id)
        }
        always = newsletters.always_mask(session, newsletter.id)
        if tie is None:
            say.append(
                f"They have no subscription to {newsletter.slug}, so they are no candidate for its issues."
            )
            return Explanation(issue, address, "no subscription", None, None, [], None, say)
        follows = [titles[bit] for bit in bits(tie.sections) if bit in titles]
        say.append(
            "They follow every section."
            if len(follows) == len(titles)
            else f"They follow {'; '.join(follows) or 'no section of their own choice'}."
        )
        for consent in readers.consents(session, reader.id):
            if consent.newsletter_id == newsletter.id:
                verb = "given" if consent.given else "withdrawn"
                say.append(f"Consent {verb} on {consent.at:%-d %B %Y} by way of “{consent.source}”.")
        found = deliveries.entry(session, issue, reader.id)
        if found is None:
            if row.frozen_at is None:
                say.append(f"Issue {issue} is {row.state.value}: its audience is not frozen yet.")
            else:
                say.append(
                    f"They were not subscribed when the audience was frozen, {row.frozen_at:%-d %B %Y at %H:%M} UTC."
                )
            return Explanation(issue, address, "no delivery", None, None, [], None, say)
        got: list[str] = []
        if found.language:
            got = [titles[bit] for bit in bits(found.sections or 0) if bit in titles]
            rules = [tag for tag in newsletter.languages if tag in issues.front_matter(session, issue)]
            choice = choose(reader.languages, rules, newsletter.fallbacks, newsletter.default_language)
            why = "chosen"
            if choice and choice.language == found.language:
                why = {
                    "asked": f"because they read {choice.wanted}",
                    "fallback": f"because the newsletter falls back from {choice.wanted} to it",
                    "default": "because nothing they read is there, and it is the newsletter's default",
                }[choice.why]
            say.append(f"Their edition is in {found.language}, {why}, with: {'; '.join(got)}.")
            if set(bits(always)) & set(bits(found.sections or 0)) - set(bits(tie.sections)):
                say.append("A section that every reader gets is in it, though they did not choose it.")
            if found.fallbacks:
                say.append(
                    f"{found.fallbacks} of its stories had no {found.language} text and were labelled."
                )
        now = around.now if around else None
        say += _fate(found, issue, address, row.state, suppressed, now)
        message, relay = None, None
        if around and found.attempts:
            delivery = session.get(Delivery, (issue, reader.id))
            relay = delivery.relay if delivery else None
            (slots,) = around.links.reader_slots(issue, [reader.id])
            domain = around.bounce_domain or newsletter.sender_address.rpartition("@")[2]
            message = f"<{slots.message}@{domain}>"
            say.append(f"Its Message-ID is {message}{f'; it went by the relay “{relay}”' if relay else ''}.")
        if around and found.state == DeliveryState.pending and row.state is IssueState.sending:
            say += _holds(session, around, address, row.rate)
        return Explanation(
            issue,
            address,
            found.state,
            found.reason,
            found.language,
            got,
            found.finished_at,
            say,
            message,
            relay,
        )


def _holds(session: Session, around: Around, address: str, rate: float | None) -> list[str]:
    """What keeps a delivery from going out, or slows it down."""
    held = throttles.present(session)
    around.destinations.learn(mail_domains.exchanges(session))
    say = []
    relays = [held.get((Kind.relay, route.relay)) for route in around.routes]
    if all(relay and relay.is_shut(around.now) for relay in relays):
        say += [_hold(relay, f"The relay {relay.name}", around.now) for relay in relays if relay]
    domain = address.rpartition("@")[2].lower()
    for name in dict.fromkeys((around.destinations.of(address), domain)):
        if throttle := held.get((Kind.destination, name)):
            say.append(_hold(throttle, name, around.now))
    if rate:
        say.append(f"The issue sends at most {rate:g} a second.")
    return [said for said in say if said]


def _hold(throttle: Throttle, who: str, now: datetime) -> str:
    """Empty when nothing is held back any more."""
    why = throttle.reason.rstrip(".")
    if throttle.shut_until and throttle.is_shut(now):
        how = "is held" if throttle.by_hand else "gets nothing"
        # A hold without an end has one that nobody will see.
        until = f"{throttle.shut_until:%-d %B %Y at %H:%M} UTC" if throttle.shut_until.year < 9000 else ""
        return f"{who} {how} until {until or 'somebody lets it go'}: {why}."
    if throttle.is_half_open(now):
        return f"{who} was held back, and a few messages try whether it takes mail again: {why}."
    slow = throttle.rate_now(now)
    return f"{who} is slowed down to {slow:.3g} a second: {why}." if slow else ""


def _fate(
    found: deliveries.Entry,
    issue: int,
    address: str,
    state: IssueState,
    suppressed: str,
    now: datetime | None,
) -> list[str]:
    tries = "at the first attempt" if found.attempts == 1 else f"after {found.attempts} attempts"
    at = f"{found.finished_at:%-d %B %Y at %H:%M:%S} UTC" if found.finished_at else ""
    reply = found.reply or ""
    past = now is not None and found.due_at <= now
    due = f"{'has been due since' if past else 'is due'} {found.due_at:%-d %B %Y at %H:%M} UTC"
    say: list[str] = []
    match found.state:
        case "sent" | "failed" if is_settled(reply):
            say.append(f"Nobody saw its outcome. It was {reply}.")
        case "sent":
            say.append(f"It was sent on {at}, {tries}; the relay said: {reply}.")
        case "failed":
            say.append(f"It could not be delivered ({at}, {tries}): {reply}.")
        case "skipped":
            say.append(_WHY_NOT[found.reason or "cancelled"])
        case "uncertain":
            say.append(
                f"It was handed over, but no answer was seen: {reply}. It is not sent again by itself."
            )
            say.append(
                "When you know more, for instance from the relay's log, settle it:"
                f" mailer deliveries settle {issue} {address} --as sent, --as failed or --as again."
            )
        case "sending":
            say.append("It is with a worker right now.")
        case _ if state is IssueState.paused:
            say.append("It waits: the issue is paused.")
        case _ if is_due_again(reply):
            say.append(f"It is {reply}; it {due}.")
        case _ if found.attempts:
            say.append(f"The last attempt was deferred: {reply}. The next {due}.")
        case _:
            say.append(f"It waits for its turn; it {due}.")
    if suppressed and found.state in ("failed", "skipped"):
        say.append(suppressed)
    if found.resends and found.state in ("sent", "failed"):
        say.append("It was handed over twice, since nobody knew the first outcome: it may have come twice.")
    return say
