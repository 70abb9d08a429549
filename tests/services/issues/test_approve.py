"""Checking and approving issues."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import text

from mailer.bootstrap import Container
from mailer.domain.errors import IssueNotFound
from mailer.domain.issue_check import check_issue
from mailer.domain.states import InvalidIssueState, IssueEventKind, IssueState, MissingTranslationPolicy
from mailer.services.delivery import dispatch, expand
from mailer.services.issues import approve, compile, schedule
from mailer.services.issues.approve import NotApproved
from mailer.store import issues
from tests.conftest import NOW

Import = Callable[..., int]


def change(app: Container, statement: str, **values: object) -> None:
    with app.database.transaction() as session:
        assert session.connection().execute(text(statement), values).rowcount


def approved(app: Container, issue: int) -> list[str]:
    """Approve it as it is now; what is worth knowing."""
    return [
        finding.message
        for finding in approve.approve(app.database, compile.load_issue(app.database, app.urls, issue), "ann")
    ]


def state(app: Container, issue: int) -> IssueState:
    with app.database.transaction() as session:
        row = issues.by_id(session, issue)
        assert row is not None
        return row.state


def test_complete_issue_is_approved_without_findings(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    assert approved(app, issue) == []
    assert state(app, issue) is IssueState.approved
    assert approved(app, issue) == [], "twice is the same as once"
    with app.database.transaction() as session:
        assert [event.kind for event in issues.events(session, issue)].count(IssueEventKind.approved) == 1


def test_a_missing_translation_is_named_or_blocks_by_policy(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr", "bs")
    for policy, says in (
        (
            MissingTranslationPolicy.fallback,
            "bs: 8 of 16 stories will be shown in another language, with a label",
        ),
        (MissingTranslationPolicy.omit, "bs: 8 of 16 stories will be left out"),
    ):
        approve.set_missing_translation_policy(app.database, issue, policy, "ann")
        found = approved(app, issue)
        assert len(found) == 1
        assert found[0].startswith(says)
        assert "The travelling library sets out again" in found[0]
        schedule.reopen(app.database, issue, "ann")
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.block, "ann")
    with pytest.raises(NotApproved, match=r"bs: 8 of 16 stories must be translated first"):
        approved(app, issue)
    assert state(app, issue) is IssueState.draft


def test_a_broken_link_blocks_and_what_cannot_be_shown_is_listed(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    story = "WHERE language = 'fr' AND headline LIKE 'Neuf pays%'"
    change(app, f"UPDATE story_translation SET body = body || E'\n\n[Ici](exemple.org) et <blink>' {story}")
    change(app, "UPDATE issue_translation SET intro = 'A note[^1] and a [link][r].' WHERE language = 'en'")
    with pytest.raises(NotApproved) as refused:
        approved(app, issue)
    assert "en: the introduction: The link “link” has no target" in str(refused.value)
    assert re.search("fr: “Neuf pays.*”: The link “Ici” leads to “exemple.org”", str(refused.value))
    source = compile.load_issue(app.database, app.urls, issue)
    noted = [finding.message for finding in check_issue(source) if not finding.blocks]
    assert ["footnote" in noted[0], "“<blink>” is not formatting" in noted[1], len(noted)] == [True, True, 2]


def test_story_without_fallback_is_reported_as_left_out(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "fr", "bs")
    change(app, "DELETE FROM story_translation WHERE language <> 'bs' AND headline LIKE 'Nine countries%'")
    charter = "DELETE FROM story_translation f USING story_translation b WHERE f.story_id = b.story_id"
    change(app, charter + " AND f.language = 'fr' AND b.language = 'bs' AND b.headline LIKE 'Devet zemalja%'")
    left_out = "en, fr: 1 of 16 stories will be left out: Devet zemalja potpisalo povelju o rijeci Lumen (bs)."
    assert left_out in approved(app, issue)


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE newsletter SET postal_address = '  '", "has no postal address"),
        ("UPDATE issue_translation SET subject = ' ' WHERE language = 'fr'", "fr: the subject is empty"),
        ("UPDATE issue_translation SET status = 'draft'", "No language has a subject"),
        ("UPDATE story_translation SET headline = '' WHERE language = 'en'", "en: a story has no headline"),
        ("DELETE FROM story", "The issue has no stories"),
    ],
)
def test_blocking_findings_prevent_approval(
    app: Container, import_issue: Import, statement: str, complaint: str
) -> None:
    issue = import_issue("en", "fr")
    change(app, statement)
    with pytest.raises(NotApproved, match=complaint):
        approved(app, issue)
    assert state(app, issue) is IssueState.draft


@pytest.mark.parametrize(
    ("statement", "worth_knowing"),
    [
        ("UPDATE issue_translation SET preheader = '' WHERE language = 'fr'", "fr: the preheader is empty"),
        ("UPDATE story_translation SET alt = '' WHERE language = 'en'", "has no alt text"),
        (
            "UPDATE issue_translation SET status = 'draft' WHERE language = 'en'",
            "The issue has no text in en, the newsletter's default language",
        ),
    ],
)
def test_notes_do_not_prevent_approval(
    app: Container, import_issue: Import, statement: str, worth_knowing: str
) -> None:
    issue = import_issue("en", "fr")
    change(app, statement)
    assert any(worth_knowing in what for what in approved(app, issue))
    assert state(app, issue) is IssueState.approved


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (
            "UPDATE story_translation SET body = repeat('word ', 5000) WHERE headline LIKE 'The ferry%'",
            "en: “The ferry at Port Selin goes electric”: A text has too many characters or square brackets for",
        ),
        (
            "UPDATE story_translation SET body = repeat('> ', 60) || 'deep' WHERE headline LIKE 'The ferry%'",
            "en: “The ferry at Port Selin goes electric”: A text has lists, quotes or other elements that are nested",
        ),
        (
            "UPDATE story_translation SET link = 'javascript:alert(1)' WHERE headline LIKE 'The ferry%'",
            "en: “The ferry at Port Selin goes electric”: A link in an email must be an absolute",
        ),
        (
            "UPDATE issue_translation SET intro = repeat('word ', 5000) WHERE language = 'fr'",
            "fr: the introduction: A text has too many characters or square brackets for an email.",
        ),
        (
            "UPDATE issue_translation SET subject = 'a' || chr(7) WHERE language = 'fr'",
            "fr: Subject contains the control character",
        ),
    ],
)
def test_render_error_blocks(app: Container, import_issue: Import, statement: str, complaint: str) -> None:
    issue = import_issue("en", "fr", "bs")
    material = compile.load_issue(app.database, app.urls, issue)
    assert compile.render_errors(material, app.renderer, app.urls, "") == []
    change(app, statement)
    material = compile.load_issue(app.database, app.urls, issue)
    faults = compile.render_errors(material, app.renderer, app.urls, "")
    assert len(faults) == 1, "a fault that several editions share is told once"
    assert check_issue(material, render_errors=faults)[0].blocks
    with pytest.raises(NotApproved, match=re.escape(complaint)):
        approve.approve(app.database, material, "ann", faults)
    assert state(app, issue) is IssueState.draft


def test_render_error_pauses_the_issue_until_resumed(
    app: Container, import_issue: Import, add_subscribers: Callable[[str], None]
) -> None:
    issue = import_issue("en")
    add_subscribers("ann@example.org;en;")
    approved(app, issue)
    change(app, "UPDATE story_translation SET link = 'javascript:alert(1)' WHERE headline LIKE 'The ferry%'")
    schedule.schedule(app.database, issue, NOW, "ann")
    dispatch.start_due(app.database, NOW, 10)
    while expand.expand_next(app.database, issue, NOW):
        pass

    def rendered() -> int:
        return compile.render_stale(app.database, app.renderer, app.urls, "", issue, 8)

    def log() -> list[tuple[str, str]]:
        with app.database.transaction() as session:
            return [(event.kind, event.detail) for event in issues.events(session, issue)]

    assert rendered() == 0
    assert state(app, issue) is IssueState.paused
    what, why = log()[-1]
    assert what == "paused"
    assert why.startswith("en: A link in an email must be an absolute")
    schedule.set_max_rate(app.database, issue, 50.0, "ann")
    before = log()
    assert rendered() == 0
    assert log() == before
    change(app, "UPDATE story_translation SET link = '' WHERE headline LIKE 'The ferry%'")
    assert rendered() == 0, "it waits for somebody to resume it"
    schedule.resume(app.database, issue, "ann")
    assert rendered() == 1


def test_blocking_findings_come_first(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    change(app, "UPDATE issue_translation SET preheader = '', subject = ''")
    found = check_issue(compile.load_issue(app.database, app.urls, issue))
    assert [finding.blocks for finding in found] == [True, False]


def test_issue_changed_during_the_check_is_not_approved(app: Container, import_issue: Import) -> None:
    issue = import_issue("en")
    seen = compile.load_issue(app.database, app.urls, issue)
    import_issue("fr")
    with pytest.raises(NotApproved, match="was changed during the check"):
        approve.approve(app.database, seen, "ann")
    assert state(app, issue) is IssueState.draft


def test_approved_issue_cannot_be_changed(app: Container, import_issue: Import) -> None:
    issue = import_issue("en", "bs")
    approved(app, issue)
    with pytest.raises(InvalidIssueState, match=f"Issue {issue} is approved"):
        approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, "ann")
    schedule.schedule(app.database, issue, NOW, "ann")
    approved(app, issue)
    assert state(app, issue) is IssueState.scheduled, "approving again takes nothing off the schedule"
    with pytest.raises(InvalidIssueState):
        approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, "ann")
    with app.database.transaction() as session:
        assert issues.by_id(session, issue).missing_translations is MissingTranslationPolicy.fallback
    schedule.unschedule(app.database, issue, "ann")
    schedule.reopen(app.database, issue, "ann")
    approve.set_missing_translation_policy(app.database, issue, MissingTranslationPolicy.omit, "ann")


def test_unknown_issue_raises(app: Container) -> None:
    with pytest.raises(IssueNotFound, match="There is no issue 7"):
        approve.set_missing_translation_policy(app.database, 7, MissingTranslationPolicy.block, "ann")
