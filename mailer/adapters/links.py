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


class WebLinks:
    """Links below the public address of the web pages."""

    def __init__(self, public_url: str, tokens: Tokens) -> None:
        self._url = public_url.rstrip("/")
        self._tokens = tokens

    def web_view(self, issue: int, edition: int) -> str:
        return f"{self._url}/e/{self._tokens.link(Purpose.web_view, issue, edition)}"

    def picture(self, sha256: str, media_type: str) -> str:
        return f"{self._url}/pictures/{sha256[:32]}.{EXTENSIONS[media_type]}"

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
