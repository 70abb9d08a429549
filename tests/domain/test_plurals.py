"""Numbers agree with their nouns."""

import pytest

from mailer.domain.plurals import format_count


@pytest.mark.parametrize(
    ("number", "forms", "text"),
    [
        (0, ("reader",), "0 readers"),
        (1, ("story", "stories"), "1 story"),
        (2_000, ("story", "stories"), "2,000 stories"),
    ],
)
def test_number_with_its_noun(number: int, forms: tuple[str, ...], text: str) -> None:
    assert format_count(number, *forms) == text
