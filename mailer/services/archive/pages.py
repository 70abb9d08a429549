"""The public web pages of newsletters, issues and stories, and the web view of an edition."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from mailer.domain.composition import IssueSource
from mailer.domain.content import EditionContent, EditionPicture, EditionSection, EditionStory, EditionUrls
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.issue_slugs import short_title, unique_slugs
from mailer.domain.languages import choose_language
from mailer.domain.localized import LocalizedText, ui_language, ui_languages
from mailer.domain.page_frame import PageFrame
from mailer.domain.ports import MailUrls
from mailer.models import Issue, Newsletter
from mailer.store import archive, issues, newsletters
from mailer.store.database import Database, Session
from mailer.store.issue_source import load_issue_source

PAGE_SIZE = 12
"""Issues on one page of the list."""
FEED_SIZE = 20
"""Issues in a newsletter's feed."""
SECTION_FEED_SIZE = 5
"""Issues whose stories are in a section's feed."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A public newsletter in the list of newsletters, in the visitor's language."""

    slug: str
    name: LocalizedText
    tagline: LocalizedText
    website: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publications:
    """The list of public newsletters."""

    language: str
    """The visitor's language."""
    ui_languages: tuple[str, ...]
    """The languages in which the page is available."""
    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """A section of a newsletter, independent of any issue."""

    key: str
    title: LocalizedText
    colour: str


@dataclass(frozen=True, slots=True)
class NewsletterPage:
    """The newsletter's data that every page of its archive in one language shows."""

    frame: PageFrame
    slug: str
    language: str
    """Of the archive: one of the newsletter's."""
    languages: tuple[str, ...]
    default_language: str
    tagline: LocalizedText
    sections: tuple[SectionInfo, ...]
    sender_name: str
    reply_to: str
    website: str
    list_id: str


@dataclass(frozen=True, slots=True)
class IssueSummary:
    """The summary of an issue in lists and neighbour links."""

    issue_id: int
    number: str
    slug: str
    """The issue's part of the URL."""
    issue_date: date
    published_at: datetime
    title: LocalizedText
    """In the archive's language or its fallback, which is also the language of the issue page."""
    preheader: str
    cover: EditionPicture | None
    languages: tuple[str, ...]
    """The languages of its editions."""


@dataclass(frozen=True, slots=True)
class IssueList:
    """One page of a newsletter's issues, newest first."""

    newsletter: NewsletterPage
    issues: tuple[IssueSummary, ...]
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class SectionOption:
    """A section of an issue that the visitor can show or hide."""

    key: str
    title: LocalizedText
    story_count: int
    shown: bool
    always_included: bool


@dataclass(frozen=True, slots=True)
class IssuePage:
    """The web page of an issue in one language, with the chosen sections."""

    newsletter: NewsletterPage
    issue: IssueSummary
    content: EditionContent
    sections: tuple[SectionOption, ...]
    later: IssueSummary | None
    earlier: IssueSummary | None


@dataclass(frozen=True, slots=True)
class StoryPage:
    """The web page of one story."""

    newsletter: NewsletterPage
    issue: IssueSummary
    section: EditionSection
    story: EditionStory
    languages: tuple[str, ...]
    """The languages in which the story has a text and the issue an edition."""
    previous_story: EditionStory | None
    next_story: EditionStory | None


@dataclass(frozen=True, slots=True)
class SectionStories:
    """The stories of one section in one issue."""

    issue: IssueSummary
    stories: tuple[EditionStory, ...]


@dataclass(frozen=True, slots=True)
class SitemapEntries:
    """The stories of an issue for the sitemap, as (story key, languages) pairs."""

    issue: IssueSummary
    stories: tuple[tuple[str, tuple[str, ...]], ...]


def archive_version(database: Database) -> str:
    """Return a text that changes whenever an issue is sent or a newsletter is changed."""
    with database.public_transaction() as session:
        return archive.version(session)


def publications(database: Database, preferred_languages: Sequence[str]) -> Publications:
    """Return all public newsletters in the visitor's language. The best language comes first."""
    with database.public_transaction() as session:
        rows = [row for row in newsletters.list_all(session) if row.public]
        offered = tuple(dict.fromkeys(tag for row in rows for tag in row.languages))
        language = ui_language(preferred_languages, offered, {}, rows[0].default_language if rows else "en")
        return Publications(
            language,
            ui_languages(offered),
            tuple(
                Publication(
                    row.slug,
                    row.localize(row.names, language),
                    row.localize(row.taglines, language),
                    row.website,
                    tuple(row.languages),
                )
                for row in rows
            ),
        )


def language_for(database: Database, slug: str, preferred_languages: Sequence[str]) -> str | None:
    """Return the archive language for a visitor with these languages, best first.

    Return None if there is no such public newsletter.
    """
    with database.public_transaction() as session:
        row = newsletters.by_slug(session, slug)
        if row is None or not row.public:
            return None
        choice = choose_language(preferred_languages, row.languages, row.fallbacks, row.default_language)
        return choice.language if choice else row.languages[0]


