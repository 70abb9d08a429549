"""Recording outcomes also suppresses addresses."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.states import DeliveryState
from mailer.services.delivery.send.recorder import record
from mailer.store import batches, ledger
from mailer.store.ledger import DeliveryUpdate


@pytest.mark.parametrize(
    ("reply", "reason"),
    [("552 5.2.2 mailbox full", "repeated_refusals"), ("550 5.7.1 spam", None), ("not sent: a line break", None)],
)
def test_repeated_refusal_suppresses(
    app: Container,
    prepared_issue: Callable[..., int],
    reply: str,
    reason: str | None,
) -> None:
    prepared_issue("ada@example.org;en;", "en")
    with app.database.transaction() as session:
        session.execute(
            text("UPDATE newsletter SET suppress_after_refused_issues = 1, suppress_after_refused_days = 0")
        )
        claim = batches.claim(session, 1, app.journals.worker, timedelta(minutes=1))
        assert claim
        ((delivery,), _, _) = ledger.reserve(session, claim, claim.first_subscriber_id, 10)
        update = DeliveryUpdate(delivery.subscriber, DeliveryState.failed, reply)
        record(session, claim, [update], claim.epoch, datetime.now(UTC))
        assert session.scalar(text("SELECT reason FROM suppression")) == reason
