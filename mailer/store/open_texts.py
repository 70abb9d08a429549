"""Who has which text open in a browser, and who of them writes. It is no lock: nothing written is lost without it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from mailer.domain.accounts import Actor
from mailer.domain.states import VersionKind
from mailer.domain.versions import TextKey
from mailer.models import Account, OpenText
from mailer.store import text_versions
from mailer.store.text_versions import is_of

SEEN_WITHIN = timedelta(seconds=30)
"""How long a tab counts as open after its last heartbeat. One comes every ten seconds."""
_KEPT = timedelta(days=1)
"""How long a tab may be closed until its browser saves what it had kept."""


@dataclass(frozen=True, slots=True)
class OpenTab:
    """A tab of a browser that has a text open."""

    tab: str
    account: int
    name: str
    is_writer: bool


def see(session: Session, key: TextKey, account: int, tab: str, now: datetime) -> None:
    """Record that a tab has a text open, and lock those of the text. Forget those that were last seen long ago."""
    # Who writes is changed in all rows of a text: two tabs that lock them in any order would wait for each other.
    session.execute(select(OpenText.tab).where(is_of(OpenText, key)).order_by(OpenText.tab).with_for_update())
    session.execute(delete(OpenText).where(OpenText.seen_at < now - _KEPT))
    row = key.columns | {"tab": tab, "account_id": account, "seen_at": now}
    statement = insert(OpenText).values(is_writer=False, saved="", **row)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[OpenText.issue_id, OpenText.subject, OpenText.subject_id, OpenText.language, OpenText.tab],
            set_={"seen_at": now},
            where=OpenText.account_id == account,
        )
    )


def close(session: Session, key: TextKey, account: int, tab: str) -> None:
    session.execute(delete(OpenText).where(is_of(OpenText, key), OpenText.tab == tab, OpenText.account_id == account))


def list_open(session: Session, key: TextKey, now: datetime) -> list[OpenTab]:
    """Return the tabs that have a text open, those that write first."""
    query = (
        select(OpenText.tab, OpenText.account_id, Account.name, OpenText.is_writer)
        .join(Account, Account.id == OpenText.account_id)
        .where(is_of(OpenText, key), OpenText.seen_at > now - SEEN_WITHIN)
        .order_by(OpenText.is_writer.desc(), Account.name, OpenText.tab)
    )
    return [OpenTab(*row) for row in session.execute(query)]


def set_writer(session: Session, key: TextKey, tab: str) -> None:
    """Make a tab the one that writes, and no other. An empty tab: none writes."""
    session.execute(update(OpenText).where(is_of(OpenText, key)).values(is_writer=OpenText.tab == tab))


def stop_writing(session: Session, key: TextKey, tab: str) -> None:
    session.execute(update(OpenText).where(is_of(OpenText, key), OpenText.tab == tab).values(is_writer=False))


def saved_by(session: Session, key: TextKey, account: int | None, tabs: Collection[str]) -> set[str]:
    """Return the bases (see ``text_versions.base_of``) of what some tabs of an account have, or saved last."""
    query = select(OpenText.saved).where(
        is_of(OpenText, key), OpenText.tab.in_(tabs), OpenText.account_id == account, OpenText.saved != ""
    )
    return {*session.scalars(query)}


def set_saved(session: Session, key: TextKey, tab: str, base: str) -> None:
    session.execute(update(OpenText).where(is_of(OpenText, key), OpenText.tab == tab).values(saved=base))


def record_elsewhere(
    session: Session, key: TextKey, content: Mapping[str, Any], actor: Actor, kind: VersionKind, *, minor: bool = False
) -> None:
    """Record a state of a text that was changed on another page: tabs of the same account go on from it.

    See ``text_versions.record``. Only tabs that had the text as it was go on.
    """
    before = text_versions.base_of(text_versions.head(session, key))
    after = text_versions.base_of(text_versions.record(session, key, content, actor, kind, minor=minor))
    if not isinstance(actor, str):
        mine = (OpenText.account_id == actor.account) & (OpenText.saved == before)
        session.execute(update(OpenText).where(is_of(OpenText, key), mine).values(saved=after))


def other_writes(tabs: Sequence[OpenTab], account: int | None) -> bool:
    """Return whether somebody else writes. Nobody is in their own way, in whichever tab."""
    return any(open_tab.is_writer and open_tab.account != account for open_tab in tabs)