def issue_list(database: Database, urls: MailUrls, slug: str, language: str, page: int = 1) -> IssueList | None:
    """Return a page of a newsletter's issues; None if page, newsletter or language do not exist."""
    return _issue_list(database, urls, slug, language, page, PAGE_SIZE)


def latest_issues(database: Database, urls: MailUrls, slug: str, language: str) -> IssueList | None:
    """Return the issues of a newsletter's feed."""
    return _issue_list(database, urls, slug, language, 1, FEED_SIZE)


def _issue_list(
    database: Database, urls: MailUrls, slug: str, language: str, page: int, page_size: int
) -> IssueList | None:
    with database.public_transaction() as session:
        newsletter = _public_newsletter(session, slug, language)
        if newsletter is None:
            return None
        rows = archive.sent(session, newsletter.id)
        pages = max(1, -(-len(rows) // page_size))
        if not 1 <= page <= pages:
            return None
        page_rows = rows[(page - 1) * page_size : page * page_size]
        summaries = _summaries(session, newsletter, rows, page_rows, language, urls)
        return IssueList(_newsletter_page(session, newsletter, language), summaries, page, pages)


def issue_page(
    database: Database,
    urls: MailUrls,
    slug: str,
    language: str,
    issue_slug: str,
    section_keys: Sequence[str] = (),
) -> IssuePage | None:
    """Return an issue with the chosen sections and those that are always included.

    Without a choice all sections are shown. If the issue is not available in the language, it is shown in the
    fallback: see ``issue.title.language``. Return None if there is no such issue.
    """
    with database.public_transaction() as session:
        match = _find_issue(session, urls, slug, language, issue_slug)
        if match is None:
            return None
        newsletter, summaries, summary = match
        source = _issue_source(session, summary, urls)
        tag = summary.title.language
        full_content = source.compose(tag, ALL_SECTIONS, _edition_urls(source))
        keys = {section.key for section in full_content.sections}
        always = {section.key for section in source.sections if source.always_included >> section.bit & 1} & keys
        shown_keys = (set(section_keys) & keys or keys) | always
        mask = sum(1 << section.bit for section in source.sections if section.key in shown_keys)
        index = next(i for i, other in enumerate(summaries) if other.issue_id == summary.issue_id)
        return IssuePage(
            newsletter=_newsletter_page(session, newsletter, language),
            issue=summary,
            content=source.compose(tag, mask, _edition_urls(source)),
            sections=tuple(
                SectionOption(
                    section.key,
                    LocalizedText(section.title, section.language),
                    len(section.stories),
                    section.key in shown_keys,
                    section.key in always,
                )
                for section in full_content.sections
            ),
            later=summaries[index - 1] if index else None,
            earlier=summaries[index + 1] if index + 1 < len(summaries) else None,
        )


def story_page(
    database: Database, urls: MailUrls, slug: str, language: str, issue_slug: str, story_key: str
) -> StoryPage | None:
    """Return a story of the issue's edition in this language, or None if there is none."""
    with database.public_transaction() as session:
        match = _find_issue(session, urls, slug, language, issue_slug)
        if match is None or match[2].title.language != language:
            return None
        newsletter, _, summary = match
        source = _issue_source(session, summary, urls)
        content = source.compose(language, ALL_SECTIONS, _edition_urls(source))
        stories = [(section, story) for section in content.sections for story in section.stories]
        index = next((i for i, (_, story) in enumerate(stories) if story.key == story_key), None)
        if index is None:
            return None
        section, story = stories[index]
        return StoryPage(
            newsletter=_newsletter_page(session, newsletter, language),
            issue=summary,
            section=section,
            story=story,
            languages=_story_languages(source, summary)[story_key],
            previous_story=stories[index - 1][1] if index else None,
            next_story=stories[index + 1][1] if index + 1 < len(stories) else None,
        )


def section_feed(
    database: Database, urls: MailUrls, slug: str, language: str, section_key: str
) -> tuple[NewsletterPage, SectionInfo, list[SectionStories]] | None:
    """Return the newest stories of one section in a language, or None if it does not exist."""
    with database.public_transaction() as session:
        newsletter = _public_newsletter(session, slug, language)
        if newsletter is None:
            return None
        page = _newsletter_page(session, newsletter, language)
        section_info = next((info for info in page.sections if info.key == section_key), None)
        if section_info is None:
            return None
        rows = archive.sent(session, newsletter.id)
        section_stories = []
        for summary in _summaries(session, newsletter, rows, rows[:SECTION_FEED_SIZE], language, urls):
            if summary.title.language == language:
                source = _issue_source(session, summary, urls)
                for section in source.compose(language, ALL_SECTIONS, _edition_urls(source)).sections:
                    if section.key == section_key:
                        section_stories.append(SectionStories(summary, section.stories))
        return page, section_info, section_stories


def public_issues(database: Database, urls: MailUrls) -> list[tuple[NewsletterPage, tuple[IssueSummary, ...]]]:
    """Return every public newsletter with its issues, in its default language."""
    with database.public_transaction() as session:
        pages = []
        for newsletter in newsletters.list_all(session):
            if newsletter.public:
                rows, language = archive.sent(session, newsletter.id), newsletter.default_language
                summaries = _summaries(session, newsletter, rows, rows, language, urls)
                pages.append((_newsletter_page(session, newsletter, language), summaries))
        return pages


def sitemap_entries(
    database: Database, urls: MailUrls, slug: str, issue_slug: str
) -> tuple[NewsletterPage, SitemapEntries] | None:
    """Return the sitemap entries of an issue, or None if it does not exist."""
    with database.public_transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        match = newsletter and _find_issue(session, urls, slug, newsletter.default_language, issue_slug)
        if not newsletter or not match:
            return None
        summary = match[2]
        languages = _story_languages(_issue_source(session, summary, urls), summary)
        page = _newsletter_page(session, newsletter, newsletter.default_language)
        return page, SitemapEntries(summary, tuple((key, tags) for key, tags in languages.items() if tags))


def _public_newsletter(session: Session, slug: str, language: str) -> Newsletter | None:
    row = newsletters.by_slug(session, slug)
    return row if row is not None and row.public and language in row.languages else None


def _newsletter_page(session: Session, row: Newsletter, language: str) -> NewsletterPage:
    frame = newsletters.page_frame(row, [language], language)
    return NewsletterPage(
        frame=frame,
        slug=row.slug,
        language=language,
        languages=tuple(row.languages),
        default_language=row.default_language,
        tagline=frame.localize(row.taglines),
        sections=tuple(
            SectionInfo(section.key, frame.localize(section.titles), section.colour)
            for section in newsletters.sections(session, row.id)
        ),
        sender_name=row.sender_name,
        reply_to=row.reply_to or row.sender_address,
        website=row.website,
        list_id=row.list_id,
    )


def _summaries(
    session: Session,
    newsletter: Newsletter,
    all_issues: Sequence[Issue],
    shown_issues: Sequence[Issue],
    language: str,
    urls: MailUrls,
) -> tuple[IssueSummary, ...]:
    """Return the summaries of ``shown_issues``. Their slugs depend on the numbers of all issues."""
    slugs = unique_slugs((issue.id, issue.number) for issue in all_issues)
    ids = [issue.id for issue in shown_issues]
    front_matters, covers = archive.front_matter(session, ids), archive.cover_pictures(session, ids)
    summaries = []
    for issue in shown_issues:
        available = [tag for tag in newsletter.languages if tag in front_matters[issue.id]]
        choice = choose_language([language], available, newsletter.fallbacks, newsletter.default_language)
        if not available:
            continue
        tag = choice.language if choice else available[0]
        front_matter = front_matters[issue.id][tag]
        name = newsletter.localize(newsletter.names, tag).text
        cover = covers.get(issue.id)
        summaries.append(
            IssueSummary(
                issue_id=issue.id,
                number=issue.number,
                slug=slugs[issue.id],
                issue_date=issue.issue_date,
                published_at=issue.ready_at or datetime.combine(issue.issue_date, time(), UTC),
                title=LocalizedText(short_title(front_matter.subject, name, issue.number), tag),
                preheader=front_matter.preheader,
                cover=EditionPicture(urls.picture_url(*cover[:2]), *cover[2:], alt="") if cover else None,
                languages=tuple(available),
            )
        )
    return tuple(summaries)


def _find_issue(
    session: Session, urls: MailUrls, slug: str, language: str, issue_slug: str
) -> tuple[Newsletter, tuple[IssueSummary, ...], IssueSummary] | None:
    """Return the newsletter, the summaries of an issue and its neighbours, and its own summary."""
    newsletter = _public_newsletter(session, slug, language)
    if newsletter is None:
        return None
    rows = archive.sent(session, newsletter.id)
    slugs = unique_slugs((issue.id, issue.number) for issue in rows)
    index = next((i for i, issue in enumerate(rows) if slugs[issue.id] == issue_slug), None)
    if index is None:
        return None
    summaries = _summaries(session, newsletter, rows, rows[max(0, index - 1) : index + 2], language, urls)
    summary = next((summary for summary in summaries if summary.slug == issue_slug), None)
    return (newsletter, summaries, summary) if summary else None


def _issue_source(session: Session, summary: IssueSummary, urls: MailUrls) -> IssueSource:
    return load_issue_source(session, issues.by_id(session, summary.issue_id), urls)


def _edition_urls(source: IssueSource) -> EditionUrls:
    return EditionUrls(web_view="", website=source.website)


def _story_languages(source: IssueSource, summary: IssueSummary) -> dict[str, tuple[str, ...]]:
    """Return, for each story key, the languages in which it has a text and the issue an edition."""
    return {str(story.story): tuple(tag for tag in summary.languages if tag in story.texts) for story in source.stories}
