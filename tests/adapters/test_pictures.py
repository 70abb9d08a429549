"""Pictures from authors: made fit for a mail, or refused in words."""

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mailer.adapters.pictures import DECODING, InvalidPicture, PreparedPicture, crop, prepare
from mailer.domain.crops import Crop, CropFormat
from tests.support.work import count_calls

LIMIT = 5_000_000


def picture(form: str, width: int, height: int, mode: str = "RGB", **options: object) -> bytes:
    image = Image.new(mode, (width, height), "white" if mode != "RGBA" else (255, 255, 255, 0))
    image.paste(Image.new(mode, (max(1, width // 4), max(1, height // 4)), "red"), (0, 0))  # upper left
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(("form", "media_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("GIF", "image/gif")])
def test_small_picture_is_unchanged(form: str, media_type: str) -> None:
    data = picture(form, 600, 400)
    made = prepare(data, "a.x", LIMIT)
    assert (made.data, made.media_type, made.width, made.height) == (data, media_type, 600, 400)


@pytest.mark.parametrize("form", ["WEBP", "AVIF"])
@pytest.mark.parametrize(("mode", "media_type"), [("RGB", "image/jpeg"), ("RGBA", "image/png")])
def test_form_that_some_mail_programs_lack_is_converted(form: str, mode: str, media_type: str) -> None:
    made = prepare(picture(form, 2000, 500, mode), f"a.{form.lower()}", LIMIT)
    assert (made.media_type, made.width, made.height) == (media_type, 1280, 320)
    shown = opened(made.data)
    assert (shown.format, shown.size) == (media_type.removeprefix("image/").upper(), (1280, 320))
    assert shown.convert("RGB").getpixel((10, 10))[0] > 240, "the red corner"  # type: ignore[index]


def test_animated_webp_becomes_its_first_frame() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green")]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    made = prepare(out.getvalue(), "a.webp", LIMIT)
    assert made.media_type == "image/jpeg"


def test_large_file_is_scaled_down() -> None:
    out = io.BytesIO()
    Image.effect_noise((3000, 2000), 120).save(out, "PNG")
    assert len(out.getvalue()) > LIMIT
    made = prepare(out.getvalue(), "a.png", 30_000_000)
    assert (made.width <= 1280, made.media_type) == (True, "image/jpeg")


def test_wide_picture_is_scaled_down() -> None:
    made = prepare(picture("JPEG", 4000, 1000), "a.jpg", LIMIT)
    assert (made.width, made.height) == (1280, 320)
    assert opened(made.data).size == (1280, 320)


def detailed(strength: float) -> bytes:
    """A photograph with more or less grain, 1200 pixels wide."""
    grain = Image.effect_noise((1200, 675), 120).convert("RGB")
    out = io.BytesIO()
    Image.blend(Image.linear_gradient("L").resize((1200, 675)).convert("RGB"), grain, strength).save(
        out, "JPEG", quality=95
    )
    return out.getvalue()


@pytest.mark.parametrize(("strength", "width"), [(0.02, 1200), (0.5, 888)])
def test_large_file_is_recompressed_as_much_as_it_needs(strength: float, width: int) -> None:
    data = detailed(strength)
    made = prepare(data, "a.jpg", LIMIT)
    assert len(data) > 50_000 and made.media_type == "image/jpeg"
    assert (made.width, made.height) == opened(made.data).size == (width, round(width * 675 / 1200))
    assert len(made.data) <= 50_000 or strength == 0.5
    assert made.thumbnail and len(made.thumbnail.data) < len(made.data)


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P")])
def test_thumbnail_is_400_pixels_wide(form: str, mode: str) -> None:
    made = prepare(picture(form, 800, 600, mode), "a.x", LIMIT)
    assert made.thumbnail
    image = opened(made.thumbnail.data)
    assert (made.thumbnail.width, made.thumbnail.height) == image.size == (400, 300)
    assert made.thumbnail.media_type == ("image/png" if mode == "RGBA" else "image/jpeg")
    assert made.thumbnail.thumbnail is None and made.thumbnail.sha256 != made.sha256


def test_small_and_animated_pictures_have_no_thumbnail() -> None:
    assert prepare(picture("JPEG", 400, 300), "a.jpg", LIMIT).thumbnail is None
    assert prepare(picture("GIF", 800, 600), "a.gif", LIMIT).thumbnail is None


@pytest.mark.parametrize("palette", [False, True])
def test_transparency_survives(palette: bool) -> None:
    data = picture("PNG", 2000, 500, "RGBA")
    if palette:
        out = io.BytesIO()
        opened(data).quantize(8).save(out, "PNG")
        data = out.getvalue()
    made = prepare(data, "a.png", LIMIT)
    assert made.media_type == "image/png"
    pixel = opened(made.data).convert("RGBA").getpixel((made.width - 1, made.height - 1))
    assert isinstance(pixel, tuple)
    assert pixel[3] == 0


def test_photograph_is_rotated_and_loses_its_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° clockwise
    exif[0x010F] = "Camera of Ann Example"
    made = prepare(picture("JPEG", 400, 200, exif=exif), "a.jpg", LIMIT)
    assert (made.width, made.height) == (200, 400)
    image = opened(made.data)
    assert not image.getexif()
    assert b"Ann Example" not in made.data
    red, green, _ = image.convert("RGB").getpixel((195, 5))  # type: ignore[misc]
    assert red > 200
    assert green < 60, "the red corner is at the upper right now"


@pytest.mark.parametrize(
    "data",
    [
        picture("JPEG", 300, 200, comment=b"taken by Ann Example"),
        picture("JPEG", 300, 200, xmp=b"<x:xmpmeta>Ann Example</x:xmpmeta>"),
    ],
    ids=["comment", "xmp"],
)
def test_metadata_is_removed(data: bytes) -> None:
    assert b"Ann Example" in data
    assert b"Ann Example" not in prepare(data, "a.jpg", LIMIT).data


def test_texts_of_a_png_are_taken_out_and_colours_kept() -> None:
    texts = PngInfo()
    texts.add_text("Author", "Ann Example")
    made = prepare(picture("PNG", 300, 200, pnginfo=texts, icc_profile=b"\0" * 128), "a.png", LIMIT)
    assert b"Ann Example" not in made.data
    assert opened(made.data).info["icc_profile"] == b"\0" * 128


def test_oversized_file_is_refused_without_decoding() -> None:
    with pytest.raises(InvalidPicture, match=r"^big\.jpg is larger than 5 MB, the limit for a picture"):
        prepare(b"\xff" * 20_000_000, "big.jpg", LIMIT)


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that says it has ``width`` times ``height`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * 1_000_000, 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (12_000, 9_000)])
def test_decompression_bomb_is_refused(width: int, height: int) -> None:
    with pytest.raises(InvalidPicture, match=r"bomb\.png"):
        prepare(bomb(width, height), "bomb.png", LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"%PDF-1.7",
        picture("BMP", 20, 20),
        picture("TIFF", 20, 20),
    ],
    ids=["empty", "header", "svg", "pdf", "bmp", "tiff"],
)
def test_other_file_types_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidPicture, match=r"thing is not a JPEG, PNG, GIF, WebP or AVIF picture that can be read\."):
        prepare(data, "thing", LIMIT)


_GOOD = [picture("JPEG", 64, 48, exif=Image.Exif()), picture("PNG", 64, 48), picture("GIF", 64, 48)]
_EXIF = Image.Exif()
_EXIF[0x0112] = 3
_GOOD += [picture("JPEG", 64, 48, exif=_EXIF), picture("WEBP", 64, 48), picture("AVIF", 64, 48)]


def test_a_picture_without_its_content_is_refused() -> None:
    with pytest.raises(InvalidPicture, match="damaged and cannot be read"):
        prepare(picture("AVIF", 64, 48)[:267], "x", LIMIT)


@given(st.sampled_from(_GOOD), st.data())
def test_damaged_pictures_are_refused_or_readable(good: bytes, data: st.DataObject) -> None:
    damaged = bytearray(good[: data.draw(st.integers(0, len(good)))])
    if damaged:
        for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)):
            damaged[at] = data.draw(st.integers(0, 255))
    try:
        made = prepare(bytes(damaged), "x", LIMIT)
    except InvalidPicture:
        return
    assert opened(made.data).size == (made.width, made.height)


def animation() -> bytes:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "blue")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=[100, 200, 300], loop=0)
    return out.getvalue()


def test_a_gif_loses_its_comments_and_keeps_moving() -> None:
    plain, comment = animation(), b"\x21\xfe\x0ctaken by Ann\x07Example\x00"
    xmp = b"\x21\xff\x0bXMP DataXMP" + b"\x0b<x>Ann</x>." + b"\0"
    text = b"\x21\x01\x0c" + b"\0" * 12 + b"\x03Ann\x00"
    at = 13 + 3 * 2 ** ((plain[10] & 7) + 1)
    first, last = plain[:at], plain[at:-1]
    marked = first + comment + xmp + last + text + comment + b";" + b"Ann was here"
    made = prepare(marked, "a.gif", LIMIT)
    assert made.data == plain
    assert opened(made.data).n_frames == 3  # type: ignore[attr-defined]
    assert opened(made.data).info["loop"] == 0


def test_pictures_behind_a_picture_are_removed() -> None:
    behind = picture("JPEG", 64, 48, comment=b"taken by Ann Example")
    out = io.BytesIO()
    opened(picture("JPEG", 64, 48)).save(out, "MPO", save_all=True, append_images=[opened(behind)])
    assert Image.open(io.BytesIO(out.getvalue())).format == "MPO"
    made = prepare(out.getvalue(), "a.jpg", LIMIT)
    assert made.media_type == "image/jpeg"
    assert made.data.count(b"\xff\xd8\xff") == 1


def test_too_many_pixels_are_refused_before_decoding() -> None:
    refused = r"^big\.png has 51 million pixels; a picture has at most 50\. Scale it down to 1280 pixels in width\.$"
    refusals = []

    def run() -> None:
        with pytest.raises(InvalidPicture, match=refused) as refusal:
            prepare(bomb(8_500, 6_000), "big.png", LIMIT)
        refusals.append(refusal)

    assert "load" not in count_calls(run)


def test_truncated_picture_is_refused() -> None:
    for good in _GOOD[:2]:
        with pytest.raises(InvalidPicture):
            prepare(good[: len(good) * 2 // 3], "x", LIMIT)


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_is_refused_with_a_way_out(brand: bytes) -> None:
    with pytest.raises(InvalidPicture, match=r"^IMG_1\.HEIC is a HEIC picture.* Save it as JPEG"):
        prepare(b"\0\0\0\x18ftyp" + brand + bytes(100), "IMG_1.HEIC", LIMIT)


def test_a_large_photograph_keeps_an_original_to_crop_from() -> None:
    made = prepare(picture("JPEG", 4000, 6000, exif=_EXIF), "a.jpg", LIMIT)
    assert made.original is not None
    assert (made.original.width, made.original.height) == (1707, 2560)
    assert not opened(made.original.data).getexif()
    assert prepare(picture("JPEG", 600, 400), "a.jpg", LIMIT).original is None


def test_a_very_large_photograph_is_scaled_while_it_is_decoded() -> None:
    large = picture("JPEG", 5_200, 5_400, exif=_EXIF)
    made: list[PreparedPicture] = []
    assert count_calls(lambda: made.append(prepare(large, "a.jpg", LIMIT)))["draft"] == 1
    assert made[0].original is not None
    assert (made[0].width, made[0].original.width, made[0].original.height) == (1280, 2465, 2560)


class _Watched(bytes):
    """Bytes that note whether other pictures have to wait, whenever their length is asked for."""

    waiting: set[bool]

    def __len__(self) -> int:
        self.waiting.add(DECODING.locked())
        return super().__len__()


@pytest.mark.parametrize(
    "work", [lambda data: prepare(data, "a.png", LIMIT), lambda data: crop(data, "a.png", Crop(CropFormat.large))]
)
def test_one_picture_is_decoded_at_a_time(work: Callable[[bytes], object]) -> None:
    data = _Watched(picture("PNG", 640, 640))
    data.waiting = set()
    work(data)
    assert data.waiting == {True}
    with pytest.raises(InvalidPicture):
        prepare(b"x", "a.png", LIMIT)
    assert not DECODING.locked()


def test_a_crop_has_the_size_for_emails_and_its_thumbnail() -> None:
    image = Image.new("RGB", (2560, 1600), "blue")
    image.paste("red", (0, 1100, 2560, 1600))
    out = io.BytesIO()
    image.save(out, "JPEG")
    made = crop(out.getvalue(), "a.jpg", Crop(CropFormat.header, 50, 100))
    assert (made.width, made.height, made.media_type) == (1280, 400, "image/jpeg")
    assert made.thumbnail is not None
    assert (made.thumbnail.width, made.thumbnail.height) == (400, 125)
    assert opened(made.data).getpixel((640, 200))[0] > 200, "the lower part"  # type: ignore[index]


def test_a_crop_keeps_what_is_transparent() -> None:
    assert crop(picture("PNG", 640, 640, "RGBA"), "a.png", Crop(CropFormat.large)).media_type == "image/png"


def test_an_animation_is_not_cropped() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green")]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(InvalidPicture, match=r"^a\.gif is an animation"):
        crop(out.getvalue(), "a.gif", Crop(CropFormat.square))
    assert crop(picture("GIF", 64, 48), "a.gif", Crop(CropFormat.square)).width == 48
