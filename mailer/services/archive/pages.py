"""Archive: what anybody may read: issues of public newsletters, and what one has the address of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from mailer.domain.composition import IssueSource
from mailer.domain.content import EditionContent, EditionPicture, EditionSection, EditionStory
from mailer.domain.content import EditionUrls as MailLinks
from mailer.domain.issue_slugs import short_title, unique_slugs
from mailer.domain.languages import choose_language
from mailer.domain.localized import LocalizedText, localize, ui_language, ui_languages
from mailer.domain.page_frame import PageFrame
from mailer.domain.ports import MailUrls
from mailer.models import Issue, Newsletter
from mailer.store import archive, editions, issues, newsletters
from mailer.store.database import Database, Session
from mailer.store.issue_source import load_issue_source

PAGE_SIZE = 12
"""Issues on one page of a list."""
FEED_SIZE = 20
"""Issues in a newsletter's feed."""
SECTION_FEED_SIZE = 5
"""Issues whose stories are in a section's feed."""


@dataclass(frozen=True, slots=True)
class EditionPage:
    html: str
    language: str


@dataclass(frozen=True, slots=True)
class PictureFile:
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Publication:
    """A newsletter as it is introduced to somebody who wants certain languages."""

    slug: str
    name: LocalizedText
    tagline: LocalizedText
    website: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publications:
    language: str
    """In which to speak to that person."""
    ui_languages: tuple[str, ...]
    """In which the page can be had."""
    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """A section of a newsletter, apart from any issue."""

    key: str
    title: LocalizedText
    colour: str


@dataclass(frozen=True, slots=True)
class NewsletterPage:
    """A public newsletter as each page of its archive in one language shows it."""

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
    """An issue in short."""

    issue_id: int
    number: str
    slug: str
    """What stands for it in the addresses of the archive."""
    issue_date: date
    published_at: datetime
    title: LocalizedText
    """In the archive's language, or the one it falls back to; the issue's page has that language."""
    preheader: str
    cover: EditionPicture | None
    languages: tuple[str, ...]
    """In which it can be read."""


@dataclass(frozen=True, slots=True)
class IssueList:
    """One page of a newsletter's issues, the newest first."""

    newsletter: NewsletterPage
    issues: tuple[IssueSummary, ...]
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class SectionOption:
    """A section of an issue, to be shown or not."""

    key: str
    title: LocalizedText
    story_count: int
    shown: bool
    always_included: bool


@dataclass(frozen=True, slots=True)
class IssuePage:
    """An issue as a web page in one language, with the sections that were chosen on it."""

    newsletter: NewsletterPage
    issue: IssueSummary
    content: EditionContent
    sections: tuple[SectionOption, ...]
    later: IssueSummary | None
    earlier: IssueSummary | None


@dataclass(frozen=True, slots=True)
class StoryPage:
    """A story on a page of its own."""

    newsletter: NewsletterPage
    issue: IssueSummary
    section: EditionSection
    story: EditionStory
    languages: tuple[str, ...]
    """In which it has a text, and the issue an edition."""
    previous_story: EditionStory | None
    next_story: EditionStory | None
    """Its neighbours in the issue."""


@dataclass(frozen=True, slots=True)
class SectionStories:
    """The stories of one section in one issue."""

    issue: IssueSummary
    stories: tuple[EditionStory, ...]


@dataclass(frozen=True, slots=True)
class SitemapEntries:
    """Where the stories of an issue are, for a site map: each with its languages."""

    issue: IssueSummary
    stories: tuple[tuple[str, tuple[str, ...]], ...]


def edition_page(database: Database, issue: int, edition: int) -> EditionPage | None:
    """The web view of an edition: a whole HTML document without anything of a reader in it. None when there
    is none, or it is not rendered yet."""
    with database.transaction() as session:
        row = editions.by_id(session, edition)
        if row is None or row.issue_id != issue or not row.html:
            return None
        return EditionPage(row.html, row.language)


def picture(database: Database, prefix: str) -> PictureFile | None:
    """A picture by the first 32 hexadecimal digits of its SHA-256."""
    with database.transaction() as session:
        row = issues.picture_by_prefix(session, prefix)
        return PictureFile(row.media_type, row.data) if row else None


def publications(database: Database, preferred_languages: Sequence[str]) -> Publications:
    """Every public newsletter, for somebody who wants these languages, best first."""
    with database.transaction() as session:
        rows = [row for row in newsletters.list_all(session) if row.public]
        offered = tuple(dict.fromkeys(tag for row in rows for tag in row.languages))
        language = ui_language(preferred_languages, offered, {}, rows[0].default_language if rows else "en")
        return Publications(
            language,
            ui_languages(offered),
            tuple(
                Publication(
                    row.slug,
                    localize(row.names, language, row.fallbacks, row.default_language),
                    localize(row.taglines, language, row.fallbacks, row.default_language),
                    row.website,
                    tuple(row.languages),
                )
                for row in rows
            ),
        )


