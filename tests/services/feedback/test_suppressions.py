"""Suppressing and lifting an address by hand, and asking for many addresses at once."""

from datetime import UTC, datetime

from mailer.bootstrap import Container
from mailer.domain.accounts import AuditAction
from mailer.domain.suppressions import SuppressionReason, SuppressionSource
from mailer.services.accounts import audit
from mailer.services.feedback import suppressions


def test_a_suppression_by_hand_and_its_record_are_one_change(app: Container) -> None:
    now, ada = datetime.now(UTC), app.tokens.address_hash("ada@example.org")
    assert not suppressions.lift_by_hand(app.database, ada, "a call", "ann", now)
    suppressions.suppress_by_hand(app.database, ada, SuppressionReason.manual, "ada@example.org wrote", "ann", now)
    found = suppressions.find(app.database, ada)
    assert found and (found.source, found.note) == (SuppressionSource.staff, "… wrote (ann)")
    assert suppressions.lift_by_hand(app.database, ada, "a call", "ann", now)
    assert suppressions.find(app.database, ada) is None
    events = audit.search(app.database, None, "ann", None)
    assert [(event.action, event.object_kind, event.detail) for event in events] == [
        (AuditAction.suppression_lifted, "", {"reason": "a call"}),
        (AuditAction.address_suppressed, "", {"reason": "… wrote"}),
    ]


def test_suppressed_addresses_among_many(app: Container) -> None:
    ada, bob = (app.tokens.address_hash(f"{name}@example.org") for name in ("ada", "bob"))
    suppressions.suppress_by_hand(app.database, bob, SuppressionReason.complaint, "", "ann", datetime.now(UTC))
    assert suppressions.suppressed_among(app.database, [ada, bob]) == {bob}
    assert suppressions.suppressed_among(app.database, []) == set()
