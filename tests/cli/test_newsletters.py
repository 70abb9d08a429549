"""mailer newsletter …"""

import json
from pathlib import Path

import pytest

from mailer.bootstrap import Container
from mailer.cli.newsletters import apply
from mailer.domain.newsletter_check import NewsletterError
from mailer.services.subscribers import sign_up
from mailer.store import newsletters
from tests.cli.conftest import RunCli
from tests.conftest import SAMPLE, SECRET


@pytest.fixture
def settings_file(app: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sample, to be applied to the test's database."""
    monkeypatch.setenv("MAILER_DATABASE_URL", app.database.url)
    monkeypatch.setenv("MAILER_SECRET_KEY", SECRET)
    file = tmp_path / "newsletter.toml"
    file.write_text((SAMPLE / "newsletter.toml").read_text("utf-8"), "utf-8")
    return file


def with_phrases(file: Path, lines: str) -> Path:
    file.write_text(f"{file.read_text('utf-8')}\n[text_overrides.fr]\n{lines}\n", "utf-8")
    return file


def test_apply_reports_the_result(settings_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = settings_file.with_name("short.toml")
    short.write_text(
        'slug = "short"\nsender_name = "S"\nsender_address = "s@example.org"\npostal_address = "1 Quay"\n'
        'list_id = "s.example.org"\ndefault_language = "en"\nlanguages = ["en"]\nnames = {en = "S"}\n'
        '[[sections]]\nkey = "a"\ntitles = {en = "A"}\n',
        "utf-8",
    )
    apply(short)
    apply(short)
    short.write_text(short.read_text("utf-8").replace('"1 Quay"', '"2 Quay"'), "utf-8")
    apply(short)
    assert capsys.readouterr().out.splitlines() == [
        f"short: {what}, 1 section, 1 language." for what in ("created", "up to date", "changed")
    ]


def test_text_overrides_are_stored(settings_file: Path, app: Container) -> None:
    apply(with_phrases(settings_file, '"Unsubscribe" = "Je pars"'))
    with app.database.transaction() as session:
        found = newsletters.by_slug(session, "lumen-basin")
        assert found and found.text_overrides == {"fr": {"Unsubscribe": "Je pars"}}


def test_invalid_text_overrides_are_refused(settings_file: Path, app: Container) -> None:
    wrong = '"Unsuscribe" = "Je pars"\n"Issue %(number)s" = "Numéro %(num)s"'
    with pytest.raises(NewsletterError) as refused:
        apply(with_phrases(settings_file, wrong))
    first, second = str(refused.value).splitlines()
    assert "text_overrides.fr" in first and "Did you mean “Unsubscribe”?" in first
    assert "must contain %(number)s" in second
    with app.database.transaction() as session:
        assert newsletters.list_all(session) == []


def test_rule_for_repeated_refusals_is_a_newsletter_setting(settings_file: Path, app: Container) -> None:
    text = settings_file.read_text("utf-8")
    settings_file.write_text(f"suppress_after_refused_issues = 8\nsuppress_after_refused_days = 60\n{text}", "utf-8")
    apply(settings_file)
    with app.database.transaction() as session:
        found = newsletters.by_slug(session, "lumen-basin")
        assert found and (found.suppress_after_refused_issues, found.suppress_after_refused_days) == (8, 60)
    settings_file.write_text(f"suppress_after_refused_issues = 1\n{text}", "utf-8")
    with pytest.raises(NewsletterError, match="suppress_after_refused_issues"):
        apply(settings_file)


def test_uncertain_policy_is_a_newsletter_setting(settings_file: Path, app: Container) -> None:
    apply(settings_file)
    text = settings_file.read_text("utf-8")
    settings_file.write_text(f'uncertain_policy = "resend"\n{text}', "utf-8")
    apply(settings_file)
    with app.database.transaction() as session:
        found = newsletters.by_slug(session, "lumen-basin")
        assert found and found.uncertain_policy == "resend"
    settings_file.write_text(f'uncertain_policy = "drop"\n{text}', "utf-8")
    with pytest.raises(NewsletterError, match="uncertain_policy: Input should be 'keep' or 'resend'"):
        apply(settings_file)


def test_retired_section_is_not_offered_to_readers(settings_file: Path, app: Container, mailer: RunCli) -> None:
    mailer("newsletter", "apply", settings_file)

    def offered() -> set[str]:
        page = sign_up.signup_page(app.database, "lumen-basin", ["en"])
        assert page is not None
        return {section.title.text for section in page.sections}

    assert "Culture and heritage" in offered()
    assert mailer("section", "list", "--newsletter", "lumen-basin")[0] == 0
    sections = json.loads(mailer("section", "list", "--newsletter", "lumen-basin", "--json")[1])
    (key,) = (row["key"] for row in sections if row["title"] == "Culture and heritage")
    assert "no longer offered" in mailer("section", "retire", key, "--newsletter", "lumen-basin")[1]
    assert "Culture and heritage" not in offered()
    assert mailer("section", "retire", "none", "--newsletter", "lumen-basin")[2].startswith(
        "mailer: lumen-basin has no section none. It has "
    )
    apply(settings_file)
    assert "Culture and heritage" in offered()


def test_newsletter_is_listed_shown_and_applied_again(mailer: RunCli, settings_file: Path, app: Container) -> None:
    assert mailer("newsletter", "list")[1] == "There are no newsletters yet. Start with: mailer newsletter new SLUG\n"
    mailer("newsletter", "apply", settings_file)
    assert "The Lumen Basin Quarterly" in mailer("newsletter", "list")[1]
    assert json.loads(mailer("newsletter", "list", "--json")[1])[0]["slug"] == "lumen-basin"
    shown = settings_file.with_name("shown.toml")
    shown.write_text(mailer("newsletter", "show", "lumen-basin")[1], "utf-8")
    assert mailer("newsletter", "apply", shown)[1] == "lumen-basin: up to date, 6 sections, 18 languages.\n"
    assert mailer("newsletter", "show", "none")[0] == 2


def test_new_newsletter_starts_from_a_file(
    mailer: RunCli, settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(settings_file.parent)
    assert mailer("newsletter", "new", "river-news")[1].startswith("river-news.toml is written.")
    assert mailer("newsletter", "new", "river-news")[2] == "mailer: river-news.toml exists already.\n"
    assert mailer("newsletter", "apply", "river-news.toml")[1] == "river-news: created, 1 section, 3 languages.\n"
    assert "Example: slug = " in mailer("newsletter", "new", "../x")[2]


def test_section_out_of_the_file_is_retired_and_one_with_a_new_key_renamed(settings_file: Path, app: Container) -> None:
    text = settings_file.read_text("utf-8")
    apply(settings_file)
    apply(with_lines(settings_file, text.replace('key = "water-and-rivers"', 'key = "rivers"')))

    def sections() -> dict[str, tuple[int, bool]]:
        with app.database.transaction() as session:
            newsletter = newsletters.get(session, "lumen-basin")
            return {s.key: (s.bit, s.offered) for s in newsletters.sections(session, newsletter.id)}

    assert "water-and-rivers" not in sections()
    assert sections()["rivers"] == (1, True)
    apply(with_lines(settings_file, text[: text.rindex("[[sections]]")]))
    assert len(sections()) == 6
    assert [offered for _, offered in sections().values()] == [True] * 5 + [False]
    apply(with_lines(settings_file, text))
    assert all(offered for _, offered in sections().values()) and len(sections()) == 6


def with_lines(file: Path, text: str) -> Path:
    file.write_text(text, "utf-8")
    return file
