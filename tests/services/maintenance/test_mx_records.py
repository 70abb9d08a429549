"""MX lookups."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mailer.bootstrap import Container
from mailer.services.maintenance import mx_records

NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)


def test_large_domains_are_looked_up_once_a_week(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_subscribers("\n".join(f"reader{n}@ministry.example;en;" for n in range(mx_records.MIN_SUBSCRIBERS)))
    add_subscribers("\n".join(f"reader{n}@institute.example;en;" for n in range(mx_records.MIN_SUBSCRIBERS)))
    add_subscribers("ann@annsown.example;en;")
    asked: list[str] = []

    def exchange(domain: str) -> str:
        asked.append(domain)
        return "aspmx.l.google.com" if domain == "ministry.example" else ""

    assert mx_records.refresh(app.database, exchange, NOW) == 2
    assert sorted(asked) == ["institute.example", "ministry.example"], "a single reader's domain is their own affair"
    assert mx_records.refresh(app.database, exchange, NOW + timedelta(days=6)) == 0
    assert mx_records.refresh(app.database, exchange, NOW + timedelta(days=8)) == 2
    app.traffic_shaper.acquire(1, 1)
    assert app.providers.for_address("ann@ministry.example") == "Gmail"
    assert app.providers.for_address("ann@institute.example") == "institute.example"


def test_lookups_stop_after_several_dns_failures(
    app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    import_issue("en")
    for domain in "abcde":
        add_subscribers("\n".join(f"reader{n}@{domain}.example;en;" for n in range(mx_records.MIN_SUBSCRIBERS)))
    asked: list[str] = []

    def exchange(domain: str) -> str:
        asked.append(domain)
        raise OSError("no answer")

    assert mx_records.refresh(app.database, exchange, NOW) == 0
    assert len(asked) == 3
