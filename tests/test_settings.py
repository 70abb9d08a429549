"""A wrong setting is named in the error, in a sentence."""

import pytest

from mailer.settings import Settings, SettingsError, read_settings


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
        ("SMTP_LOCAL_NAME", "a\nb"),
        ("OLD_SECRET_KEYS", '["short"]'),
        ("OLD_SECRET_KEYS", "not json"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("REDIS_URL", "http://localhost"),
        ("SMTP_TLS", "perhaps"),
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
        secret_key="s" * 32, old_secret_keys=["t" * 32], smtp_port=2525, public_url="https://example.org"
    )
    for name, value in here.environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == here
