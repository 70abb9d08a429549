"""Pictures as they come from a coordinator, made fit for a mail."""

import io
import warnings
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image, ImageOps

_WIDEST = 1280
_HEAVIEST = 400_000
_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif"}


class BadPicture(ValueError):
    """A file that cannot be shown as a picture in a mail; the message says why."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A picture ready to be stored: its bytes, and width and height in pixels."""

    sha256: str
    media_type: str
    width: int
    height: int
    data: bytes


def _has_metadata(image: Image.Image) -> bool:
    """EXIF; in a JPEG also XMP, IPTC and comments, which can name a person or a place; in a PNG its texts."""
    segments = {name for name, _ in getattr(image, "applist", ())}
    harmless = {"APP0", "APP2", "APP14"}  # JFIF, colour profile, Adobe's colour transform
    return bool(image.getexif() or getattr(image, "text", None) or segments - harmless)


def fit(data: bytes, name: str, limit: int) -> Fit:
    """Check a picture, turn it upright, and make it at most 1280 pixels wide and free of metadata.

    A light picture of a fitting size is kept byte for byte. Raises BadPicture.
    """
    if len(data) > limit:
        raise BadPicture(
            f"{name} is {len(data) / 1e6:.1f} MB; a picture is at most {limit / 1e6:.0f} MB. "
            f"Scale it down to {_WIDEST} pixels."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=list(_TYPES))
            form = str(image.format)
            image.load()
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning, SyntaxError):
        raise BadPicture(f"{name} is not a JPEG, PNG or GIF picture that can be read.") from None
    if image.width <= _WIDEST and len(data) <= _HEAVIEST and not _has_metadata(image):
        return Fit(sha256(data).hexdigest(), _TYPES[form], image.width, image.height, data)
    upright = ImageOps.exif_transpose(image)
    if upright.width > _WIDEST:
        upright = upright.resize((_WIDEST, max(1, round(upright.height * _WIDEST / upright.width))))
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    transparent = form == "PNG" and upright.has_transparency_data
    upright = upright.convert("RGBA" if transparent else "RGB")
    upright.info.clear()
    out = io.BytesIO()
    if transparent:
        upright.save(out, "PNG", optimize=True, icc_profile=profile)
        form = "PNG"
    else:
        upright.save(out, "JPEG", quality=82, optimize=True, progressive=True, icc_profile=profile)
        form = "JPEG"
    made = out.getvalue()
    return Fit(sha256(made).hexdigest(), _TYPES[form], upright.width, upright.height, made)
