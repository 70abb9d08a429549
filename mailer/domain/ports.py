"""What services ask of the outside world. Adapters fit these shapes; bootstrap brings the two together."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
    def now(self) -> datetime:
        """Return the time of day, in UTC. Somebody may set it, also back."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that nobody sets; only differences mean something."""
        ...


class Rendered(Protocol):
    @property
    def html(self) -> str: ...
    @property
    def text(self) -> str: ...


class RenderedEdition(Rendered, Protocol):
    @property
    def web_view_html(self) -> str:
        """The HTML of the web view: nothing of its reader in it."""
        ...


class RenderedLanguage(Protocol):
    """An issue in one language, from which its editions are cut."""

    def edition(self, sections: Collection[str], web_view: str) -> RenderedEdition:
        """The edition with the sections of these keys, and its own web view instead of the content's."""
        ...


class Renderer(Protocol):
    """Gives an issue its look."""

    def render(self, content: EditionContent) -> RenderedEdition: ...
    def render_language(self, content: EditionContent) -> RenderedLanguage: ...


class RenderedTransactional(Rendered, Protocol):
    @property
    def subject(self) -> str: ...


class TransactionalRenderer(Protocol):
    """Gives a note its words and its look."""

    def render(self, content: TransactionalContent) -> RenderedTransactional: ...


class Signer(Protocol):
    """Signs messages for those whose relay does not."""

    def sign(self, segments: Sequence[bytes]) -> bytes:
        """Header lines to stand before a message; empty without keys."""
        ...


class PreparedPicture(Protocol):
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


PictureLoader = Callable[[str], PreparedPicture]
"""The picture at a path of a document. Raises ValueError in words for a coordinator."""


class MailUrls(Protocol):
    """Makes the addresses and tokens that stand in a mail."""

    def web_view_url(self, issue: int, edition: int) -> str: ...
    def archive_url(self, slug: str) -> str: ...
    def picture_url(self, sha256: str, media_type: str) -> str: ...
    def page_url(self, path: str) -> str:
        """The URL of a path without a leading slash, or of a slot that stands for one."""
        ...

    def preferences_url(self, newsletter: int, subscriber: int) -> str: ...
    def unsubscribe_url(self, newsletter: int, subscriber: int) -> str: ...
    def manage_url(self, issued_at: int, subscriber: int, slug: str) -> str: ...
    def confirm_url(self, signup: int) -> str: ...
    def change_address_url(self, change: int, *, new: bool) -> str: ...
    def transactional_token(self, newsletter: int, email: int) -> str: ...
    def unsubscribe_token(self, newsletter: int, subscriber: int) -> str: ...
    def parse_recipient(self, recipient: str) -> "InboundRecipient | None": ...
    def subscriber_slots(self, issue: int, subscribers: Sequence[int]) -> Iterable["SubscriberSlots"]: ...


class InboundRecipient(Protocol):
    """What a mail that came back is about."""

    @property
    def kind(self) -> str:
        """``unsubscribe`` or ``bounce`` of an issue, ``quit`` or ``note`` of a newsletter."""
        ...

    @property
    def context_id(self) -> int:
        """Issue, or newsletter."""
        ...

    @property
    def target_id(self) -> int:
        """Subscriber, or note."""
        ...


class SubscriberSlots(Protocol):
    """What is different in each reader's mail, ready for the slots."""

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
    """What became of some envelopes. ``error``: the journal's, which ended the sending."""

    results: Sequence[TransferResult]
    error: Exception | None


MaySend = Callable[[Envelope], bool]
"""Asked right before a message is begun; what may not be sent is withheld."""


class SmtpPool(Protocol):
    """Hands messages to relays over kept connections."""

    def transfer(
        self,
        envelopes: Sequence[Envelope],
        observer: TransferObserver,
        relay: str,
        may_send: MaySend | None = None,
    ) -> Future[TransferReport]: ...

    def drain(self, seconds: float) -> None:
        """What the relays have not answered by then is called off."""
        ...


class Limiter(Protocol):
    """Keeps rates, for all workers together."""

    def acquire(self, requests: Sequence[TokenRequest]) -> Sequence[TokenGrant]: ...
    def release(self, requests: Sequence[TokenRequest]) -> None: ...


class Metrics(Protocol):
    """What processes tell each other about themselves; nothing depends on it."""

    def add(self, counts: Mapping[OutcomeKey, int]) -> None: ...
    def recent_rates(self) -> Mapping[OutcomeKey, float]: ...
    def live_workers(self) -> Sequence[WorkerHeartbeat]: ...
    def queue_lengths(self, queues: list[str]) -> Mapping[str, int]: ...


class Journal(TransferObserver, Protocol):
    deadline: float

    def close(self) -> None: ...
    def delete(self) -> None: ...


class Journals(Protocol):
    """Where workers of this host write down what they hand over."""

    @property
    def worker(self) -> str: ...
    def open(self, batch: int, epoch: int) -> Journal: ...
    def close_and_read(self, batch: int, epoch: int, previous_worker: str) -> JournalEvidence | None: ...
    def delete(self, batch: int, epoch: int) -> None: ...
