"""A browser shows stored JPEG and WebP pictures as it shows those that were sent: equal size and pixels."""

from __future__ import annotations

from typing import Any

import pytest

from tests import carriers as c
from tests.pictures import animation, encoded, picture, webp
from tests.validators.conftest import accepted
from tests.validators.containers import test_jpeg as jpegs
from tests.validators.containers import test_webp as webps
from tests.validators.test_browser import ICC, Draw, draw

__all__ = ["draw"]  # the fixture


def options(**changes: Any) -> bytes:
    return encoded(picture(40, 30), "JPEG", **changes)


def turned(orientation: int) -> bytes:
    return c.app1_exif(c.exif(orientation))


MPO = encoded(picture(), "MPO", save_all=True, append_images=[picture().rotate(90)])
(STILL,) = c.riff_chunks_of(webp())

#: Chromium waits for the end of these files, and until then leaves the last rows out.
UNFINISHED = {"no end marker", "half an end marker", "no end marker of a progressive file"}

SAMPLES: dict[str, bytes] = {
    "jpeg": options(),
    "jpeg 4:4:4": options(subsampling=0),
    "jpeg 4:2:0": options(subsampling=2),
    "progressive jpeg": options(progressive=True),
    "jpeg with restart markers": options(restart_marker_blocks=2),
    "grey jpeg": encoded(picture(40, 30, "L"), "JPEG"),
    "cmyk jpeg": encoded(picture(40, 30, "CMYK"), "JPEG"),
    "rgb jpeg": encoded(picture(40, 30), "JPEG", keep_rgb=True),
    **{f"jpeg turned {number}": c.jpeg_with(turned(number)) for number in range(10)},
    "jpeg turned twice": c.jpeg_with(turned(6), turned(3)),
    "jpeg turned by a second block only": c.jpeg_with(
        c.app1_exif(c.exif(None, gps=False, thumbnail=False)), turned(3)
    ),
    "jpeg turned by a second block, first without rotation": c.jpeg_with(turned(1), turned(3)),
    "jpeg with a profile": c.jpeg_with(c.app2_profile(ICC)),
    "jpeg with a profile in parts": c.jpeg_with(c.app2_profile(ICC, 100)),
    "jpeg with a profile and a tail": c.jpeg_with(c.app2_profile(ICC + c.SERIAL)),
    "jpeg with no profile": c.jpeg_with(c.app2_profile(c.COMMENT * 20)),
    "jpeg with adobe": c.jpeg_with(c.segment(0xEE, b"Adobe\0\x64\0\0\0\0\1")),
    "jpeg of rgb by adobe": c.jpeg_with(c.segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")),
    "jpeg with adobe twice": c.jpeg_with(
        c.segment(0xEE, b"Adobe\0\x64\0\0\0\0\1"), c.segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
    ),
    "jpeg with a source": c.jpeg_with(c.app1_xmp(c.source_xmp("trainedAlgorithmicMedia"))),
    "mpo": MPO,
    "mpo turned": MPO[:2] + turned(6) + MPO[2:],
    **{f"jpeg with {name}": data for name, (data, _) in jpegs.WHOLE.items() if name not in UNFINISHED},
    "webp": webp(),
    "lossless webp": webp(lossless=True),
    "animated webp": animation("WEBP"),
    "webp turned": c.extended(64, 48, 8, STILL, (b"EXIF", c.exif(6))),
    "webp with a profile": c.extended(64, 48, 0x20, (b"ICCP", ICC), STILL),
    "webp with a profile behind the picture": c.extended(64, 48, 0x20, STILL, (b"ICCP", ICC)),
    "webp with a profile and no flag": c.extended(64, 48, 0, (b"ICCP", ICC), STILL),
    "webp with a source": c.extended(64, 48, 4, STILL, (b"XMP ", c.source_xmp("digitalArt"))),
    **{f"webp with {name}": data for name, (data, _) in webps.WHOLE.items()},
}


@pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES.keys())
def test_a_browser_shows_the_stored_photo_as_the_one_that_was_sent(data: bytes, draw: Draw) -> None:
    stored, sent = draw(accepted(data).stripped), draw(data)
    assert stored is not None
    # Chromium refuses a few of these files, which other decoders show whole.
    assert sent in (stored, None)


@pytest.mark.parametrize("name", sorted(UNFINISHED))
def test_a_browser_shows_a_photo_without_end_marker_whole_once_it_is_stored(name: str, draw: Draw) -> None:
    data, whole = jpegs.WHOLE[name]
    assert draw(accepted(data).stripped) == draw(whole) != draw(data)
