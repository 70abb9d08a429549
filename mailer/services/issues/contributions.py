"""What somebody without an account writes behind the link of a request: kept beside the issue until it is taken in.

Nobody signs in: the link is the permission, for one text. It shows nothing else of the issue than the text that a
translation is made from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from mailer.domain.accounts import ActingStaff, AuditAction
from mailer.domain.errors import ChangeRefused
from mailer.domain.localized import sender_display_name
from mailer.domain.staff_texts import gettext
from mailer.domain.states import EDITABLE_STATES, TextSubject, TranslationStatus
from mailer.domain.text_fields import TypedText, merge
from mailer.domain.text_requests import RequestedText, TextTask
from mailer.domain.versions import TextKey
from mailer.models import TextRequest, TextVersion
from mailer.services.issues import text_requests, write_text
from mailer.services.issues.text_requests import RequestGone
from mailer.services.issues.write_text import SaveOrder, SaveOutcome, TextState
from mailer.store import issues, newsletters, rate_limits, text_versions
from mailer.store import text_requests as stored
from mailer.store.database import Database, Session
from mailer.store.pictures import PictureInfo

MAX_SAVES_PER_MINUTE = 60
"""Behind one link, in all its tabs; heartbeats are counted too."""
MAX_DOCUMENTS_PER_HOUR = 20
MAX_REQUESTS_PER_NETWORK_MINUTE = 600
MAX_VERSIONS = 60
"""Of one text that contributors have written. After that, one that differs from another tab's is not kept."""
HIDDEN = {"partial_subject", "partial_preheader", "partial_intro", "picture_credit"}
"""Columns that the page does not have: what they have in the issue stays."""
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)


class LinkGone(LookupError):
    """The link never worked, was withdrawn, or has expired."""


class TooManyRequests(RuntimeError):
    """More requests come behind one link or from one network than anybody makes who writes."""


class LinkState(StrEnum):
    """What can be done behind a link."""

    open = "open"
    handed_in = "handed_in"
    done = "done"
    """It was taken in."""
    closed = "closed"
    """The issue is approved or sent: its texts do not change any more."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What the page behind a link shows."""

    state: LinkState
    key: TextKey
    text: RequestedText
    newsletter: str
    sender: str
    """Who sends the newsletter."""
    written: TextState
    """What was written behind the link; before that, what the issue has."""
    source_language: str
    source: Mapping[str, Any] | None
    """The content that the translation is made from."""
    handed_in_at: datetime | None
    picture: PictureInfo | None
    """The story's, which the alternative text is about."""


@dataclass(frozen=True, slots=True)
class ContributionResult:
    """What became of what was sent, and what is written now."""

    outcome: SaveOutcome
    written: TextState
    is_kept: bool = True
    """Whether what was sent is stored: not once there are too many versions."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was handed in, and the text of the issue."""

    contributed: Mapping[str, Any]
    present: TextState
    is_source_newer: bool
    """Whether the source has changed since the translation was begun."""


def count(database: Database, request: int, network: bytes, now: datetime, *, document: bool = False) -> None:
    """Count a request behind a link. Raises TooManyRequests."""
    limit, window = (MAX_DOCUMENTS_PER_HOUR, _HOUR) if document else (MAX_SAVES_PER_MINUTE, _MINUTE)
    of_link = f"{'documents' if document else 'saves'} of request {request}".encode()
    with database.transaction() as session:
        allowed = rate_limits.acquire(
            session, b"contributions" + network, now, _MINUTE, MAX_REQUESTS_PER_NETWORK_MINUTE
        ) and rate_limits.acquire(session, of_link, now, window, limit)
    if not allowed:
        raise TooManyRequests(TooManyRequests.__doc__)


