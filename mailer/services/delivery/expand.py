"""Expansion of the frozen audience into delivery rows, each with an edition or a skip reason."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from mailer.domain.audience import AudienceGroup
from mailer.domain.editions import StoryLanguages, digest_languages, in_sources, sections_shown
from mailer.domain.languages import choose_language
from mailer.domain.states import IssueState
from mailer.models import Issue
from mailer.store import audience, issues, newsletters
from mailer.store.audience import LanguageRequest
from mailer.store.database import Database, Session
from mailer.store.issue_source import load_digest_sources, load_language_rules

_BATCHES_PER_TRANSACTION = 50


def choose_languages(session: Session, issue: Issue, requests: Sequence[LanguageRequest]) -> None:
    """Store the language for each request, with the sections that have stories in it."""
    for request, (language, sections) in zip(requests, language_choices(session, issue, requests), strict=True):
        audience.add_language_choice(session, issue.id, request, language, sections)


def language_choices(
    session: Session, issue: Issue, requests: Sequence[LanguageRequest]
) -> list[tuple[str | None, int]]:
    """Return the language for each request, with the mask of sections that have stories in it."""
    if not requests:
        return []
    newsletter = newsletters.by_id(session, issue.newsletter_id)
    rules = load_language_rules(session, issue, newsletter)
    sources = load_digest_sources(session, issue, newsletter)
    by_id = {source.issue: source for source in sources}
    texts = issues.story_texts(session, issue.id)
    stories = [
        StoryLanguages(
            story.id,
            section.bit,
            issues.ready_languages(texts.get(story.id, {})),
            by_id.get(story.source_issue_id or 0),
        )
        for story, section in issues.stories(session, issue.id)
    ]

    @cache
    def possible(mask: int) -> dict[str, int]:
        """Return the languages of an issue, or of these issues of a digest, with their masks of sections."""
        if not mask:
            return {language: sections_shown(stories, language, rules) for language in rules.languages}
        held = in_sources(sources, mask)
        shown = [story for story in stories if story.source is None or story.source in held]
        return {
            language: sections_shown(shown, language, rules) for language in digest_languages(rules.languages, held)
        }

    choices = []
    for request in requests:
        masks = possible(request.sources)
        choice = choose_language(request.languages, list(masks), rules.fallback_chains, rules.default_language)
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
            audience.DueTimes(
                now,
                row.local_time,
                quiet,
                newsletter.digest_time if row.digest_month else None,
                row.scheduled_at,
            ),
            row.digest_source_ids,
        )
        while not expansion.insert_deliveries():
            choose_languages(session, row, expansion.without_language_choice())
            expansion.add_editions()
        expansion.finish()
        return len(planned.batch_ids)


def count_audience(database: Database, issue: int) -> list[AudienceGroup]:
    """Count who would receive which edition if the issue were sent now. Does not freeze the audience."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        audience.delete_language_choices(session, issue)
        sources = row.digest_source_ids
        requests = audience.list_language_requests(session, issue, row.newsletter_id, sources)
        choose_languages(session, row, requests)
        always = newsletters.always_mask(session, row.newsletter_id)
        counts = audience.preview(session, issue, row.newsletter_id, always, sources)
        audience.delete_language_choices(session, issue)
        return counts
