"""The size of chunks follows the relay's speed."""

from mailer.services.delivery.send.chunk_size import AdaptiveChunkSize


def test_chunks_become_as_large_as_fits() -> None:
    size = AdaptiveChunkSize()
    assert size.current == 20
    for transferred, seconds, then in (
        (20, 0.001, 160),
        (20, 0.001, 160),  # one that was submitted before
        (160, 0.25, 320),
        (320, 0.9, 320),
        (320, 0.01, 500),
        (500, 1.2, 250),
        (250, 9.0, 125),
        (20, 9.0, 62),
        (20, 9.0, 31),
        (20, 9.0, 20),
        (20, 9.0, 20),
    ):
        size.adapt(transferred, seconds)
        assert size.current == then, (transferred, seconds)


def test_chunks_are_enough_for_all_connections_of_a_distant_relay() -> None:
    size = AdaptiveChunkSize()
    for capacity, then in ((8, 20), (64, 64), (64, 64), (2000, 500), (8, 250)):
        size.adapt(20, 3.0, capacity)
        assert size.current == then, capacity
