"""Prepares uploaded pictures for email."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from PIL import Image, ImageOps

from mailer.domain.errors import UserError

_MAX_WIDTH_PIXELS = 1280
_THUMBNAIL_WIDTH_PIXELS = 400
"""Twice the width at which emails show it."""
_MAX_BYTES, _MAX_THUMBNAIL_BYTES, _MAX_GIF_BYTES = 50_000, 14_000, 400_000
"""With a header image, six large pictures and ten thumbnails, an email loads less than 500 kB."""
_QUALITIES = (82, 70, 60, 50)
"""Of JPEG, best first. Twice as many pixels as are shown hide the loss."""
_DETAILED_WIDTH_PIXELS = 888
"""The width of a picture that has too many bytes at every quality: one and a half times as shown in emails."""
_MAX_PIXELS = 50_000_000
"""As many as the largest camera of a phone takes; decoded, each needs 4 bytes."""
_MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif"}
_CONVERTED = ("WEBP", "AVIF")
"""Forms that not every mail program shows. They become JPEG or PNG; of an animation, the first frame."""


class PictureNotFound(UserError, ValueError):
    """A document refers to a picture that does not exist or may not be read."""


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
    thumbnail: "PreparedPicture | None" = None
    """A version 400 pixels wide. None if the picture is no wider, or may be animated."""


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
    """Rotate a picture upright, limit its width to 1280 pixels and its bytes, remove its metadata, make its thumbnail.

    A small picture without metadata is kept byte for byte, also an animated GIF. WebP and AVIF are converted. Raises
    InvalidPicture, for too many pixels before any is decoded.
    """
    if len(data) > max_bytes:
        raise InvalidPicture(
            f"{name} is larger than {max_bytes / 1e6:.0f} MB, the limit for a picture. "
            f"Scale it down to {_MAX_WIDTH_PIXELS} pixels."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=[*_MEDIA_TYPES, *_CONVERTED])
            form = str(image.format)
            if image.width * image.height > _MAX_PIXELS:
                raise InvalidPicture(
                    f"{name} has {image.width * image.height / 1e6:.0f} million pixels; a picture has at most "
                    f"{_MAX_PIXELS / 1e6:.0f}. Scale it down to {_MAX_WIDTH_PIXELS} pixels in width."
                )
            image.load()
            if form == "GIF":
                data = _without_gif_extensions(data)
            upright = ImageOps.exif_transpose(image)
    except InvalidPicture:
        raise
    except Exception as error:  # each decoder has errors of its own for damaged files, RuntimeError among them
        raise InvalidPicture(f"{name} is not a JPEG, PNG, GIF, WebP or AVIF picture that can be read.") from error
    thumbnail = None
    if form != "GIF" and upright.width > _THUMBNAIL_WIDTH_PIXELS:
        thumbnail = _encode(_scaled(upright, _THUMBNAIL_WIDTH_PIXELS), form, _MAX_THUMBNAIL_BYTES)
    max_size = _MAX_GIF_BYTES if form == "GIF" else _MAX_BYTES
    fits = image.width <= _MAX_WIDTH_PIXELS and len(data) <= max_size and form not in _CONVERTED
    if fits and not _has_metadata(image):
        hash = sha256(data).hexdigest()
        return PreparedPicture(hash, _MEDIA_TYPES[form], image.width, image.height, data, thumbnail)
    prepared = _encode(_scaled(upright, _MAX_WIDTH_PIXELS), form, _MAX_BYTES)
    if len(prepared.data) > _MAX_BYTES:
        prepared = _encode(_scaled(upright, _DETAILED_WIDTH_PIXELS), form, _MAX_BYTES)
    return replace(prepared, thumbnail=thumbnail)


def _scaled(image: Image.Image, max_width: int) -> Image.Image:
    if image.width <= max_width:
        return image
    if image.mode == "P":  # has no colours between its own
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.resize((max_width, max(1, round(image.height * max_width / image.width))), Image.Resampling.LANCZOS)


def _encode(image: Image.Image, form: str, max_bytes: int) -> PreparedPicture:
    """Encode as JPEG, with the best quality that needs no more bytes, or as PNG if the picture is transparent."""
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    transparent = form != "GIF" and image.has_transparency_data
    plain = image.convert("RGBA" if transparent else "RGB")
    plain.info.clear()
    data = b""
    for quality in _QUALITIES:
        out = io.BytesIO()
        if transparent:
            plain.save(out, "PNG", optimize=True, icc_profile=profile)
        else:
            plain.save(out, "JPEG", quality=quality, optimize=True, progressive=True, icc_profile=profile)
        data = out.getvalue()
        if transparent or len(data) <= max_bytes:
            break
    form = "PNG" if transparent else "JPEG"
    return PreparedPicture(sha256(data).hexdigest(), _MEDIA_TYPES[form], plain.width, plain.height, data)


def folder_loader(folder: Path, max_bytes: int) -> Callable[[str], PreparedPicture]:
    """Return a function that prepares each picture in a folder once.

    It raises PictureNotFound for missing files and files outside the folder, and InvalidPicture.
    """

    @cache
    def load(path: str) -> PreparedPicture:
        file = (folder / path).resolve()
        if not file.is_relative_to(folder.resolve()):
            raise PictureNotFound(f"The picture {path} is outside the document's folder.")
        if not file.is_file():
            raise PictureNotFound(f"The picture {path} was not found in the document's folder.")
        with file.open("rb") as stream:  # a file that is too large is not read to its end
            data = stream.read(max_bytes + 1)
        return prepare(data, path, max_bytes)

    return load