def open_link(database: Database, request: int, now: datetime) -> Contribution:
    """Return what the page behind a link shows. Raises LinkGone."""
    with database.transaction() as session:
        row = stored.find(session, request)
        if row is None or not _works(row, now):
            raise LinkGone(LinkGone.__doc__)
        key, context = stored.key_of(row), stored.load_context(session, row.id)
        newsletter = newsletters.by_id(session, issues.by_id(session, row.issue_id).newsletter_id)
        name = newsletter.localize(newsletter.names, row.language).text
        source = text_versions.stored_source(session, key) if row.task is TextTask.translation else None
        return Contribution(
            state=_state(row, is_editable=context.is_editable),
            key=key,
            text=context.text,
            newsletter=name,
            sender=sender_display_name(newsletter.sender_name, newsletter.names, name),
            written=_written(session, row),
            source_language=source.language if source else "",
            source=text_versions.content_of(source) if source else None,
            handed_in_at=row.handed_in_at,
            picture=write_text.picture_of(session, key),
        )


def save(
    database: Database, request: int, base: str, typed: TypedText, now: datetime, *, tabs: tuple[str, ...] = ("",)
) -> ContributionResult:
    """Keep what somebody wrote behind a link.

    ``base`` as in ``SaveOrder``; ``tabs``: the one that saves, and earlier ones whose work it goes on with. If another
    tab has written since, the text was handed in, or the issue is closed, it is kept as a version of its own, and the
    result says so. Raises LinkGone.
    """
    with database.transaction() as session:
        row, is_editable = _lock(session, request, now)
        key, version = stored.key_of(row), text_versions.find(session, row.version_id)
        before = _written(session, row)
        content = _contributed(merge(before.content, typed), before.content, version)
        outcome = SaveOutcome.saved
        if _state(row, is_editable=is_editable) is not LinkState.open:
            outcome = SaveOutcome.closed
        elif version and base != before.base and not (row.tab and row.tab in tabs):
            outcome = SaveOutcome.changed
        if {**before.content, **content} == before.content:
            return ContributionResult(SaveOutcome.saved, before)
        if outcome is not SaveOutcome.saved:
            is_kept = text_versions.count_contributed(session, key) < MAX_VERSIONS
            if is_kept:
                text_versions.contribute(session, key, content, row.name, None)
            return ContributionResult(outcome, before, is_kept)
        row.version_id = text_versions.contribute(session, key, content, row.name, row.version_id).id
        row.tab = tabs[0]
        return ContributionResult(outcome, _written(session, row))


def replace_text(database: Database, request: int, typed: TypedText, now: datetime) -> None:
    """Put what a document has in place of what was written, which is kept. Raises LinkGone, and ChangeRefused."""
    with database.transaction() as session:
        row, is_editable = _lock(session, request, now)
        _check_open(row, is_editable=is_editable)
        key, before = stored.key_of(row), _written(session, row).content
        content = _contributed(merge(before, typed), before, text_versions.find(session, row.version_id))
        keeps = text_versions.count_contributed(session, key) < MAX_VERSIONS
        row.version_id = text_versions.contribute(session, key, content, row.name, None if keeps else row.version_id).id
        row.tab = ""


def hand_in(database: Database, request: int, now: datetime) -> None:
    """End the writing, and tell who asked. Raises LinkGone, and ChangeRefused if there is nothing to hand in."""
    with database.transaction() as session:
        row, is_editable = _lock(session, request, now)
        if row.handed_in_at:
            return
        _check_open(row, is_editable=is_editable)
        version = text_versions.find(session, row.version_id)
        main = "body" if row.subject is TextSubject.story else "subject"
        if version is None or not str(version.content.get(main, "")).strip():
            raise ChangeRefused(gettext("There is no text yet to hand in."))
        row.handed_in_at = now
        text_requests.arrived(session, row, now)


def compare(database: Database, issue: int, request: int) -> Comparison | None:
    """Return what was written behind a link beside the text of the issue; None if nothing was. Raises RequestGone."""
    with database.transaction() as session:
        row = stored.find(session, request)
        if row is None or row.issue_id != issue:
            raise RequestGone(RequestGone.__doc__)
        version = text_versions.find(session, row.version_id)
        key = stored.key_of(row)
        source = text_versions.source_head(session, key)
        is_newer = bool(version and source and version.source_version_id not in (None, source.id))
    if version is None:
        return None
    present = write_text.load_state(database, key)
    return Comparison({**present.content, **_shown(version)}, present, is_newer)


