"""Monthly digests: what readers who want one email a month have yet to get, as one issue."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta

from mailer.domain.accounts import THE_SERVICE
from mailer.domain.findings import Finding, Severity
from mailer.domain.issue_check import check_issue
from mailer.domain.partial_editions import HEADLINES
from mailer.domain.plurals import format_count
from mailer.domain.ports import MailUrls, Renderer
from mailer.domain.states import IssueEventKind, IssueState, MissingTranslationPolicy, TranslationStatus
from mailer.domain.text_overrides import OverrideText, overrides_for
from mailer.models import Issue, IssueTranslation, Newsletter
from mailer.services.issues.compile import EditionCompiler, load_issue
from mailer.store import digests, issues, newsletters
from mailer.store.database import Database, Session

MonthTexts = Callable[[str, date, Mapping[str, OverrideText]], tuple[str, str]]
"""(language, month, text overrides) → (name of the month, introduction)."""
_MAX_WAIT = timedelta(days=1)
"""For how long a digest waits for an issue that began in its month and has not been sent completely."""
_MAX_LOGGED_FINDINGS = 20
_log = logging.getLogger("mailer")


def create_due_digests(database: Database, now: datetime, month_texts: MonthTexts) -> list[int]:
    """Create and schedule the digests of last month that do not exist yet. Return the issue ids.

    A digest is due when its month ends (in UTC); one that was missed is made up whenever this runs again. It holds each
    issue that some reader has yet to get, and for each reader what they have yet to get. It needs no approval, because
    all its stories have been approved. Calling this again is safe.
    """
    due = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    with database.transaction() as session:
        ids = [row.id for row in newsletters.list_all(session)]
    created = []
    for newsletter in ids:
        with database.transaction() as session:
            issue = _create_digest(session, newsletters.lock(session, newsletter), due, now, month_texts)
            if issue:
                created.append(issue)
    return created


def look_over(database: Database, renderer: Renderer, urls: MailUrls, bounce_domain: str, issue: int) -> list[Finding]:
    """Check a digest as other issues are checked before their approval. Return and log what is more than a note."""
    source = load_issue(database, urls, issue)
    compiler = EditionCompiler(source, renderer, urls, bounce_domain)
    languages = source.language_rules.languages
    errors = [error for language in languages for error in compiler.render_errors(language)]
    sizes = {}
    if not errors:
        for language in languages:
            sections = source.sections_shown(language)
            sizes[language, sections] = compiler.html_bytes(language, sections)
    findings = check_issue(source, render_errors=errors, html_sizes=sizes)
    serious = [finding for finding in findings if finding.severity is not Severity.note]
    with database.transaction() as session:
        for finding in serious[:_MAX_LOGGED_FINDINGS]:
            issues.log(session, issue, THE_SERVICE, IssueEventKind.digest, finding.message)
    for finding in serious[:_MAX_LOGGED_FINDINGS]:
        _log.warning("Digest %s: %s", issue, finding.message)
    return serious


def _create_digest(
    session: Session, newsletter: Newsletter, due: datetime, now: datetime, month_texts: MonthTexts
) -> int | None:
    month = (due - timedelta(days=1)).date().replace(day=1)
    if digests.exists(session, newsletter.id, month):
        return None
    if now - due < _MAX_WAIT and digests.has_unfinished_issue(session, newsletter.id, due):
        return None
    sources = digests.awaiting_issues(session, newsletter.id, due)
    if not sources:
        return None
    number = f"{month:%Y-%m}"
    while issues.by_number(session, newsletter.id, number):
        number += "+"
    digest = Issue(
        newsletter_id=newsletter.id,
        number=number,
        issue_date=sources[-1].issue_date,
        state=IssueState.scheduled,
        missing_translations=MissingTranslationPolicy.fallback,  # each story has the policy of its own issue
        header_image_id=sources[-1].header_image_id,
        created_at=now,
        # Its hour is the next one after this. The full hour, so that a digest due at its beginning does not wait a day.
        scheduled_at=now.replace(minute=0, second=0, microsecond=0),
        digest_month=month,
        digest_source_ids=[source.id for source in sources],
    )
    session.add(digest)
    session.flush()
    front_matters = [issues.front_matter(session, source.id) for source in sources]
    ready = {tag for texts in front_matters for tag, row in texts.items() if row.status is TranslationStatus.ready}
    for language in (tag for tag in newsletter.languages if tag in ready):
        month_name, intro = month_texts(language, month, overrides_for(newsletter.text_overrides, language))
        name = newsletter.localize(newsletter.names, language).text
        session.add(
            IssueTranslation(
                issue_id=digest.id,
                language=language,
                subject=f"{name}: {month_name}",
                preheader=" · ".join(texts[language].subject for texts in front_matters if language in texts),
                partial_preheader=HEADLINES,
                intro=intro,
            )
        )
    count = digests.copy_stories(session, digest.digest_source_ids, digest.id)
    numbers = ", ".join(source.number for source in sources)
    late = digests.days_late(digest)
    issues.log(
        session,
        digest.id,
        THE_SERVICE,
        IssueEventKind.digest,
        f"{format_count(count, 'story', 'stories')} of {numbers}"
        + (f", {format_count(late, 'day')} late" if late else ""),
    )
    if late:
        _log.warning("The digest %s of %s was made %s days late.", number, newsletter.slug, late)
    return digest.id
