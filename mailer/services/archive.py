"""Archive: what anybody may read: issues of public newsletters, and what one has the address of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from mailer.domain.archive import addresses, title
from mailer.domain.composition import IssueMaterial
from mailer.domain.content import EditionContent, Picture, Section, Story
from mailer.domain.content import Links as MailLinks
from mailer.domain.languages import choose
from mailer.domain.phrases import Phrases
from mailer.domain.ports import Links
from mailer.domain.wording import Wording, page_language, spoken, worded
from mailer.models import Issue, Newsletter
from mailer.store import archive, editions, issues, newsletters
from mailer.store.database import Database, Session
from mailer.store.material import material

PAGE = 12
"""Issues on one page of a list."""
FEED = 20
"""Issues in a newsletter's feed."""
SECTION_FEED = 5
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
    name: Wording
    tagline: Wording
    website: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Publications:
    language: str
    """In which to speak to that person."""
    page_languages: tuple[str, ...]
    """In which the page can be had."""
    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """A section of a newsletter, apart from any issue."""

    key: str
    title: Wording
    colour: str


@dataclass(frozen=True, slots=True)
class Imprint:
    """A public newsletter as each page of its archive in one language shows it."""

    slug: str
    language: str
    """Of the archive: one of the newsletter's."""
    speaks: str
    """The catalogue whose words the page has."""
    languages: tuple[str, ...]
    default_language: str
    name: Wording
    tagline: Wording
    topics: tuple[Topic, ...]
    sender_name: str
    reply_to: str
    postal_address: str
    website: str
    list_id: str
    theme: dict[str, str]
    phrases: Phrases


@dataclass(frozen=True, slots=True)
class Card:
    """An issue in short."""

    issue: int
    number: str
    address: str
    """What stands for it in the addresses of the archive."""
    on: date
    published: datetime
    title: Wording
    """In the archive's language, or the one it falls back to; the issue's page has that language."""
    preheader: str
    cover: Picture | None
    languages: tuple[str, ...]
    """In which it can be read."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """One page of a newsletter's issues, the newest first."""

    imprint: Imprint
    cards: tuple[Card, ...]
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A section of an issue, to be shown or not."""

    key: str
    title: Wording
    stories: int
    shown: bool
    always: bool


@dataclass(frozen=True, slots=True)
class Edition:
    """An issue as a web page in one language, with the sections that were chosen on it."""

    imprint: Imprint
    card: Card
    content: EditionContent
    choices: tuple[Choice, ...]
    later: Card | None
    earlier: Card | None


@dataclass(frozen=True, slots=True)
class StoryPage:
    """A story on a page of its own."""

    imprint: Imprint
    card: Card
    section: Section
    story: Story
    languages: tuple[str, ...]
    """In which it has a text, and the issue an edition."""
    before: Story | None
    after: Story | None
    """Its neighbours in the issue."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """The stories of one section in one issue."""

    card: Card
    stories: tuple[Story, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """Where the stories of an issue are, for a site map: each with its languages."""

    card: Card
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


def publications(database: Database, wanted: Sequence[str]) -> Publications:
    """Every public newsletter, for somebody who wants these languages, best first."""
    with database.transaction() as session:
        rows = [row for row in newsletters.all_of_them(session) if row.public]
        offered = tuple(dict.fromkeys(tag for row in rows for tag in row.languages))
        language = page_language(wanted, offered, {}, rows[0].default_language if rows else "en")
        return Publications(
            language,
            spoken(offered),
            tuple(
                Publication(
                    row.slug,
                    worded(row.names, language, row.fallbacks, row.default_language),
                    worded(row.taglines, language, row.fallbacks, row.default_language),
                    row.website,
                    tuple(row.languages),
                )
                for row in rows
            ),
        )


def language_for(database: Database, slug: str, wanted: Sequence[str]) -> str | None:
    """The language in which somebody who wants these, best first, reads a newsletter's archive. None when
    there is no such public newsletter."""
    with database.transaction() as session:
        row = newsletters.by_slug(session, slug)
        if row is None or not row.public:
            return None
        found = choose(wanted, row.languages, row.fallbacks, row.default_language)
        return found.language if found else row.languages[0]


def shelf(database: Database, links: Links, slug: str, language: str, page: int = 1) -> Shelf | None:
    """A page of a newsletter's issues; None when there is no such page, newsletter or language."""
    return _shelf(database, links, slug, language, page, PAGE)


