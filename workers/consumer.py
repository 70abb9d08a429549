"""The part of a worker that receives messages from the broker, made to survive a broker restart."""

import logging

from celery.worker import consumer

_log = logging.getLogger("mailer")


class ResilientConsumer(consumer.Consumer):  # type: ignore[misc]
    """Works around a Celery bug: closing a broken connection raised an error, which stopped the worker."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Handle a lost connection, ignoring errors while it is closed."""
        try:
            super().on_connection_error_after_connected(exc)
        except Exception as error:
            # If the broker was shut down, kombu may fail to close a channel without connection parameters. The
            # connection has been released by then, and Celery opens a new one.
            _log.warning("A broken connection to Redis could not be closed: %r", error)
