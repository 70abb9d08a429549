"""Compose: every edition that some reader gets is rendered once and compiled into a message with slots."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from mailer.domain.composition import IssueSource
from mailer.domain.content import EditionContent
from mailer.domain.content import EditionUrls as MailLinks
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.headers import HeaderPiece, SenderIdentity, edition_headers
from mailer.domain.message import GREETING_BOUNDARY, CompiledMessage, compile_message, marker
from mailer.domain.ports import MailUrls, Rendered, RenderedLanguage, Renderer
from mailer.domain.states import IssueState
from mailer.domain.urls import TokenPrefix
from mailer.store import editions, issues, newsletters
from mailer.store.database import Database, Session
from mailer.store.issue_source import load_issue_source

SLOTS = ("unsubscribe", "preferences", "name", "address", GREETING_BOUNDARY)
"""What differs in the body from reader to reader."""
Headers = Sequence[tuple[str, Sequence[HeaderPiece]]]


class EditionNotFound(LookupError):
    """There is no such issue, edition or language."""


def load_issue(database: Database, urls: MailUrls, issue: int) -> IssueSource:
    """The material of an issue as it stands now. Raises NoIssue."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        return load_issue_source(session, row, urls)


def render_stale(
    database: Database, renderer: Renderer, urls: MailUrls, bounce_domain: str, issue: int, limit: int
) -> int:
    """Render the editions of an issue that are not rendered yet, ``limit`` in a transaction. Says how many.

    Several workers may do this at once: each takes editions that no other one holds. An issue that cannot be
    printed is paused with the reason in its log, and left alone until somebody resumes it.
    """
    done = 0
    press: EditionCompiler | None = None
    while True:
        with database.transaction() as session:
            row = issues.find(session, issue)
            if row is None or (row.state is IssueState.paused and _is_paused_by_render_error(session, issue)):
                return done
            stale = editions.claim_stale(session, issue, limit)
            if not stale:
                return done
            if press is None or press.revision != row.revision:
                press = EditionCompiler(load_issue_source(session, row, urls), renderer, urls, bounce_domain)
            for edition in stale:
                try:
                    printed = press.compile_edition(edition.id, edition.language, edition.sections)
                except ValueError as error:
                    _pause_issue(session, issue, f"{edition.language}: {error}")
                    return 0
                message, slots = printed.message.serialize()
                editions.save(
                    session,
                    edition.id,
                    revision=press.revision,
                    subject=printed.subject,
                    story_count=printed.story_count,
                    fallback_count=printed.fallback_count,
                    html=printed.page,
                    message=message,
                    slots=slots,
                )
            done += len(stale)


_RENDER_ERROR_PREFIX = "cannot be printed: "
"""Begins the log's reason for a pause that only a change can end."""


def _is_paused_by_render_error(session: Session, issue: int) -> bool:
    # A new limit ends no pause.
    last = [event for event in issues.events(session, issue) if event.action != "limited"][-1]
    return last.action == "paused" and last.detail.startswith(_RENDER_ERROR_PREFIX)


def _pause_issue(session: Session, issue: int, reason: str) -> None:
    row = issues.lock(session, issue)
    if row.state in (IssueState.sending, IssueState.paused):
        row.state = IssueState.paused
        issues.log(session, issue, "mailer", "paused", _RENDER_ERROR_PREFIX + reason)


def render_errors(
    source: IssueSource, renderer: Renderer, urls: MailUrls, bounce_domain: str
) -> list[tuple[str, str]]:
    """(language, why) of all that keeps an issue's editions from being printed; the reason names the story
    where it is in one."""
    press = EditionCompiler(source, renderer, urls, bounce_domain)
    found = [fault for language in source.language_rules.languages for fault in press.render_errors(language)]
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class CompiledEdition:
    """An edition as it is stored: ``fallbacks`` of its stories are in another language than its own."""

    subject: str
    story_count: int
    fallback_count: int
    message: CompiledMessage
    page: str


