"""docs/decisions/README.md lists each decision once, by its number and title."""

import re

from mailer.settings import ROOT

FOLDER = ROOT / "docs" / "decisions"


def test_each_decision_has_a_number_of_its_own_and_a_line() -> None:
    files = sorted(file.name for file in FOLDER.glob("0*.md"))
    assert [name[:4] for name in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    listed = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+?) \|", (FOLDER / "README.md").read_text("utf-8"), re.M)
    assert [name for _, name, _ in listed] == files
    for number, name, title in listed:
        assert (FOLDER / name).read_text("utf-8").startswith(f"# {number} {title}\n")
