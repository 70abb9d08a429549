"""Compose: every edition that some reader gets is rendered once and compiled into a message with slots."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from mailer.domain.composition import IssueMaterial
from mailer.domain.content import EditionContent
from mailer.domain.content import Links as MailLinks
from mailer.domain.editions import ALL_SECTIONS
from mailer.domain.headers import Origin, Piece, edition_headers
from mailer.domain.message import EDGE, Template, compile_message, marker
from mailer.domain.ports import Links, Rendered, Renderer, Sheet
from mailer.domain.states import IssueState
from mailer.store import editions, issues, newsletters
from mailer.store.database import Database, Session
from mailer.store.material import material

SLOTS = ("unsubscribe", "preferences", "name", "address", EDGE)
"""What differs in the body from reader to reader."""
Headers = Sequence[tuple[str, Sequence[Piece]]]


class NoIssue(LookupError):
    """There is no such issue, edition or language."""


def load(database: Database, links: Links, issue: int) -> IssueMaterial:
    """The material of an issue as it stands now. Raises NoIssue."""
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None:
            raise NoIssue(f"There is no issue {issue}. See them with: mailer issue list.")
        return material(session, row, links)


def render_stale(
    database: Database, renderer: Renderer, links: Links, bounce_domain: str, issue: int, limit: int
) -> int:
    """Render the editions of an issue that are not rendered yet, ``limit`` in a transaction. Says how many.

    Several workers may do this at once: each takes editions that no other one holds. An issue that cannot be
    printed is paused with the reason in its log, and left alone until somebody resumes it.
    """
    done = 0
    press: Press | None = None
    while True:
        with database.transaction() as session:
            row = issues.by_id(session, issue)
            if row is None or (row.state is IssueState.paused and _is_unprintable(session, issue)):
                return done
            stale = editions.stale(session, issue, limit)
            if not stale:
                return done
            if press is None or press.revision != row.revision:
                press = Press(material(session, row, links), renderer, links, bounce_domain)
            for edition in stale:
                try:
                    printed = press.edition(edition.id, edition.language, edition.sections)
                except ValueError as error:
                    _stop(session, issue, f"{edition.language}: {error}")
                    return 0
                message, slots = printed.template.packed()
                editions.save(
                    session,
                    edition.id,
                    revision=press.revision,
                    subject=printed.subject,
                    stories=printed.stories,
                    fallbacks=printed.fallbacks,
                    html=printed.page,
                    message=message,
                    slots=slots,
                )
            done += len(stale)


_UNPRINTABLE = "cannot be printed: "
"""Begins the log's reason for a pause that only a change can end."""


def _is_unprintable(session: Session, issue: int) -> bool:
    # A new limit ends no pause.
    last = [event for event in issues.events(session, issue) if event.what != "limited"][-1]
    return last.what == "paused" and last.detail.startswith(_UNPRINTABLE)


def _stop(session: Session, issue: int, why: str) -> None:
    row = issues.locked(session, issue)
    if row is not None and row.state in (IssueState.sending, IssueState.paused):
        row.state = IssueState.paused
        issues.log(session, issue, "mailer", "paused", _UNPRINTABLE + why)


def faults(
    source: IssueMaterial, renderer: Renderer, links: Links, bounce_domain: str
) -> list[tuple[str, str]]:
    """(language, why) of all that keeps an issue's editions from being printed; the reason names the story
    where it is in one."""
    press = Press(source, renderer, links, bounce_domain)
    found = [fault for language in source.rules.languages for fault in press.faults(language)]
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Printed:
    """An edition as it is stored: ``fallbacks`` of its stories are in another language than its own."""

    subject: str
    stories: int
    fallbacks: int
    template: Template
    page: str