class EditionCompiler:
    """Prints the editions of an issue. Each language is rendered once, and its editions are cut from that.

    What cannot be printed raises a ValueError whose message says why: a text that is too long or too deeply nested,
    a link or a header that is not safe.
    """

    def __init__(self, source: IssueSource, renderer: Renderer, urls: MailUrls, bounce_domain: str) -> None:
        self.revision = source.revision
        self._source = source
        self._renderer = renderer
        self._urls = urls
        self._bounce_domain = bounce_domain or source.sender_domain
        nonce = secrets.token_hex(6)
        self._markers = {name: marker(nonce, name) for name in SLOTS}
        self._slots = {word: name for name, word in self._markers.items()}
        self._web_view_url = urls.page_url(marker(nonce, "view"))
        self._render_cached = cache(self._render)

    def compile_edition(self, edition: int, language: str, sections: int) -> CompiledEdition:
        """The edition of this id, with the sections of this mask."""
        content, sheet, headers = self._render_cached(language)
        keys = {section.key for section in self._source.sections if sections >> section.bit & 1}
        rendered = sheet.edition(keys, self._urls.web_view_url(self._source.issue, edition))
        stories = [story for section in content.sections if section.key in keys for story in section.stories]
        return CompiledEdition(
            subject=content.subject,
            story_count=len(stories),
            fallback_count=sum(story.is_fallback for story in stories),
            message=compile_message(headers, rendered.text, rendered.html, self._slots),
            page=rendered.web_view_html,
        )

    def render_errors(self, language: str) -> list[tuple[str, str]]:
        """(language, why) of what keeps the editions in this language from being printed."""
        try:
            self.compile_edition(0, language, ALL_SECTIONS)
        except ValueError as error:
            return self._locate_errors(self._edition_content(language)) or [(language, f"{error}")]
        return []

    def _locate_errors(self, content: EditionContent) -> list[tuple[str, str]]:
        """The faults of the introduction and of each story alone."""
        found: list[tuple[str, str]] = []

        def look(language: str, what: str, part: EditionContent) -> None:
            try:
                self._renderer.render_language(part)
            except ValueError as error:
                found.append((language, f"{what}: {error}"))

        look(content.language, "the introduction", replace(content, sections=()))
        for section in content.sections:
            for story in section.stories:
                alone = replace(content, intro="", sections=(replace(section, stories=(story,)),))
                look(story.language, f"“{story.headline}”", alone)
        return found

    def _render(self, language: str) -> tuple[EditionContent, RenderedLanguage, Headers]:
        """The issue in one language, with every section, and the headers of its mails."""
        source, content = self._source, self._edition_content(language)
        origin = SenderIdentity(
            sender_name=source.sender_name,
            sender_address=source.sender_address,
            reply_to=source.reply_to,
            list_id=source.list_id,
            list_name=source.slug,
            bounce_domain=self._bounce_domain,
            page_url_prefix=self._urls.page_url(""),
            feedback_id=f"{source.issue}:{language}:{source.slug}",
            archive_url=self._urls.archive_url(source.slug) if source.public else "",
        )
        headers = edition_headers(origin, content.subject, language)
        return content, self._renderer.render_language(content), headers

    def _edition_content(self, language: str) -> EditionContent:
        source, words = self._source, self._markers
        mail_links = MailLinks(
            web_view=self._web_view_url,
            preferences=self._urls.page_url(words["preferences"]),
            unsubscribe=self._urls.page_url(words["unsubscribe"]),
            website=source.website,
        )
        return source.compose(
            language, ALL_SECTIONS, mail_links, words["name"], words["address"], words[GREETING_BOUNDARY]
        )


def preview(
    database: Database, renderer: Renderer, urls: MailUrls, issue: int, language: str, sections: int | None
) -> tuple[EditionContent, Rendered]:
    """An edition as it would look now, stored nowhere. ``sections`` None: every section. Raises NoIssue."""
    source = load_issue(database, urls, issue)
    if language not in source.front_matter:
        known = ", ".join(source.language_rules.languages) or "none"
        raise EditionNotFound(f"Issue {issue} has no front matter in {language}; it has {known}.")
    shown = source.sections_shown(language)
    mask = shown if sections is None else (sections | source.always_included) & shown
    mail_links = MailLinks(
        web_view=urls.web_view_url(issue, 1),
        preferences=urls.page_url(TokenPrefix.preferences + "x" * 22),
        unsubscribe=urls.page_url(TokenPrefix.unsubscribe + "x" * 22),
        website=source.website,
    )
    content = source.compose(language, mask, mail_links, "Ada Example", "ada@example.org")
    return content, renderer.render(content)


def section_mask(database: Database, issue: int, keys: Sequence[str]) -> int | None:
    """The mask of sections named by their keys; None for no keys. Raises NoIssue."""
    if not keys:
        return None
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        known = {section.key: section.bit for section in newsletters.sections(session, row.newsletter_id)}
    unknown = [key for key in keys if key.strip() not in known]
    if unknown:
        raise EditionNotFound(f"There is no section {', '.join(unknown)}; there is {', '.join(known)}.")
    return sum(1 << known[key.strip()] for key in keys)
