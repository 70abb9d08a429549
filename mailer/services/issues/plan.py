"""The plan of an issue: its sections and stories, and for each language whether its text is there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from mailer.domain.composition import IssueSource, TextRef
from mailer.domain.editions import LanguageRules, language_shown
from mailer.domain.ports import MailUrls
from mailer.domain.queue_status import DeliveryCounts
from mailer.domain.states import IssueState, MissingTranslationPolicy
from mailer.domain.text_tree import plain_line
from mailer.models import Issue, Newsletter, StoryTranslation
from mailer.store import approvals, deliveries, issues, newsletters
from mailer.store.database import Database, Session
from mailer.store.issue_source import load_issue_source


class TextMark(StrEnum):
    """What the readers of one language get of a story."""

    ready = "ready"
    stale = "stale"
    """A translation whose source has changed since."""
    draft = "draft"
    """A text that is written and not ready: they get what they would get without it."""
    fallback = "fallback"
    """The text of another language, with a label."""
    left_out = "left_out"
    missing = "missing"
    """Nothing yet, and the issue cannot be approved without it, or the language has no edition."""


@dataclass(frozen=True, slots=True)
class LanguageMark:
    language: str
    mark: TextMark
    shown: str = ""
    """The language that is shown instead."""


@dataclass(frozen=True, slots=True)
class PlannedStory:
    id: int
    headline: str
    """Empty for a story without one. Of a draft if no text is ready."""
    headline_language: str
    has_picture: bool
    marks: tuple[LanguageMark, ...]


@dataclass(frozen=True, slots=True)
class PlannedSection:
    key: str
    title: str
    colour: str
    stories: tuple[PlannedStory, ...]


@dataclass(frozen=True, slots=True)
class IssueHead:
    """What stands at the head of each page of an issue."""

    id: int
    number: str
    newsletter: int
    slug: str
    newsletter_name: str
    state: IssueState
    revision: int
    issue_date: date
    scheduled_at: datetime | None
    local_time: datetime | None
    missing_translations: MissingTranslationPolicy
    languages: tuple[str, ...]
    """Those of the newsletter, in its order."""
    counts: DeliveryCounts
    ready_texts: Mapping[str, int]
    """Language → number of texts that are ready, the front matter included."""
    texts: int
    """How many texts each language should have."""
    approved_languages: frozenset[str]
    last_writers: Mapping[str, int | None]
    """Language whose front matter is ready → the account that changed its texts last."""
    four_eyes: bool
    time_zone: str
    """The newsletter's."""

    @property
    def complete_languages(self) -> tuple[str, ...]:
        return tuple(tag for tag in self.languages if self.texts > 1 and self.ready_texts.get(tag, 0) >= self.texts)


@dataclass(frozen=True, slots=True)
class IssuePlan:
    head: IssueHead
    source: IssueSource
    """What its editions are composed from."""
    subject: str
    front_matter: tuple[LanguageMark, ...]
    begun_languages: frozenset[str]
    """Those with front matter, be it a draft."""
    all_sections: tuple[PlannedSection, ...]
    """Those that a story can be in, in print order."""

    @property
    def sections(self) -> tuple[PlannedSection, ...]:
        """Those with stories."""
        return tuple(section for section in self.all_sections if section.stories)

    @property
    def section_titles(self) -> dict[str, str]:
        """Key → title of each section that a story can be in."""
        return {section.key: section.title for section in self.all_sections}

    @property
    def planned_stories(self) -> list[PlannedStory]:
        return [story for section in self.all_sections for story in section.stories]

    @property
    def stories(self) -> int:
        return len(self.planned_stories)


def list_heads(
    database: Database, newsletters_allowed: frozenset[int] | None, *, limit: int = 50, before: int | None = None
) -> list[IssueHead]:
    """Return issues of these newsletters (None for all), the newest first, with ids below ``before``."""
    with database.transaction() as session:
        rows = issues.page(session, newsletters_allowed, limit, before)
        by_id = {row.id: row for row in newsletters.list_all(session)}
        return _heads(session, [(row, by_id[row.newsletter_id]) for row in rows])


