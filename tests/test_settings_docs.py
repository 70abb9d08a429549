"""docs/settings.md matches the settings."""

from mailer.cli.servers import settings_table
from mailer.settings import ROOT


def test_documented_table_matches_the_settings() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    table = "\n".join(line for line in page.splitlines() if line.startswith("|"))
    assert table == settings_table(), "Put the output of `mailer settings` into docs/settings.md."
