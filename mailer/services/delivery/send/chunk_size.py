"""How many deliveries the next chunk should have."""

from dataclasses import dataclass

MIN_CHUNK_SIZE, MAX_CHUNK_SIZE = 20, 500
_TARGET_SECONDS = 1.0
"""That a chunk may take at the relay: what is in flight is finished when the process is to end."""
_MAX_GROWTH_FACTOR = 8
"""By which a chunk may be larger than the one before."""


@dataclass(slots=True)
class AdaptiveChunkSize:
    """As many deliveries as the relay takes in good time, but enough for all its connections.

    All batches of a process share it.
    """

    current: int = MIN_CHUNK_SIZE

    def adapt(self, transferred: int, seconds: float, capacity: int = 0) -> None:
        """Learn from a chunk of ``transferred`` deliveries that took so long.

        ``capacity``: messages that the connections can have begun at once. With fewer, some would wait for the next
        chunk, and at a distant relay nothing but more connections helps.
        """
        if seconds > _TARGET_SECONDS:
            self.current //= 2
        elif transferred >= self.current and seconds < _TARGET_SECONDS / 2:
            fitting = round(transferred * _TARGET_SECONDS / 2 / seconds)
            self.current = min(self.current * _MAX_GROWTH_FACTOR, fitting)
        self.current = min(MAX_CHUNK_SIZE, max(self.current, capacity, MIN_CHUNK_SIZE))
