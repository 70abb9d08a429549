"""Load the content of an issue from which its editions are composed."""

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy.orm import Session

from mailer.domain.composition import FrontMatter, IssueSource, SectionSource, StorySource, StoryText
from mailer.domain.content import Dateline, Theme
from mailer.domain.editions import DigestSource, LanguageRules
from mailer.domain.markdown import referenced_pictures, with_picture_urls
from mailer.domain.states import TextSubject, TranslationStatus
from mailer.models import Issue, Newsletter, StoryTranslation
from mailer.store import contacts, issues, newsletters, pictures, text_versions
from mailer.store.pictures import PictureInfo


class PictureUrls(Protocol):
    """Builds the URLs of pictures."""

    def picture_url(self, sha256: str, media_type: str) -> str: ...


def load_language_rules(session: Session, issue: Issue, newsletter: Newsletter) -> LanguageRules:
    """Return the language rules of an issue: the newsletter's, for the languages whose front matter is ready."""
    fronts = issues.front_matter(session, issue.id)
    ready = [tag for tag in newsletter.languages if tag in fronts and fronts[tag].status is TranslationStatus.ready]
    return LanguageRules(ready, newsletter.fallbacks, newsletter.default_language, issue.missing_translations)


def load_digest_sources(session: Session, digest: Issue, newsletter: Newsletter) -> list[DigestSource]:
    """Return the issues that a digest holds, oldest first; none if the issue is no digest."""
    sources = []
    for id in digest.digest_source_ids:
        rules = load_language_rules(session, issues.by_id(session, id), newsletter)
        subjects = {tag: row.subject for tag, row in issues.front_matter(session, id).items() if tag in rules.languages}
        sources.append(DigestSource(id, rules, subjects))
    return sources


def load_issue_source(session: Session, issue: Issue, urls: PictureUrls, *, drafts: bool = False) -> IssueSource:
    """Return everything that the editions of an issue are composed from. ``drafts``: also texts that are not ready."""
    newsletter = newsletters.by_id(session, issue.newsletter_id)
    front_rows = issues.front_matter(session, issue.id)
    digest_sources = {source.issue: source for source in load_digest_sources(session, issue, newsletter)}
    stories = issues.stories(session, issue.id)
    texts = issues.story_texts(session, issue.id)
    bodies = [row.body for rows in texts.values() for row in rows.values()]
    references = referenced_pictures([*bodies, *(row.intro for row in front_rows.values())])
    text_pictures = {
        sha256: _shown(urls, picture) for sha256, picture in pictures.infos_by_hash(session, references).items()
    }
    fronts = {
        tag: FrontMatter(
            row.subject,
            row.preheader,
            with_picture_urls(row.intro, text_pictures),
            row.partial_subject,
            row.partial_preheader,
            row.partial_intro,
        )
        for tag, row in front_rows.items()
        if drafts or row.status is TranslationStatus.ready
    }
    ids = {story.picture_id for story, _ in stories if story.picture_id}
    if issue.header_image_id:
        ids.add(issue.header_image_id)
    shown = {id: _shown(urls, picture) for id, picture in pictures.infos(session, ids).items()}
    thumbnails = {id: _shown(urls, picture)[0] for id, picture in pictures.thumbnails(session, ids).items()}
    notes: dict[int, list[dict[str, str]]] = {}
    for contact, text_by_language, _ in contacts.of_issue(session, issue.id):
        notes.setdefault(contact.story_id, []).append(text_by_language)
    return IssueSource(
        issue=issue.id,
        revision=issue.revision,
        number=issue.number,
        issue_date=issue.issue_date,
        slug=newsletter.slug,
        names=newsletter.names,
        taglines=newsletter.taglines,
        sender_name=newsletter.sender_name,
        sender_address=newsletter.sender_address,
        reply_to=newsletter.reply_to,
        postal_address=newsletter.postal_address,
        website=newsletter.website,
        list_id=newsletter.list_id,
        theme=Theme(**newsletter.theme),
        language_rules=load_language_rules(session, issue, newsletter),
        front_matter=fronts,
        sections=[
            SectionSource(section.bit, section.key, section.colour, section.titles, section.offered)
            for section in issues.sections(session, issue)
        ],
        stories=[
            StorySource(
                story.id,
                section.bit,
                {
                    tag: _story_text(
                        row,
                        with_picture_urls(row.body, text_pictures),
                        [note[tag] for note in notes.get(story.id, []) if tag in note],
                    )
                    for tag, row in texts.get(story.id, {}).items()
                    if drafts or row.status is TranslationStatus.ready
                },
                shown.get(story.picture_id or 0),
                thumbnails.get(story.picture_id or 0, ""),
                digest_sources.get(story.source_issue_id or 0),
                next((row.headline for row in texts.get(story.id, {}).values() if row.headline), ""),
            )
            for story, section in stories
        ],
        always_included=newsletters.always_mask(session, newsletter.id),
        header_image=shown.get(issue.header_image_id or 0),
        public=newsletter.public,
        text_overrides=newsletter.text_overrides,
        digest_sources=list(digest_sources.values()),
        drafts=frozenset(
            [
                *((None, tag) for tag, row in front_rows.items() if row.status is TranslationStatus.draft),
                *(
                    (story, tag)
                    for story, rows in texts.items()
                    for tag, row in rows.items()
                    if row.status is TranslationStatus.draft
                ),
            ]
        ),
        stale=frozenset(
            (key.subject_id if key.subject is TextSubject.story else None, key.language)
            for key in text_versions.stale(session, issue.id)
            if key.subject is not TextSubject.contact
        ),
    )


def _shown(urls: PictureUrls, picture: PictureInfo) -> tuple[str, int, int]:
    return urls.picture_url(picture.sha256, picture.media_type), picture.width, picture.height


def _story_text(row: StoryTranslation, body: str, contact_notes: Sequence[str]) -> StoryText:
    datelines = tuple(map(Dateline.from_json, row.datelines))
    return StoryText(
        row.headline,
        body,
        datelines,
        row.alt,
        row.link,
        row.link_label,
        tuple(contact_notes),
        row.picture_credit,
    )
