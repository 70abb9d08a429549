"""Requests to a provider of OpenID Connect that does not answer as it should."""

import threading
from contextlib import suppress
from socketserver import StreamRequestHandler, TCPServer

import pytest

from mailer.adapters.clock import SystemClock
from mailer.adapters.openid import OpenIdProvider, ProviderDown
from mailer.adapters.sealing import Sealer

PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 0.2


class Trickle(StreamRequestHandler):
    """Answers every request with valid metadata, whose first header comes byte by byte and takes two seconds."""

    def handle(self) -> None:
        issuer = f"http://localhost:{self.server.server_address[1]}"  # type: ignore[index]
        body = f'{{"issuer": "{issuer}", "authorization_endpoint": "{issuer}/go"}}'
        self.wfile.write(b"HTTP/1.1 200 OK\r\nSlow: ")
        with suppress(OSError):
            for _ in range(40):
                self.wfile.write(b"a")
                if self.server.ended.wait(PAUSE_SECONDS):  # type: ignore[attr-defined]
                    return
            self.wfile.write(f"\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def test_a_header_that_comes_byte_by_byte_is_not_waited_for() -> None:
    with TCPServer(("localhost", 0), Trickle) as server:
        server.ended = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        issuer = f"http://localhost:{server.server_address[1]}"
        provider = OpenIdProvider(issuer, "us", "", "", Sealer(["s" * 32]), SystemClock(), TIMEOUT_SECONDS)
        try:
            with pytest.raises(ProviderDown, match="too slow"):
                provider.begin("")
        finally:
            server.ended.set()  # type: ignore[attr-defined]
            server.shutdown()
            thread.join()
