"""Compiles an issue: each edition is rendered once into a message with slots for the reader."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from mailer.domain.accounts import THE_SERVICE
from mailer.domain.composition import IssueSource
from mailer.domain.content import EditionContent, EditionUrls
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.errors import UserError
from mailer.domain.headers import SenderIdentity, edition_headers
from mailer.domain.message import GREETING_BOUNDARY, CompiledMessage, compile_message, marker
from mailer.domain.ports import MailUrls, RenderedEdition, RenderedLanguage, Renderer
from mailer.domain.states import IssueState, PauseReason
from mailer.domain.text_tree import plain_line
from mailer.domain.urls import TokenPrefix
from mailer.store import editions, issues, newsletters
from mailer.store.database import Database, Session
from mailer.store.issue_source import load_issue_source

SLOTS = ("unsubscribe", "preferences", "name", "address", GREETING_BOUNDARY)
"""The parts of the body that differ by reader."""


class EditionNotFound(UserError, LookupError):
    """The issue has no such edition, language or section."""


def load_issue(database: Database, urls: MailUrls, issue: int) -> IssueSource:
    """Return the content of an issue as it is now. Raises IssueNotFound."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        return load_issue_source(session, row, urls)


def render_stale(
    database: Database, renderer: Renderer, urls: MailUrls, bounce_domain: str, issue: int, limit: int
) -> int:
    """Render the stale editions of an issue, ``limit`` in each transaction. Return their number.

    Several workers may do this at the same time: each locks the editions that it renders. If an edition cannot be
    rendered, the issue is paused with the reason in its log, and not tried again until it is resumed.
    """
    rendered_count = 0
    source: IssueSource | None = None
    compilers: dict[int, EditionCompiler] = {}
    while True:
        with database.transaction() as session:
            row = issues.find(session, issue)
            if row is None or (row.state is IssueState.paused and row.pause_reason is PauseReason.render_error):
                return rendered_count
            stale = editions.claim_stale(session, issue, limit)
            if not stale:
                return rendered_count
            if source is None or source.revision != row.revision:
                source, compilers = load_issue_source(session, row, urls), {}
            for edition in stale:
                compiler = compilers.get(edition.sources)
                if compiler is None:
                    compiler = EditionCompiler(source.holding(edition.sources), renderer, urls, bounce_domain)
                    compilers = {edition.sources: compiler}  # they come in this order
                try:
                    web_view = urls.web_view_url(issue, edition.id)
                    compiled = compiler.compile_edition(web_view, edition.language, edition.sections)
                except ValueError as error:
                    _pause_issue(session, issue, f"{edition.language}: {error}")
                    return 0
                message, slots = compiled.message.serialize()
                editions.save(
                    session,
                    edition.id,
                    revision=source.revision,
                    subject=compiled.subject,
                    story_count=compiled.story_count,
                    fallback_count=compiled.fallback_count,
                    html=compiled.web_view_html,
                    message=message,
                    slots=slots,
                )
            rendered_count += len(stale)


def _pause_issue(session: Session, issue: int, reason: str) -> None:
    row = issues.lock(session, issue)
    if row.state in (IssueState.sending, IssueState.paused):
        issues.pause(session, row, PauseReason.render_error, THE_SERVICE, reason)


def render_errors(source: IssueSource, renderer: Renderer, urls: MailUrls, bounce_domain: str) -> list[tuple[str, str]]:
    """Return the errors that prevent rendering, as (language, message) pairs.

    A message names the story if a story causes the error.
    """
    compiler = EditionCompiler(source, renderer, urls, bounce_domain)
    errors = [error for language in source.language_rules.languages for error in compiler.render_errors(language)]
    return list(dict.fromkeys(errors))


@dataclass(frozen=True, slots=True)
class CompiledEdition:
    """An edition as it is stored. ``fallback_count``: its stories in another language."""

    subject: str
    story_count: int
    fallback_count: int
    message: CompiledMessage
    web_view_html: str


