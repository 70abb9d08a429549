"""Looking up links at servers on this machine: what is found, and where no link may lead."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from mailer.adapters.dns import DnsResolver
from mailer.adapters.link_lookup import LinkLookup, LinkLookupLimits
from mailer.domain.network_checks import LookupOutcome, LookupResult
from mailer.domain.public_addresses import IpAddress
from tests.support.name_server import NameServer

PUBLIC, INTERNAL = "127.0.0.2", "127.0.0.3"
"""Two addresses of this machine: links may lead to the first one, as if it were of the public internet."""
LIMITS = LinkLookupLimits(host_pause_seconds=0, step_seconds=2, link_seconds=4)


@dataclass
class WebServer:
    """Answers with a status and a redirect by path; another path is not found."""

    port: int = 0
    pages: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Address, method, host, path."""


def listen(server: WebServer, address: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            server.requests.append((address, self.command, self.headers["Host"], self.path))
            status, location = server.pages.get(self.path, (404, ""))
            if self.path == "/no-head" and self.command == "HEAD":
                status = 405
            if self.path == "/hangs-up":
                self.close_connection = True
                return
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.end_headers()
            if self.path == "/endless" and self.command == "GET":
                while True:
                    self.wfile.write(b"x" * 65_536)

        do_GET = do_HEAD = answer

        def log_message(self, *_: object) -> None: ...

    made = ThreadingHTTPServer((address, server.port), Handler)
    threading.Thread(target=made.serve_forever, args=[0.01], daemon=True).start()
    return made


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A server at both addresses, with the same port."""
    server = WebServer()
    first = listen(server, PUBLIC)
    server.port = first.server_address[1]
    second = listen(server, INTERNAL)
    yield server
    for one in (first, second):
        one.shutdown()
        one.server_close()


@pytest.fixture
def names(name_server: NameServer) -> NameServer:
    """Return a name server that knows a public and an internal host."""
    name_server.zones = {"example.org": {"A": [PUBLIC]}, "inside.example": {"A": [INTERNAL]}}
    return name_server


LookUp = Callable[..., dict[str, LookupResult]]


@pytest.fixture
def look_up(web: WebServer, names: NameServer) -> LookUp:
    def run(*urls: str, limits: LinkLookupLimits = LIMITS, ports: Sequence[int] = ()) -> dict[str, LookupResult]:
        results: dict[str, LookupResult] = {}
        lookup = LinkLookup(
            DnsResolver([names.address]).addresses, "test", limits, is_allowed=is_public_here, ports=ports or [web.port]
        )
        asyncio.run(lookup.look_up(urls, results.__setitem__))
        return results

    return run


def is_public_here(address: IpAddress) -> bool:
    return address == ip_address(PUBLIC)


def test_links_that_work_and_do_not(look_up: LookUp, web: WebServer) -> None:
    web.pages = {
        "/": (200, ""), "/no-head": (200, ""), "/moved": (301, "/?a=1#b"), "/?a=1": (204, ""), "/gone": (410, ""),
        "/robots": (403, ""), "/busy": (429, ""), "/linkedin": (999, ""), "/down": (503, ""), "/loop": (302, "/loop"),
        "/endless": (200, ""), "/nowhere": (302, ""),
    }  # fmt: skip
    base = f"http://example.org:{web.port}"
    results = look_up(*(base + path for path in (*web.pages, "/missing", "/hangs-up")), f"http://x.example:{web.port}/")
    outcomes = {url.removeprefix(base): result.outcome for url, result in results.items()}
    works, broken, unclear = LookupOutcome.works, LookupOutcome.broken, LookupOutcome.unclear
    assert outcomes == {
        "/": works, "/no-head": works, "/moved": works, "/?a=1": works, "/gone": broken, "/robots": unclear,
        "/busy": unclear, "/linkedin": unclear, "/down": unclear, "/loop": broken, "/endless": works,
        "/nowhere": unclear, "/missing": broken, "/hangs-up": unclear, f"http://x.example:{web.port}/": broken,
    }  # fmt: skip
    assert results[f"{base}/loop"].reason == "it redirects too often"
    assert results[f"http://x.example:{web.port}/"].reason == "the host x.example does not exist"
    assert (PUBLIC, "HEAD", f"example.org:{web.port}", "/") in web.requests, "the host is named, not its address"
    assert [method for _, method, _, path in web.requests if path == "/"] == ["HEAD"]
    assert [method for _, method, _, path in web.requests if path == "/no-head"] == ["HEAD", "GET"]


def refused(results: dict[str, LookupResult]) -> set[str]:
    assert {result.outcome for result in results.values()} == {LookupOutcome.broken}
    return {result.reason for result in results.values()}


@pytest.mark.parametrize(
    "host",
    [INTERNAL, "127.0.0.1", "[::1]", f"[::ffff:{INTERNAL}]", "2130706435", "0x7f000003", "0177.0.0.3", "127.3",
     "127.0.0.3.", "１２７.０.０.３", "inside.example"],
)  # fmt: skip
def test_no_link_leads_to_this_network(look_up: LookUp, web: WebServer, host: str) -> None:
    web.pages = {"/": (200, "")}
    (reason,) = refused(look_up(f"http://{host}:{web.port}/"))
    assert reason in ("it leads to an address that is not public", "it is not a valid web address")
    assert web.requests == []


def test_no_redirect_leads_to_this_network(look_up: LookUp, web: WebServer) -> None:
    targets = [
        f"http://{INTERNAL}:{web.port}/", f"//inside.example:{web.port}/", "file:///etc/passwd", "gopher://example.org/",
        "http://example.org:22/", f"http://user:secret@inside.example:{web.port}/",
    ]  # fmt: skip
    web.pages = {f"/{number}": (302, target) for number, target in enumerate(targets)} | {"/": (200, "")}
    base = f"http://example.org:{web.port}"
    assert refused(look_up(*(base + path for path in web.pages if path != "/"))) == {
        "it leads to an address that is not public",
        "it leads to an address that is not on the web",
        "it leads to a port that is not the web's",
    }
    assert {address for address, *_ in web.requests} == {PUBLIC}


def test_name_with_one_address_that_is_not_public_is_refused(
    look_up: LookUp, web: WebServer, names: NameServer
) -> None:
    names.zones["both.example"] = {"A": [PUBLIC, INTERNAL]}
    names.zones["six.example"] = {"A": [PUBLIC], "AAAA": ["::1"]}
    refused(look_up(f"http://both.example:{web.port}/", f"http://six.example:{web.port}/"))
    assert web.requests == []


def test_connection_goes_to_the_address_that_was_checked(look_up: LookUp, web: WebServer, names: NameServer) -> None:
    """A name whose address is another one a moment later leads nowhere else, and the next request is checked anew."""
    names.zones["rebinding.example"] = {"A": [PUBLIC]}
    names.successors["rebinding.example"] = {"A": [INTERNAL]}
    web.pages = {"/no-head": (200, "")}
    refused(look_up(f"http://rebinding.example:{web.port}/no-head"))
    assert [(address, method) for address, method, *_ in web.requests] == [(PUBLIC, "HEAD")]
    assert names.queries.count(("rebinding.example", "A")) == 2


def test_only_ports_of_the_web_are_asked(look_up: LookUp, web: WebServer) -> None:
    (reason,) = refused(look_up(f"http://example.org:{web.port}/", ports=[80, 443]))
    assert reason == "it leads to a port that is not the web's"
    assert web.requests == []


def test_without_a_network_nothing_is_broken(web: WebServer, names: NameServer) -> None:
    results: dict[str, LookupResult] = {}

    async def deaf(_: str) -> Sequence[IpAddress]:
        raise OSError("DNS did not answer")

    asyncio.run(LinkLookup(deaf, "test", LIMITS).look_up(["http://example.org/"], results.__setitem__))
    assert results["http://example.org/"].outcome is LookupOutcome.not_checked


def test_closed_port_is_no_broken_link(look_up: LookUp, web: WebServer) -> None:
    (result,) = look_up("http://example.org:1/", ports=[1]).values()
    assert (result.outcome, result.reason) == (LookupOutcome.not_checked, "no connection could be made")


def test_server_that_never_ends_its_answer_holds_nothing_up(look_up: LookUp, web: WebServer) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)

    async def run() -> dict[str, LookupResult]:
        server = await asyncio.start_server(drip, PUBLIC, 0)
        port = server.sockets[0].getsockname()[1]
        results: dict[str, LookupResult] = {}

        async def here(_: str) -> Sequence[IpAddress]:
            return [ip_address(PUBLIC)]

        limits = replace(LIMITS, link_seconds=0.2)
        lookup = LinkLookup(here, "test", limits, is_allowed=is_public_here, ports=[port])
        await lookup.look_up([f"http://example.org:{port}/"], results.__setitem__)
        return results

    (result,) = asyncio.run(run()).values()
    assert result.outcome is LookupOutcome.not_checked


def test_links_that_there_is_no_time_for_have_no_result(look_up: LookUp, web: WebServer) -> None:
    web.pages = {"/": (200, "")}
    limits = replace(LIMITS, total_seconds=1, host_pause_seconds=60)
    urls = [f"http://example.org:{web.port}/", f"http://example.org:{web.port}/?second"]
    assert list(look_up(*urls, limits=limits)) == urls[:1]


def certificate_for(host: str, folder: Path) -> Path:
    """Return a file with a new key and its own certificate."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem + made.public_bytes(Encoding.PEM))
    return file


def test_certificate_is_checked_for_the_name(web: WebServer, names: NameServer, tmp_path: Path) -> None:
    """Though the connection goes to an address."""
    web.pages = {"/": (200, "")}
    names.zones["other.example"] = {"A": [PUBLIC]}
    certificate = certificate_for("example.org", tmp_path)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(certificate)
    secure = WebServer(pages=web.pages)
    listener = listen(secure, PUBLIC)
    listener.socket = server_context.wrap_socket(listener.socket, server_side=True)
    port = listener.server_address[1]
    results: dict[str, LookupResult] = {}
    lookup = LinkLookup(
        DnsResolver([names.address]).addresses,
        "test",
        LIMITS,
        is_allowed=is_public_here,
        ports=[port],
        ssl_context=ssl.create_default_context(cafile=str(certificate)),
    )
    urls = [f"https://example.org:{port}/", f"https://other.example:{port}/"]
    asyncio.run(lookup.look_up(urls, results.__setitem__))
    listener.shutdown()
    listener.server_close()
    assert [results[url].outcome for url in urls] == [LookupOutcome.works, LookupOutcome.unclear]
    assert results[urls[1]].reason == "no secure connection could be made"
