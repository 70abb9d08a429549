"""Learning which domains share their mail servers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mailer.bootstrap import Mailer
from mailer.services import destinations

NOW = datetime(2026, 9, 30, 9, tzinfo=UTC)


def test_domains_of_many_readers_are_looked_up_once_a_week(
    parts: Mailer, import_issue: Callable[..., int], add_readers: Callable[[str], None]
) -> None:
    import_issue("en")
    add_readers("\n".join(f"reader{n}@ministry.example;en;" for n in range(destinations.FEWEST)))
    add_readers("\n".join(f"reader{n}@institute.example;en;" for n in range(destinations.FEWEST)))
    add_readers("ann@annsown.example;en;")
    asked: list[str] = []

    def exchange(domain: str) -> str:
        asked.append(domain)
        return "aspmx.l.google.com" if domain == "ministry.example" else ""

    assert destinations.learn(parts.database, exchange, NOW) == 2
    assert sorted(asked) == ["institute.example", "ministry.example"], (
        "a single reader's domain is their own affair"
    )
    assert destinations.learn(parts.database, exchange, NOW + timedelta(days=6)) == 0
    assert destinations.learn(parts.database, exchange, NOW + timedelta(days=8)) == 2
    parts.gate.leave(1, 1)
    assert parts.destinations.of("ann@ministry.example") == "Gmail"
    assert parts.destinations.of("ann@institute.example") == "institute.example"


def test_a_silent_name_server_is_not_asked_for_ever(
    parts: Mailer, import_issue: Callable[..., int], add_readers: Callable[[str], None]
) -> None:
    import_issue("en")
    for domain in "abcde":
        add_readers("\n".join(f"reader{n}@{domain}.example;en;" for n in range(destinations.FEWEST)))
    asked: list[str] = []

    def exchange(domain: str) -> str:
        asked.append(domain)
        raise OSError("no answer")

    assert destinations.learn(parts.database, exchange, NOW) == 0
    assert len(asked) == 3
