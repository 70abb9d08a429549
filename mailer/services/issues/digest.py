"""Digest: once a month, the month's issues become one for readers who want it so. It goes the same way as any."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from mailer.domain.localized import localize
from mailer.domain.states import IssueState, MissingTranslationPolicy, TranslationStatus
from mailer.domain.text_overrides import OverrideText, overrides_for
from mailer.models import Issue, IssueTranslation, Newsletter
from mailer.store import deliveries, digests, issues, newsletters
from mailer.store.database import Database, Session

MonthTexts = Callable[[str, date, Mapping[str, OverrideText]], tuple[str, str]]
"""Language, month and a newsletter's own words → the month's name, and an introduction."""
_CUTOFF_DAY = 2
"""Of a month, on which the digest of the one before is made. Not later: who wants digests from the tenth on has
got the issues of last month."""


def create_due_digests(database: Database, now: datetime, month_texts: MonthTexts) -> list[int]:
    """Make and schedule last month's digests that are not made yet; returns the issues.

    Nobody approves them: every story in them has been approved. Twice is the same as once.
    """
    if now.astimezone(UTC).day > _CUTOFF_DAY:
        return []
    before = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last = before.month - 2
    since = before.replace(year=before.year + last // 12, month=last % 12 + 1)
    with database.transaction() as session:
        ids = [row.id for row in newsletters.list_all(session)]
    made = []
    for newsletter in ids:
        with database.transaction() as session:
            issue = _create_digest(
                session, newsletters.lock(session, newsletter), since, before, now, month_texts
            )
            if issue:
                made.append(issue)
    return made


def _create_digest(
    session: Session,
    newsletter: Newsletter,
    month_start: datetime,
    month_end: datetime,
    now: datetime,
    month_texts: MonthTexts,
) -> int | None:
    month = month_start.date()
    if digests.exists(session, newsletter.id, month) or not digests.has_monthly_subscribers(
        session, newsletter.id
    ):
        return None
    sources = digests.source_issues(session, newsletter.id, month_start, month_end)
    paused = [one for one in sources if one.state is IssueState.paused and one.finished_at is None]
    # Whoever paused an issue may yet cancel it: they have a day for that. Then nobody is to miss what others got.
    if paused and now.astimezone(UTC).day < _CUTOFF_DAY:
        return None
    sources = [one for one in sources if one not in paused or deliveries.counts(session, one.id).sent]
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
        masthead_picture_id=sources[-1].masthead_picture_id,
        scheduled_at=now,
        digest_month=month,
    )
    session.add(digest)
    session.flush()
    fronts = [issues.front_matter(session, source.id) for source in sources]
    ready = {tag for front in fronts for tag, row in front.items() if row.status is TranslationStatus.ready}
    for language in (tag for tag in newsletter.languages if tag in ready):
        named, intro = month_texts(language, month, overrides_for(newsletter.text_overrides, language))
        name = localize(newsletter.names, language, newsletter.fallbacks, newsletter.default_language).text
        session.add(
            IssueTranslation(
                issue_id=digest.id,
                language=language,
                subject=f"{name}: {named}",
                preheader=" · ".join(front[language].subject for front in fronts if language in front),
                intro=intro,
            )
        )
    count = digests.copy_stories(session, [source.id for source in sources], digest.id)
    numbers = ", ".join(source.number for source in sources)
    issues.log(session, digest.id, "mailer", "digest", f"{count} stories of {numbers}")
    return digest.id
