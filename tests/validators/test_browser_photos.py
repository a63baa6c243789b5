"""A browser shows stored JPEG and WebP pictures, also with Exif densities, as it shows the uploaded ones."""

from __future__ import annotations

from typing import Any

import pytest

from tests import carriers as c
from tests.pictures import animation, encoded, picture, png, webp
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

#: Chromium waits for the end of these files, and omits the last rows until then.
UNFINISHED = {"no end marker", "half an end marker", "no end marker of a progressive file"}

#: Chromium refuses these files, which other decoders show whole.
NOT_SHOWN = {
    "jpeg with arithmetic conditioning",
    "webp with a size that is the file's length",
    "webp with a size that is 2 too large",
    "webp with a size that is 2 too small",
    "webp with a size that is 8 too small",
    "webp with control in a still",
    "webp with a tail of a frame",
    "webp with reserved bits",
    "webp with metadata cut off behind the picture",
}

#: Exif blocks with a density for pictures of 64 by 48 pixels, and the size at which Chromium shows a JPEG
#: with them.
DENSITIES: dict[str, tuple[bytes, tuple[int, int]]] = {
    "double density": (c.exif_density((32, 24)), (32, 24)),
    "double density, turned": (c.exif_density((32, 24), orientation=6), (24, 32)),
    "double density in short numbers": (c.exif_density((32, 24), size_type=3), (32, 24)),
    "double density as a fraction": (c.exif_density((32, 24), (1440, 10)), (32, 24)),
    "a density of 100": (c.exif_density((46, 35), (100, 1)), (46, 35)),
    "a density of 36": (c.exif_density((128, 96), (36, 1)), (128, 96)),
    "a density of 72": (c.exif_density((64, 48), (72, 1)), (64, 48)),
    "a size that is not that of the density": (c.exif_density((33, 24)), (64, 48)),
    "a density and no size": (c.exif_density((0, 0)), (64, 48)),
    "a density in centimetres": (c.exif_density((32, 24), unit=3), (64, 48)),
    "a density of zero": (c.exif_density((32, 24), (0, 1)), (64, 48)),
    "an endless density": (c.exif_density((32, 24), (144, 0)), (64, 48)),
}

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
    **{f"jpeg with {name}": c.jpeg_with(c.app1_exif(block)) for name, (block, _) in DENSITIES.items()},
    "jpeg with a second density": c.jpeg_with(turned(6), c.app1_exif(c.exif_density((32, 24)))),
    "progressive jpeg with a density": c.jpeg_with(
        c.app1_exif(c.exif_density((20, 15))), data=options(progressive=True)
    ),
    "mpo with a density": MPO[:2] + c.app1_exif(c.exif_density((32, 24))) + MPO[2:],
    **{f"png with {name}": c.png_with(png(), (b"eXIf", block)) for name, (block, _) in DENSITIES.items()},
    **{
        f"webp with {name}": c.extended(64, 48, 8, STILL, (b"EXIF", block))
        for name, (block, _) in DENSITIES.items()
    },
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


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - NOT_SHOWN))
def test_a_browser_shows_the_stored_photo_as_the_one_that_was_sent(name: str, draw: Draw) -> None:
    sent = draw(SAMPLES[name])
    assert sent is not None
    assert draw(accepted(SAMPLES[name]).stripped) == sent


@pytest.mark.parametrize("name", sorted(NOT_SHOWN))
def test_a_browser_shows_a_photo_that_it_refused_once_it_is_stored(name: str, draw: Draw) -> None:
    assert draw(SAMPLES[name]) is None
    assert draw(accepted(SAMPLES[name]).stripped) is not None


@pytest.mark.parametrize(("block", "size"), DENSITIES.values(), ids=DENSITIES.keys())
def test_a_stored_jpeg_keeps_the_size_that_its_density_gives_it(
    block: bytes, size: tuple[int, int], draw: Draw
) -> None:
    stored = accepted(c.jpeg_with(c.app1_exif(block)))
    assert (stored.width, stored.height) == (64, 48)
    assert tuple(draw(stored.stripped)[:2]) == size


@pytest.mark.parametrize("name", sorted(UNFINISHED))
def test_a_browser_shows_a_photo_without_end_marker_whole_once_it_is_stored(name: str, draw: Draw) -> None:
    data, whole = jpegs.WHOLE[name]
    assert draw(accepted(data).stripped) == draw(whole) != draw(data)
