"""Approve: look an issue over, every edition of it, and let it be sent or not."""

from collections.abc import Sequence
from dataclasses import dataclass

from mailer.domain.composition import IssueMaterial
from mailer.domain.editions import missing, shown_in
from mailer.domain.states import EDITABLE, IssueState, MissingPolicy, WrongState, check_move
from mailer.store import issues
from mailer.store.database import Database


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a coordinator should know before the issue goes out. ``blocks``: it cannot go out so."""

    blocks: bool
    what: str


class NotApproved(ValueError):
    """The issue cannot be approved as it is; the message lists why."""


def look_over(material: IssueMaterial, faults: Sequence[tuple[str, str]] = ()) -> list[Finding]:
    """What is wrong or worth knowing, the blocking ones first. ``faults``: (language, why) of what cannot be
    printed."""
    found: list[Finding] = []

    def add(blocks: bool, what: str) -> None:
        found.append(Finding(blocks, what))

    for language, why in faults:
        add(True, f"{language}: {why}")
    rules = material.rules
    if not material.stories:
        add(True, "It has no story.")
    if not rules.languages:
        add(True, "No language has a subject and an introduction.")
    if not material.postal_address.strip():
        add(True, "The newsletter has no postal address; no mail may go out without one.")
    if rules.default not in rules.languages and rules.languages:
        add(False, f"The newsletter's default language {rules.default} is missing.")
    for language in rules.languages:
        front = material.fronts[language]
        if not front.subject.strip():
            add(True, f"{language}: the subject is empty.")
        if not front.preheader.strip():
            add(False, f"{language}: there is no preheader; inboxes will show the first words instead.")
    gaps = missing(material.texts(), rules)
    by_fate: dict[tuple[str, str], list[str]] = {}
    headline = {
        story.story: next((text.headline for text in story.texts.values()), "?") for story in material.stories
    }
    texts = {story.story: story for story in material.texts()}
    for gap, language in gaps:
        fate = "will be shown in another language, with a label"
        if rules.policy is MissingPolicy.block:
            fate = "must be translated first"
        elif shown_in(texts[gap], language, rules) is None:
            fate = "will be left out"
        by_fate.setdefault((language, fate), []).append(headline[gap])
    for (language, what), headlines in by_fate.items():
        add(
            rules.policy is MissingPolicy.block,
            f"{language}: {len(headlines)} of {len(material.stories)} stories {what}: {'; '.join(headlines)}.",
        )
    for story in material.stories:
        for language, text in story.texts.items():
            if story.picture and not text.alt.strip():
                add(False, f"{language}: the picture of “{text.headline}” has no alt text.")
            if not text.headline.strip():
                add(True, f"{language}: a story has no headline.")
    return sorted(found, key=lambda finding: not finding.blocks)


def approve(
    database: Database, material: IssueMaterial, actor: str, faults: Sequence[tuple[str, str]] = ()
) -> list[Finding]:
    """Approve an issue; returns what is worth knowing. ``faults`` as for ``look_over``.

    Raises NotApproved or WrongState.
    """
    findings = look_over(material, faults)
    blocking = [finding.what for finding in findings if finding.blocks]
    if blocking:
        raise NotApproved("\n".join([f"Issue {material.issue} cannot be approved:", *blocking]))
    with database.transaction() as session:
        row = issues.locked(session, material.issue)
        if row is None or row.revision != material.revision:
            raise NotApproved(
                f"Issue {material.issue} was changed while it was being looked over. Look again."
            )
        if row.state not in (IssueState.approved, IssueState.scheduled):
            check_move(row.id, row.state, IssueState.approved)
            row.state = IssueState.approved
            issues.log(session, row.id, actor, "approved", f"revision {row.revision}")
    return findings


def set_policy(database: Database, issue: int, policy: MissingPolicy, actor: str) -> None:
    """What happens to stories without a translation. Raises WrongState once the issue is approved."""
    with database.transaction() as session:
        row = issues.locked(session, issue)
        if row is None:
            raise NotApproved(f"There is no issue {issue}. See them with: mailer issue list.")
        if row.state not in EDITABLE:
            raise WrongState(f"Issue {issue} is {row.state.value}, and what it shows stands fast.")
        if row.missing_policy is not policy:
            row.missing_policy = policy
            issues.touch(session, issue)
            issues.log(session, issue, actor, "policy", policy.value)