class Press:
    """Prints the editions of an issue. Each language is rendered once, and its editions are cut from that.

    What cannot be printed raises a ValueError whose message says why: a text that is too long or too deeply nested,
    a link or a header that is not safe.
    """

    def __init__(self, source: IssueMaterial, renderer: Renderer, links: Links, bounce_domain: str) -> None:
        self.revision = source.revision
        self._source = source
        self._renderer = renderer
        self._links = links
        self._bounce_domain = bounce_domain or source.sender_address.rpartition("@")[2]
        nonce = secrets.token_hex(6)
        self._words = {name: marker(nonce, name) for name in SLOTS}
        self._slots = {word: name for name, word in self._words.items()}
        self._web_view = links.reader_page(marker(nonce, "view"))
        self._in = cache(self._rendered)

    def edition(self, edition: int, language: str, sections: int) -> Printed:
        """The edition of this id, with the sections of this mask."""
        content, sheet, headers = self._in(language)
        keys = {section.key for section in self._source.sections if sections >> section.bit & 1}
        rendered = sheet.edition(keys, self._links.web_view(self._source.issue, edition))
        stories = [story for section in content.sections if section.key in keys for story in section.stories]
        return Printed(
            subject=content.subject,
            stories=len(stories),
            fallbacks=sum(story.fell_back for story in stories),
            template=compile_message(headers, rendered.text, rendered.html, self._slots),
            page=rendered.page,
        )

    def faults(self, language: str) -> list[tuple[str, str]]:
        """(language, why) of what keeps the editions in this language from being printed."""
        try:
            self.edition(0, language, ALL_SECTIONS)
        except ValueError as error:
            return self._found(self._content(language)) or [(language, f"{error}")]
        return []

    def _found(self, content: EditionContent) -> list[tuple[str, str]]:
        """The faults of the introduction and of each story alone."""
        found: list[tuple[str, str]] = []

        def look(language: str, what: str, part: EditionContent) -> None:
            try:
                self._renderer.sheet(part)
            except ValueError as error:
                found.append((language, f"{what}: {error}"))

        look(content.language, "the introduction", replace(content, sections=()))
        for section in content.sections:
            for story in section.stories:
                alone = replace(content, intro="", sections=(replace(section, stories=(story,)),))
                look(story.language, f"“{story.headline}”", alone)
        return found

    def _rendered(self, language: str) -> tuple[EditionContent, Sheet, Headers]:
        """The issue in one language, with every section, and the headers of its mails."""
        source, content = self._source, self._content(language)
        origin = Origin(
            sender_name=source.sender_name,
            sender_address=source.sender_address,
            reply_to=source.reply_to,
            list_id=source.list_id,
            list_name=source.slug,
            bounce_domain=self._bounce_domain,
            page=self._links.reader_page(""),
            feedback=f"{source.issue}:{language}:{source.slug}",
            archive=self._links.reader_page(f"archive/{source.slug}") if source.public else "",
        )
        headers = edition_headers(origin, content.subject, language)
        return content, self._renderer.sheet(content), headers

    def _content(self, language: str) -> EditionContent:
        source, words = self._source, self._words
        mail_links = MailLinks(
            web_view=self._web_view,
            preferences=self._links.reader_page(words["preferences"]),
            unsubscribe=self._links.reader_page(words["unsubscribe"]),
            website=source.website,
        )
        return source.compose(
            language, ALL_SECTIONS, mail_links, words["name"], words["address"], words[EDGE]
        )


def preview(
    database: Database, renderer: Renderer, links: Links, issue: int, language: str, sections: int | None
) -> tuple[EditionContent, Rendered]:
    """An edition as it would look now, stored nowhere. ``sections`` None: every section. Raises NoIssue."""
    source = load(database, links, issue)
    if language not in source.fronts:
        known = ", ".join(source.rules.languages) or "none"
        raise NoIssue(f"Issue {issue} has no front matter in {language}; it has {known}.")
    shown = source.sections_shown(language)
    mask = shown if sections is None else (sections | source.always) & shown
    mail_links = MailLinks(
        web_view=links.web_view(issue, 1),
        preferences=links.reader_page("p/" + "x" * 22),
        unsubscribe=links.reader_page("u/" + "x" * 22),
        website=source.website,
    )
    content = source.compose(language, mask, mail_links, "Ada Example", "ada@example.org")
    return content, renderer.render(content)


def mask_of(database: Database, issue: int, keys: Sequence[str]) -> int | None:
    """The mask of sections named by their keys; None for no keys. Raises NoIssue."""
    if not keys:
        return None
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None:
            raise NoIssue(f"There is no issue {issue}. See them with: mailer issue list.")
        known = {section.key: section.bit for section in newsletters.sections(session, row.newsletter_id)}
    unknown = [key for key in keys if key.strip() not in known]
    if unknown:
        raise NoIssue(f"There is no section {', '.join(unknown)}; there is {', '.join(known)}.")
    return sum(1 << known[key.strip()] for key in keys)