def newest(database: Database, links: Links, slug: str, language: str) -> Shelf | None:
    """The issues of a newsletter's feed."""
    return _shelf(database, links, slug, language, 1, FEED)


def _shelf(
    database: Database, links: Links, slug: str, language: str, page: int, length: int
) -> Shelf | None:
    with database.transaction() as session:
        newsletter = _public(session, slug, language)
        if newsletter is None:
            return None
        rows = archive.sent(session, newsletter.id)
        pages = max(1, -(-len(rows) // length))
        if not 1 <= page <= pages:
            return None
        shown = rows[(page - 1) * length : page * length]
        cards = _cards(session, newsletter, rows, shown, language, links)
        return Shelf(_imprint(session, newsletter, language), cards, page, pages)


def edition(
    database: Database, links: Links, slug: str, language: str, address: str, chosen: Sequence[str] = ()
) -> Edition | None:
    """An issue with the sections whose keys are chosen, and those that everybody gets; all of them where
    none is chosen. An issue without the language comes in the one it falls back to: see ``card.title``."""
    with database.transaction() as session:
        found = _issue(session, links, slug, language, address)
        if found is None:
            return None
        newsletter, cards, card = found
        source = _material(session, card, links)
        tag = card.title.language
        everything = source.compose(tag, -1, _links(source))
        keys = {section.key for section in everything.sections}
        always = {section.key for section in source.sections if source.always >> section.bit & 1} & keys
        wanted = (set(chosen) & keys or keys) | always
        mask = sum(1 << section.bit for section in source.sections if section.key in wanted)
        place = next(place for place, other in enumerate(cards) if other.issue == card.issue)
        return Edition(
            imprint=_imprint(session, newsletter, language),
            card=card,
            content=source.compose(tag, mask, _links(source)),
            choices=tuple(
                Choice(
                    section.key,
                    Wording(section.title, section.language),
                    len(section.stories),
                    section.key in wanted,
                    section.key in always,
                )
                for section in everything.sections
            ),
            later=cards[place - 1] if place else None,
            earlier=cards[place + 1] if place + 1 < len(cards) else None,
        )


def story(
    database: Database, links: Links, slug: str, language: str, address: str, key: str
) -> StoryPage | None:
    """A story as the issue's edition in this language shows it."""
    with database.transaction() as session:
        found = _issue(session, links, slug, language, address)
        if found is None or found[2].title.language != language:
            return None
        newsletter, _, card = found
        source = _material(session, card, links)
        content = source.compose(language, -1, _links(source))
        told = [(section, story) for section in content.sections for story in section.stories]
        place = next((place for place, (_, story) in enumerate(told) if story.key == key), None)
        if place is None:
            return None
        section, story = told[place]
        return StoryPage(
            imprint=_imprint(session, newsletter, language),
            card=card,
            section=section,
            story=story,
            languages=_written(source, card)[key],
            before=told[place - 1][1] if place else None,
            after=told[place + 1][1] if place + 1 < len(told) else None,
        )


def section_feed(
    database: Database, links: Links, slug: str, language: str, key: str
) -> tuple[Imprint, Topic, list[Chapter]] | None:
    """The newest stories of one section, those that a reader of this language gets."""
    with database.transaction() as session:
        newsletter = _public(session, slug, language)
        if newsletter is None:
            return None
        imprint = _imprint(session, newsletter, language)
        topic = next((topic for topic in imprint.topics if topic.key == key), None)
        if topic is None:
            return None
        rows = archive.sent(session, newsletter.id)
        chapters = []
        for card in _cards(session, newsletter, rows, rows[:SECTION_FEED], language, links):
            if card.title.language == language:
                source = _material(session, card, links)
                for section in source.compose(language, -1, _links(source)).sections:
                    if section.key == key:
                        chapters.append(Chapter(card, section.stories))
        return imprint, topic, chapters


def public_issues(database: Database, links: Links) -> list[tuple[Imprint, tuple[Card, ...]]]:
    """Every public newsletter with its issues, in its default language."""
    with database.transaction() as session:
        found = []
        for newsletter in newsletters.all_of_them(session):
            if newsletter.public:
                rows, language = archive.sent(session, newsletter.id), newsletter.default_language
                cards = _cards(session, newsletter, rows, rows, language, links)
                found.append((_imprint(session, newsletter, language), cards))
        return found


def contents(database: Database, links: Links, slug: str, address: str) -> tuple[Imprint, Contents] | None:
    """An issue's stories, each with the languages it is written in."""
    with database.transaction() as session:
        newsletter = newsletters.by_slug(session, slug)
        found = newsletter and _issue(session, links, slug, newsletter.default_language, address)
        if not newsletter or not found:
            return None
        card = found[2]
        written = _written(_material(session, card, links), card)
        imprint = _imprint(session, newsletter, newsletter.default_language)
        return imprint, Contents(card, tuple((key, tags) for key, tags in written.items() if tags))


def _public(session: Session, slug: str, language: str) -> Newsletter | None:
    row = newsletters.by_slug(session, slug)
    return row if row is not None and row.public and language in row.languages else None


def _imprint(session: Session, row: Newsletter, language: str) -> Imprint:
    chains, default = row.fallbacks, row.default_language
    return Imprint(
        slug=row.slug,
        language=language,
        speaks=page_language([language], row.languages, chains, default),
        languages=tuple(row.languages),
        default_language=default,
        name=worded(row.names, language, chains, default),
        tagline=worded(row.taglines, language, chains, default),
        topics=tuple(
            Topic(section.key, worded(section.titles, language, chains, default), section.colour)
            for section in newsletters.sections(session, row.id)
        ),
        sender_name=row.sender_name,
        reply_to=row.reply_to or row.sender_address,
        postal_address=row.postal_address,
        website=row.website,
        list_id=row.list_id,
        theme={name: str(value) for name, value in row.theme.items()},
        phrases=row.phrases,
    )


def _cards(
    session: Session,
    newsletter: Newsletter,
    every: Sequence[Issue],
    shown: Sequence[Issue],
    language: str,
    links: Links,
) -> tuple[Card, ...]:
    """The issues in ``shown``; their addresses depend on the numbers of ``every`` one."""
    numbers = addresses((issue.id, issue.number) for issue in every)
    ids = [issue.id for issue in shown]
    fronts, covers = archive.fronts(session, ids), archive.covers(session, ids)
    cards = []
    for issue in shown:
        offered = [tag for tag in newsletter.languages if tag in fronts[issue.id]]
        found = choose([language], offered, newsletter.fallbacks, newsletter.default_language)
        if not offered:
            continue
        tag = found.language if found else offered[0]
        front = fronts[issue.id][tag]
        name = worded(newsletter.names, tag, newsletter.fallbacks, newsletter.default_language).text
        cover = covers.get(issue.id)
        cards.append(
            Card(
                issue=issue.id,
                number=issue.number,
                address=numbers[issue.id],
                on=issue.issue_date,
                published=issue.composed_at or datetime.combine(issue.issue_date, time(), UTC),
                title=Wording(title(front.subject, name, issue.number), tag),
                preheader=front.preheader,
                cover=Picture(links.picture(*cover[:2]), *cover[2:], alt="") if cover else None,
                languages=tuple(offered),
            )
        )
    return tuple(cards)


def _issue(
    session: Session, links: Links, slug: str, language: str, address: str
) -> tuple[Newsletter, tuple[Card, ...], Card] | None:
    """The newsletter, its issue at an address, and that issue with its neighbours."""
    newsletter = _public(session, slug, language)
    if newsletter is None:
        return None
    rows = archive.sent(session, newsletter.id)
    numbers = addresses((issue.id, issue.number) for issue in rows)
    place = next((place for place, issue in enumerate(rows) if numbers[issue.id] == address), None)
    if place is None:
        return None
    cards = _cards(session, newsletter, rows, rows[max(0, place - 1) : place + 2], language, links)
    card = next((card for card in cards if card.address == address), None)
    return (newsletter, cards, card) if card else None


def _material(session: Session, card: Card, links: Links) -> IssueMaterial:
    row = issues.by_id(session, card.issue)
    assert row, "a card is made from its issue"
    return material(session, row, links)


def _links(source: IssueMaterial) -> MailLinks:
    return MailLinks(web_view="", website=source.website)


def _written(source: IssueMaterial, card: Card) -> dict[str, tuple[str, ...]]:
    """Story → the languages in which it has a text of its own and an edition to stand in."""
    return {
        str(story.story): tuple(tag for tag in card.languages if tag in story.texts)
        for story in source.stories
    }
