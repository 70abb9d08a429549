"""A wrong setting is named in the error, in a sentence."""

import json
import re

import pytest

from mailer.settings import Settings, SettingsError, read_settings, read_valid_settings
from mailer.settings_values import read_rate


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMTP_PORT", "x"),
        ("SMTP_PORT", "70000"),
        ("PUBLIC_URL", "news.example.org"),
        ("PUBLIC_URL", "https://bücher.example"),
        ("PUBLIC_URL", "https://a b;c"),
        ("PUBLIC_URL", "https://news.example.org:65536"),
        ("PUBLIC_URL", "https://news.example.org:0"),
        ("BOUNCE_DOMAIN", "bücher.example"),
        ("BOUNCE_DOMAIN", "a b"),
        ("SMTP_EHLO_NAME", "a\nb"),
        ("PREVIOUS_SECRET_KEYS", '["short"]'),
        ("PREVIOUS_SECRET_KEYS", "not json"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("DATABASE_URL", "postgresql://mailer:pa/ss@postgres/mailer"),
        ("REDIS_URL", "redis://:pa#ss@redis:6379/0"),
        ("REDIS_URL", "http://localhost"),
        ("SMTP_TLS", "perhaps"),
        ("SMTP_RATE", "fast"),
        ("SMTP_RATE", "-1/s"),
        ("DOMAIN_RATE", "10/fortnight"),
        ("RELAYS", '[{"name": "a", "host": "a.example.org", "colour": "red"}]'),
        ("RELAYS", '[{"name": "a", "host": "a.example.org", "weight": 0}]'),
        ("RELAYS", '[{"name": "a", "host": "a.example.org"}, {"name": "a", "host": "b.example.org"}]'),
        ("PROVIDERS", '[{"name": "a", "domains": ["not a domain"]}]'),
        ("OPENID_ISSUER", "http://login.example.org"),
        ("OPENID_ISSUER", "login.example.org"),
        ("WEB_TRUSTED_PROXIES", "proxy.example.org"),
        ("WEB_TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"MAILER_{name}", value)
    with pytest.raises(SettingsError, match=f"MAILER_{name}"):
        read_settings()


def test_a_provider_of_openid_connect_needs_to_know_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_OPENID_ISSUER", "https://login.example.org")
    settings, problems = read_valid_settings()
    assert [problem.partition(":")[0] for problem in problems] == ["MAILER_OPENID_CLIENT_ID"]
    assert settings.openid_issuer == ""


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_SMTP_PORT", "x")
    monkeypatch.setenv("MAILER_PUBLIC_URL", "news.example.org")
    monkeypatch.setenv("MAILER_RELAYS", '[{"name": "a", "host": "a.example.org", "weight": 0}]')
    monkeypatch.setenv("MAILER_BATCH_SIZE", "7")
    settings, problems = read_valid_settings()
    assert [problem.partition(":")[0] for problem in problems] == [
        "MAILER_PUBLIC_URL",
        "MAILER_SMTP_PORT",
        "MAILER_RELAYS",
    ]
    assert (settings.smtp_port, settings.relays, settings.batch_size) == (1025, [], 7), "what is valid still counts"


def test_a_password_that_breaks_a_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://mailer:tell/nobody@postgres/mailer")
    with pytest.raises(SettingsError) as wrong:
        read_settings()
    assert "tell" not in str(wrong.value) and "%2F" in str(wrong.value)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_value_means_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"MAILER_{name.upper()}", "")
    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("configured", "host", "public_url", "name"),
    [
        ("mx", "mail.example.org", "https://news.example.org", "mx"),
        ("", "mail.example.org", "https://news.example.org", "mail.example.org"),
        ("", "f3a1c09b77de", "https://news.example.org/a", "news.example.org"),
        ("", "mailer-worker-send-1.mailer_default", "https://news.example.org", "news.example.org"),
        ("", "10.0.0.5", "https://news.example.org", "news.example.org"),
        ("", "f3a1c09b77de", "http://203.0.113.5:8025", "[203.0.113.5]"),
        ("", "f3a1c09b77de", "http://[2001:db8::1]:8025", "[IPv6:2001:db8::1]"),
        ("", "f3a1c09b77de", "http://localhost:8025", "[127.0.0.1]"),
    ],
)
def test_the_name_in_ehlo_is_a_full_one(configured: str, host: str, public_url: str, name: str) -> None:
    assert Settings(smtp_ehlo_name=configured, public_url=public_url).ehlo_name(host) == name


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
        smtp_pipelining=False,
        smtp_timeouts={"final": 300},
        public_url="https://example.org",
        relays=[
            {
                "name": "a",
                "host": "a.example.org",
                "password": "secret",
                "timeouts": {"connect": 5},
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


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("10", "MAILER_SMTP_TIMEOUTS: Input should be a valid dictionary"),
        ("{", "MAILER_SMTP_TIMEOUTS: must be a JSON object"),
        ('{"final": 0}', "MAILER_SMTP_TIMEOUTS.final: Input should be greater than 0"),
        ('{"finale": 1}', "MAILER_SMTP_TIMEOUTS.finale"),
    ],
)
def test_time_outs_are_named_and_positive(monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    monkeypatch.setenv("MAILER_SMTP_TIMEOUTS", text)
    with pytest.raises(SettingsError, match=re.escape(problem)):
        read_settings()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1", "[::1]"])
def test_a_login_without_tls_is_fine_on_the_same_host(host: str) -> None:
    assert Settings(smtp_host=host, smtp_username="u").smtp_username == "u"


@pytest.mark.parametrize("host", ["relay.example.org", "192.0.2.1", "[2001:db8::1]", "localhost.example.org"])
def test_a_login_without_tls_elsewhere_must_be_allowed_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("MAILER_SMTP_HOST", host)
    monkeypatch.setenv("MAILER_SMTP_USERNAME", "somebody")
    monkeypatch.setenv("MAILER_SMTP_PASSWORD", "secret")
    settings, problems = read_valid_settings()
    assert settings.smtp_username == ""
    assert problems == [
        f"MAILER_SMTP_TLS: without TLS, the password would go to {host.strip('[]')} in clear text; "
        "set it, or MAILER_SMTP_PASSWORD_IN_CLEAR_TEXT=true"
    ]
    monkeypatch.setenv("MAILER_SMTP_PASSWORD_IN_CLEAR_TEXT", "true")
    assert read_settings().smtp_username == "somebody"
    monkeypatch.setenv("MAILER_SMTP_PASSWORD_IN_CLEAR_TEXT", "false")
    monkeypatch.setenv("MAILER_SMTP_TLS", "starttls")
    assert read_settings().smtp_username == "somebody"


def test_a_login_without_tls_is_refused_for_each_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = {"name": "a", "host": "a.example.org", "username": "somebody"}
    monkeypatch.setenv("MAILER_RELAYS", json.dumps([relay]))
    with pytest.raises(SettingsError, match=r"MAILER_RELAYS\[0\]: without TLS, the password would go to a.example.org"):
        read_settings()
    monkeypatch.setenv("MAILER_RELAYS", json.dumps([relay | {"password_in_clear_text": True}]))
    assert read_settings().relays[0].username == "somebody"


@pytest.mark.parametrize("name", ["SMTP_HOST", "WEB_HOST", "WEB_TRUSTED_PROXIES"])
def test_an_ipv6_address_may_be_written_in_brackets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"MAILER_{name}", "[::1]")
    assert getattr(read_settings(), name.lower()) == "::1"


def test_name_servers_are_read_with_their_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().name_servers == []
    monkeypatch.setenv("MAILER_DNS_SERVERS", "192.0.2.1, 127.0.0.1:5353,[2001:db8::1],[::1]:53000")
    assert read_settings().name_servers == [
        ("192.0.2.1", 53),
        ("127.0.0.1", 5353),
        ("2001:db8::1", 53),
        ("::1", 53000),
    ]
    for wrong in ("dns.example.org", "300.1.1.1", "192.0.2.1:port", "2001:db8::1", "192.0.2.1:0", "[::1]:65536"):
        monkeypatch.setenv("MAILER_DNS_SERVERS", wrong)
        with pytest.raises(SettingsError, match="comma-separated addresses"):
            read_settings()
