"""The measured pictures: the same on every machine, with the detail of photographs."""

from __future__ import annotations

import io
import random

from PIL import Image


def photograph(width: int, height: int) -> Image.Image:
    """A picture of soft shapes with grain, which compresses about as a photograph does."""
    source = random.Random(7)  # noqa: S311  # it makes no secret
    channels = []
    for _ in range(3):
        shapes = Image.frombytes("L", (24, 18), source.randbytes(24 * 18))
        grain = Image.frombytes("L", (width, height), source.randbytes(width * height))
        channels.append(Image.blend(shapes.resize((width, height), Image.Resampling.BICUBIC), grain, 0.08))
    return Image.merge("RGB", channels)


def encoded(width: int, height: int, pillow_format: str, quality: int = 85) -> bytes:
    """The photograph as a file's bytes."""
    buffer = io.BytesIO()
    photograph(width, height).save(buffer, pillow_format, quality=quality)
    return buffer.getvalue()


def all_pictures() -> dict[str, bytes]:
    """The pictures by their names in the tables."""
    return {
        "JPEG 2 MP": encoded(1632, 1224, "JPEG"),
        "JPEG 12 MP": encoded(4000, 3000, "JPEG"),
        "WebP 2 MP": encoded(1632, 1224, "WEBP"),
        "PNG 1 MP": encoded(1154, 866, "PNG"),
    }