def take_in(database: Database, issue: int, request: int, base: str, actor: ActingStaff, now: datetime) -> None:
    """Make what was handed in the text of the issue, ready. ``base``: of the text that it was compared with.

    Raises RequestGone, and ChangeRefused if the text, the request or the issue has changed since.
    """
    with database.transaction() as session:
        is_editable = issues.lock(session, issue).state in EDITABLE_STATES
        row = stored.lock(session, request)
        if row is None or row.issue_id != issue:
            raise RequestGone(RequestGone.__doc__)
        version = text_versions.find(session, row.version_id)
        if version is None or row.handed_in_at is None or row.done_at or row.withdrawn_at:
            raise ChangeRefused(gettext("This text has not been handed in, or it has been dealt with meanwhile."))
        if not is_editable:
            raise ChangeRefused(gettext("The issue is not a draft any more, so the text cannot be taken in."))
        order = SaveOrder(
            base,
            TypedText(_shown(version)),
            TranslationStatus.ready,
            translated_from=text_versions.base_of(text_versions.find(session, version.source_version_id)),
        )
        key = stored.key_of(row)
        if base != text_versions.base_of(text_versions.head(session, key)):
            raise ChangeRefused(gettext("The text in the issue was changed meanwhile. Compare them again."))
        if write_text.save_in(session, key, order, actor, now).outcome is not SaveOutcome.saved:
            raise ChangeRefused(gettext("The text in the issue was changed meanwhile. Compare them again."))
        row.done_at = now
        text_requests.record(session, row, actor, AuditAction.text_taken_in, now)


def _contributed(content: Mapping[str, Any], before: Mapping[str, Any], version: TextVersion | None) -> dict[str, Any]:
    """Return what is kept of a text: not what the page does not have, and an alternative text only if it was written.

    The picture that it is about may be another by the time that the text is taken in.
    """
    left_out = HIDDEN | ({"alt"} if content.get("alt") == before.get("alt") and "alt" not in _shown(version) else set())
    return {name: value for name, value in content.items() if name not in left_out}


def _shown(version: TextVersion | None) -> dict[str, Any]:
    """Return the columns of a version that the page has."""
    return {name: value for name, value in version.content.items() if name not in HIDDEN} if version else {}


def _works(row: TextRequest, now: datetime) -> bool:
    return row.account_id is None and row.withdrawn_at is None and row.expires_at > now


def _lock(session: Session, request: int, now: datetime) -> tuple[TextRequest, bool]:
    """Lock the request behind a link; return it, and whether its text can still be written. Raises LinkGone."""
    found = stored.find(session, request)
    if found is None:
        raise LinkGone(LinkGone.__doc__)
    issue = issues.lock(session, found.issue_id)
    row = stored.lock(session, request)
    if row is None or not _works(row, now):
        raise LinkGone(LinkGone.__doc__)
    return row, stored.is_editable(session, row, issue)


def _state(row: TextRequest, *, is_editable: bool) -> LinkState:
    if row.done_at:
        return LinkState.done
    if not is_editable:
        return LinkState.closed
    return LinkState.handed_in if row.handed_in_at else LinkState.open


def _check_open(row: TextRequest, *, is_editable: bool) -> None:
    """Raise ChangeRefused unless the text can be written."""
    if _state(row, is_editable=is_editable) is not LinkState.open:
        raise ChangeRefused(gettext("The text can no longer be changed here."))


def _written(session: Session, row: TextRequest) -> TextState:
    """Return what was written behind a link; before that, what the issue has, with the source's link if it is new."""
    key = stored.key_of(row)
    content = write_text.stored_content(key, text_versions.stored(session, key))
    version = text_versions.find(session, row.version_id)
    if version:
        content |= _shown(version)
    elif key.subject is TextSubject.story and not any(content.values()):
        source = text_versions.stored_source(session, key)
        content["link"] = text_versions.content_of(source)["link"] if source else ""
    at = version.at if version else None
    return TextState(content, text_versions.base_of(version), TranslationStatus.draft, "", at)
