"""Pictures for tests, generated at run time."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

from PIL import Image

_NOISE = bytes((7 * i * i + i) % 251 for i in range(251))


def picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """A picture with content in every row. Each size gives another picture."""
    gradient = Image.linear_gradient("L").resize((width, height))
    noise = Image.frombytes(
        "L", (width, height), (_NOISE * (width * height // len(_NOISE) + 1))[: width * height]
    )
    return Image.merge("RGB", (gradient, noise, gradient.transpose(Image.Transpose.ROTATE_180))).convert(mode)


def encoded(image: Image.Image, pillow_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, pillow_format, **options)
    return buffer.getvalue()


def assert_decodes(data: bytes, size: tuple[int, int]) -> None:
    """Every frame decodes without an error or warning of Pillow, and the picture has this size in pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Image.open(io.BytesIO(data)).verify()
        with Image.open(io.BytesIO(data)) as image:
            if image.size != size:
                raise AssertionError(f"the picture is {image.size}, its structure says {size}")
            for index in range(getattr(image, "n_frames", 1)):
                image.seek(index)
                image.load()
            image.getexif()


def jpeg(width: int = 64, height: int = 48, **options: Any) -> bytes:
    return encoded(picture(width, height), "JPEG", **options)


def png(width: int = 64, height: int = 48, mode: str = "RGB", **options: Any) -> bytes:
    return encoded(picture(width, height, mode), "PNG", **options)


def webp(width: int = 64, height: int = 48, **options: Any) -> bytes:
    return encoded(picture(width, height), "WEBP", **options)


def animation(pillow_format: str, frames: int = 3, width: int = 64, height: int = 48) -> bytes:
    pictures = [picture(width, height).rotate(90 * index) for index in range(frames)]
    return encoded(pictures[0], pillow_format, save_all=True, append_images=pictures[1:], duration=100)


def padded_jpeg(size: int) -> bytes:
    """A valid JPEG of exactly ``size`` bytes, padded with comment segments."""
    data = jpeg()
    missing = size - len(data)
    filling = bytearray()
    while missing > 0:
        # A segment has at least 4 bytes, so what remains must be nothing or at least 4 bytes.
        length = min(missing, 60_000)
        if 0 < missing - length < 4:
            length -= 4
        filling += b"\xff\xfe" + (length - 2).to_bytes(2) + bytes(length - 4)
        missing -= length
    return data[:2] + bytes(filling) + data[2:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, depth: int = 8, color: int = 2, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def png_with_rows(declared: int, present: int, width: int = 16) -> bytes:
    """An RGB PNG that declares more rows than its compressed data holds."""
    rows = b"".join(b"\0" + bytes(range(1, 3 * width + 1)) for _ in range(present))
    return png_header(width, declared) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
