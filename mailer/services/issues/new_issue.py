"""Begins an issue, blank or from the last one of its newsletter."""

from dataclasses import dataclass
from datetime import date

from mailer.domain.accounts import Actor
from mailer.domain.errors import ChangeRefused
from mailer.domain.issue_numbers import MAX_NUMBER_CHARS, next_date, next_number
from mailer.domain.states import IssueEventKind, TextSubject, VersionKind
from mailer.domain.versions import TextKey
from mailer.models import Issue, Newsletter
from mailer.services.issues.calendar import FIRST_MONTH, LAST_MONTH
from mailer.services.issues.draft_languages import empty_front_matter
from mailer.services.issues.edit import begin_story
from mailer.store import approvals, contacts, issues, newsletters, text_versions
from mailer.store.database import Database, Session

MAX_DRAFTS = 100
"""Of one newsletter at the same time."""


class NumberTaken(ChangeRefused):
    """The newsletter has an issue with this number already."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the next issue of a newsletter could be."""

    number: str
    """Empty if none can be told from the last one."""
    issue_date: date
    last: int | None
    """The last issue; None if there is none."""
    last_number: str
    languages: tuple[str, ...]
    """Those of the last issue, in the newsletter's order."""
    contact_notes: int
    """Different ones in the last issue."""
    has_header_image: bool


@dataclass(frozen=True, slots=True)
class NewIssue:
    """What a new issue gets. The rest is for one that begins from the last issue."""

    number: str
    issue_date: date
    from_last: bool = False
    """Take over the order of sections, and begin the front matter in its languages.

    A subject begins with the newsletter's name and the number if the last one had its number.
    """
    contact_notes: bool = False
    """Begin a story in each section that had contact notes, with these notes."""
    header_image: bool = False


def propose(database: Database, newsletter: int, today: date) -> Proposal:
    """Return what the next issue of a newsletter could be."""
    with database.transaction() as session:
        return _propose(session, newsletters.by_id(session, newsletter), today)


def begin(database: Database, newsletter: int, wanted: NewIssue, actor: Actor) -> int:
    """Begin an issue. Return its id. Raises NumberTaken, or ChangeRefused for a number or date that cannot be."""
    with database.transaction() as session:
        return begin_issue(session, newsletters.lock(session, newsletter), wanted, actor).id


def begin_next(session: Session, newsletter: Newsletter, today: date, actor: Actor) -> Issue:
    """Begin the next issue of a locked newsletter as it is proposed. Raises ChangeRefused if its number is unknown."""
    proposal = _propose(session, newsletter, today)
    return begin_issue(session, newsletter, NewIssue(proposal.number, proposal.issue_date, from_last=True), actor)


def begin_issue(session: Session, newsletter: Newsletter, wanted: NewIssue, actor: Actor) -> Issue:
    """Begin an issue of a locked newsletter. Raises as ``begin`` does."""
    number = " ".join(wanted.number.split())
    if not number or len(number) > MAX_NUMBER_CHARS or not number.isprintable():
        raise ChangeRefused(f"An issue needs a number of at most {MAX_NUMBER_CHARS} characters, such as 2026/4.")
    if not FIRST_MONTH <= wanted.issue_date.replace(day=1) <= LAST_MONTH:
        raise ChangeRefused("The date is too far away.")
    if issues.by_number(session, newsletter.id, number):
        raise NumberTaken(f"There is an issue {number} already.")
    if issues.count_drafts(session, newsletter.id) >= MAX_DRAFTS:
        raise ChangeRefused(f"The newsletter has {MAX_DRAFTS} drafts; more are not possible.")
    last = next(iter(issues.latest(session, newsletter.id, 1)), None) if wanted.from_last else None
    issue = Issue(newsletter_id=newsletter.id, number=number, issue_date=wanted.issue_date)
    if last is not None:
        issue.section_order, issue.missing_translations = last.section_order, last.missing_translations
        issue.header_image_id = last.header_image_id if wanted.header_image else None
    session.add(issue)
    session.flush()
    issues.log(session, issue.id, actor, IssueEventKind.created, number=number)
    fronts = issues.front_matter(session, last.id) if last is not None else {}
    for language in [tag for tag in newsletter.languages if tag in fronts] or [newsletter.default_language]:
        has_number = last is not None and language in fronts and last.number in fronts[language].subject
        name = newsletter.localize(newsletter.names, language).text
        _begin_front_matter(session, issue, language, f"{name} {number}" if has_number else "", actor)
    if last is not None and wanted.contact_notes:
        _begin_with_contact_notes(session, last, issue, actor)
    approvals.content_changed(session, issue.id, actor)
    return issue


def _propose(session: Session, newsletter: Newsletter, today: date) -> Proposal:
    last, before = [*issues.latest(session, newsletter.id, 2), None, None][:2]
    if last is None:
        return Proposal(f"{today.year}/1", today, None, "", (), 0, False)
    following = next_date(last.issue_date, before.issue_date if before else None, today)
    number, previous = next_number(last.number, last.issue_date, following), last.issue_date
    while number and issues.by_number(session, newsletter.id, number):
        number, previous = next_number(number, previous, following), following
    fronts = issues.front_matter(session, last.id)
    return Proposal(
        number,
        following,
        last.id,
        last.number,
        tuple(tag for tag in newsletter.languages if tag in fronts),
        sum(map(len, _contacts_by_section(session, last).values())),
        last.header_image_id is not None,
    )


def _begin_front_matter(session: Session, issue: Issue, language: str, subject: str, actor: Actor) -> None:
    """Begin front matter as a draft."""
    row = empty_front_matter(issue.id, language, subject)
    session.add(row)
    session.flush()
    if subject:
        key = TextKey(issue.id, TextSubject.front_matter, issue.id, language)
        text_versions.record(session, key, text_versions.content_of(row), actor, VersionKind.saved)


def _begin_with_contact_notes(session: Session, last: Issue, issue: Issue, actor: Actor) -> None:
    for section, notes in _contacts_by_section(session, last).items():
        story, _ = begin_story(session, issue, section)
        for texts in notes:
            contacts.add(session, story, texts, actor)


def _contacts_by_section(session: Session, issue: Issue) -> dict[int, list[dict[str, str]]]:
    """Return section → the texts by language of each different contact note in it, in print order."""
    sections = {story.id: story.section_id for story, _ in issues.stories(session, issue.id)}
    rank = {story: place for place, story in enumerate(sections)}
    found: dict[int, list[dict[str, str]]] = {}
    by_place = sorted(contacts.of_issue(session, issue.id), key=lambda one: (rank[one[0].story_id], one[0].position))
    for contact, texts, _ in by_place:
        notes = found.setdefault(sections[contact.story_id], [])
        if texts and texts not in notes:
            notes.append(texts)
    return {section: notes for section, notes in found.items() if notes}
