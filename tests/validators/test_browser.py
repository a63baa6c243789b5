"""A browser shows the stored picture with the same size and the same pixels as the uploaded one.

The samples are files that decoders treat differently, or from which metadata is removed.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import ImageCms

from tests import carriers as c
from tests.console.chromium import chromium
from tests.pictures import animation, encoded, picture, png, png_chunk
from tests.validators.conftest import accepted
from validators.signature import image_type

#: Draws a picture on a canvas; returns its size and pixels, or null if it can't be shown.
DRAW = """
async (url) => {
  const image = new Image();
  image.src = url;
  try { await image.decode(); } catch { return null; }
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return [canvas.width, canvas.height, Array.from(pixels).join()];
}
"""

Draw = Callable[[bytes], Any]


@pytest.fixture(scope="module")
def draw() -> Iterator[Draw]:
    with chromium() as browser:
        page = browser.new_page()

        def run(data: bytes) -> Any:
            found = image_type(data)
            assert found is not None
            return page.evaluate(DRAW, f"data:{found.content_type};base64,{base64.b64encode(data).decode()}")

        yield run


STILL = png(24, 18)
PALETTE = encoded(picture(24, 18, "L").quantize(16), "PNG")
ANIMATED = animation("PNG", width=24, height=18)
ROWS = zlib.decompress(dict(c.chunks_of(STILL))[b"IDAT"])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """An RGB profile with the red and green primaries exchanged."""
    data = bytearray(SRGB)
    names = {data[at : at + 4].decode(): at for at in range(132, 132 + 12 * data[131], 12)}
    red, green = names["rXYZ"], names["gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = (
        data[green + 4 : green + 12],
        data[red + 4 : red + 12],
    )
    return bytes(data)


ICC = swapped_profile()
#: The colour of the first pixel, in the format of tRNS.
TRANSPARENT = b"\0" + ROWS[1:2] + b"\0" + ROWS[2:3] + b"\0" + ROWS[3:4]
GAMMA = (b"gAMA", struct.pack(">I", 45_455))
#: The chromaticities of sRGB with the red and green primaries exchanged.
SWAPPED = (31_270, 32_900, 30_000, 60_000, 64_000, 33_000, 15_000, 6_000)


def with_data(stream: bytes) -> bytes:
    return c.png_of([(kind, stream if kind == b"IDAT" else body) for kind, body in c.chunks_of(STILL)])


def with_chunks(data: bytes, change: Callable[[list[c.Chunk]], list[c.Chunk]]) -> bytes:
    return c.png_of(change(c.chunks_of(data)))


def profile_chunk(stream: bytes, name: bytes = b"a name") -> tuple[bytes, bytes]:
    return b"iCCP", name + b"\0\0" + stream


SAMPLES: dict[str, bytes] = {
    **{f"png {mode}": png(24, 18, mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "png 16-bit": encoded(picture(24, 18).convert("I;16"), "PNG"),
    "png without end": STILL[:-12],
    "png with half an end": STILL[:-6],
    "png with a long end": with_chunks(STILL, lambda chunks: [*chunks[:-1], (b"IEND", c.SCRIPT)]),
    "png with a wrong checksum of its end": STILL[:-1] + b"!",
    "png with a wrong checksum of its long end": STILL[:-12] + png_chunk(b"IEND", c.SCRIPT)[:-1] + b"!",
    "png with a wrong checksum at the end of the file": STILL[:-13] + b"!",
    "png that is cut within its last checksum": STILL[:-14],
    "png that is cut behind its image data": STILL[:-16],
    "png with a byte missing behind its image data": STILL[:-15] + STILL[-14:],
    "png with chunks behind its end": STILL + png_chunk(b"tEXt", b"a\0" + c.COMMENT),
    "png with a trailer": STILL + c.SCRIPT,
    "png with a row too many": with_data(zlib.compress(ROWS + ROWS[:73])),
    "png with many rows too many": with_data(zlib.compress(ROWS + ROWS)),
    "png with bytes after its stream": with_data(zlib.compress(ROWS) + c.SCRIPT),
    "png with short transparency": c.png_with(STILL, (b"tRNS", b"\0")),
    "png with long transparency of a colour": c.png_with(STILL, (b"tRNS", TRANSPARENT + b"ab")),
    "png with two transparencies": c.png_with(STILL, (b"tRNS", bytes(6)), (b"tRNS", TRANSPARENT)),
    "png with a bad transparency and a good one": c.png_with(STILL, (b"tRNS", b"ab"), (b"tRNS", TRANSPARENT)),
    "png with a late palette": c.png_with(STILL, (b"PLTE", bytes(30)), before=b"IEND"),
    "png with two palettes": c.png_with(PALETTE, (b"PLTE", bytes(48)), before=b"IEND"),
    "png with a large palette": with_chunks(
        PALETTE, lambda chunks: [(k, b + b"abc" * 20 if k == b"PLTE" else b) for k, b in chunks]
    ),
    "png with data in two places": with_chunks(
        STILL, lambda chunks: [*chunks[:-1], (b"tIME", bytes(7)), (b"IDAT", c.SCRIPT), chunks[-1]]
    ),
    "png with an invalid name": c.png_with(STILL, (b"a\0b1", c.SCRIPT)),
    "png with two gammas": c.png_with(STILL, (b"gAMA", struct.pack(">I", 20_000)), (b"gAMA", bytes(4))),
    "png with chromaticities": c.png_with(STILL, GAMMA, (b"cHRM", struct.pack(">8I", *SWAPPED))),
    "png with impossible chromaticities": c.png_with(
        STILL, GAMMA, (b"cHRM", struct.pack(">8I", *SWAPPED[:2], 640_000, 330_000, *SWAPPED[4:]))
    ),
    "png with an unknown intent": c.png_with(STILL, (b"gAMA", struct.pack(">I", 20_000)), (b"sRGB", b"\4")),
    "png with code points": c.png_with(STILL, (b"cICP", b"\x09\x10\0\1")),
    "png with late transparency": c.png_with(STILL, (b"tRNS", bytes(6)), before=b"IEND"),
    "png with transparency": c.png_with(STILL, (b"tRNS", TRANSPARENT)),
    "png with a palette": c.png_with(STILL, (b"PLTE", bytes(range(30)))),
    "png with early transparency": c.png_with(PALETTE, (b"tRNS", b"\0\x80"), before=b"PLTE"),
    "png with long transparency": c.png_with(PALETTE, (b"tRNS", bytes(255))),
    "png with palette transparency": c.png_with(PALETTE, (b"tRNS", b"\0\x80\x40")),
    "png with exif": c.png_with(STILL, (b"eXIf", c.exif(6))),
    "png with two exif": c.png_with(STILL, (b"eXIf", c.exif(6)), (b"eXIf", c.exif(3))),
    "png with exif that has no orientation first": c.png_with(
        STILL, (b"eXIf", c.exif()), (b"eXIf", c.exif(3))
    ),
    "png with late exif": c.png_with(STILL, (b"eXIf", c.exif(6)), before=b"IEND"),
    "png with text": c.png_with(STILL, c.text(b"Comment", c.COMMENT)),
    "png with damaged gamma": STILL[:33]
    + png_chunk(b"gAMA", struct.pack(">I", 20_000))[:-1]
    + b"!"
    + STILL[33:],
    "png with gamma": c.png_with(STILL, (b"gAMA", struct.pack(">I", 20_000))),
    "png with a profile": c.png_with(STILL, profile_chunk(zlib.compress(ICC))),
    "png with a profile and a tail": c.png_with(STILL, profile_chunk(zlib.compress(ICC) + c.SERIAL)),
    "png with a long profile": c.png_with(STILL, profile_chunk(zlib.compress(ICC + bytes(50)))),
    "png with a profile of a long name": c.png_with(STILL, profile_chunk(zlib.compress(ICC), b"x" * 80)),
    "png with a profile without name": c.png_with(STILL, profile_chunk(zlib.compress(ICC), b"")),
    "png with a profile that is cut": c.png_with(STILL, profile_chunk(zlib.compress(ICC)[:-60])),
    "png with two profiles": c.png_with(
        STILL, profile_chunk(zlib.compress(ICC)), profile_chunk(zlib.compress(SRGB))
    ),
    "png with a profile that is none": c.png_with(STILL, profile_chunk(zlib.compress(c.COMMENT * 20))),
    "png with a late profile": c.png_with(STILL, profile_chunk(zlib.compress(ICC)), before=b"IEND"),
    "png with a display's serial number": c.png_with(
        STILL, profile_chunk(zlib.compress(c.profile_with_tag(ICC, b"mmod", b"mmod\0\0\0\0" + c.SERIAL)))
    ),
    "apng": ANIMATED,
    "apng without control": with_chunks(ANIMATED, lambda chunks: [x for x in chunks if x[0] != b"acTL"]),
    "apng with control twice": with_chunks(ANIMATED, lambda chunks: [*chunks[:2], *chunks[1:]]),
    "apng with too many frames": ANIMATED.replace(
        png_chunk(b"acTL", struct.pack(">II", 3, 0)), png_chunk(b"acTL", struct.pack(">II", 2, 0))
    ),
    "apng with too few frames": ANIMATED.replace(
        png_chunk(b"acTL", struct.pack(">II", 3, 0)), png_chunk(b"acTL", struct.pack(">II", 4, 0))
    ),
}


@pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES.keys())
def test_a_browser_shows_the_stored_picture_as_the_one_that_was_sent(data: bytes, draw: Draw) -> None:
    sent = draw(data)
    assert sent is not None
    stored = accepted(data).stripped
    assert draw(stored) == sent
    assert accepted(stored).stripped is stored


def test_the_browser_shows_the_difference_that_a_profile_makes(draw: Draw) -> None:
    assert draw(SAMPLES["png with a profile"]) != draw(STILL)
