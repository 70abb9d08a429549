"""The addresses that stand in a mail: web pages, pictures, return path, Message-ID."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mailer.adapters.tokens import Purpose, Tokens, in_link, in_mail

EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


class ReaderSlots(NamedTuple):
    """What is different in each reader's mail. The first two are 22 characters, the others 32."""

    unsubscribe: str
    preferences: str
    mail_unsubscribe: str
    bounce: str
    message: str


class Returned(NamedTuple):
    """``kind``: unsubscribe, quit, bounce or note. ``first`` is an issue, or the newsletter for quit and note;
    ``second`` is the subscriber, or the note."""

    kind: str
    first: int
    second: int


_COMING_BACK = {
    "unsubscribe": (Purpose.unsubscribe, Purpose.quit),
    "bounce": (Purpose.bounce, Purpose.note),
}


class WebLinks:
    """Links below the public address of the web pages."""

    def __init__(self, public_url: str, tokens: Tokens) -> None:
        self._url = public_url.rstrip("/")
        self._tokens = tokens

    def web_view(self, issue: int, edition: int) -> str:
        return f"{self._url}/e/{self._tokens.link(Purpose.web_view, issue, edition)}"

    def picture(self, sha256: str, media_type: str) -> str:
        return f"{self._url}/pictures/{sha256[:32]}.{EXTENSIONS[media_type]}"

    def choose_page(self, newsletter: int, subscriber: int) -> str:
        """The address behind "choose sections and language" in a mail that belongs to no issue."""
        return f"{self._url}/p/{self._tokens.link(Purpose.choose, newsletter, subscriber)}"

    def quit_page(self, newsletter: int, subscriber: int) -> str:
        return f"{self._url}/u/{self._tokens.link(Purpose.quit, newsletter, subscriber)}"

    def key_page(self, made: int, subscriber: int, slug: str) -> str:
        """The reader's own page about a newsletter. ``made``: seconds since 1970."""
        return f"{self._url}/k/{self._tokens.link(Purpose.key, made, subscriber)}/{slug}"

    def confirm_page(self, signup: int) -> str:
        return f"{self._url}/c/{self._tokens.link(Purpose.confirm, 0, signup)}"

    def address_page(self, change: int, *, new: bool) -> str:
        """Where the old or the new end of a change of address agrees to it."""
        return f"{self._url}/a/{self._tokens.link(Purpose.address, int(new), change)}"

    def note_token(self, newsletter: int, note: int) -> str:
        """For the Message-ID and the return path of a note; always the same."""
        return in_mail(self._tokens.seal(Purpose.note, newsletter, [note]))[0]

    def quit_token(self, newsletter: int, subscriber: int) -> str:
        """For ``unsubscribe+…@`` in a note."""
        return in_mail(self._tokens.seal(Purpose.quit, newsletter, [subscriber]))[0]

    def returned(self, recipient: str) -> Returned | None:
        """What came back to one of our addresses (``bounce+…@``, ``unsubscribe+…@``) is about; None for any
        other address, and for a token that is not ours."""
        what, _, token = recipient.rpartition("@")[0].lower().partition("+")
        for purpose in _COMING_BACK.get(what, ()):
            if pair := self._tokens.open_mail(purpose, token):
                return Returned(purpose.name, *pair)
        return None

    def reader_page(self, page: str) -> str:
        return f"{self._url}/{page}"

    def reader_slots(self, issue: int, subscribers: Sequence[int]) -> Iterator[ReaderSlots]:
        seal = self._tokens.seal
        leave = seal(Purpose.unsubscribe, issue, subscribers)
        return map(
            ReaderSlots,
            in_link(leave),
            in_link(seal(Purpose.preferences, issue, subscribers)),
            in_mail(leave),
            in_mail(seal(Purpose.bounce, issue, subscribers)),
            in_mail(seal(Purpose.message, issue, subscribers)),
        )
