"""A sent issue, and the links in its emails."""

from dataclasses import dataclass

from sqlalchemy import text

from mailer.adapters.tokens import Purpose
from mailer.bootstrap import Container
from mailer.domain.subscriber_fields import read_address
from mailer.domain.subscription_ref import SubscriptionRef
from mailer.services.subscribers import preferences
from mailer.services.subscribers.preferences import Profile
from mailer.store import editions, subscribers


@dataclass(frozen=True)
class Mailing:
    app: Container
    issue: int

    def subscriber_id(self, address: str) -> int:
        key = self.app.tokens.address_hash(read_address(address)[1])
        with self.app.database.transaction() as session:
            subscriber = subscribers.by_hash(session, key)
            assert subscriber
            return subscriber.id

    def unsubscribe_path(self, address: str) -> str:
        return "/u/" + self.app.tokens.make_link_token(Purpose.unsubscribe, self.issue, self.subscriber_id(address))

    def manage_path(self, address: str) -> str:
        """Return the path of the manage page, with a new magic link."""
        now = int(self.app.clock.now().timestamp())
        return f"/k/{self.app.tokens.make_link_token(Purpose.magic_link, now, self.subscriber_id(address))}/lumen-basin"

    def preferences_path(self, address: str) -> str:
        return "/p/" + self.app.tokens.make_link_token(Purpose.preferences, self.issue, self.subscriber_id(address))

    def web_view_path(self, language: str) -> str:
        with self.app.database.transaction() as session:
            edition = next(e for e in editions.of_issue(session, self.issue) if e.language == language)
        return "/e/" + self.app.tokens.make_link_token(Purpose.web_view, self.issue, edition.id)

    def make_all_sections_optional(self) -> None:
        """Make every section optional."""
        with self.app.database.transaction() as session:
            session.execute(text("UPDATE section SET always_included = false"))

    def profile(self, address: str) -> Profile:
        profile = preferences.profile(
            self.app.database,
            SubscriptionRef(self.subscriber_id(address), issue=self.issue),
            self.app.clock.now(),
        )
        assert profile
        return profile

    def followed_bits(self, address: str) -> list[int]:
        return [section.bit for section in self.profile(address).sections if section.followed]
