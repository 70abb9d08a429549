"""A wrong setting is named in the error, in a sentence."""

import pytest

from mailer.settings import Settings, SettingsError, read_rate, read_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_PORT", "x"),
        ("SMTP_PORT", "70000"),
        ("PUBLIC_URL", "news.example.org"),
        ("PUBLIC_URL", "https://bücher.example"),
        ("PUBLIC_URL", "https://a b;c"),
        ("BOUNCE_DOMAIN", "bücher.example"),
        ("BOUNCE_DOMAIN", "a b"),
        ("SMTP_EHLO_NAME", "a\nb"),
        ("PREVIOUS_SECRET_KEYS", '["short"]'),
        ("PREVIOUS_SECRET_KEYS", "not json"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("REDIS_URL", "http://localhost"),
        ("SMTP_TLS", "perhaps"),
        ("SMTP_RATE", "fast"),
        ("SMTP_RATE", "-1/s"),
        ("DOMAIN_RATE", "10/fortnight"),
        ("RELAYS", '[{"name": "a", "host": "a.example.org", "colour": "red"}]'),
        ("RELAYS", '[{"name": "a", "host": "a.example.org", "weight": 0}]'),
        ("RELAYS", '[{"name": "a", "host": "a.example.org"}, {"name": "a", "host": "b.example.org"}]'),
        ("PROVIDERS", '[{"name": "a", "domains": ["not a domain"]}]'),
        ("WEB_TRUSTED_PROXIES", "proxy.example.org"),
        ("WEB_TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MAILER_{name}", value)
    with pytest.raises(SettingsError, match=f"MAILER_{name}"):
        read_settings()


@pytest.mark.parametrize(
    "url",
    ["https://news.example.org/", "http://127.0.0.1:8025", "http://[::1]:8025", "https://example.org/news"],
)
def test_a_public_address_may_have_a_port_and_a_path(url: str) -> None:
    assert Settings(public_url=url).public_url == url.rstrip("/")


def test_another_process_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Settings(
        secret_key="s" * 32,
        previous_secret_keys=["t" * 32],
        smtp_port=2525,
        smtp_rate="5/day",
        public_url="https://example.org",
        relays=[
            {
                "name": "a",
                "host": "a.example.org",
                "password": "secret",
                "rate": "600/min",
                "warm_up": {"starts_on": "2026-11-01", "first_day_limit": 500},
            }
        ],
    )
    for name, value in here.environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == here


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50/s", 50), ("600/min", 10), ("7200 / h", 2), ("86400/day", 1), ("", 0), ("2.5", 2.5)],
)
def test_a_rate_is_read_in_messages_a_second(text: str, rate: float) -> None:
    assert read_rate(text) == rate
