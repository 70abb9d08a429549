from datetime import UTC, datetime

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.subscriber_fields import (
    InvalidValue,
    read_address,
    read_consent_date,
    read_languages,
    read_time_zone,
)
from tests.support.work import count_calls


@pytest.mark.parametrize(
    ("written", "address", "key"),
    [
        ("Ana@Example.ORG", "Ana@example.org", "ana@example.org"),
        ("o'sample+list@example.org", "o'sample+list@example.org", "o'sample+list@example.org"),
        ("wilma@BÜCHER.example.net", "wilma@bücher.example.net", "wilma@xn--bcher-kva.example.net"),
        ("wilma@xn--bcher-kva.example.net", "wilma@bücher.example.net", "wilma@xn--bcher-kva.example.net"),
        ("MU\u0308ller@example.org", "MÜller@example.org", "müller@example.org"),
    ],
)
def test_an_address_and_its_key(written: str, address: str, key: str) -> None:
    assert read_address(written) == (address, key)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("a" * 243 + "@example.org", "at most 254 octets"),
        ("é" * 122 + "@example.org", "at most 254 octets"),
        ("a\u0300" * 16_000, "at most 254 octets"),
        ("a\u0300" * 16_000 + "@example.org", "at most 254 octets"),
        ("a@" + "ü" * 32_000 + ".org", "at most 254 octets"),
        ("a" * 65 + "@example.org", "at most 64 octets"),
        ("a" + "\u0300" * 32 + "@example.org", "at most 64 octets"),
        ("a\0b@example.org", "control character"),
        ("a@exa\u202emple.org", "control character"),
        ("a\ud800@example.org", "control character"),
    ],
)
def test_an_impossible_address_is_refused_before_any_other_work(written: str, problem: str) -> None:
    refusals = []

    def read() -> None:
        with pytest.raises(InvalidValue, match=problem) as refusal:
            read_address(written)
        refusals.append(str(refusal.value))

    calls = count_calls(read)
    assert len(refusals[0]) < 200
    assert not {"normalize", "validate_email", "encode_idna", "uts46_remap"} & set(calls)


def test_the_longest_possible_address_is_read() -> None:
    domain = ".".join(["a" * 61] * 3) + ".org"
    address = f"{'b' * (254 - len(domain) - 1)}@{domain}"
    assert read_address(address) == (address, address)


_ADDRESSES = st.builds(
    lambda local, domain: f"{local}@{domain}",
    st.text("aZ0_+-.'!\"()ü@ \\", max_size=12) | st.text("a", min_size=60, max_size=70),
    st.sampled_from(["example.org", "Example.Com", "bücher.example.net", "localhost", "a.invalid", "x..y", "", "-a.de"])
    | st.text("ab-.üA1_ ", max_size=12)
    | st.text("a.", min_size=180, max_size=254),
)


@given(_ADDRESSES)
def test_fast_path_agrees_with_the_library(written: str) -> None:
    try:
        expected = validate_email(written, check_deliverability=False, test_environment=True, strict=True).normalized
    except EmailNotValidError:
        with pytest.raises(InvalidValue):
            read_address(written)
    else:
        address, key = read_address(written)
        assert address == expected
        assert read_address(address) == (address, key)


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        ("", ()),
        ("sr-latn_ba en", ("sr-Latn-BA", "en")),
        ("pt-BR,es | en;fr", ("pt-BR", "es", "en", "fr")),
        ("en EN en-GB en", ("en", "en-GB")),
    ],
)
def test_languages_keep_their_order(written: str, tags: tuple[str, ...]) -> None:
    assert read_languages(written) == tags


def test_time_zones_and_dates_are_read_leniently() -> None:
    assert read_time_zone("europe/BELGRADE") == "Europe/Belgrade"
    assert read_consent_date("20240229") == read_consent_date("2024-02-29T00:00Z") == datetime(2024, 2, 29, tzinfo=UTC)
