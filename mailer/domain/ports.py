"""What services ask of the outside world. Adapters fit these shapes; bootstrap brings the two together."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from mailer.domain.content import EditionContent, NoteContent
from mailer.domain.handover import Envelope, Handover, Result
from mailer.domain.journal import Evidence
from mailer.domain.limits import Ask, Grant
from mailer.domain.traffic import Passage, Presence


class Rendered(Protocol):
    @property
    def html(self) -> str: ...
    @property
    def text(self) -> str: ...


class RenderedEdition(Rendered, Protocol):
    @property
    def page(self) -> str:
        """The HTML of the web view: nothing of its reader in it."""
        ...


class Sheet(Protocol):
    """An issue in one language, from which its editions are cut."""

    def edition(self, sections: Collection[str], web_view: str) -> RenderedEdition:
        """The edition with the sections of these keys, and its own web view instead of the content's."""
        ...


class Renderer(Protocol):
    """Gives an issue its look."""

    def render(self, content: EditionContent) -> RenderedEdition: ...
    def sheet(self, content: EditionContent) -> Sheet: ...


class RenderedNote(Rendered, Protocol):
    @property
    def subject(self) -> str: ...


class NoteRenderer(Protocol):
    """Gives a note its words and its look."""

    def render_note(self, note: NoteContent) -> RenderedNote: ...


class Signer(Protocol):
    """Signs messages for those whose relay does not."""

    def sign(self, segments: Sequence[bytes]) -> bytes:
        """Header lines to stand before a message; empty without keys."""
        ...


class FitPicture(Protocol):
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


Pictures = Callable[[str], FitPicture]
"""The picture at a path of a document. Raises ValueError in words for a coordinator."""


class Links(Protocol):
    """Makes the addresses and tokens that stand in a mail."""

    def web_view(self, issue: int, edition: int) -> str: ...
    def picture(self, sha256: str, media_type: str) -> str: ...
    def reader_page(self, page: str) -> str:
        """Address of a reader's page: ``page`` is its path, or a slot that stands for it."""
        ...

    def choose_page(self, newsletter: int, subscriber: int) -> str: ...
    def quit_page(self, newsletter: int, subscriber: int) -> str: ...
    def key_page(self, made: int, subscriber: int, slug: str) -> str: ...
    def confirm_page(self, signup: int) -> str: ...
    def address_page(self, change: int, *, new: bool) -> str: ...
    def note_token(self, newsletter: int, note: int) -> str: ...
    def quit_token(self, newsletter: int, subscriber: int) -> str: ...
    def returned(self, recipient: str) -> "Returned | None": ...
    def reader_slots(self, issue: int, subscribers: Sequence[int]) -> Iterable["ReaderSlots"]: ...


class Returned(Protocol):
    """What a mail that came back is about."""

    @property
    def kind(self) -> str:
        """``unsubscribe`` or ``bounce`` of an issue, ``quit`` or ``note`` of a newsletter."""
        ...

    @property
    def first(self) -> int:
        """Issue, or newsletter."""
        ...

    @property
    def second(self) -> int:
        """Subscriber, or note."""
        ...


class ReaderSlots(Protocol):
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
class HandedOver:
    """What became of some envelopes. ``error``: the journal's, which ended the sending."""

    results: Sequence[Result]
    error: Exception | None


MaySend = Callable[[Envelope], bool]
"""Asked right before a message is begun; what may not be sent is withheld."""


class Outbox(Protocol):
    """Hands messages to relays over kept connections."""

    def hand_over(
        self, envelopes: Sequence[Envelope], journal: Handover, relay: str, may_send: MaySend | None = None
    ) -> Future[HandedOver]: ...

    def finish_within(self, seconds: float) -> None:
        """What the relays have not answered by then is called off."""
        ...


class Limiter(Protocol):
    """Keeps rates, for all workers together."""

    def take(self, asks: Sequence[Ask]) -> Sequence[Grant]: ...
    def give_back(self, asks: Sequence[Ask]) -> None: ...


class Telemetry(Protocol):
    """What processes tell each other about themselves; nothing depends on it."""

    def count(self, passages: Mapping[Passage, int]) -> None: ...
    def lately(self) -> Mapping[Passage, float]: ...
    def present(self) -> Sequence[Presence]: ...
    def hints(self, queues: list[str]) -> Mapping[str, int]: ...


class Journal(Handover, Protocol):
    deadline: float

    def close(self) -> None: ...
    def drop(self) -> None: ...


class Journals(Protocol):
    """Where workers of this host write down what they hand over."""

    @property
    def worker(self) -> str: ...
    def open(self, batch: int, epoch: int) -> Journal: ...
    def evidence(self, batch: int, epoch: int, previous_worker: str) -> Evidence | None: ...
    def forget(self, batch: int, epoch: int) -> None: ...
