"""Prepares uploaded pictures for email, and crops them."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock

from PIL import Image, ImageOps, UnidentifiedImageError

from mailer.domain.crops import Crop
from mailer.domain.errors import UserError
from mailer.domain.staff_texts import gettext

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
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"}
_MAX_ORIGINAL_PIXELS = 2560
"""Width and height of the larger version that is kept to crop from."""
_ORIGINAL_QUALITY = 88
DECODING = Lock()
"""Held while a picture is prepared or cropped: one at a time in a process, since a large one needs several 100 MB."""


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
    original: "PreparedPicture | None" = None
    """A larger JPEG to crop from. None if the picture is as it was uploaded, or has transparent parts."""


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
    with DECODING:
        upright, form, data = _open(data, name, max_bytes)
        max_size = _MAX_GIF_BYTES if form == "GIF" else _MAX_BYTES
        if data and upright.width <= _MAX_WIDTH_PIXELS and len(data) <= max_size and form not in _CONVERTED:
            hash, thumbnail = sha256(data).hexdigest(), _thumbnail(upright, form)
            return PreparedPicture(hash, _MEDIA_TYPES[form], upright.width, upright.height, data, thumbnail)
        prepared, original = _for_mail(upright, form), None
        if prepared.media_type == _MEDIA_TYPES["JPEG"]:
            side = _MAX_ORIGINAL_PIXELS * min(1, upright.width / upright.height)
            original = _encode(_scaled(upright, max(1, round(side))), form, 0, (_ORIGINAL_QUALITY,))
        return replace(prepared, original=original)


def crop(data: bytes, name: str, how: Crop) -> PreparedPicture:
    """Return a part of a stored picture as emails need it. Raises InvalidPicture."""
    with DECODING:
        upright, form, _ = _open(data, name, len(data))
        if form == "GIF":
            if getattr(Image.open(io.BytesIO(data)), "is_animated", False):
                raise InvalidPicture(gettext("%(name)s is an animation, which cannot be cropped.", name=name))
            upright, form = upright.convert("RGBA" if upright.has_transparency_data else "RGB"), "PNG"
        return _for_mail(upright.crop(how.box(upright.width, upright.height)), form)


def _for_mail(image: Image.Image, form: str) -> PreparedPicture:
    """Encode a picture with its thumbnail."""
    prepared = _encode(_scaled(image, _MAX_WIDTH_PIXELS), form, _MAX_BYTES)
    if len(prepared.data) > _MAX_BYTES:
        prepared = _encode(_scaled(image, _DETAILED_WIDTH_PIXELS), form, _MAX_BYTES)
    return replace(prepared, thumbnail=_thumbnail(image, form))


def _thumbnail(image: Image.Image, form: str) -> PreparedPicture | None:
    if form == "GIF" or image.width <= _THUMBNAIL_WIDTH_PIXELS:
        return None
    return _encode(_scaled(image, _THUMBNAIL_WIDTH_PIXELS), form, _MAX_THUMBNAIL_BYTES)


def _open(data: bytes, name: str, max_bytes: int) -> tuple[Image.Image, str, bytes]:
    """Return a picture upright, its form, and its bytes if they hold no metadata, else none. Raises InvalidPicture."""
    if len(data) > max_bytes:
        raise InvalidPicture(
            gettext(
                "%(name)s is larger than %(limit)s MB, the limit for a picture. Scale it down to %(width)s pixels.",
                name=name,
                limit=f"{max_bytes / 1e6:.0f}",
                width=str(_MAX_WIDTH_PIXELS),
            )
        )
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise InvalidPicture(
            gettext(
                "%(name)s is a HEIC picture, which few programs can show. Save it as JPEG: on a computer, open it "
                "and choose JPEG under “Export” or “Save as”; on an iPhone, choose “Most Compatible” in the camera’s "
                "settings.",
                name=name,
            )
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=[*_MEDIA_TYPES, *_CONVERTED])
            form = str(image.format)
            if image.width * image.height > _MAX_PIXELS:
                raise InvalidPicture(
                    gettext(
                        "%(name)s has %(pixels)s million pixels; a picture has at most %(limit)s. Scale it down to "
                        "%(width)s pixels in width.",
                        name=name,
                        pixels=f"{image.width * image.height / 1e6:.0f}",
                        limit=f"{_MAX_PIXELS / 1e6:.0f}",
                        width=str(_MAX_WIDTH_PIXELS),
                    )
                )
            image.draft(None, (_MAX_ORIGINAL_PIXELS, _MAX_ORIGINAL_PIXELS))  # a larger JPEG is scaled while decoded
            image.load()
            if form == "GIF":
                data = _without_gif_extensions(data)
            return ImageOps.exif_transpose(image), form, b"" if _has_metadata(image) else data
    except InvalidPicture:
        raise
    except UnidentifiedImageError as error:
        raise InvalidPicture(
            gettext("%(name)s is not a JPEG, PNG, GIF, WebP or AVIF picture that can be read.", name=name)
        ) from error
    except Exception as error:  # each decoder has errors of its own for damaged files, RuntimeError among them
        raise InvalidPicture(
            gettext("%(name)s is damaged and cannot be read. Save or send it once more.", name=name)
        ) from error


def _scaled(image: Image.Image, max_width: int) -> Image.Image:
    if image.width <= max_width:
        return image
    if image.mode == "P":  # has no colours between its own
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.resize((max_width, max(1, round(image.height * max_width / image.width))), Image.Resampling.LANCZOS)


def _encode(image: Image.Image, form: str, max_bytes: int, qualities: Sequence[int] = _QUALITIES) -> PreparedPicture:
    """Encode as JPEG, with the best quality that needs no more bytes, or as PNG if the picture is transparent."""
    profile = image.info.get("icc_profile") if image.mode in ("RGB", "RGBA") else None
    transparent = form != "GIF" and image.has_transparency_data
    plain = image.convert("RGBA" if transparent else "RGB")
    plain.info.clear()
    data = b""
    for quality in qualities:
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
