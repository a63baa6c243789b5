"""A size of an animation shows its first frame, on its place on the canvas."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from resizing import memory, resize
from tests import carriers as c
from tests.pictures import animation, encoded

RED, GREEN, BLUE = (220, 30, 30), (30, 220, 30), (30, 30, 220)
CANVAS = (64, 48)


def plain(color: tuple[int, ...], size: tuple[int, int] = CANVAS, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, color)


def image_data(image: Image.Image) -> bytes:
    return b"".join(body for kind, body in c.chunks_of(encoded(image, "PNG")) if kind == b"IDAT")


def control(number: int, width: int, height: int, left: int = 0, top: int = 0) -> tuple[bytes, bytes]:
    """A frame that is blended over what is there."""
    return b"fcTL", struct.pack(">5I2H2B", number, width, height, left, top, 1, 10, 0, 1)


def apng(still: Image.Image, *frames: tuple[bytes, bytes], count: int, first: bool) -> bytes:
    """An animated PNG; ``first`` says whether the still picture is the first frame."""
    chunks = c.chunks_of(encoded(still, "PNG"))
    at = next(index for index, (kind, _) in enumerate(chunks) if kind == b"IDAT")
    before = [(b"acTL", struct.pack(">2I", count, 0)), *([control(0, *CANVAS)] if first else [])]
    return c.png_of([*chunks[:at], *before, *chunks[at:-1], *frames, chunks[-1]])


def colors(data: bytes) -> dict[str, tuple[int, ...] | None]:
    """The colours of a size at its left upper corner and in its middle: None if transparent."""
    small = Image.open(io.BytesIO(data), formats=["WEBP"])
    assert getattr(small, "n_frames", 1) == 1
    found: dict[str, tuple[int, ...] | None] = {}
    for name, place in (("corner", (2, 2)), ("middle", (small.width // 2, small.height // 2))):
        pixel = small.convert("RGBA").getpixel(place)
        assert isinstance(pixel, tuple)
        nearest = (RED, GREEN, BLUE)[max(range(3), key=pixel.__getitem__)]
        found[name] = nearest if pixel[3] > 128 else None
    return found


def test_the_first_frame_of_an_apng_is_its_still_picture() -> None:
    frame = (b"fdAT", struct.pack(">I", 2) + image_data(plain(GREEN)))
    data = apng(plain(RED), control(1, *CANVAS), frame, count=2, first=True)
    assert colors(resize(data, 32)) == {"corner": RED, "middle": RED}


def test_a_still_picture_outside_the_animation_is_not_shown() -> None:
    frame = (b"fdAT", struct.pack(">I", 1) + image_data(plain(GREEN)))
    data = apng(plain(RED), control(0, *CANVAS), frame, count=1, first=False)
    assert colors(resize(data, 32)) == {"corner": GREEN, "middle": GREEN}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_a_first_frame_that_does_not_fill_the_canvas_is_put_on_its_place(mode: str) -> None:
    small = plain(GREEN, (32, 24)).convert(mode)
    frame = (b"fdAT", struct.pack(">I", 1) + image_data(small))
    data = apng(plain(RED).convert(mode), control(0, 32, 24, 16, 12), frame, count=1, first=False)
    assert memory(data, 32) > 0
    made = resize(data, 32)
    if mode.startswith("L"):
        grey, alpha = Image.open(io.BytesIO(made)).convert("LA").split()
        assert (alpha.getpixel((2, 2)), alpha.getpixel((16, 12))) == (0, 255)
        assert grey.getpixel((16, 12)) == pytest.approx(small.convert("L").getpixel((0, 0)), abs=3)
    else:
        assert colors(made) == {"corner": None, "middle": GREEN}


def test_the_pieces_of_a_frame_are_joined() -> None:
    whole = image_data(plain(GREEN))
    pieces = [
        (b"fdAT", struct.pack(">I", 1 + at) + whole[at * 9 : at * 9 + 9]) for at in range(-(-len(whole) // 9))
    ]
    data = apng(plain(RED), control(0, *CANVAS), *pieces, count=1, first=False)
    assert colors(resize(data, 32)) == {"corner": GREEN, "middle": GREEN}


def webp_frame(image: Image.Image, left: int, top: int, **options: object) -> c.Chunk:
    """A frame that is blended over the canvas (RFC 9649 section 2.7.1.1)."""
    place = b"".join(
        (value).to_bytes(3, "little") for value in (left // 2, top // 2, image.width - 1, image.height - 1)
    )
    parts = [part for part in c.riff_chunks_of(encoded(image, "WEBP", **options)) if part[0] != b"VP8X"]
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in parts
    )
    return b"ANMF", place + bytes(4) + body


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 90}], ids=["lossless", "lossy"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_first_frame_of_a_webp_is_put_on_its_place(mode: str, options: dict[str, object]) -> None:
    first = plain(GREEN, (32, 24)).convert(mode)
    if mode == "RGBA":
        first.putpixel((0, 0), (0, 0, 0, 0))
    frames = [webp_frame(first, 16, 12, **options), webp_frame(plain(RED), 0, 0)]
    data = c.extended(*CANVAS, 0x12, (b"ANIM", b"\xff\xff\xff\xff\0\0"), *frames)
    assert memory(data, 32) > 0
    # The background colour is not shown, as in browsers.
    assert colors(resize(data, 32)) == {"corner": None, "middle": GREEN}


@pytest.mark.parametrize("pillow_format", ["PNG", "WEBP"])
def test_a_size_of_an_animation_is_one_picture(pillow_format: str) -> None:
    image = Image.open(io.BytesIO(resize(animation(pillow_format), 32)))
    assert (image.size, getattr(image, "n_frames", 1)) == ((32, 24), 1)
