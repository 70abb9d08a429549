"""Compose: every edition that some reader gets is rendered once and compiled into a message with slots."""

import secrets
from collections.abc import Sequence

from mailer.domain.composition import IssueMaterial
from mailer.domain.content import EditionContent
from mailer.domain.content import Links as MailLinks
from mailer.domain.headers import Origin, edition_headers
from mailer.domain.message import Template, compile_message, marker
from mailer.domain.ports import Links, Rendered, Renderer
from mailer.store import editions, issues, newsletters
from mailer.store.database import Database
from mailer.store.material import material

SLOTS = ("unsubscribe", "preferences", "name", "address")
"""What differs in the body from reader to reader."""


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
    """Render some editions of an issue that are not rendered yet; returns how many. 0 means none is left.

    Several workers may do this at once: each takes editions that no other one holds.
    """
    with database.transaction() as session:
        row = issues.by_id(session, issue)
        if row is None:
            return 0
        stale = editions.stale(session, issue, limit)
        if not stale:
            return 0
        source = material(session, row, links)
        for edition in stale:
            content, template, web = _compiled(
                source, renderer, links, bounce_domain, edition.id, edition.language, edition.sections
            )
            message, slots = template.packed()
            stories = [story for section in content.sections for story in section.stories]
            editions.save(
                session,
                edition.id,
                revision=source.revision,
                subject=content.subject,
                stories=len(stories),
                fallbacks=sum(story.fell_back for story in stories),
                html=web,
                message=message,
                slots=slots,
            )
        return len(stale)


def _compiled(
    source: IssueMaterial,
    renderer: Renderer,
    links: Links,
    bounce_domain: str,
    edition: int,
    language: str,
    sections: int,
) -> tuple[EditionContent, Template, str]:
    nonce = secrets.token_hex(6)
    words = {name: marker(nonce, name) for name in SLOTS}
    web_view = links.web_view(source.issue, edition)
    mail_links = MailLinks(
        web_view=web_view,
        preferences=links.reader_page(words["preferences"]),
        unsubscribe=links.reader_page(words["unsubscribe"]),
        website=source.website,
    )
    content = source.compose(language, sections, mail_links, words["name"], words["address"])
    rendered = renderer.render(content)
    origin = Origin(
        sender_name=source.sender_name,
        sender_address=source.sender_address,
        reply_to=source.reply_to,
        list_id=source.list_id,
        list_name=source.slug,
        bounce_domain=bounce_domain or source.sender_address.rpartition("@")[2],
        page=links.reader_page(""),
        feedback=f"{source.issue}:{language}:{source.slug}",
    )
    template = compile_message(
        edition_headers(origin, content.subject, language),
        rendered.text,
        rendered.html,
        {word: name for name, word in words.items()},
    )
    return content, template, web_page(renderer, source, language, sections).html


def web_page(renderer: Renderer, source: IssueMaterial, language: str, sections: int) -> Rendered:
    """An edition for everybody: no reader's name, address or links in it, nor one to itself."""
    return renderer.render(source.compose(language, sections, MailLinks(web_view="", website=source.website)))


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
