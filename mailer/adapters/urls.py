"""The addresses that stand in a mail: web pages, pictures, return path, Message-ID."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailer.adapters.tokens import Purpose, Tokens, encode_base64url, encode_hex

PICTURE_EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


class SubscriberSlots(NamedTuple):
    """What is different in each reader's mail. The first two are 22 characters, the others 32."""

    unsubscribe: str
    preferences: str
    mail_unsubscribe: str
    bounce: str
    message: str


class InboundRecipient(NamedTuple):
    """``kind``: unsubscribe, quit, bounce or note. ``first`` is an issue, or the newsletter for quit and note;
    ``second`` is the subscriber, or the note."""

    kind: str
    context_id: int
    target_id: int


_INBOUND_PREFIXES = {
    "unsubscribe": (Purpose.unsubscribe, Purpose.unsubscribe_newsletter),
    "bounce": (Purpose.bounce, Purpose.transactional),
}


class MailUrls:
    """Links below the public address of the web pages."""

    def __init__(self, public_url: str, tokens: Tokens) -> None:
        self._base_url = public_url.rstrip("/")
        self._tokens = tokens

    def web_view_url(self, issue: int, edition: int) -> str:
        return f"{self._base_url}/e/{self._tokens.make_link_token(Purpose.web_view, issue, edition)}"

    def picture_url(self, sha256: str, media_type: str) -> str:
        return f"{self._base_url}/pictures/{sha256[:32]}.{PICTURE_EXTENSIONS[media_type]}"

    def preferences_url(self, newsletter: int, subscriber: int) -> str:
        """The address behind "choose sections and language" in a mail that belongs to no issue."""
        token = self._tokens.make_link_token(Purpose.preferences_newsletter, newsletter, subscriber)
        return f"{self._base_url}/p/{token}"

    def unsubscribe_url(self, newsletter: int, subscriber: int) -> str:
        token = self._tokens.make_link_token(Purpose.unsubscribe_newsletter, newsletter, subscriber)
        return f"{self._base_url}/u/{token}"

    def manage_url(self, issued_at: int, subscriber: int, slug: str) -> str:
        """The reader's own page about a newsletter. ``made``: seconds since 1970."""
        return f"{self._base_url}/k/{self._tokens.make_link_token(Purpose.magic_link, issued_at, subscriber)}/{slug}"

    def confirm_url(self, signup: int) -> str:
        return f"{self._base_url}/c/{self._tokens.make_link_token(Purpose.confirm, 0, signup)}"

    def change_address_url(self, change: int, *, new: bool) -> str:
        """Where the old or the new end of a change of address agrees to it."""
        return f"{self._base_url}/a/{self._tokens.make_link_token(Purpose.change_address, int(new), change)}"

    def transactional_token(self, newsletter: int, email: int) -> str:
        """For the Message-ID and the return path of a note; always the same."""
        return encode_hex(self._tokens.encrypt(Purpose.transactional, newsletter, [email]))[0]

    def unsubscribe_token(self, newsletter: int, subscriber: int) -> str:
        """For ``unsubscribe+…@`` in a note."""
        return encode_hex(self._tokens.encrypt(Purpose.unsubscribe_newsletter, newsletter, [subscriber]))[0]

    def parse_recipient(self, recipient: str) -> InboundRecipient | None:
        """What came back to one of our addresses (``bounce+…@``, ``unsubscribe+…@``) is about; None for any
        other address, and for a token that is not ours."""
        what, _, token = recipient.rpartition("@")[0].lower().partition("+")
        for purpose in _INBOUND_PREFIXES.get(what, ()):
            if pair := self._tokens.read_mail_token(purpose, token):
                return InboundRecipient(purpose.name, *pair)
        return None

    def page_url(self, path: str) -> str:
        return f"{self._base_url}/{path}"

    def subscriber_slots(self, issue: int, subscribers: Sequence[int]) -> Iterator[SubscriberSlots]:
        seal = self._tokens.encrypt
        leave = seal(Purpose.unsubscribe, issue, subscribers)
        return map(
            SubscriberSlots,
            encode_base64url(leave),
            encode_base64url(seal(Purpose.preferences, issue, subscribers)),
            encode_hex(leave),
            encode_hex(seal(Purpose.bounce, issue, subscribers)),
            encode_hex(seal(Purpose.message, issue, subscribers)),
        )
