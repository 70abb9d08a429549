"""A provider of OpenID Connect for tests: oidc-provider-mock, on a port of this machine, which can be made to fail."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from urllib.parse import parse_qs, quote

import httpx
import oidc_provider_mock
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server


class Provider:
    """A running provider. ``answers`` replaces what it answers on a path: status and body."""

    def __init__(self) -> None:
        self._app = oidc_provider_mock.app()
        self._server = make_server("localhost", 0, self._answer, threaded=True)
        self.issuer = f"http://localhost:{self._server.server_port}"
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        """The path and the form of each request."""

    def _answer(self, environ: dict, start_response: Callable) -> Iterable[bytes]:  # type: ignore[type-arg]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        self.asked.append((environ["PATH_INFO"], parse_qs(body.decode())))
        if environ["PATH_INFO"] in self.answers:
            status, answer = self.answers[environ["PATH_INFO"]]
            start_response(f"{status} As the test has it", [("Content-Type", "application/json")])
            return [answer]
        return self._app(environ, start_response)

    @contextmanager
    def running(self) -> Iterator["Provider"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        yield self
        self._server.shutdown()
        thread.join()
        self._server.server_close()

    def add(self, subject: str, address: str = "", **claims: object) -> None:
        """Make somebody known. ``claims`` are added to the ID token, also in place of the provider's own."""
        known = {"email": address, "email_verified": True} if address else {}
        httpx.put(f"{self.issuer}/users/{quote(subject)}", json=known | claims).raise_for_status()

    def sign_in(self, url: str, subject: str, action: str = "") -> str:
        """Fill in the provider's form, which is at a URL. Return where it sends the browser."""
        answer = httpx.post(url, data={"sub": subject} | ({"action": action} if action else {}))
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]


def other_keys() -> bytes:
    """Return a list of keys with which the provider does not sign."""
    return json.dumps({"keys": [RSAKey.generate_key(2048).as_dict(private=False)]}).encode()
