"""Looking an issue over, and approving it or not."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import text

from mailer.bootstrap import Mailer
from mailer.domain.states import IssueState, MissingPolicy, WrongState
from mailer.services import approve, compose, expand, schedule
from mailer.services.approve import NotApproved, look_over
from mailer.store import issues
from tests.conftest import NOW

Import = Callable[..., int]


def change(parts: Mailer, statement: str, **values: object) -> None:
    with parts.database.transaction() as session:
        assert session.connection().execute(text(statement), values).rowcount


def approved(parts: Mailer, issue: int) -> list[str]:
    """Approve it as it is now; what is worth knowing."""
    return [
        finding.what
        for finding in approve.approve(
            parts.database, compose.load(parts.database, parts.links, issue), "ann"
        )
    ]


def state(parts: Mailer, issue: int) -> IssueState:
    with parts.database.transaction() as session:
        row = issues.by_id(session, issue)
        assert row is not None
        return row.state


def test_a_whole_issue_is_approved_without_a_word(parts: Mailer, import_issue: Import) -> None:
    issue = import_issue("en", "fr")
    assert approved(parts, issue) == []
    assert state(parts, issue) is IssueState.approved
    assert approved(parts, issue) == [], "twice is the same as once"
    with parts.database.transaction() as session:
        assert [event.what for event in issues.events(session, issue)].count("approved") == 1


def test_a_missing_translation_is_named_or_blocks_by_policy(parts: Mailer, import_issue: Import) -> None:
    issue = import_issue("en", "fr", "bs")
    for policy, says in (
        (MissingPolicy.fall_back, "bs: 8 of 16 stories will be shown in another language, with a label"),
        (MissingPolicy.leave_out, "bs: 8 of 16 stories will be left out"),
    ):
        approve.set_policy(parts.database, issue, policy, "ann")
        found = approved(parts, issue)
        assert len(found) == 1
        assert found[0].startswith(says)
        assert "The travelling library sets out again" in found[0]
        schedule.reopen(parts.database, issue, "ann")
    approve.set_policy(parts.database, issue, MissingPolicy.block, "ann")
    with pytest.raises(NotApproved, match=r"bs: 8 of 16 stories must be translated first"):
        approved(parts, issue)
    assert state(parts, issue) is IssueState.draft


def test_a_story_that_no_fallback_reaches_is_said_to_be_left_out(parts: Mailer, import_issue: Import) -> None:
    issue = import_issue("en", "fr", "bs")
    change(parts, "DELETE FROM story_translation WHERE language <> 'bs' AND headline LIKE 'Nine countries%'")
    charter = "DELETE FROM story_translation f USING story_translation b WHERE f.story_id = b.story_id"
    change(
        parts, charter + " AND f.language = 'fr' AND b.language = 'bs' AND b.headline LIKE 'Devet zemalja%'"
    )
    for language in ("en", "fr"):
        assert (
            f"{language}: 1 of 16 stories will be left out: Devet zemalja potpisalo povelju o rijeci Lumen."
            in (approved(parts, issue))
        )


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE newsletter SET postal_address = '  '", "no mail may go out without one"),
        ("UPDATE issue_translation SET subject = ' ' WHERE language = 'fr'", "fr: the subject is empty"),
        ("UPDATE issue_translation SET status = 'draft'", "No language has a subject"),
        ("UPDATE story_translation SET headline = '' WHERE language = 'en'", "en: a story has no headline"),
        ("DELETE FROM story", "It has no story"),
    ],
)
def test_what_may_not_go_out_is_not_approved(
    parts: Mailer, import_issue: Import, statement: str, complaint: str
) -> None:
    issue = import_issue("en", "fr")
    change(parts, statement)
    with pytest.raises(NotApproved, match=complaint):
        approved(parts, issue)
    assert state(parts, issue) is IssueState.draft


@pytest.mark.parametrize(
    ("statement", "worth_knowing"),
    [
        ("UPDATE issue_translation SET preheader = '' WHERE language = 'fr'", "fr: there is no preheader"),
        ("UPDATE story_translation SET alt = '' WHERE language = 'en'", "has no alt text"),
        (
            "UPDATE issue_translation SET status = 'draft' WHERE language = 'en'",
            "The newsletter's default language en is missing",
        ),
    ],
)
def test_what_is_worth_knowing_is_said(
    parts: Mailer, import_issue: Import, statement: str, worth_knowing: str
) -> None:
    issue = import_issue("en", "fr")
    change(parts, statement)
    assert any(worth_knowing in what for what in approved(parts, issue))
    assert state(parts, issue) is IssueState.approved


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (
            "UPDATE story_translation SET body = repeat('word ', 5000) WHERE headline LIKE 'The ferry%'",
            "en: “The ferry at Port Selin goes electric”: A text has more characters than a mail can carry.",
        ),
        (
            "UPDATE story_translation SET body = repeat('> ', 60) || 'deep' WHERE headline LIKE 'The ferry%'",
            "en: “The ferry at Port Selin goes electric”: A text has lists, quotes or other elements nested",
        ),
        (
            "UPDATE story_translation SET link = 'javascript:alert(1)' WHERE headline LIKE 'The ferry%'",
            "en: “The ferry at Port Selin goes electric”: A link that a mail must not have",
        ),
        (
            "UPDATE issue_translation SET intro = repeat('word ', 5000) WHERE language = 'fr'",
            "fr: the introduction: A text has more characters than a mail can carry.",
        ),
        (
            "UPDATE issue_translation SET subject = 'a' || chr(7) WHERE language = 'fr'",
            "fr: Subject holds the control character",
        ),
    ],
)
def test_what_cannot_be_printed_blocks(
    parts: Mailer, import_issue: Import, statement: str, complaint: str
) -> None:
    issue = import_issue("en", "fr", "bs")
    material = compose.load(parts.database, parts.links, issue)
    assert compose.faults(material, parts.renderer, parts.links, "") == []
    change(parts, statement)
    material = compose.load(parts.database, parts.links, issue)
    faults = compose.faults(material, parts.renderer, parts.links, "")
    assert len(faults) == 1, "a fault that several editions share is told once"
    assert look_over(material, faults)[0].blocks
    with pytest.raises(NotApproved, match=re.escape(complaint)):
        approve.approve(parts.database, material, "ann", faults)
    assert state(parts, issue) is IssueState.draft


def test_an_issue_that_cannot_be_printed_is_paused_and_left_alone(
    parts: Mailer, import_issue: Import, add_readers: Callable[[str], None]
) -> None:
    issue = import_issue("en")
    add_readers("ann@example.org;en;")
    approved(parts, issue)
    change(
        parts, "UPDATE story_translation SET link = 'javascript:alert(1)' WHERE headline LIKE 'The ferry%'"
    )
    schedule.schedule(parts.database, issue, NOW, "ann")
    schedule.begin_due(parts.database, NOW, 10)
    while expand.expand_some(parts.database, issue, NOW):
        pass

    def rendered() -> int:
        return compose.render_stale(parts.database, parts.renderer, parts.links, "", issue, 8)

    def log() -> list[tuple[str, str]]:
        with parts.database.transaction() as session:
            return [(event.what, event.detail) for event in issues.events(session, issue)]

    assert rendered() == 0
    assert state(parts, issue) is IssueState.paused
    what, why = log()[-1]
    assert what == "paused"
    assert why.startswith("cannot be printed: en: A link that a mail must not have")
    schedule.limit(parts.database, issue, 50.0, "ann")
    before = log()
    assert rendered() == 0
    assert log() == before
    change(parts, "UPDATE story_translation SET link = '' WHERE headline LIKE 'The ferry%'")
    assert rendered() == 0, "it waits for somebody to resume it"
    schedule.resume(parts.database, issue, "ann")
    assert rendered() == 1


def test_blocking_findings_come_first(parts: Mailer, import_issue: Import) -> None:
    issue = import_issue("en")
    change(parts, "UPDATE issue_translation SET preheader = '', subject = ''")
    found = look_over(compose.load(parts.database, parts.links, issue))
    assert [finding.blocks for finding in found] == [True, False]


def test_what_changed_while_it_was_looked_over_is_not_approved(parts: Mailer, import_issue: Import) -> None:
    issue = import_issue("en")
    seen = compose.load(parts.database, parts.links, issue)
    import_issue("fr")
    with pytest.raises(NotApproved, match="was changed while it was being looked over"):
        approve.approve(parts.database, seen, "ann")
    assert state(parts, issue) is IssueState.draft


def test_approval_stands_fast(parts: Mailer, import_issue: Import) -> None:
    issue = import_issue("en", "bs")
    approved(parts, issue)
    with pytest.raises(WrongState, match=f"Issue {issue} is approved"):
        approve.set_policy(parts.database, issue, MissingPolicy.leave_out, "ann")
    schedule.schedule(parts.database, issue, NOW, "ann")
    approved(parts, issue)
    assert state(parts, issue) is IssueState.scheduled, "approving again takes nothing off the schedule"
    with pytest.raises(WrongState):
        approve.set_policy(parts.database, issue, MissingPolicy.leave_out, "ann")
    with parts.database.transaction() as session:
        assert issues.by_id(session, issue).missing_policy is MissingPolicy.fall_back  # type: ignore[union-attr]
    schedule.unschedule(parts.database, issue, "ann")
    schedule.reopen(parts.database, issue, "ann")
    approve.set_policy(parts.database, issue, MissingPolicy.leave_out, "ann")


def test_there_is_no_such_issue(parts: Mailer) -> None:
    with pytest.raises(NotApproved, match="There is no issue 7"):
        approve.set_policy(parts.database, 7, MissingPolicy.block, "ann")
