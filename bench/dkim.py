"""Compare signing a message with the bare RSA-2048 operation.

Both alternate in one thread, and the medians count.

.venv/bin/python bench/dkim.py --size 40000 --count 2000 [--json FILE]
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from harness import report

from mailer.adapters.dkim import Key, Signer, new_private_key
from mailer.domain import headers
from mailer.domain.dkim import KeyKind
from mailer.domain.headers import SenderIdentity, edition_headers
from mailer.domain.message import CompiledMessage, compile_message, marker

_FILLER_LINE = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod te\n"


def build_messages(size: int, count: int) -> list[list[bytes]]:
    """Return one edition's messages of about ``size`` bytes, filled for ``count`` readers."""
    name = marker("bench", "name")
    sender = SenderIdentity(
        "Bench",
        "bench@example.org",
        "",
        "bench.example.org",
        "bench",
        "example.org",
        "http://127.0.0.1/",
        "b",
    )

    def compiled(lines: int) -> CompiledMessage:
        body = f"Greetings, {name}\n" + _FILLER_LINE * lines
        return compile_message(edition_headers(sender, "Bench", "en"), "Greetings\n", body, {name: "name"})

    def filled(edition: CompiledMessage, number: int) -> list[bytes]:
        values = {
            headers.TO: b"Reader %d <reader%d@example.org>" % (number, number),
            headers.DATE: b"Wed, 30 Sep 2026 09:00:00 +0000",
            headers.MESSAGE_ID: b"%032x" % number,
            headers.UNSUBSCRIBE: b"%022x" % number,
            headers.MAILTO_UNSUBSCRIBE: b"%032x" % number,
            "name/html+qp": b"Reader %d" % number,
        }
        return edition.fill(values)

    fixed_bytes = sum(map(len, filled(compiled(0), count)))
    edition = compiled((size - fixed_bytes) // (len(_FILLER_LINE) + 1))
    return [filled(edition, number) for number in range(count)]


def measure_alternating(
    signer: Signer, baseline: Callable[[], object], messages: list[list[bytes]]
) -> tuple[float, float]:
    """Return the median microseconds of signing and of ``baseline``, called alternately."""
    clock = time.perf_counter_ns
    times: list[tuple[int, int]] = []
    for segments in messages:
        began = clock()
        signer.sign(segments)
        signed = clock()
        baseline()
        times.append((signed - began, clock() - signed))
    sign_times, baseline_times = zip(*times[len(messages) // 10 :], strict=True)
    return median(sign_times) / 1000, median(baseline_times) / 1000


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=40_000, help="bytes of the message")
    parser.add_argument("--count", type=int, default=2000, help="signatures of each kind")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    messages = build_messages(arguments.size, arguments.count)
    digest = b"d" * 32

    pems = {kind: new_private_key(kind) for kind in KeyKind}
    signers = {kind: Signer([Key("example.org", "s1", pem)]) for kind, pem in pems.items()}
    rsa = load_pem_private_key(pems[KeyKind.rsa], None)
    ed25519 = load_pem_private_key(pems[KeyKind.ed25519], None)
    assert isinstance(rsa, RSAPrivateKey)
    assert isinstance(ed25519, Ed25519PrivateKey)
    padded, hashed = padding.PKCS1v15(), hashes.SHA256()

    signed, bare = measure_alternating(signers[KeyKind.rsa], lambda: rsa.sign(digest, padded, hashed), messages)
    ed_signed, ed_bare = measure_alternating(signers[KeyKind.ed25519], lambda: ed25519.sign(digest), messages)
    figures = {
        "ratio": round(signed / bare, 3),
        "sign_microseconds": round(signed, 1),
        "bare_rsa_microseconds": round(bare, 1),
        "ed25519_sign_microseconds": round(ed_signed, 1),
        "bare_ed25519_microseconds": round(ed_bare, 1),
        "bytes": sum(map(len, messages[0])),
    }
    report(figures, "DKIM: signing a message, compared with the bare RSA-2048 operation", arguments.json)


if __name__ == "__main__":
    main()
