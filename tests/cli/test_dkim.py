"""``mailer dkim key``: the printed record and setting make the service sign its mail."""

import re
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailer.bootstrap import Container
from mailer.cli import commands
from mailer.cli.errors import UsageError
from mailer.settings import Settings, SettingsError, read_settings
from tests.adapters.test_dkim import LATIN, verified


def run(*words: str) -> str:
    done = CliRunner().invoke(commands, ["dkim", "key", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_printed_record_and_setting_are_sufficient(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("--domain", "example.org", "--selector", "s1", "--kind", kind)
    file = tmp_path / "s1.example.org.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    name, record = re.findall(r"^(\S+)\.\n(v=DKIM1.*)$", said, re.MULTILINE)[0]
    setting = re.findall(r"^MAILER_DKIM=(.*)$", said, re.MULTILINE)[0]
    monkeypatch.chdir("/")
    monkeypatch.setenv("MAILER_DKIM", setting)
    settings = read_settings()
    with Container(settings) as parts:
        message = parts.signer.sign(LATIN) + b"".join(LATIN)
    assert [tags["a"] for tags in verified(message, {name: record})] == [f"{kind}-sha256"]

    zone = re.findall(r"^\S+\. IN TXT \( (.*) \)$", said, re.MULTILINE)
    assert len(zone) == (kind == "rsa")
    for strings in zone:
        parts_of_it = re.findall(r'"([^"]*)"', strings)
        assert "".join(parts_of_it) == record
        assert max(map(len, parts_of_it)) <= 255

    # Other processes are given the same settings.
    monkeypatch.setenv("MAILER_DKIM", settings.environment()["MAILER_DKIM"])
    assert read_settings().dkim == settings.dkim


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    run("--domain", "example.org", "--selector", "s1", "--file", str(file))
    before = file.read_bytes()
    with pytest.raises(FileExistsError):
        run("--domain", "example.org", "--selector", "s1", "--file", str(file))
    assert file.read_bytes() == before


@pytest.mark.parametrize("domain", ["", "exa mple.org", "-a.org", "a..org", "пример.рф", "a.org;x", "a" * 64])
def test_invalid_domain_creates_no_key(domain: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--domain"):
        run("--domain", domain, "--selector", "s1", "--file", str(tmp_path / "key.pem"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("s1.pem", r"^MAILER_DKIM: must be a JSON list"),
        ('{"domain": "example.org"}', r"^MAILER_DKIM: "),
        ('[{"domain": "example.org", "selector": "s1"}]', r"^MAILER_DKIM\[0\]\.key_file: "),
        ('[{"domain": "a b", "selector": "s1", "key_file": "x"}]', r"^MAILER_DKIM\[0\]\.domain: "),
        ('[{"domain": "a.b", "selector": "s1", "key_file": "x", "l": 1}]', r"^MAILER_DKIM\[0\]\.l: "),
    ],
)
def test_invalid_setting_is_named(value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_DKIM", value)
    with pytest.raises(SettingsError, match=said):
        read_settings()


def test_unusable_key_file_is_named(tmp_path: Path) -> None:
    keys = [{"domain": "example.org", "selector": "s1", "key_file": tmp_path / "key.pem"}]
    settings = Settings.model_validate({"dkim": keys})
    with (
        Container(settings) as parts,
        pytest.raises(SettingsError, match=r"MAILER_DKIM\[0\].*key\.pem: No such file"),
    ):
        parts.signer  # noqa: B018
    (tmp_path / "key.pem").write_text("nothing")
    with (
        Container(settings) as parts,
        pytest.raises(SettingsError, match=r"MAILER_DKIM\[0\].*not contain a private key"),
    ):
        parts.signer  # noqa: B018


@pytest.mark.parametrize("value", ["", "[]"])
def test_without_keys_no_signature_is_added(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILER_DKIM", value)
    with Container(read_settings()) as parts:
        assert parts.signer.sign(LATIN) == b""
