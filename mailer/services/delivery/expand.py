"""Expansion of the frozen audience into delivery rows, each with an edition or a skip reason."""

from datetime import datetime

from mailer.domain.editions import LanguageRules, StoryLanguages, sections_shown
from mailer.domain.languages import choose_language
from mailer.domain.states import IssueState, SkipReason, TranslationStatus
from mailer.models import Issue
from mailer.store import audience, issues, newsletters
from mailer.store.database import Database, Session

_BATCHES_PER_TRANSACTION = 50


def load_language_rules(session: Session, issue: Issue) -> tuple[LanguageRules, list[StoryLanguages]]:
    """Return the language rules of an issue, and the languages of its stories."""
    newsletter = newsletters.by_id(session, issue.newsletter_id)
    fronts = issues.front_matter(session, issue.id)
    ready = {tag for tag, row in fronts.items() if row.status is TranslationStatus.ready}
    languages = [tag for tag in newsletter.languages if tag in ready]
    texts = issues.story_texts(session, issue.id)
    stories = [
        StoryLanguages(story.id, section.bit, issues.ready_languages(texts.get(story.id, {})))
        for story, section in issues.stories(session, issue.id)
    ]
    return LanguageRules(
        languages, newsletter.fallbacks, newsletter.default_language, issue.missing_translations
    ), stories


def choose_languages(session: Session, issue: Issue, preference_lists: list[list[str]]) -> None:
    """Store the language for each list of preferred languages, with the sections that have stories in it."""
    for preferences, (language, sections) in zip(
        preference_lists, language_choices(session, issue, preference_lists), strict=True
    ):
        audience.add_language_choice(session, issue.id, preferences, language, sections)


def language_choices(session: Session, issue: Issue, preference_lists: list[list[str]]) -> list[tuple[str | None, int]]:
    """Return the language for each list of preferred languages, with the mask of sections that have stories in it."""
    if not preference_lists:
        return []
    rules, stories = load_language_rules(session, issue)
    masks = {language: sections_shown(stories, language, rules) for language in rules.languages}
    choices = []
    for preferences in preference_lists:
        choice = choose_language(preferences, rules.languages, rules.fallback_chains, rules.default_language)
        language = choice.language if choice else None
        choices.append((language, masks.get(language or "", 0)))
    return choices


def expand_next(database: Database, issue: int, now: datetime) -> int:
    """Expand some batches of an issue. Return their number; 0 if none are available."""
    with database.transaction() as session:
        row = issues.find(session, issue)
        if row is None or row.state not in (IssueState.sending, IssueState.paused):
            return 0
        planned = audience.claim_planned(session, issue, _BATCHES_PER_TRANSACTION)
        if planned is None:
            return 0
        newsletter = newsletters.by_id(session, row.newsletter_id)
        quiet = None
        if newsletter.quiet_from is not None and newsletter.quiet_until is not None:
            quiet = (newsletter.quiet_from, newsletter.quiet_until)
        expansion = audience.Expansion(
            session,
            issue,
            newsletter.id,
            newsletters.always_mask(session, newsletter.id),
            planned,
            audience.DueTimes(now, row.local_time, quiet),
            digest=row.digest_month is not None,
        )
        while not expansion.insert_deliveries():
            choose_languages(session, row, expansion.without_language_choice())
            expansion.add_editions()
        expansion.finish()
        return len(planned.batch_ids)


AudienceCount = tuple[str | None, int, SkipReason | None, int]
"""(language, section mask, skip reason, number of readers)"""


def count_audience(database: Database, issue: int) -> list[AudienceCount]:
    """Count who would receive which edition if the issue were sent now. Does not freeze the audience."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        audience.delete_language_choices(session, issue)
        choose_languages(session, row, audience.list_language_preferences(session, row.newsletter_id))
        always = newsletters.always_mask(session, row.newsletter_id)
        counts = audience.preview(session, issue, row.newsletter_id, always, digest=row.digest_month is not None)
        audience.delete_language_choices(session, issue)
        return counts
