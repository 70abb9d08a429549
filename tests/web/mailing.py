"""An issue that is on its way, and the links in its mails."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Mailer
from mailer.domain.subscribers import read_address
from mailer.domain.ties import Tie
from mailer.services import preferences
from mailer.services.preferences import Profile
from mailer.store import editions, readers


@dataclass(frozen=True)
class Mailing:
    parts: Mailer
    issue: int

    def reader(self, address: str) -> int:
        key = self.parts.tokens.address_hash(read_address(address)[1])
        with self.parts.database.transaction() as session:
            found = readers.by_hash(session, key)
            assert found
            return found.id

    def to_leave(self, address: str) -> str:
        return "/u/" + self.parts.tokens.link(Purpose.unsubscribe, self.issue, self.reader(address))

    def to_choose(self, address: str) -> str:
        """The reader's own page, by a fresh key."""
        now = int(datetime.now(UTC).timestamp())
        return f"/k/{self.parts.tokens.link(Purpose.key, now, self.reader(address))}/lumen-basin"

    def to_ask(self, address: str) -> str:
        return "/p/" + self.parts.tokens.link(Purpose.preferences, self.issue, self.reader(address))

    def web_view(self, language: str) -> str:
        with self.parts.database.transaction() as session:
            found = next(e for e in editions.of_issue(session, self.issue) if e.language == language)
        return "/e/" + self.parts.tokens.link(Purpose.web_view, self.issue, found.id)

    def nothing_for_everybody(self) -> None:
        """Readers can leave every section."""
        with self.parts.database.transaction() as session:
            session.execute(text("UPDATE section SET always_included = false"))

    def profile(self, address: str) -> Profile:
        found = preferences.profile(
            self.parts.database, Tie(self.reader(address), issue=self.issue), datetime.now(UTC)
        )
        assert found
        return found

    def follows(self, address: str) -> list[int]:
        return [section.bit for section in self.profile(address).sections if section.followed]
