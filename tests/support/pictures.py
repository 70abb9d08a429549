"""Pictures for tests."""

from io import BytesIO

from PIL import Image


def jpeg(width: int = 800, height: int = 600, colour: str = "red") -> bytes:
    out = BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "JPEG")
    return out.getvalue()
