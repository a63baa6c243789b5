"""Transparency of every kind of picture is kept, and shows no colour of transparent pixels."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import pytest
from PIL import Image, ImageChops

from resizing import memory, resize
from tests import carriers as c
from tests.pictures import encoded, png_chunk, png_header

#: The side of a patch of one colour.
SIDE = 32
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PALETTE = (b"PLTE", bytes((200, 40, 40, 40, 200, 40, 40, 40, 200)))

Samples = Sequence[int]


@dataclass(frozen=True)
class Kind:
    """A kind of PNG with patches side by side.

    Attributes:
        patches: the samples of each patch.
        expected: red, green, blue and alpha of each patch.
        chunks: before the image data.
    """

    color: int
    depth: int
    patches: Sequence[Samples]
    expected: Sequence[tuple[int, int, int, int]]
    chunks: Sequence[tuple[bytes, bytes]] = ()

    def png(self, *, interlaced: bool) -> bytes:
        width = SIDE * len(self.patches)
        rows = b""
        for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
            samples = [sample for x in range(left, width, across) for sample in self.patches[x // SIDE]]
            bits = "".join(f"{sample:0{self.depth}b}" for sample in samples)
            bits += "0" * (-len(bits) % 8)
            row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8)
            rows += row * len(range(top, SIDE, down))
        header = png_header(width, SIDE, self.depth, self.color, int(interlaced))
        chunks = [*self.chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        return header + b"".join(starmap(png_chunk, chunks))


def grey(depth: int) -> Kind:
    """The second patch has the transparent level, the third one the level beside it."""
    largest = 2**depth - 1
    levels = (0, largest // 2, largest // 2 + 1, largest)
    opaque = [level * 255 // largest for level in levels]
    expected = [(value,) * 3 + (0 if at == 1 else 255,) for at, value in enumerate(opaque)]
    return Kind(0, depth, [(level,) for level in levels], expected, [(b"tRNS", levels[1].to_bytes(2))])


GREY_1 = Kind(0, 1, [(0,), (1,)], [(0, 0, 0, 255), (255, 255, 255, 0)], [(b"tRNS", b"\0\1")])
RGB_8 = Kind(
    2,
    8,
    [(200, 40, 40), (200, 40, 41), (40, 200, 40)],
    [(200, 40, 40, 0), (200, 40, 41, 255), (40, 200, 40, 255)],
    [(b"tRNS", bytes((0, 200, 0, 40, 0, 40)))],
)
#: The second patch differs from the transparent colour in a low byte alone.
RGB_16 = Kind(
    2,
    16,
    [(200 << 8 | 7, 40 << 8 | 8, 40 << 8 | 9), (200 << 8 | 7, 40 << 8 | 8, 40 << 8 | 10), (65535, 0, 0)],
    [(200, 40, 40, 0), (200, 40, 40, 255), (255, 0, 0, 255)],
    [(b"tRNS", bytes((200, 7, 40, 8, 40, 9)))],
)
GREY_ALPHA = Kind(
    4, 8, [(200, 255), (100, 128), (50, 0)], [(200,) * 3 + (255,), (100,) * 3 + (128,), (0,) * 4]
)
GREY_ALPHA_16 = Kind(
    4,
    16,
    [(200 << 8, 65535), (100 << 8, 128 << 8), (50 << 8, 0)],
    GREY_ALPHA.expected,
)
RGBA = Kind(
    6,
    8,
    [(200, 40, 40, 255), (40, 200, 40, 128), (40, 40, 200, 0)],
    [(200, 40, 40, 255), (40, 200, 40, 128), (40, 40, 200, 0)],
)
RGBA_16 = Kind(6, 16, [[sample << 8 for sample in patch] for patch in RGBA.patches], RGBA.expected)
KINDS = {
    "grey of 1 bit": GREY_1,
    "grey of 2 bits": grey(2),
    "grey of 4 bits": grey(4),
    "grey of 8 bits": grey(8),
    "grey of 16 bits": grey(16),
    "RGB": RGB_8,
    "RGB of 16 bits": RGB_16,
    "grey and alpha": GREY_ALPHA,
    "grey and alpha of 16 bits": GREY_ALPHA_16,
    "RGBA": RGBA,
    "RGBA of 16 bits": RGBA_16,
    **{
        f"palette of {depth} bits, {name}": Kind(
            3,
            depth,
            [(0,), (1,)] if depth == 1 else [(0,), (1,), (2,)],
            [(200, 40, 40, alphas[0]), (40, 200, 40, alphas[1]), (40, 40, 200, 255)],
            [PALETTE if depth > 1 else (b"PLTE", PALETTE[1][:6]), (b"tRNS", bytes(alphas))],
        )
        for depth in (1, 2, 4, 8)
        for name, alphas in (("partly", (128, 0)), ("wholly", (0, 255)), ("the second", (255, 0)))
    },
}


def assert_patches(data: bytes, expected: Sequence[tuple[int, ...]]) -> None:
    small = Image.open(io.BytesIO(data), formats=["WEBP"]).convert("RGBA")
    for number, color in enumerate(expected):
        found = small.getpixel((number * SIDE // 2 + SIDE // 4, SIDE // 4))
        assert isinstance(found, tuple)
        assert abs(found[3] - color[3]) <= 2, (number, found, color)
        if color[3]:
            assert max(abs(a - b) for a, b in zip(found[:3], color, strict=False)) <= 10, (
                number,
                found,
                color,
            )


@pytest.mark.parametrize("interlaced", [False, True], ids=["", "interlaced"])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_png_keeps_its_transparency(name: str, interlaced: bool) -> None:
    kind = KINDS[name]
    data = kind.png(interlaced=interlaced)
    width = len(kind.patches) * SIDE // 2
    assert memory(data, width) > 0
    assert_patches(resize(data, width), kind.expected[: len(kind.patches)])


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_png_without_transparency_is_opaque(name: str) -> None:
    kind = KINDS[name]
    if kind.color >= 4:
        patches = [(*patch[:-1], 2**kind.depth - 1) for patch in kind.patches]
        kind = Kind(kind.color, kind.depth, patches, ())
    else:
        chunks = [chunk for chunk in kind.chunks if chunk[0] != b"tRNS"]
        kind = Kind(kind.color, kind.depth, kind.patches, (), chunks)
    made = resize(kind.png(interlaced=False), SIDE)
    assert made[12:16] == b"VP8 "  # without an alpha channel
    assert Image.open(io.BytesIO(made)).mode == "RGB"


def beside_transparency(mode: str, hidden: Any, shown: Any) -> Image.Image:
    """Shown pixels beside transparent ones of another colour, which a size must not show."""
    image = Image.new(mode, (96, 96), hidden)
    image.paste(shown, (33, 33, 96, 96))
    return image


def palette_beside_transparency() -> bytes:
    image = beside_transparency("P", 0, 1)
    image.putpalette((*HIDDEN_RED[:3], *BLUE[:3]))
    return encoded(image, "PNG", transparency=0)


BLUE, HIDDEN_RED = (0, 0, 255, 255), (255, 0, 0, 0)


@pytest.mark.parametrize("width", [80, 40, 12], ids=["slightly", "by half", "much"])
@pytest.mark.parametrize(
    "data",
    [
        encoded(beside_transparency("RGBA", HIDDEN_RED, BLUE), "PNG"),
        palette_beside_transparency(),
        encoded(beside_transparency("RGBA", HIDDEN_RED, BLUE), "WEBP", lossless=True, exact=True),
        encoded(beside_transparency("RGBA", HIDDEN_RED, BLUE), "WEBP", quality=95, exact=True),
    ],
    ids=["png", "palette", "webp-lossless", "webp-lossy"],
)
def test_transparent_pixels_give_no_colour_to_their_neighbours(data: bytes, width: int) -> None:
    small = Image.open(io.BytesIO(resize(data, width))).convert("RGBA")
    red, _, _, alpha = small.split()
    visible = alpha.point(lambda level: 255 if level > 64 else 0)
    assert visible.getextrema() == (0, 255)
    assert sum(ImageChops.multiply(red, visible).histogram()[60:]) == 0


def test_a_webp_keeps_its_transparency() -> None:
    image = Image.new("RGBA", (3 * SIDE, SIDE))
    for number, color in enumerate(RGBA.expected):
        image.paste(color, (number * SIDE, 0, (number + 1) * SIDE, SIDE))
    for options in ({"lossless": True}, {"quality": 95}):
        data = encoded(image, "WEBP", **options)
        assert_patches(resize(data, 3 * SIDE // 2), RGBA.expected)


def test_chunks_of_a_picture_are_not_mistaken_for_transparency() -> None:
    data = c.png_with(encoded(Image.new("RGB", (64, 64)), "PNG"), (b"bKGD", bytes(6)))
    assert resize(data, 32)[12:16] == b"VP8 "
