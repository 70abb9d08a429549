"""Output and errors of the commands that write an issue, and of ``mailer issue`` and ``mailer explain`` in general."""

import codecs
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.issue_links import web_links
from mailer.domain.network_checks import LookupKind, LookupOutcome, LookupResult
from mailer.services.issues import compile
from mailer.store import network_lookups
from tests.cli.conftest import RunCli
from tests.conftest import SAMPLE, SECRET

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
GOOD = "## News\n\n### One\n\n**1 May 2026, Velt:** Text.\n"


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No database answers, and no embedded one may start."""
    monkeypatch.setenv("MAILER_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    monkeypatch.setenv("MAILER_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def test_dry_run_prints_the_parsed_document_without_a_database(mailer: RunCli, nowhere: Path) -> None:
    status, out, _ = mailer("issue", "import", SAMPLE / "2026-3.en.md", "--dry-run", "--json")
    assert status == 0
    said = json.loads(out)
    assert said["intro"].startswith("Welcome")
    assert len(said["sections"]) == 6
    stories = [story for section in said["sections"] for story in section["stories"]]
    assert len(stories) == 16
    assert all(section["title"] for section in said["sections"])
    assert all(story["headline"] and story["body"] for story in stories)
    first = stories[1]["datelines"][0]
    assert first == {
        "text": "7-8 July 2026, Mirova, Selvania",
        "dates": [{"start": "2026-07-07", "end": "2026-07-08"}],
        "place": "Mirova, Selvania",
    }
    notes = [note for story in stories for note in story["contacts"]]
    assert len(notes) == 7 and all(note["text"].startswith("(For info") for note in notes)
    assert {"line", "why"} >= {key for doubt in said["unsure"] for key in doubt}
    assert not (nowhere / "state").exists()


def test_dry_run_shows_the_stories_that_notes_cover(mailer: RunCli, nowhere: Path) -> None:
    _, out, _ = mailer("issue", "import", SAMPLE / "2026-3.en.md", "--dry-run")
    lines = out.splitlines()
    assert lines[0] == "6 sections, 16 stories, 7 contact notes. Nothing was imported."
    assert "    (For info: Marlo Testwell, marlo.testwell@example.org)" in lines
    assert "    (For info on all of the above: Ina Sample, ina.sample@example.org)  for this and 1 story above" in lines


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The file is empty."),
        (b" \n\n", "The file is empty: it contains only white space."),
        (bytes(range(256)) * 400, "The file is not text but binary data; save the newsletter"),
        (GOOD.encode("utf-16-le"), "The file is not text but binary data; save the newsletter"),
        (GOOD.replace("One", "Ünë").encode("latin-1"), "The file is not UTF-8 text (see line 3); save"),
        (codecs.BOM_UTF16_LE + b"a", "The file is not UTF-16 text (see line 1); save"),
        (b"%PDF-1.7", "The file is a PDF, not Markdown text; save"),
        (b"Only a sentence.", "The document has no story: a story begins with a heading such as"),
        (b"a" * 52_428_800, "The file is 50 MB; a newsletter document is at most 5 MB."),
        (b"---\ndate: May\n---\n" + GOOD.encode(), "Line 2 has the date “May”; write dates as 2026-09-30."),
    ],
    ids=[
        "empty",
        "blank",
        "binary",
        "utf-16",
        "latin-1",
        "half-utf-16",
        "pdf",
        "storyless",
        "large",
        "date",
    ],
)
@pytest.mark.parametrize("how", [["--dry-run"], ["--newsletter", "lumen-basin", "--language", "en"]])
def test_invalid_document_is_reported_in_one_sentence(
    mailer: RunCli, nowhere: Path, data: bytes, said: str, how: list[str]
) -> None:
    file = nowhere / "issue.md"
    file.write_bytes(data)
    status, out, err = mailer("issue", "import", file, *how)
    assert (status, out) == (2, "")
    assert err.startswith(f"mailer: {said}")
    assert err.endswith(".\n") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("issue status 7", "There is no issue 7. List all issues with: mailer issue list."),
        ("issue send 7", "There is no issue 7. List all issues with: mailer issue list."),
        ("explain 7 ada@example.org", "There is no issue 7. List all issues with: mailer issue list."),
        (
            "explain 7 ada",
            "The address “ada” is not valid: An email address must have an @-sign.",
        ),
        (
            "suppress ada@example.org nonsense",
            "The address “nonsense” is not valid: An email address must have an @-sign. Nothing was done.",
        ),
        ("issue cancel 7", "There is no issue 7. List all issues with: mailer issue list."),
        ("issue rate 7 0/s", "“0/s” would send nothing. Pause the issue with: mailer issue pause 7"),
        ("issue rate 7 0", "“0” would send nothing. Pause the issue with: mailer issue pause 7"),
        ("issue import {good} --language en", "Give the newsletter with --newsletter SLUG"),
        ("issue import {good} --newsletter none --language en", "There is no newsletter “none”."),
        (
            "issue import {good} --newsletter none --language xx-",
            "“xx-” is not a language tag such as en, sr-Latn or pt-BR.",
        ),
        ("issue import {missing} --dry-run", "{missing}: No such file or directory."),
        ("issue import {folder} --dry-run", "{folder}: Is a directory."),
    ],
)
def test_invalid_argument_is_reported_in_one_sentence(
    mailer: RunCli, cli_app: Container, tmp_path: Path, words: str, said: str
) -> None:
    good = tmp_path / "good.md"
    good.write_text(GOOD)
    names = {"good": good, "missing": tmp_path / "missing.md", "folder": tmp_path}
    status, out, err = mailer(*words.format(**names).split())
    assert (status, out) == (2, "")
    assert err.startswith(f"mailer: {said.format(**names)}")
    assert err.endswith(".\n") and ".." not in err and err.count("\n") == 1


class Terminal(io.StringIO):
    """Standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


