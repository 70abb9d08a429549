"""Crops of pictures."""

from hypothesis import example, given
from hypothesis import strategies as st

from mailer.domain.crops import RATIOS, Crop, CropFormat

PERCENT = st.integers(0, 100)
SIDE = st.integers(1, 3000)


@given(st.sampled_from(CropFormat), SIDE, SIDE, PERCENT, PERCENT)
@example(CropFormat.header, 1, 3000, 0, 100)
def test_a_crop_is_the_largest_part_of_its_format_near_its_point(
    format: CropFormat, width: int, height: int, x: int, y: int
) -> None:
    how = Crop(format, x, y)
    left, top, right, bottom = how.box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert width == right - left or height == bottom - top
    if format in RATIOS:
        across, down = RATIOS[format]
        assert abs((right - left) * down - (bottom - top) * across) <= max(across, down)
    assert left - 1 <= width * x / 100 <= right + 1
    assert top - 1 <= height * y / 100 <= bottom + 1
    if format is not CropFormat.whole:
        assert Crop.from_json(how.to_json()) == how


def test_a_crop_of_everything_is_none() -> None:
    assert Crop(CropFormat.whole, 3, 4).box(60, 40) == (0, 0, 60, 40)
    assert Crop(CropFormat.whole).to_json() is None
    assert Crop.from_json(None) == Crop(CropFormat.whole)