class EditionCompiler:
    """Compiles the editions of an issue. Each language is rendered once, with all sections.

    The methods raise ValueError, with the reason as its message, if an edition cannot be rendered: a text is too
    long or too deeply nested, or a link or header is unsafe.
    """

    def __init__(
        self, source: IssueSource, renderer: Renderer, urls: MailUrls, bounce_domain: str, subject_prefix: str = ""
    ) -> None:
        self._source = source
        self._renderer = renderer
        self._urls = urls
        self._bounce_domain = bounce_domain or source.sender_domain
        self._subject_prefix = subject_prefix
        nonce = secrets.token_hex(6)
        self._markers = {name: marker(nonce, name) for name in SLOTS}
        self._slots = {marker_text: name for name, marker_text in self._markers.items()}
        self._web_view_url = urls.page_url(marker(nonce, "view"))
        self._render_cached = cache(self._render)
        self._headers_cached = cache(edition_headers)

    def compile_edition(self, web_view: str, language: str, sections: int) -> CompiledEdition:
        """Compile the edition with this language and section mask. ``web_view``: the URL of its web view."""
        content, rendered_language, sender = self._render_cached(language)
        keys = {section.key for section in self._source.sections if sections >> section.bit & 1}
        rendered = rendered_language.edition(keys, web_view)
        stories = [story for section in content.sections if section.key in keys for story in section.stories]
        return CompiledEdition(
            subject=rendered.subject,
            story_count=len(stories),
            fallback_count=sum(story.is_fallback for story in stories),
            message=compile_message(
                self._headers_cached(sender, f"{self._subject_prefix}{rendered.subject}", language),
                rendered.text,
                rendered.html,
                self._slots,
            ),
            web_view_html=rendered.web_view_html,
        )

    def html_bytes(self, language: str, sections: int) -> int:
        """Return the size of the HTML that the readers of an edition get."""
        keys = {section.key for section in self._source.sections if sections >> section.bit & 1}
        url = self._urls.web_view_url(self._source.issue, 0)
        return len(self._render_cached(language)[1].edition(keys, url).html.encode())

    def render_errors(self, language: str) -> list[tuple[str, str]]:
        """Return the render errors of the editions in a language, as (language, message) pairs."""
        try:
            self.compile_edition(self._web_view_url, language, ALL_SECTIONS)
        except ValueError as error:
            return self._locate_errors(self._edition_content(language)) or [(language, f"{error}")]
        return []

    def _locate_errors(self, content: EditionContent) -> list[tuple[str, str]]:
        """Render the introduction and each story by itself. Return the errors with their place."""
        errors: list[tuple[str, str]] = []

        def check(language: str, place: str, fragment: EditionContent) -> None:
            try:
                self._renderer.render_language(fragment)
            except ValueError as error:
                errors.append((language, f"{place}: {error}"))

        check(content.language, "the introduction", replace(content, sections=()))
        for section in content.sections:
            for story in section.stories:
                fragment = replace(content, intro="", sections=(replace(section, stories=(story,)),))
                check(story.language, f"“{plain_line(story.headline)}”", fragment)
        return errors

    def _render(self, language: str) -> tuple[EditionContent, RenderedLanguage, SenderIdentity]:
        """Render the issue in one language with all sections. Return it with its sender."""
        source, content = self._source, self._edition_content(language)
        sender = SenderIdentity(
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
        return content, self._renderer.render_language(content), sender

    def _edition_content(self, language: str) -> EditionContent:
        source, markers = self._source, self._markers
        edition_urls = EditionUrls(
            web_view=self._web_view_url,
            preferences=self._urls.page_url(markers["preferences"]),
            unsubscribe=self._urls.page_url(markers["unsubscribe"]),
            website=source.website,
        )
        return source.compose(
            language,
            ALL_SECTIONS,
            edition_urls,
            markers["name"],
            markers["address"],
            markers[GREETING_BOUNDARY],
        )


def preview(
    database: Database,
    renderer: Renderer,
    urls: MailUrls,
    issue: int,
    language: str,
    sections: int | None,
    *,
    sources: int = 0,
    web_view: str = "",
) -> tuple[EditionContent, RenderedEdition]:
    """Render an edition without storing it. ``sections`` None means all sections.

    ``sources``: of a digest, the mask of the issues that it holds. ``web_view``: the URL in its link to the web view,
    which otherwise leads to no edition. Raises IssueNotFound or EditionNotFound.
    """
    source = load_issue(database, urls, issue).holding(sources)
    if language not in source.front_matter:
        languages = ", ".join(source.language_rules.languages) or "none"
        raise EditionNotFound(f"Issue {issue} has no text in {language}. Its languages: {languages}.")
    available = source.sections_shown(language)
    mask = available if sections is None else (sections | source.always_included) & available
    edition_urls = EditionUrls(
        web_view=web_view or urls.web_view_url(issue, 0),
        preferences=urls.page_url(TokenPrefix.preferences + "x" * 22),
        unsubscribe=urls.page_url(TokenPrefix.unsubscribe + "x" * 22),
        website=source.website,
    )
    content = source.compose(language, mask, edition_urls, "Ada Example", "ada@example.org")
    return content, renderer.render(content)


def section_mask(database: Database, issue: int, keys: Sequence[str]) -> int | None:
    """Return the mask of the sections with these keys; None for no keys.

    Raises IssueNotFound, or EditionNotFound for an unknown key.
    """
    if not keys:
        return None
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        bits = {section.key: section.bit for section in newsletters.sections(session, row.newsletter_id)}
    unknown = [key for key in keys if key.strip() not in bits]
    if unknown:
        raise EditionNotFound(f"There is no section {', '.join(unknown)}. Existing sections: {', '.join(bits)}.")
    return sum(1 << bits[key.strip()] for key in keys)
