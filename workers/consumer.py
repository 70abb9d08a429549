"""The part of a worker that takes messages from the broker, and must outlast it."""

import logging

from celery.worker import consumer

_log = logging.getLogger("mailer")


class ResilientConsumer(consumer.Consumer):  # type: ignore[misc]
    """Celery's own, but for a broken connection that cannot be closed: that ended the worker for good."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:
            # With a broker that is shut down, kombu may close a channel that has lost its connection's parameters,
            # and stumbles over that. The connection is let go by then, and a new one is made.
            _log.warning("The connection to Redis that broke could not be closed: %r", error)
