"""Crops of pictures to the formats that emails use."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class CropFormat(StrEnum):
    """The shape of a picture, by where emails show it."""

    whole = "whole"
    """All of the picture."""
    header = "header"
    """At the top of an issue, 640 pixels wide."""
    large = "large"
    """Above the first story of a section, 592 pixels wide, and small beside the others."""
    photo = "photo"
    """The shape of photographs: as ``large``, and higher."""
    square = "square"
    """Best beside a story, 200 pixels wide, for portraits."""


RATIOS = {CropFormat.header: (16, 5), CropFormat.large: (16, 9), CropFormat.photo: (3, 2), CropFormat.square: (1, 1)}
"""Width to height."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The largest part of a picture in a format, as near as possible to a point. ``x`` and ``y`` are in percent."""

    format: CropFormat
    x: int = 50
    y: int = 50

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom, in pixels, of the part of a picture of this size."""
        if self.format not in RATIOS:
            return 0, 0, width, height
        across, down = RATIOS[self.format]
        wide = max(1, min(width, round(height * across / down)))
        high = max(1, min(height, round(width * down / across)))
        left = min(max(0, round(width * self.x / 100 - wide / 2)), width - wide)
        top = min(max(0, round(height * self.y / 100 - high / 2)), height - high)
        return left, top, left + wide, top + high

    def to_json(self) -> dict[str, Any] | None:
        """Return what is stored with the picture; None if it shows everything."""
        return None if self.format is CropFormat.whole else {"format": self.format.value, "x": self.x, "y": self.y}

    @classmethod
    def from_json(cls, stored: dict[str, Any] | None) -> "Crop":
        return cls(CropFormat(stored["format"]), stored["x"], stored["y"]) if stored else cls(CropFormat.whole)
