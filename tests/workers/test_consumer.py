"""Workers when the broker is lost."""

from celery.utils.imports import symbol_by_name
from kombu import Connection

from workers.app import celery_app
from workers.consumer import ResilientConsumer


class Unclosable(Connection):
    """As kombu's is when a channel of it has lost the connection's parameters."""

    def close(self) -> None:
        raise AttributeError("'NoneType' object has no attribute 'hostname'")


def test_a_broken_connection_that_cannot_be_closed_does_not_end_the_worker() -> None:
    assert symbol_by_name(celery_app.conf.worker_consumer) is ResilientConsumer
    consumer = ResilientConsumer.__new__(ResilientConsumer)  # no worker around it
    consumer.app, consumer.connection = celery_app, Unclosable("memory://")
    consumer.on_connection_error_after_connected(ConnectionError("gone"))
    assert consumer.connection is None, "a new one is made"
