import unicodedata
from datetime import UTC, datetime

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.subscriber_fields import (
    InvalidValue,
    is_plain_name,
    read_address,
    read_consent_date,
    read_form_name,
    read_languages,
    read_name,
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
        *(
            (written, "ana@example.org", "ana@example.org")
            for written in (
                "Ana Uzorak <ana@example.org>",
                "<ana@example.org>",
                "“ana@example.org” <ana@example.org>",
                "'Ana@example.org' <ana@example.org>",
                "Uzorak, Ana <mailto:ana@example.org>",
                "MAILTO:ana@example.org?subject=Hello&cc=bo@example.org",
                "ana@example.org;",
                "\ufeff\u202aana@example.org\u202c\u200b\xa0",
                "\r\n<\u200eana@example.org>\t",
            )
        ),
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
        ("a@example.org, b@example.org", "two addresses"),
        ("a@example.org b@example.org", "two addresses"),
        ("a@example.org/b@example.org", "two addresses"),
        ("a@example.org\nb@example.org", "two addresses"),
        ("Ana <a@example.org>, Bo <b@example.org>", "two addresses"),
        ("b@example.org <a@example.org>", "two addresses"),
        ("a@example.org;b@example.org;c@example.org", "several addresses"),
        ("a@exam\nple.org", "line break"),
        ("a@exam\u2028ple.org", "line break"),
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
    assert read_time_zone("America/New York") == "America/New_York"
    assert read_consent_date("20240229") == read_consent_date("2024-02-29T00:00Z") == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("written", ["localtime", "Factory", "posixrules", "right/UTC", "posix/UTC", "leapseconds"])
def test_what_is_no_place_is_no_time_zone(written: str) -> None:
    with pytest.raises(InvalidValue, match=r"is not (a|the) time zone"):
        read_time_zone(written)


@pytest.mark.parametrize(
    ("written", "iso"),
    [
        ("12.06.2025", "2025-06-12T00:00"),
        ("12. 6. 2025.", "2025-06-12T00:00"),
        ("1.2.2025 9:05", "2025-02-01T09:05"),
        ("2025-6-2", "2025-06-02T00:00"),
        ("2025/06/12", "2025-06-12T00:00"),
        ("2025-6-12 14:30:15", "2025-06-12T14:30:15"),
        ("2025-6-12T23:30-02:00", "2025-06-13T01:30"),
        ("25/12/2025", "2025-12-25T00:00"),
        ("12-25-2025", "2025-12-25T00:00"),
        ("06/06/2025", "2025-06-06T00:00"),
    ],
)
def test_a_date_that_has_one_reading_is_read(written: str, iso: str) -> None:
    assert read_consent_date(written) == datetime.fromisoformat(f"{iso}Z")


@pytest.mark.parametrize("written", ["12/06/2025", "12-6-2025", "6/12/2025 10:00"])
def test_a_date_that_has_two_readings_is_refused_with_both(written: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        read_consent_date(written)
    assert "may mean 2025-06-12 or 2025-12-06: write it so, or as 12.06.2025" in str(refused.value)


@pytest.mark.parametrize(
    "written", ["31.02.2025", "45820", "####", "12.06.25", "12 June 2025", "2025-6-12 25:00", "12/25-2025", "0.0.2025"]
)
def test_what_is_no_date_is_refused(written: str) -> None:
    with pytest.raises(InvalidValue, match="is not in the form 2026-09-30"):
        read_consent_date(written)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("  Ana\xa0\u200b Uzorak\ufeff", "Ana \u200b Uzorak"),
        ("A\u0301na", "Ána"),
        ("Uzorak, Ana", "Uzorak, Ana"),
        ("prof.dr.sc. Ana O’Uzorak-Kap", "prof.dr.sc. Ana O’Uzorak-Kap"),
        ("Na", "Na"),
        ("Nan Nguyễn", "Nan Nguyễn"),
        ("Ana & Bo", "Ana & Bo"),
        ("അവന്\u200d", "അവന്\u200d"),
        *(
            (written, "")
            for written in (
                *(
                    "",
                    " ",
                    "\u200b",
                    "-",
                    "—",
                    "?",
                    "...",
                    "12",
                    "½",
                    "\\N",
                    "NULL",
                    "null",
                    "(null)",
                    "<NULL>",
                    "None",
                ),
                *("N/A", "n/a", "NA", "NaN", "nan", "undefined", "#N/A", "#NV", "#BEZUG!", "#REF!", "#####"),
                *(
                    "https://evil.example",
                    "Ana //evil.example",
                    "www.evil.example",
                    "Buy at EVIL.com",
                ),
                *("evil.example/win", "ana@example.org", "Ana <ana@example.org>", '=HYPERLINK("http://evil.example")'),
            )
        ),
    ],
)
def test_what_is_a_name_and_what_is_none(written: str, name: str) -> None:
    assert read_name(written) == read_form_name(written) == name
    assert read_name(name) == name


_NAMES = st.text(st.sampled_from("AaNnUuLl .-/@#½1\xa0\u200b'\"ć\u0301"), max_size=12)


@given(_NAMES | st.sampled_from(["null", "NONE", "Nan", "undefined", "a.b.com", "J. R.", "www.x"]))
def test_plain_name_is_read_as_it_is(written: str) -> None:
    if is_plain_name(written := written.strip()):
        assert read_name(written) == unicodedata.normalize("NFC", written)


def test_a_name_in_a_form_loses_what_an_import_refuses() -> None:
    with pytest.raises(InvalidValue, match="control character"):
        read_name("A\x07na\u202e K")
    assert read_form_name("A\x07na\u202e K") == "Ana K"
    assert read_form_name("A" * 300) == "A" * 200
