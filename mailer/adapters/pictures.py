"""Prepares uploaded pictures for email."""

import io
import warnings
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image, ImageOps

_MAX_WIDTH_PIXELS = 1280
_MAX_BYTES = 400_000
_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif"}


class InvalidPicture(ValueError):
    """A file that cannot be used as a picture in an email. The message says why."""


@dataclass(frozen=True, slots=True)
class PreparedPicture:
    """A picture ready to be stored. Width and height are in pixels."""

    sha256: str
    media_type: str
    width: int
    height: int
    data: bytes


def _has_metadata(image: Image.Image) -> bool:
    """Return whether a picture has EXIF, XMP, IPTC, comments or PNG texts, which may be personal data."""
    segments = {name for name, _ in getattr(image, "applist", ())}
    harmless = {"APP0", "APP2", "APP14"}  # JFIF, colour profile, Adobe's colour transform
    return bool(image.getexif() or getattr(image, "text", None) or segments - harmless)


def prepare(data: bytes, name: str, max_bytes: int) -> PreparedPicture:
    """Rotate a picture upright, limit its width to 1280 pixels and remove its metadata.

    A small picture without metadata is kept byte for byte. Raises InvalidPicture.
    """
    if len(data) > max_bytes:
        raise InvalidPicture(
            f"{name} is {len(data) / 1e6:.1f} MB; a picture is at most {max_bytes / 1e6:.0f} MB. "
            f"Scale it down to {_MAX_WIDTH_PIXELS} pixels."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=list(_MEDIA_TYPES))
            form = str(image.format)
            image.load()
    except (OSError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning, SyntaxError):
        raise InvalidPicture(f"{name} is not a JPEG, PNG or GIF picture that can be read.") from None
    if image.width <= _MAX_WIDTH_PIXELS and len(data) <= _MAX_BYTES and not _has_metadata(image):
        return PreparedPicture(sha256(data).hexdigest(), _MEDIA_TYPES[form], image.width, image.height, data)
    upright = ImageOps.exif_transpose(image)
    if upright.width > _MAX_WIDTH_PIXELS:
        upright = upright.resize((_MAX_WIDTH_PIXELS, max(1, round(upright.height * _MAX_WIDTH_PIXELS / upright.width))))
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
    content = out.getvalue()
    return PreparedPicture(sha256(content).hexdigest(), _MEDIA_TYPES[form], upright.width, upright.height, content)
