"""The interfaces that services need. Adapters implement them; ``mailer.bootstrap`` connects the two."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mailer.domain.content import EditionContent, TransactionalContent
from mailer.domain.journal import JournalEvidence
from mailer.domain.metrics import OutcomeKey, WorkerHeartbeat
from mailer.domain.rate_limits import TokenGrant, TokenRequest
from mailer.domain.transfer import Envelope, TransferObserver, TransferResult


class Clock(Protocol):
    """The time, passed in so that tests can set it."""

    def now(self) -> datetime:
        """Return the current time in UTC. It may jump, even backwards."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never jumps. Only differences are meaningful."""
        ...


class Rendered(Protocol):
    """A rendered email."""

    @property
    def html(self) -> str: ...
    @property
    def text(self) -> str: ...


class RenderedEdition(Rendered, Protocol):
    """A rendered edition and its web view."""

    @property
    def subject(self) -> str: ...
    @property
    def preheader(self) -> str: ...
    @property
    def web_view_html(self) -> str:
        """The HTML of the web view, without personal data."""
        ...


class RenderedLanguage(Protocol):
    """An issue rendered in one language, with all its sections."""

    def edition(self, sections: Collection[str], web_view: str) -> RenderedEdition:
        """Return the edition with the given section keys and web view URL."""
        ...


class Renderer(Protocol):
    """Renders editions of an issue as HTML and text."""

    def render(self, content: EditionContent) -> RenderedEdition: ...
    def render_language(self, content: EditionContent) -> RenderedLanguage: ...


class RenderedTransactional(Rendered, Protocol):
    """A rendered transactional email."""

    @property
    def subject(self) -> str: ...


class TransactionalRenderer(Protocol):
    """Renders transactional emails."""

    def render(self, content: TransactionalContent) -> RenderedTransactional: ...


class Signer(Protocol):
    """Signs messages with DKIM (RFC 6376)."""

    def sign(self, segments: Sequence[bytes]) -> bytes:
        """Return the signature headers of a message, empty if there is no key."""
        ...


class PreparedPicture(Protocol):
    """A picture ready to be stored and mailed. Sizes are in pixels."""

    @property
    def sha256(self) -> str: ...
    @property
    def media_type(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def thumbnail(self) -> "PreparedPicture | None": ...
    @property
    def original(self) -> "PreparedPicture | None":
        """A larger version, to crop it from later. None if this one is as it was uploaded."""
        ...


PictureLoader = Callable[[str], PreparedPicture]
"""Loads the picture at a path in a document. Raises ValueError with a message for a coordinator."""


class PictureStore(Protocol):
    """Keeps the bytes of pictures outside the database, by SHA-256."""

    def put(self, sha256: str, data: bytes) -> None: ...
    def get(self, sha256: str) -> bytes:
        """Return the bytes of a picture. Raises PictureMissing."""
        ...

    def delete(self, names: Sequence[str]) -> None: ...
    def names(self) -> Iterator[list[str]]:
        """Yield the SHA-256 of all pictures, many at a time."""
        ...


class MailUrls(Protocol):
    """Builds the URLs and tokens in a mail."""

    def web_view_url(self, issue: int, edition: int) -> str: ...
    def test_view_url(self, issue: int, test: int) -> str: ...
    def archive_url(self, slug: str) -> str: ...
    def picture_url(self, sha256: str, media_type: str) -> str: ...
    def page_url(self, path: str) -> str:
        """Return the URL of a path without a leading slash. ``path`` may be a slot marker."""
        ...

    def preferences_url(self, newsletter: int, subscriber: int) -> str: ...
    def unsubscribe_url(self, newsletter: int, subscriber: int) -> str: ...
    def manage_url(self, issued_at: int, subscriber: int, slug: str) -> str: ...
    def confirm_url(self, signup: int) -> str: ...
    def change_address_url(self, change: int, *, new: bool) -> str: ...
    def account_link_url(self, link: int) -> str: ...
    def text_request_url(self, request: int) -> str: ...
    def transactional_token(self, newsletter: int, email: int) -> str: ...
    def unsubscribe_token(self, newsletter: int, subscriber: int) -> str: ...
    def parse_recipient(self, recipient: str) -> "InboundRecipient | None": ...
    def subscriber_slots(self, issue: int, subscribers: Sequence[int]) -> Iterable["SubscriberSlots"]: ...


class InboundRecipient(Protocol):
    """What the recipient address of an inbound mail refers to."""

    @property
    def kind(self) -> str:
        """The purpose of the address, such as ``bounce``: see ``mailer.adapters.urls``."""
        ...

    @property
    def context_id(self) -> int:
        """An issue or newsletter id, depending on the kind."""
        ...

    @property
    def target_id(self) -> int:
        """A subscriber or transactional email id, depending on the kind."""
        ...


class SubscriberSlots(Protocol):
    """The slot values of one reader, except name and address."""

    @property
    def unsubscribe(self) -> str: ...
    @property
    def preferences(self) -> str: ...
    @property
    def mail_unsubscribe(self) -> str: ...
    @property
    def bounce(self) -> str: ...
    @property
    def message(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TransferReport:
    """The results of a group of envelopes."""

    results: Sequence[TransferResult]
    error: Exception | None
    """The observer's error that stopped the transfer, or None."""


MaySend = Callable[[Envelope], bool]
"""Called right before a message is started. If it returns false, the message is not sent."""


class SmtpPool(Protocol):
    """Transfers messages to relays over persistent connections."""

    def transfer(
        self,
        envelopes: Sequence[Envelope],
        observer: TransferObserver,
        relay: str,
        may_send: MaySend | None = None,
    ) -> Future[TransferReport]: ...

    def capacity(self, relay: str) -> int:
        """Return how many messages the connections to a relay can have begun at once."""
        ...

    def drain(self, seconds: float) -> None:
        """Wait for the relays' replies, and cancel what is left after ``seconds``."""
        ...


class Limiter(Protocol):
    """Enforces rate limits across all workers."""

    def acquire(self, requests: Sequence[TokenRequest]) -> Sequence[TokenGrant]: ...
    def release(self, requests: Sequence[TokenRequest]) -> None: ...


class Metrics(Protocol):
    """Counters and heartbeats of the processes. For display only."""

    def add(self, counts: Mapping[OutcomeKey, int]) -> None: ...
    def recent_rates(self) -> Mapping[OutcomeKey, float]: ...
    def live_workers(self) -> Sequence[WorkerHeartbeat]: ...
    def queue_lengths(self, queues: list[str]) -> Mapping[str, int]: ...


class Journal(TransferObserver, Protocol):
    """The journal of one claim."""

    deadline: float
    """On the monotonic clock. No final dot is sent after it."""

    def close(self) -> None: ...
    def delete(self) -> None: ...


class Journals(Protocol):
    """The journals of this host's workers."""

    @property
    def host(self) -> str: ...
    @property
    def worker(self) -> str: ...
    def open(self, batch: int, epoch: int) -> Journal: ...
    def close_and_read(self, batch: int, epoch: int, previous_worker: str) -> JournalEvidence | None: ...
    def delete(self, batch: int, epoch: int) -> None: ...
