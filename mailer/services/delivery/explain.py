"""Explain: why one reader got what they got of an issue, or why not, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

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
from mailer.domain.states import DeliveryState, IssueState, SkipReason
from mailer.domain.throttling import ThrottleScope, ThrottleState
from mailer.models import Delivery, Issue, Subscriber
from mailer.services.delivery.expand import language_choices
from mailer.store import deliveries, eligibility, issues, mail_domains, newsletters, subscribers, throttles
from mailer.store.database import Database, Session


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a reader got what they got. ``sentences`` tell it in plain words; the rest is for programs."""

    issue: int
    address: str
    state: str
    skip_reason: SkipReason | None
    """Why they got nothing, or would get nothing now: of an issue that is not frozen yet, or that waits, or failed."""
    language: str | None
    sections: list[str]
    finished_at: datetime | None
    sentences: list[str] = field(default_factory=list)
    message_id: str | None = None
    """As it stands in the message and in the relay's log; None when it was never handed over."""
    relay: str | None = None
    """Where it was handed over last, if that is known."""


@dataclass(frozen=True, slots=True)
class SendContext:
    """What decides about a delivery besides the rows about it."""

    now: datetime
    routes: Sequence[RelayRoute]
    providers: Providers
    urls: MailUrls
    bounce_domain: str
    """The one that is set; empty for the sender's."""


def explain(
    database: Database, issue: int, address: str, address_hash: bytes, context: SendContext | None = None
) -> Explanation:
    """Why this reader got this edition at this time, or why not. Raises IssueNotFound.

    ``around``: tells also what holds the delivery back, and how its message is found in the relay's log.
    """
    now = context.now if context else datetime.now(UTC)
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        suppression = subscribers.suppression(session, address_hash)
        reader = subscribers.by_hash(session, address_hash)
        suppressed = ""
        if suppression:
            suppressed = (
                f"The address was suppressed on {suppression.created_at:%-d %B %Y}: "
                f"{describe_suppression(suppression.reason, suppression.note)}."
            )
        if reader is None:
            sentences = [f"Nobody with the address {address} is known here."]
            return Explanation(
                issue, address, "unknown", None, None, [], None, [*sentences, *filter(None, [suppressed])]
            )
        tie = subscribers.subscription(session, newsletter.id, reader.id)
        order = ", in that order" if len(reader.languages) > 1 else ""
        say = [f"{address} reads {', '.join(reader.languages) or 'no language in particular'}{order}."]
        titles = {
            section.bit: section.titles.get(newsletter.default_language) or next(iter(section.titles.values()))
            for section in newsletters.sections(session, newsletter.id)
        }
        always = newsletters.always_mask(session, newsletter.id)
        if tie is None:
            say.append(f"They have no subscription to {newsletter.slug}, so they are no candidate for its issues.")
            return Explanation(issue, address, "no subscription", None, None, [], None, say)
        follows = [titles[bit] for bit in section_bits(tie.sections) if bit in titles]
        say.append(
            "They follow every section."
            if len(follows) == len(titles)
            else f"They follow {'; '.join(follows) or 'no section of their own choice'}."
        )
        for consent in subscribers.consents(session, reader.id):
            if consent.newsletter_id == newsletter.id:
                where = describe_consent_channel(consent.channel, consent.note)
                verb = "given" if consent.given else "withdrawn"
                say.append(f"Consent {verb} on {consent.at:%-d %B %Y} by way of {where}.")
        found = deliveries.detail(session, issue, reader.id)
        if found is None:
            reason = None
            if row.frozen_at is None:
                is_candidate, reason = _eligibility_before_expansion(session, row, reader, always, now)
                say.append(f"Issue {issue} is {row.state.value}: its audience is not frozen yet.")
                if not is_candidate:
                    say.append("It is a digest, and they get each issue.")
                elif reason:
                    say.append(f"If it went out now, they would get nothing: {SKIP_REASON_CAUSES[reason]}.")
                else:
                    say.append("If it went out now, they would get it.")
            else:
                say.append(
                    f"They were not subscribed when the audience was frozen, {row.frozen_at:%-d %B %Y at %H:%M} UTC."
                )
            return Explanation(issue, address, "no delivery", reason, None, [], None, say)
        got: list[str] = []
        if found.language:
            got = [titles[bit] for bit in section_bits(found.sections or 0) if bit in titles]
            rules = [tag for tag in newsletter.languages if tag in issues.front_matter(session, issue)]
            choice = choose_language(reader.languages, rules, newsletter.fallbacks, newsletter.default_language)
            why = "chosen"
            if choice and choice.language == found.language:
                why = {
                    "asked": f"because they read {choice.wanted}",
                    "fallback": f"because the newsletter falls back from {choice.wanted} to it",
                    "default": "because nothing they read is there, and it is the newsletter's default",
                }[choice.reason]
            say.append(f"Their edition is in {found.language}, {why}, with: {'; '.join(got)}.")
            if set(section_bits(always)) & set(section_bits(found.sections or 0)) - set(section_bits(tie.sections)):
                say.append("A section that every reader gets is in it, though they did not choose it.")
            if found.fallback_count:
                say.append(f"{found.fallback_count} of its stories had no {found.language} text and were labelled.")
        say += _outcome_sentences(found, issue, address, row.state, suppressed, context.now if context else None)
        reason = found.skip_reason
        if found.state in (DeliveryState.pending, DeliveryState.failed):
            digest = row.digest_month is not None
            _, reason = eligibility.of_subscriber(session, newsletter.id, reader.id, now, digest=digest)
            if reason:
                what = "It will be skipped" if found.state == DeliveryState.pending else "It would not be retried"
                say.append(f"{what}: {SKIP_REASON_CAUSES[reason]}.")
        message, relay = None, None
        if context and found.attempts:
            delivery = session.get(Delivery, (issue, reader.id))
            relay = delivery.relay if delivery else None
            (slots,) = context.urls.subscriber_slots(issue, [reader.id])
            domain = context.bounce_domain or newsletter.sender_domain
            message = f"<{slots.message}@{domain}>"
            say.append(f"Its Message-ID is {message}{f'; it went by the relay “{relay}”' if relay else ''}.")
        if context and found.state == DeliveryState.pending and row.state is IssueState.sending:
            say += _blockers(session, context, address, row.max_rate)
        return Explanation(
            issue,
            address,
            found.state,
            reason,
            found.language,
            got,
            found.finished_at,
            say,
            message,
            relay,
        )


