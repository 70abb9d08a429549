"""Fields of a text as they are typed, and as they are listed."""

import pytest

from mailer.domain.text_fields import plain_line


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        (r"Salt \& *stars*", "Salt & stars"),
        (r"A \*star\* and \<b>salt\</b>", "A *star* and <b>salt</b>"),
        ("CO<sub>2</sub>", "CO2"),
        ("", ""),
        ("*" * 30_000, "*" * 30_000),
    ],
)
def test_a_line_is_listed_without_its_formatting(markdown: str, plain: str) -> None:
    assert plain_line(markdown) == plain
