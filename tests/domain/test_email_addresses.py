import pytest

from mailer.domain.email_addresses import masked, to_smtp


@pytest.mark.parametrize(
    ("address", "wire", "smtputf8"),
    [
        ("ann@example.org", "ann@example.org", False),
        ("Ann.O'Neil+x@Example.ORG", "Ann.O'Neil+x@Example.ORG", False),
        ("ana@пример.example", "ana@xn--e1afmkfd.example", False),
        ("ana@STRASSE.straße.example", "ana@strasse.xn--strae-oqa.example", False),
        ("ана@example.org", "ана@example.org", True),
        ("ана@пример.example", "ана@xn--e1afmkfd.example", True),
        ('"a@b"@example.org', '"a@b"@example.org', False),
    ],
)
def test_domain_is_converted_to_ascii(address: str, wire: str, smtputf8: bool) -> None:
    assert to_smtp(address) == (wire, smtputf8)


@pytest.mark.parametrize("address", ["", "ann", "@example.org", "ann@", "ann@пример..example", "ann@-й-.example"])
def test_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="“"):
        to_smtp(address)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("ana.k@example.org", "a…@example.org"),
        ("a@example.org", "a…@example.org"),
        ("ана@пример.example", "а…@пример.example"),
        ('"a@b"@example.org', '"…@example.org'),
    ],
)
def test_a_masked_address_shows_one_letter_of_its_owner(address: str, shown: str) -> None:
    assert masked(address) == shown