def language_for(database: Database, slug: str, preferred_languages: Sequence[str]) -> str | None:
    """The language in which somebody who wants these, best first, reads a newsletter's archive. None when
    there is no such public newsletter."""
    with database.transaction() as session:
        row = newsletters.by_slug(session, slug)
        if row is None or not row.public:
            return None
        found = choose_language(preferred_languages, row.languages, row.fallbacks, row.default_language)
        return found.language if found else row.languages[0]


def issue_list(
    database: Database, urls: MailUrls, slug: str, language: str, page: int = 1
) -> IssueList | None:
    """A page of a newsletter's issues; None when there is no such page, newsletter or language."""
    return _issue_list(database, urls, slug, language, page, PAGE_SIZE)


def latest_issues(database: Database, urls: MailUrls, slug: str, language: str) -> IssueList | None:
    """The issues of a newsletter's feed."""
    return _issue_list(database, urls, slug, language, 1, FEED_SIZE)


def _issue_list(
    database: Database, urls: MailUrls, slug: str, language: str, page: int, page_size: int
) -> IssueList | None:
    with database.transaction() as session:
        newsletter = _public_newsletter(session, slug, language)
        if newsletter is None:
            return None
        rows = archive.sent(session, newsletter.id)
        pages = max(1, -(-len(rows) // page_size))
        if not 1 <= page <= pages:
            return None
        shown = rows[(page - 1) * page_size : page * page_size]
        cards = _summaries(session, newsletter, rows, shown, language, urls)
        return IssueList(_newsletter_page(session, newsletter, language), cards, page, pages)


def issue_page(
    database: Database,
    urls: MailUrls,
    slug: str,
    language: str,
    issue_slug: str,
    section_keys: Sequence[str] = (),
) -> IssuePage | None:
    """An issue with the sections whose keys are chosen, and those that everybody gets; all of them where
    none is chosen. An issue without the language comes in the one it falls back to: see ``card.title``."""
    with database.transaction() as session:
        found = _find_issue(session, urls, slug, language, issue_slug)
        if found is None:
            return None
        newsletter, cards, card = found
        source = _issue_source(session, card, urls)
        tag = card.title.language
        everything = source.compose(tag, -1, _edition_urls(source))
        keys = {section.key for section in everything.sections}
        always = {
            section.key for section in source.sections if source.always_included >> section.bit & 1
        } & keys
        wanted = (set(section_keys) & keys or keys) | always
        mask = sum(1 << section.bit for section in source.sections if section.key in wanted)
        place = next(place for place, other in enumerate(cards) if other.issue_id == card.issue_id)
        return IssuePage(
            newsletter=_newsletter_page(session, newsletter, language),
            issue=card,
            content=source.compose(tag, mask, _edition_urls(source)),
            sections=tuple(
                SectionOption(
                    section.key,
                    LocalizedText(section.title, section.language),
                    len(section.stories),
                    section.key in wanted,
                    section.key in always,
                )
                for section in everything.sections
            ),
            later=cards[place - 1] if place else None,
            earlier=cards[place + 1] if place + 1 < len(cards) else None,
        )


def story_page(
    database: Database, urls: MailUrls, slug: str, language: str, issue_slug: str, story_key: str
) -> StoryPage | None:
    """A story as the issue's edition in this language shows it."""
    with database.transaction() as session:
        found = _find_issue(session, urls, slug, language, issue_slug)
        if found is None or found[2].title.language != language:
            return None
        newsletter, _, card = found
        source = _issue_source(session, card, urls)
        content = source.compose(language, -1, _edition_urls(source))
        told = [(section, story) for section in content.sections for story in section.stories]
        place = next((place for place, (_, story) in enumerate(told) if story.key == story_key), None)
        if place is None:
            return None
        section, story = told[place]
        return StoryPage(
            newsletter=_newsletter_page(session, newsletter, language),
            issue=card,
            section=section,
            story=story,
            languages=_story_languages(source, card)[story_key],
            previous_story=told[place - 1][1] if place else None,
            next_story=told[place + 1][1] if place + 1 < len(told) else None,
        )


def section_feed(
    database: Database, urls: MailUrls, slug: str, language: str, section_key: str
) -> tuple[NewsletterPage, SectionInfo, list[SectionStories]] | None:
    """The newest stories of one section, those that a reader of this language gets."""
    with database.transaction() as session:
        newsletter = _public_newsletter(session, slug, language)
        if newsletter is None:
            return None
        imprint = _newsletter_page(session, newsletter, language)
        topic = next((topic for topic in imprint.sections if topic.key == section_key), None)
        if topic is None:
            return None
        rows = archive.sent(session, newsletter.id)
        chapters = []
        for card in _summaries(session, newsletter, rows, rows[:SECTION_FEED_SIZE], language, urls):
            if card.title.language == language:
                source = _issue_source(session, card, urls)
                for section in source.compose(language, -1, _edition_urls(source)).sections:
                    if section.key == section_key:
                        chapters.append(SectionStories(card, section.stories))
        return imprint, topic, chapters


def public_issues(
    database: Database, urls: MailUrls
) -> list[tuple[NewsletterPage, tuple[IssueSummary, ...]]]:
    """Every public newsletter with its issues, in its default language."""
    with database.transaction() as session:
        found = []
        for newsletter in newsletters.list_all(session):
            if newsletter.public:
                rows, language = archive.sent(session, newsletter.id), newsletter.default_language
                cards = _summaries(session, newsletter, rows, rows, language, urls)
                found.append((_newsletter_page(session, newsletter, language), cards))
        return found


def sitemap_entries(
    database: Database, urls: MailUrls, slug: str, issue_slug: str
) -> tuple[NewsletterPage, SitemapEntries] | None:
    """An issue's stories, each with the languages it is written in."""
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        found = newsletter and _find_issue(session, urls, slug, newsletter.default_language, issue_slug)
        if not newsletter or not found:
            return None
        card = found[2]
        written = _story_languages(_issue_source(session, card, urls), card)
        imprint = _newsletter_page(session, newsletter, newsletter.default_language)
        return imprint, SitemapEntries(card, tuple((key, tags) for key, tags in written.items() if tags))


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
    """The issues in ``shown``; their addresses depend on the numbers of ``every`` one."""
    numbers = unique_slugs((issue.id, issue.number) for issue in all_issues)
    ids = [issue.id for issue in shown_issues]
    fronts, covers = archive.front_matter(session, ids), archive.cover_pictures(session, ids)
    cards = []
    for issue in shown_issues:
        offered = [tag for tag in newsletter.languages if tag in fronts[issue.id]]
        found = choose_language([language], offered, newsletter.fallbacks, newsletter.default_language)
        if not offered:
            continue
        tag = found.language if found else offered[0]
        front = fronts[issue.id][tag]
        name = localize(newsletter.names, tag, newsletter.fallbacks, newsletter.default_language).text
        cover = covers.get(issue.id)
        cards.append(
            IssueSummary(
                issue_id=issue.id,
                number=issue.number,
                slug=numbers[issue.id],
                issue_date=issue.issue_date,
                published_at=issue.ready_at or datetime.combine(issue.issue_date, time(), UTC),
                title=LocalizedText(short_title(front.subject, name, issue.number), tag),
                preheader=front.preheader,
                cover=EditionPicture(urls.picture_url(*cover[:2]), *cover[2:], alt="") if cover else None,
                languages=tuple(offered),
            )
        )
    return tuple(cards)


def _find_issue(
    session: Session, urls: MailUrls, slug: str, language: str, issue_slug: str
) -> tuple[Newsletter, tuple[IssueSummary, ...], IssueSummary] | None:
    """The newsletter, its issue at an address, and that issue with its neighbours."""
    newsletter = _public_newsletter(session, slug, language)
    if newsletter is None:
        return None
    rows = archive.sent(session, newsletter.id)
    numbers = unique_slugs((issue.id, issue.number) for issue in rows)
    place = next((place for place, issue in enumerate(rows) if numbers[issue.id] == issue_slug), None)
    if place is None:
        return None
    cards = _summaries(session, newsletter, rows, rows[max(0, place - 1) : place + 2], language, urls)
    card = next((card for card in cards if card.slug == issue_slug), None)
    return (newsletter, cards, card) if card else None


def _issue_source(session: Session, summary: IssueSummary, urls: MailUrls) -> IssueSource:
    return load_issue_source(session, issues.by_id(session, summary.issue_id), urls)


def _edition_urls(source: IssueSource) -> MailLinks:
    return MailLinks(web_view="", website=source.website)


def _story_languages(source: IssueSource, summary: IssueSummary) -> dict[str, tuple[str, ...]]:
    """Story → the languages in which it has a text of its own and an edition to stand in."""
    return {
        str(story.story): tuple(tag for tag in summary.languages if tag in story.texts)
        for story in source.stories
    }
