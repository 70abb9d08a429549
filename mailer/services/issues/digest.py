"""Monthly digests: the issues of a month as one issue, for readers of the digest."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from mailer.domain.localized import localize
from mailer.domain.states import IssueEventKind, IssueState, MissingTranslationPolicy, TranslationStatus
from mailer.domain.text_overrides import OverrideText, overrides_for
from mailer.models import Issue, IssueTranslation, Newsletter
from mailer.store import deliveries, digests, issues, newsletters
from mailer.store.database import Database, Session

MonthTexts = Callable[[str, date, Mapping[str, OverrideText]], tuple[str, str]]
"""(language, month, text overrides) → (name of the month, introduction)."""
_CUTOFF_DAY = 2
"""The last day of a month on which the digest of the previous month is created.

Readers who switch to the digest later have received the issues of that month already.
"""


def create_due_digests(database: Database, now: datetime, month_texts: MonthTexts) -> list[int]:
    """Create and schedule the digests of last month that do not exist yet. Return the issue ids.

    They need no approval, because all their stories have been approved. Calling it again is safe.
    """
    if now.astimezone(UTC).day > _CUTOFF_DAY:
        return []
    month_end = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month_index = month_end.month - 2
    month_start = month_end.replace(year=month_end.year + month_index // 12, month=month_index % 12 + 1)
    with database.transaction() as session:
        ids = [row.id for row in newsletters.list_all(session)]
    created = []
    for newsletter in ids:
        with database.transaction() as session:
            issue = _create_digest(
                session, newsletters.lock(session, newsletter), month_start, month_end, now, month_texts
            )
            if issue:
                created.append(issue)
    return created


def _create_digest(
    session: Session,
    newsletter: Newsletter,
    month_start: datetime,
    month_end: datetime,
    now: datetime,
    month_texts: MonthTexts,
) -> int | None:
    month = month_start.date()
    if digests.exists(session, newsletter.id, month) or not digests.has_monthly_subscribers(session, newsletter.id):
        return None
    sources = digests.source_issues(session, newsletter.id, month_start, month_end)
    paused = [issue for issue in sources if issue.state is IssueState.paused and issue.finished_at is None]
    # Wait a day, since a paused issue may yet be cancelled. Then include it if any reader received it.
    if paused and now.astimezone(UTC).day < _CUTOFF_DAY:
        return None
    sources = [issue for issue in sources if issue not in paused or deliveries.counts(session, issue.id).sent]
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
        missing_translations=MissingTranslationPolicy.fallback,
        header_image_id=sources[-1].header_image_id,
        scheduled_at=now,
        digest_month=month,
    )
    session.add(digest)
    session.flush()
    front_matters = [issues.front_matter(session, source.id) for source in sources]
    ready = {tag for texts in front_matters for tag, row in texts.items() if row.status is TranslationStatus.ready}
    for language in (tag for tag in newsletter.languages if tag in ready):
        month_name, intro = month_texts(language, month, overrides_for(newsletter.text_overrides, language))
        name = localize(newsletter.names, language, newsletter.fallbacks, newsletter.default_language).text
        session.add(
            IssueTranslation(
                issue_id=digest.id,
                language=language,
                subject=f"{name}: {month_name}",
                preheader=" · ".join(texts[language].subject for texts in front_matters if language in texts),
                intro=intro,
            )
        )
    count = digests.copy_stories(session, [source.id for source in sources], digest.id)
    numbers = ", ".join(source.number for source in sources)
    issues.log(session, digest.id, "mailer", IssueEventKind.digest, f"{count} stories of {numbers}")
    return digest.id
