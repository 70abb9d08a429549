"""What the page of a text shows beside it: its source and other languages, picture, contact notes, and its look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mailer.domain.composition import FrontMatter
from mailer.domain.content import EditionUrls
from mailer.domain.editions import ALL_SECTIONS, LanguageRules
from mailer.domain.ports import MailUrls, Renderer
from mailer.domain.states import TextSubject, TranslationStatus
from mailer.domain.text_tree import plain_line
from mailer.domain.versions import TextKey
from mailer.models import IssueTranslation, Story, StoryTranslation
from mailer.store import contacts, issues, newsletters, pictures, text_versions
from mailer.store.database import Database, Session
from mailer.store.issue_source import load_issue_source


@dataclass(frozen=True, slots=True)
class LanguageStatus:
    """How far a text is in one language."""

    language: str
    status: TranslationStatus
    is_stale: bool
    """Whether its source has changed since."""


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text that a translation is made from."""

    language: str
    content: Mapping[str, Any]
    base: str
    """See ``text_versions.base_of``."""


@dataclass(frozen=True, slots=True)
class TextPage:
    """What stands beside a text while it is written."""

    title: str
    """Its headline or subject without formatting, in its language or the nearest one. Empty if there is none."""
    section: str
    """The title of the story's section; empty for front matter."""
    source_language: str
    source: SourceText | None
    """None if this is the source itself, or the source has no text."""
    is_stale: bool
    languages: Sequence[LanguageStatus]
    picture: tuple[str, int, int] | None
    """URL, width, height."""
    contacts: Sequence[str]
    """The contact notes printed after the story, in its language if translated."""
    previous_story: int | None
    next_story: int | None
    """In the order in which they are printed."""


class TextNotShown(LookupError):
    """There is nothing to show of this text yet."""


def load_text_page(database: Database, urls: MailUrls, key: TextKey) -> TextPage:
    """Return what the page of a text shows beside it. Raises IssueNotFound."""
    with database.transaction() as session:
        issue = issues.by_id(session, key.issue)
        newsletter = newsletters.by_id(session, issue.newsletter_id)
        stale = {
            other.language
            for other in text_versions.stale(session, key.issue)
            if (other.subject, other.subject_id) == (key.subject, key.subject_id)
        }
        rows: Mapping[str, IssueTranslation | StoryTranslation]
        in_order = issues.stories(session, key.issue)
        section, picture, notes, ids = "", None, [], [story.id for story, _ in in_order]
        at = ids.index(key.subject_id) if key.subject is TextSubject.story and key.subject_id in ids else None
        if key.subject is TextSubject.story:
            rows = issues.story_texts(session, key.issue).get(key.subject_id, {})
        else:
            rows = issues.front_matter(session, key.issue)
        if at is not None:
            story, its_section = in_order[at]
            section = newsletter.localize(its_section.titles).text
            picture = _picture(session, urls, story)
            notes = [
                newsletter.localize(texts, key.language).text
                for contact, texts, _ in contacts.of_issue(session, key.issue)
                if contact.story_id == story.id and texts
            ]
        titles = {tag: row.subject if isinstance(row, IssueTranslation) else row.headline for tag, row in rows.items()}
        titles = {tag: title for tag, title in titles.items() if title}
        title = newsletter.localize(titles, key.language).text
        source_language = text_versions.source_language(session, key)
        source = None
        if source_language != key.language and (row := rows.get(source_language)):
            head = text_versions.source_head(session, key)
            source = SourceText(source_language, text_versions.content_of(row), text_versions.base_of(head))
    return TextPage(
        title=plain_line(title) if key.subject is TextSubject.story else title,
        section=section,
        source_language=source_language,
        source=source,
        is_stale=key.language in stale,
        languages=[
            LanguageStatus(tag, rows[tag].status if tag in rows else TranslationStatus.missing, tag in stale)
            for tag in newsletter.languages
        ],
        picture=picture,
        contacts=notes,
        previous_story=ids[at - 1] if at else None,
        next_story=next(iter(ids[(-1 if at is None else at) + 1 :]), None),
    )


def render_look(database: Database, renderer: Renderer, urls: MailUrls, key: TextKey) -> str:
    """Return the HTML of an email with only this text, as it is stored, also if it is a draft.

    Raises TextNotShown, and ValueError with the reason if it cannot be rendered.
    """
    with database.transaction() as session:
        issue = issues.by_id(session, key.issue)
        source = load_issue_source(session, issue, urls, drafts=True)
    rules = source.language_rules
    languages = [*rules.languages, *({key.language} - {*rules.languages})]
    source = replace(
        source,
        front_matter={key.language: FrontMatter("", "", ""), **source.front_matter},
        language_rules=LanguageRules(
            languages, rules.fallback_chains, rules.default_language, rules.missing_translations
        ),
        stories=[
            replace(story, texts={key.language: story.texts[key.language]})
            for story in source.stories
            if key.subject is TextSubject.story and story.story == key.subject_id and key.language in story.texts
        ],
    )
    is_story = key.subject is TextSubject.story
    if not (source.stories if is_story else source.front_matter[key.language] != FrontMatter("", "", "")):
        raise TextNotShown(TextNotShown.__doc__)
    edition_urls = EditionUrls(urls.web_view_url(key.issue, 0), urls.page_url(""), urls.page_url(""), source.website)
    content = source.compose(key.language, ALL_SECTIONS, edition_urls, "Ada Example", "ada@example.org")
    if is_story:
        content = replace(content, intro="", header_image=None)
    return renderer.render(replace(content, unfollowed_sections=())).html


def _picture(session: Session, urls: MailUrls, story: Story) -> tuple[str, int, int] | None:
    for picture in pictures.infos(session, [story.picture_id] if story.picture_id else []).values():
        return urls.picture_url(picture.sha256, picture.media_type), picture.width, picture.height
    return None
