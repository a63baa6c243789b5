"""The estimate of the memory of a resize is an upper bound, for each format and each kind of scale."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests import carriers as c
from tests import lossless
from tests.pictures import animation, encoded, jpeg, png, png_chunk, png_header, webp
from tests.resizing.colorimetry import DISPLAY_P3, large_profile, with_elements, with_large_table

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

ROOT = Path(__file__).parents[2]


def plain(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 100).convert("RGB")


def transparent_noise(width: int, height: int) -> Image.Image:
    image = noise(width, height)
    image.putalpha(Image.effect_noise((width, height), 100))
    return image


def png_of(width: int, height: int, depth: int, color: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG whose samples are all zero."""
    row = 1 + width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color] // 8
    chunks = b"".join(png_chunk(*chunk) for chunk in extra)
    data = png_chunk(b"IDAT", zlib.compress(bytes(row * height), 1))
    return png_header(width, height, depth, color) + chunks + data + png_chunk(b"IEND", b"")


def lossless_of(width: int, height: int, **options: object) -> bytes:
    stream = lossless.stream(width, height, **options)  # type: ignore[arg-type]  # passed through
    return c.riff_of([(b"VP8L", lossless.header(width, height) + stream)])


def progressive_of_one_scan(width: int, height: int) -> bytes:
    """The mean levels of the blocks alone, in one scan that has all of their bits."""
    data = encoded(plain(width, height, "L"), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    end = re.compile(rb"\xff[^\0\xd0-\xd7]").search(data, first + 10)
    assert end
    assert data[first + 7 : first + 10] == b"\0\0\1"
    return data[: first + 9] + b"\0" + data[first + 10 : end.start()] + b"\xff\xd9"


#: A picture and the width of the size.
CASES: dict[str, tuple[Callable[[], bytes], int]] = {
    "jpeg-to-an-eighth": (lambda: encoded(plain(4000, 3000), "JPEG"), 320),
    "jpeg-in-full": (lambda: encoded(plain(1200, 800), "JPEG"), 1199),
    "jpeg-noise": (lambda: encoded(noise(700, 500), "JPEG", quality=90), 640),
    "jpeg-cmyk": (lambda: encoded(plain(1500, 1000, "CMYK"), "JPEG"), 900),
    "jpeg-grey": (lambda: encoded(plain(2500, 2000, "L"), "JPEG"), 900),
    "jpeg-progressive": (lambda: encoded(plain(2000, 1500), "JPEG", progressive=True, subsampling=0), 160),
    "jpeg-progressive-of-one-scan": (lambda: progressive_of_one_scan(3000, 2000), 160),
    "jpeg-wide": (lambda: encoded(plain(65_500, 16), "JPEG"), 16_000),
    "jpeg-tall": (lambda: encoded(plain(200, 40_000), "JPEG"), 50),
    "jpeg-large-profile": (
        lambda: encoded(plain(64, 48, "CMYK"), "JPEG", icc_profile=large_profile(b"CMYK", 4, 33)),
        32,
    ),
    "png-large-profile": (
        lambda: encoded(plain(64, 48), "PNG", icc_profile=large_profile(b"RGB ", 3, 100)),
        32,
    ),
    "png-profile-of-elements": (
        lambda: encoded(plain(64, 48), "PNG", icc_profile=with_elements(DISPLAY_P3, 1000)),
        32,
    ),
    "jpeg-profile-of-a-claimed-table": (
        lambda: encoded(plain(64, 48, "CMYK"), "JPEG", icc_profile=with_large_table(b"mAB ")),
        32,
    ),
    "jpeg-profile-of-a-claimed-8-bit-table": (
        lambda: encoded(plain(64, 48, "CMYK"), "JPEG", icc_profile=with_large_table(b"mft1")),
        32,
    ),
    "jpeg-profile-of-a-claimed-16-bit-table": (
        lambda: encoded(plain(64, 48, "CMYK"), "JPEG", icc_profile=with_large_table(b"mft2")),
        32,
    ),
    "webp-large-profile": (
        lambda: encoded(plain(64, 48), "WEBP", icc_profile=large_profile(b"RGB ", 3, 100)),
        32,
    ),
    "png": (lambda: encoded(plain(3000, 2000), "PNG"), 640),
    "png-alpha": (lambda: encoded(plain(1200, 800, "LA").convert("RGBA"), "PNG"), 1000),
    "png-alpha-noise": (lambda: encoded(transparent_noise(600, 400), "PNG", compress_level=1), 599),
    "png-alpha-reduced": (lambda: png_of(3000, 2000, 8, 6), 160),
    "png-grey-16": (lambda: png_of(3000, 2000, 16, 0), 640),
    "png-grey-16-transparent": (lambda: png_of(3000, 2000, 16, 0, (b"tRNS", bytes(2))), 640),
    "png-rgb-16-transparent": (lambda: png_of(2000, 1500, 16, 2, (b"tRNS", bytes(6))), 640),
    "png-palette": (lambda: png_of(3000, 2000, 8, 3, (b"PLTE", bytes(768)), (b"tRNS", bytes(9))), 640),
    "png-one-bit": (lambda: png_of(4000, 3000, 1, 0), 640),
    "png-wide": (lambda: png_of(65_535, 64, 8, 6), 16_000),
    "png-of-a-row": (lambda: png_of(65_535, 1, 16, 6), 160),
    "png-animated": (lambda: animation("PNG", width=600, height=400), 320),
    "webp-scaled": (lambda: encoded(plain(2000, 1500), "WEBP", method=0), 320),
    "webp-in-full": (lambda: encoded(plain(1200, 800), "WEBP", method=0), 1199),
    "webp-alpha": (lambda: encoded(plain(1500, 1000, "LA").convert("RGBA"), "WEBP", method=0), 640),
    "webp-lossless": (lambda: lossless_of(2000, 1500), 640),
    "webp-lossless-groups": (lambda: lossless_of(256, 256, groups=lossless.every_block(256, 256)), 160),
    "webp-animated": (lambda: animation("WEBP", width=600, height=400), 320),
}
SMALL = {"png": png(), "jpeg": jpeg(), "webp": webp(lossless=True)}


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """Returns the estimate and the measured peak for each case."""
    folder = tmp_path_factory.mktemp("peaks")
    arguments = []
    for name, (make, width) in CASES.items():
        (folder / f"{name}.bin").write_bytes(make())
        (folder / f"{name}.small").write_bytes(SMALL[name.partition("-")[0]])
        arguments.append(f"{folder / name}.bin:{width}")
    # Freed memory is returned at once, so no resize reuses memory that the measurement does not count.
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.resizing.peaks", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {figures["name"]: figures for figures in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", CASES)
def test_no_resize_takes_more_than_its_estimate(name: str, peaks: dict[str, dict[str, int]]) -> None:
    figures = peaks[name]
    assert figures["peak"] <= figures["estimate"]
