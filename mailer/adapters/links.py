"""The addresses that stand in a mail: web pages, pictures, return path, Message-ID."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mailer.adapters.tokens import Purpose, Tokens, in_link, in_mail

EXTENSIONS = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


@dataclass(frozen=True, slots=True)
class ReaderSlots:
    """What is different in each reader's mail. The first two are 22 characters, the others 26."""

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
        unsubscribe = self._tokens.seal(Purpose.unsubscribe, issue, subscribers)
        preferences = self._tokens.seal(Purpose.preferences, issue, subscribers)
        bounces = self._tokens.seal(Purpose.bounce, issue, subscribers)
        messages = self._tokens.seal(Purpose.message, issue, subscribers)
        for leave, choose, bounce, message in zip(unsubscribe, preferences, bounces, messages, strict=True):
            yield ReaderSlots(
                in_link(leave).decode(),
                in_link(choose).decode(),
                in_mail(leave).decode(),
                in_mail(bounce).decode(),
                in_mail(message).decode(),
            )