SHORT = """---
number: 7
language: en
---

Hello.

## News and events

### A bridge opens

**1 May 2026, Velt:** The mayor cut the ribbon.

### Otters return

**2 May 2026, Mirova:** Two young ones swam past.
"""


@pytest.fixture
def short(mailer: RunCli, cli_app: Container, tmp_path: Path) -> Path:
    """Import a short issue, with id 1. Return its document."""
    file = tmp_path / "7.en.md"
    file.write_text(SHORT, "utf-8")
    assert mailer("newsletter", "apply", SAMPLE / "newsletter.toml")[0] == 0
    _, out, err = mailer("issue", "import", file, "--newsletter", "lumen-basin")
    assert (out, err) == ("Issue 1 (7) in en: new. 1 section, 2 stories, 0 contact notes.\n", "")
    return file


def test_import_asks_in_a_terminal_before_it_removes_stories(
    mailer: RunCli, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short.write_text(SHORT[: SHORT.index("### Otters")], "utf-8")
    words = ("issue", "import", short, "--newsletter", "lumen-basin")
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert mailer(*words)[1] == (
        "7.en.md no longer has 1 story of the issue:\n  Otters return\n"
        "Remove them from the issue, with their translations? [y/N]: Nothing was imported.\n"
    )
    assert "Otters return" in mailer("issue", "story", "list", 1)[1]
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert "  removed: Otters return\n" in mailer(*words)[1]
    assert "Otters return" not in mailer("issue", "story", "list", 1)[1]
    assert "removed" not in mailer(*words)[1]


def test_import_by_a_program_removes_and_lists(mailer: RunCli, short: Path) -> None:
    short.write_text(SHORT[: SHORT.index("### Otters")], "utf-8")
    out = mailer("issue", "import", short, "--newsletter", "lumen-basin", "--json")[1]
    assert json.loads(out)["removed"] == ["Otters return"]


def test_unknown_heading_is_refused_or_made_for_the_issue(mailer: RunCli, short: Path) -> None:
    short.write_text(SHORT.replace("News and events", "News and event"), "utf-8")
    words = ("issue", "import", short, "--newsletter", "lumen-basin")
    assert mailer(*words) == (
        2,
        "",
        "mailer: The document has a heading for which lumen-basin has no section:\n"
        "  line 8: “News and event”; did you mean “News and events”?\n"
        "Correct the headings, add the sections to the newsletter's file, or import with --new-sections to make them "
        "for this issue.\n",
    )
    assert "  new section, for this issue: News and event\n" in mailer(*words, "--new-sections")[1]
    assert json.loads(mailer("section", "list", "--newsletter", "lumen-basin", "--json")[1])[-1] == {
        "key": "news-and-event",
        "title": "News and event",
        "offered": False,
        "always_included": False,
        "followers": 0,
    }


def test_story_is_removed_and_draft_deleted(mailer: RunCli, short: Path) -> None:
    stories = json.loads(mailer("issue", "story", "list", 1, "--json")[1])
    assert [(s["headline"], s["languages"]) for s in stories] == [("A bridge opens", ["en"]), ("Otters return", ["en"])]
    gone = stories[1]["story"]
    assert mailer("issue", "story", "remove", 1, gone, "--language", "fr")[2] == (
        "mailer: “Otters return” has no text in fr. Its languages: en.\n"
    )
    assert mailer("issue", "story", "remove", 1, gone)[1] == "Issue 1: removed “Otters return”.\n"
    assert mailer("issue", "story", "remove", 1, gone)[2] == f"mailer: Issue 1 has no story {gone}.\n"
    assert "story_removed  Otters return" in mailer("issue", "log", 1)[1]
    mailer("issue", "approve", 1)
    assert mailer("issue", "delete", 1)[2] == (
        "mailer: Issue 1 is approved; only a draft can be deleted. Withdraw the approval: mailer issue reopen 1.\n"
    )
    mailer("issue", "reopen", 1)
    assert mailer("issue", "delete", 1, "--yes")[1] == "Issue 1 is deleted.\n"
    assert mailer("issue", "status", 1)[0] == 2
    assert "new" in mailer("issue", "import", short, "--newsletter", "lumen-basin")[1]


def test_check_shows_findings_readers_and_editions(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int], add_subscribers: Callable[[str], None]
) -> None:
    issue = import_issue("en", "bs")
    add_subscribers("""
        ann@example.org;en;
        bea@example.org;en;water-and-rivers
        gil@example.org;bs;
        hal@example.org;it en;water-and-rivers
    """)
    assert "seems to speak of" not in mailer("issue", "check", issue)[1], "partial editions have their own subject"
    with cli_app.database.transaction() as session:
        session.execute(text("UPDATE issue_translation SET partial_subject = ''"))
    out = mailer("issue", "check", issue)[1]
    assert "warning: 1 reader prefers it, in which the issue has no text: 1 will get it in en.\n" in out
    assert "note: bs: 8 of 16 stories will be shown in another language, with a label: Two thousand pupils" in out
    assert "4 readers would get it now, in 3 editions.\n" in out
    assert "Dvije" not in out, "stories are named in the newsletter's default language"
    assert "Devet zemalja" in mailer("issue", "check", issue, "--language", "bs")[1]
    shown = json.loads(mailer("issue", "check", issue, "--json")[1])
    english, bosnian = shown["languages"]
    assert (english["subscribers"], english["editions"], english["stories"]) == (3, 2, 16)
    assert (bosnian["subscribers"], bosnian["stories"]) == (1, 8)
    assert english["words"] > 2000 > bosnian["words"] > 900
    assert {(row["language"], len(row["sections"]), row["subscribers"]) for row in shown["editions"]} == {
        ("en", 6, 1),
        ("en", 1, 2),
        ("bs", 6, 1),
    }
    assert all(10_000 < row["html_bytes"] < 102_000 for row in shown["editions"])
    lacking = next(one for one in shown["findings"] if one["kind"] == "language_without_text")
    assert (lacking["severity"], lacking["subscribers"]) == ("warning", 1)
    editions = mailer("issue", "check", issue, "--editions")[1]
    assert "water-and-rivers" in editions and "water-and-rivers" not in out


