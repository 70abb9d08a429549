"""Expand: the frozen audience becomes delivery rows, each with an edition or the reason why not."""

from datetime import datetime

from mailer.domain.editions import Rules, StoryText, sections_shown
from mailer.domain.languages import choose
from mailer.domain.states import IssueState, TranslationStatus
from mailer.models import Issue
from mailer.store import audience, issues, newsletters
from mailer.store.database import Database, Session

_BATCHES_AT_ONCE = 50


def rules_of(session: Session, issue: Issue) -> tuple[Rules, list[StoryText]]:
    """What an issue decides about languages, and its stories as those rules see them."""
    newsletter = newsletters.by_id(session, issue.newsletter_id)
    fronts = issues.front_matter(session, issue.id)
    ready = {tag for tag, row in fronts.items() if row.status is TranslationStatus.ready}
    languages = [tag for tag in newsletter.languages if tag in ready]
    texts = issues.story_texts(session, issue.id)
    stories = [
        StoryText(story.id, section.bit, issues.ready(texts.get(story.id, {})))
        for story, section in issues.stories(session, issue.id)
    ]
    return Rules(languages, newsletter.fallbacks, newsletter.default_language, issue.missing_policy), stories


def choose_languages(session: Session, issue: Issue, lists: list[list[str]]) -> None:
    """Write down which language each list of preferences gets in this issue, and the sections it can show."""
    if not lists:
        return
    rules, stories = rules_of(session, issue)
    shown = {language: sections_shown(stories, language, rules) for language in rules.languages}
    for wanted in lists:
        found = choose(wanted, rules.languages, rules.chains, rules.default)
        language = found.language if found else None
        audience.add_language_choice(session, issue.id, wanted, language, shown.get(language or "", 0))


def expand_some(database: Database, issue: int, now: datetime) -> int:
    """Expand some batches of an issue; returns how many batches. 0 means none is left to take."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None or row.state not in (IssueState.sending, IssueState.paused):
            return 0
        planned = audience.claim_planned(session, issue, _BATCHES_AT_ONCE)
        if planned is None:
            return 0
        newsletter = newsletters.by_id(session, row.newsletter_id)
        quiet = None
        if newsletter.quiet_since is not None and newsletter.quiet_until is not None:
            quiet = (newsletter.quiet_since, newsletter.quiet_until)
        expansion = audience.Expansion(
            session,
            issue,
            newsletter.id,
            newsletters.always_mask(session, newsletter.id),
            planned,
            audience.Timing(now, row.local_time, quiet),
            digest=row.digest_month is not None,
        )
        while not expansion.deliver():
            choose_languages(session, row, expansion.unchosen())
            expansion.add_editions()
        expansion.finish()
        return len(planned.batches)


def settle(database: Database, issue: int, now: datetime) -> bool:
    """Open an issue for sending once every delivery row and every edition stands ready."""
    with database.transaction() as session:
        return audience.settle(session, issue, now)


Counted = tuple[str | None, int, str | None, int]
"""language, mask of sections, reason why not, readers"""


def count_audience(database: Database, issue: int) -> list[Counted]:
    """Who would get what if the issue went out now; freezes nothing."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None:
            return []
        audience.forget_language_choices(session, issue)
        choose_languages(session, row, audience.all_language_lists(session, row.newsletter_id))
        always = newsletters.always_mask(session, row.newsletter_id)
        counted = audience.preview(
            session, issue, row.newsletter_id, always, digest=row.digest_month is not None
        )
        audience.forget_language_choices(session, issue)
        return counted