def _eligibility_before_expansion(
    session: Session, issue: Issue, subscriber: Subscriber, always_mask: int, now: datetime
) -> eligibility.Eligibility:
    ((language, sections),) = language_choices(session, issue, [subscriber.languages])
    return eligibility.of_subscriber(
        session,
        issue.newsletter_id,
        subscriber.id,
        now,
        digest=issue.digest_month is not None,
        edition=eligibility.PossibleEdition(language, sections, always_mask),
    )


def _blockers(session: Session, context: SendContext, address: str, max_rate: float | None) -> list[str]:
    """What keeps a delivery from going out, or slows it down."""
    held = throttles.load_all(session)
    context.providers.refresh_mx(mail_domains.mx_hosts(session))
    say = []
    relays = [held.get((ThrottleScope.relay, route.relay)) for route in context.routes]
    if all(relay and relay.is_open(context.now) for relay in relays):
        say += [_throttle_sentence(relay, f"The relay {relay.name}", context.now) for relay in relays if relay]
    domain = address.rpartition("@")[2].lower()
    for name in dict.fromkeys((context.providers.for_address(address), domain)):
        if throttle := held.get((ThrottleScope.provider, name)):
            say.append(_throttle_sentence(throttle, name, context.now))
    if max_rate:
        say.append(f"The issue sends at most {max_rate:g} a second.")
    return [said for said in say if said]


def _throttle_sentence(throttle: ThrottleState, subject: str, now: datetime) -> str:
    """Empty when nothing is held back any more."""
    why = throttle.reason.rstrip(".")
    if throttle.open_until and throttle.is_open(now):
        how = "is suspended" if throttle.manual else "gets nothing"
        # A suspension without an end has one that nobody will see.
        until = f"{throttle.open_until:%-d %B %Y at %H:%M} UTC" if throttle.open_until.year < 9000 else ""
        return f"{subject} {how} until {until or 'somebody resumes it'}: {why}."
    if throttle.is_half_open(now):
        return f"{subject} was held back, and a few messages try whether it takes mail again: {why}."
    slow = throttle.current_rate(now)
    return f"{subject} is slowed down to {slow:.3g} a second: {why}." if slow else ""


def _outcome_sentences(
    delivery: deliveries.DeliveryDetail,
    issue: int,
    address: str,
    state: IssueState,
    suppression_sentence: str,
    now: datetime | None,
) -> list[str]:
    tries = "at the first attempt" if delivery.attempts == 1 else f"after {delivery.attempts} attempts"
    at = f"{delivery.finished_at:%-d %B %Y at %H:%M:%S} UTC" if delivery.finished_at else ""
    reply = delivery.last_reply or ""
    past = now is not None and delivery.due_at <= now
    due = f"{'has been due since' if past else 'is due'} {delivery.due_at:%-d %B %Y at %H:%M} UTC"
    resolved = ""
    if delivery.resolution and delivery.resolution_source:
        resolved = describe_resolution(
            delivery.resolution, delivery.resolution_source, delivery.resolved_by, delivery.resolution_note
        )
    say: list[str] = []
    match delivery.state:
        case "sent" | "failed" if resolved:
            say.append(f"Nobody saw its outcome. It was {resolved}, {at}.")
        case "sent":
            say.append(f"It was sent on {at}, {tries}; the relay said: {reply}.")
        case "failed" if reply.startswith("4"):
            say.append(f"It was given up ({at}, {tries}): {reply}.")
        case "failed":
            say.append(f"It could not be delivered ({at}, {tries}): {reply}.")
        case "skipped":
            say.append(f"Nothing was sent: {SKIP_REASON_CAUSES[delivery.skip_reason or SkipReason.cancelled]}.")
        case "uncertain":
            say.append(f"It was handed over, but no answer was seen: {reply}. It is not sent again by itself.")
            say.append(
                "When you know more, for instance from the relay's log, settle it:"
                f" mailer deliveries resolve {issue} {address} --as sent, --as failed or --as resend."
            )
        case "sending":
            say.append("It is with a worker right now.")
        case _ if state is IssueState.paused:
            say.append("It waits: the issue is paused.")
        case _ if resolved:
            say.append(f"It is {resolved}; it {due}.")
        case _ if delivery.attempts:
            say.append(f"The last attempt was deferred: {reply}. The next {due}.")
        case _:
            say.append(f"It waits for its turn; it {due}.")
    if suppression_sentence and delivery.state in ("failed", "skipped"):
        say.append(suppression_sentence)
    if delivery.resends and delivery.state in ("sent", "failed"):
        say.append("It was handed over twice, since nobody knew the first outcome: it may have come twice.")
    return say
