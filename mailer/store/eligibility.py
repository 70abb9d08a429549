"""Eligibility: the one rule for who may be mailed, and the reason if they may not.

Preview, expansion, the last check before sending, retries and ``explain`` all use it. It is SQL over the aliases
``s`` (subscription; all NULL without one), ``r`` (subscriber), ``x`` (suppression) and ``c`` (language_choice).
Reasons are tested in the order of ``SkipReason``; the first that applies is reported.
"""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from mailer.domain.states import SkipReason
from mailer.domain.subscription_ref import UNDO_WINDOW


class PossibleEdition(NamedTuple):
    """The edition that an issue has for given language preferences."""

    language: str | None
    """None if the issue has no acceptable language."""
    sections: int
    """Mask of the issue's sections with a story in that language."""
    always_mask: int
    """Mask of the sections that every subscriber gets."""


SUPPRESSION_JOIN = "LEFT JOIN suppression x ON x.address_hash = r.address_hash"
IS_SUPPRESSED = "x.address_hash IS NOT NULL"
"""Requires ``SUPPRESSION_JOIN``."""
IS_SUPPRESSED_BY_LOOKUP = "EXISTS (SELECT FROM suppression x WHERE x.address_hash = r.address_hash)"
"""The same without a join, for statements whose rows must stay in the order in which they are read."""
EDITION_MASK = "(s.sections | :always) & c.sections"
"""Mask of the sections in a subscriber's edition. ``:always``: mask of the sections that every subscriber gets."""


def skip_reason(
    *, now: str, digest: str, later: str = "", suppressed: str = IS_SUPPRESSED, with_edition: bool = False
) -> str:
    """Return an SQL expression for the reason why a candidate is skipped, NULL if they get the issue.

    ``now``, ``digest`` and ``later`` are SQL expressions for the time, for whether the issue is a digest, and for
    whether the delivery is due later than now: then only what cannot be undone by then is a reason. ``with_edition``
    also tests whether there is an edition for them; that is decided once, when the audience is expanded.
    """
    conditions = {
        SkipReason.unsubscribed: "s.state IS NULL OR s.state = 'unsubscribed'",
        SkipReason.unconfirmed: "s.state = 'pending'",
        SkipReason.suppressed: suppressed,
        # Monthly subscribers get the issue in a digest, which waits for the end of their pause.
        SkipReason.paused: f"s.paused_until > {now} AND s.frequency <> 'monthly' AND NOT {digest}",
        SkipReason.digest_only: f"s.frequency = 'monthly' AND NOT {digest}",
    }
    if later:
        undone = f"s.changed_at < {now} - interval '{UNDO_WINDOW.total_seconds():.0f} seconds'"
        conditions[SkipReason.unsubscribed] = f"s.state = 'unsubscribed' AND ({undone} OR NOT {later})"
        for reason in (SkipReason.suppressed, SkipReason.paused, SkipReason.digest_only):
            conditions[reason] = f"{conditions[reason]} AND NOT {later}"
    if with_edition:
        conditions |= {
            SkipReason.no_language: "c.language IS NULL",
            SkipReason.nothing_in_sections: f"{EDITION_MASK} = 0",
        }
    cases = " ".join(f"WHEN {conditions[reason]} THEN '{reason}'" for reason in SkipReason if reason in conditions)
    return f"(CASE {cases} END)::skip_reason"


_OF_SUBSCRIBER = """
SELECT {reason}
FROM subscriber r
LEFT JOIN subscription s ON s.newsletter_id = :newsletter AND s.subscriber_id = r.id
{suppression}
CROSS JOIN (SELECT CAST(:language AS text) AS language, CAST(:sections AS bigint) AS sections) c
WHERE r.id = :subscriber
"""


def of_subscriber(
    session: Session,
    newsletter: int,
    subscriber: int,
    now: datetime,
    *,
    digest: bool,
    edition: PossibleEdition | None = None,
) -> SkipReason | None:
    """Return why one subscriber, a candidate of an issue, would not get it now, or None if they would.

    Pass ``edition`` only before they have a delivery; afterwards their edition no longer changes.
    """
    query = _OF_SUBSCRIBER.format(
        reason=skip_reason(now=":now", digest=":digest", with_edition=edition is not None), suppression=SUPPRESSION_JOIN
    )
    values: dict[str, Any] = {
        "newsletter": newsletter,
        "subscriber": subscriber,
        "now": now,
        "digest": digest,
        "language": edition.language if edition else None,
        "sections": edition.sections if edition else 0,
        "always": edition.always_mask if edition else 0,
    }
    reason = session.execute(text(query), values).scalar_one()
    return SkipReason(reason) if reason else None
