from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.typos import COMMON_DOMAINS, suggestion


@given(st.sampled_from(COMMON_DOMAINS), st.text("abcxyz.", min_size=1, max_size=8))
def test_common_domains_are_correct(domain: str, local: str) -> None:
    assert suggestion(f"{local}@{domain}") is None
    assert suggestion(f"{local}@{domain.upper()}") is None


@given(st.sampled_from([d for d in COMMON_DOMAINS if len(d) >= 9]), st.data())
def test_missing_letter_is_detected(domain: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(domain) - 1))
    typed = domain[:at] + domain[at + 1 :]
    assert typed in COMMON_DOMAINS or (suggestion(f"a@{typed}") or "").startswith("a@")


@given(st.text(max_size=300))
def test_any_input_is_accepted(address: str) -> None:
    found = suggestion(address)
    assert found is None or found.rpartition("@")[2] in COMMON_DOMAINS
