"""Prepares uploaded pictures for email."""

import io
import warnings
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image, ImageOps

from mailer.domain.errors import UserError

_MAX_WIDTH_PIXELS = 1280
_MAX_BYTES = 400_000
_MAX_PIXELS = 50_000_000
"""As many as the largest camera of a phone takes; decoded, each needs 4 bytes."""
_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif"}


class InvalidPicture(UserError, ValueError):
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
    several = image.format == "MPO"  # further pictures follow the JPEG, with metadata of their own
    return bool(several or image.getexif() or getattr(image, "text", None) or segments - harmless)


def _without_gif_extensions(data: bytes) -> bytes:
    """Return a GIF with its frames, their timing and the repeat count only (GIF89a specification).

    Comments, texts, data of applications such as XMP and bytes after the end are left out. Raises IndexError for a
    damaged file.
    """

    def after_colour_table(at: int, flags: int) -> int:
        return at + (3 << (flags & 7) + 1 if flags & 0x80 else 0)

    at = after_colour_table(13, data[10])
    kept = [data[:at]]
    while data[at] != 0x3B:  # the trailer
        start = at
        if data[at] == 0x2C:  # a frame: descriptor, colour table, size of its codes
            at, wanted = after_colour_table(at + 10, data[at + 9]) + 1, True
        else:  # an extension: introducer and label
            loops = data[at + 2 : at + 14] in (b"\x0bNETSCAPE2.0", b"\x0bANIMEXTS1.0")
            at, wanted = at + 2, data[at + 1] == 0xF9 or loops
        while size := data[at]:
            at += size + 1
        at += 1
        if wanted:
            kept.append(data[start:at])
    return b"".join((*kept, b";"))


def prepare(data: bytes, name: str, max_bytes: int) -> PreparedPicture:
    """Rotate a picture upright, limit its width to 1280 pixels and remove its metadata.

    A small picture without metadata is kept byte for byte, also an animated GIF. Raises InvalidPicture, for too many
    pixels before any is decoded.
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
            if image.width * image.height > _MAX_PIXELS:
                raise InvalidPicture(
                    f"{name} has {image.width * image.height / 1e6:.0f} million pixels; a picture has at most "
                    f"{_MAX_PIXELS / 1e6:.0f}. Scale it down to {_MAX_WIDTH_PIXELS} pixels in width."
                )
            image.load()
            if form == "GIF":
                data = _without_gif_extensions(data)
    except InvalidPicture:
        raise
    except (
        OSError,
        ValueError,
        IndexError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
        SyntaxError,
    ):
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
