"""Explaining a delivery as the command line does."""

from datetime import datetime

from mailer.bootstrap import Container
from mailer.services.delivery import explain
from mailer.services.delivery.explain import Explanation


def explain_delivery(app: Container, issue: int, address: str, now: datetime | None = None) -> Explanation:
    context = explain.SendContext(now or app.clock.now(), app.relay_routes, app.providers, app.urls, "")
    return explain.explain(app.database, issue, address, app.tokens.address_hash(address), context)