def load_head(database: Database, issue: int) -> IssueHead:
    """Return the head of an issue. Raises IssueNotFound."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        return _heads(session, [(row, newsletters.by_id(session, row.newsletter_id))])[0]


def load_plan(database: Database, urls: MailUrls, issue: int) -> IssuePlan:
    """Return the plan of an issue. Raises IssueNotFound."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        newsletter = newsletters.by_id(session, row.newsletter_id)
        source = load_issue_source(session, row, urls)
        texts, fronts = issues.story_texts(session, issue), issues.front_matter(session, issue)
        (head,) = _heads(session, [(row, newsletter)])
    used = {story.section_bit for story in source.stories}
    return IssuePlan(
        head,
        source,
        _subject(source, newsletter.default_language),
        tuple(_mark((None, tag), tag in source.front_matter, None, source) for tag in newsletter.languages),
        frozenset(fronts),
        tuple(
            PlannedSection(
                section.key,
                newsletter.localize(section.titles).text,
                section.colour,
                _stories(source, section.bit, newsletter.languages, texts),
            )
            for section in source.sections
            if section.offered or section.bit in used
        ),
    )


def _stories(
    source: IssueSource, bit: int, languages: Sequence[str], rows: Mapping[int, Mapping[str, StoryTranslation]]
) -> tuple[PlannedStory, ...]:
    default = source.language_rules.default_language
    found = []
    for story, story_languages in zip(source.stories, source.story_languages(), strict=True):
        if story.section_bit != bit:
            continue
        drafts = rows.get(story.story, {})
        order = dict.fromkeys((default, *story.texts, *languages))
        named = [tag for tag in order if tag in story.texts] + [tag for tag in order if tag in drafts]
        language = next((tag for tag in named if drafts[tag].headline), next(iter(named), default))
        found.append(
            PlannedStory(
                story.story,
                plain_line(drafts[language].headline) if language in drafts else "",
                language,
                story.picture is not None,
                tuple(
                    _mark(
                        (story.story, tag),
                        tag in story.texts,
                        language_shown(story_languages, tag, source.language_rules),
                        source,
                    )
                    for tag in languages
                ),
            )
        )
    return tuple(found)


def _mark(text: TextRef, ready: bool, shown: str | None, source: IssueSource) -> LanguageMark:
    rules: LanguageRules = source.language_rules
    _, tag = text
    if ready:
        return LanguageMark(tag, TextMark.stale if text in source.stale else TextMark.ready)
    if text in source.drafts:
        return LanguageMark(tag, TextMark.draft, shown or "")
    if tag not in source.front_matter or rules.missing_translations is MissingTranslationPolicy.block:
        return LanguageMark(tag, TextMark.missing)
    return LanguageMark(tag, TextMark.fallback, shown) if shown else LanguageMark(tag, TextMark.left_out)


def _subject(source: IssueSource, default: str) -> str:
    front_matter = source.front_matter.get(default) or next(iter(source.front_matter.values()), None)
    return front_matter.subject if front_matter else ""


def _heads(session: Session, rows: Sequence[tuple[Issue, Newsletter]]) -> list[IssueHead]:
    ids = [row.id for row, _ in rows]
    ready, approved = issues.count_ready_texts(session, ids), approvals.standing(session, ids)
    last_writers = issues.last_writers(session, ids)
    return [
        IssueHead(
            id=row.id,
            number=row.number,
            newsletter=newsletter.id,
            slug=newsletter.slug,
            newsletter_name=newsletter.localize(newsletter.names).text,
            state=row.state,
            revision=row.revision,
            issue_date=row.issue_date,
            scheduled_at=row.scheduled_at if row.state is IssueState.scheduled else None,
            local_time=row.local_time,
            missing_translations=row.missing_translations,
            languages=tuple(newsletter.languages),
            counts=deliveries.counts(session, row.id),
            ready_texts=ready[row.id][0],
            texts=ready[row.id][1] + 1,
            approved_languages=frozenset(approved[row.id]),
            last_writers=last_writers[row.id],
            four_eyes=newsletter.four_eyes,
            time_zone=newsletter.time_zone,
        )
        for row, newsletter in rows
    ]