def test_check_counts_links_and_waits_for_workers_that_look_them_up(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = import_issue("en")
    links = web_links(compile.load_issue(cli_app.database, cli_app.urls, issue))
    with cli_app.database.transaction() as session:
        for link, outcome in zip(links, LookupOutcome, strict=False):
            network_lookups.save(session, LookupKind.link, link, LookupResult(outcome), NOW)
    counts = "1 works, 1 does not work, 1 could not be looked up, 1 was not checked"
    hint = f"Look them up: mailer issue check {issue} --look-up\n"
    out = mailer("issue", "check", issue)[1]
    assert f"\n{len(links)} links: {counts}, {len(links) - 4} have not been looked up.\n" in out
    assert hint in out
    for _ in range(2):  # the second time it is already running
        status, out, _ = mailer("issue", "check", issue, "--look-up", "--wait", 0)
        assert (status, hint in out) == (0, False)
        assert "They are being looked up by a worker (mailer run).\n" in out
    assert hint not in mailer("issue", "check", issue)[1]
    with cli_app.database.transaction() as session:
        network_lookups.finish(session, issue, NOW)
    monkeypatch.setenv("MAILER_NETWORK_CHECKS", "false")
    assert hint not in mailer("issue", "check", issue)[1]


def test_test_is_queued_for_the_workers(mailer: RunCli, cli_app: Container, import_issue: Callable[..., int]) -> None:
    issue = import_issue("en")
    words = ("issue", "test", issue, "--to", "ann@example.org", "--wait", 0)
    assert mailer(*words)[1] == "The test waits to be sent to ann@example.org. Workers send it: mailer run.\n"
    assert "tested  en" in mailer("issue", "log", issue)[1]
    assert mailer(*words, "--language", "fr")[2] == (f"mailer: Issue {issue} has no text in fr. Its languages: en.\n")
    assert mailer(*words, "--sections", "nope")[2].startswith("mailer: There is no section nope.")
    assert mailer("issue", "test", issue, "--to", "ann")[0] == 2


def test_an_issue_is_begun_from_the_last_one(
    mailer: RunCli, cli_app: Container, import_issue: Callable[..., int]
) -> None:
    import_issue("en")
    status, out, err = mailer("issue", "new", "lumen-basin", "--date", "2026-12-15")
    assert not err
    assert (status, out) == (0, "Issue 2 (2026/4) of lumen-basin, dated 2026-12-15.\n")
    status, _, err = mailer("issue", "new", "lumen-basin", "--number", "2026/4", "--blank")
    assert (status, "There is an issue 2026/4 already." in err) == (2, True)
    status, _, err = mailer("issue", "new", "nowhere")
    assert (status, "There is no newsletter “nowhere”." in err) == (2, True)
