"""The estimate of the memory of a decode is an upper bound, for each coding feature of each format."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests import carriers as c
from tests import lossless
from tests.pictures import encoded, jpeg, png, png_chunk, png_header, webp
from tests.validators.conftest import accepted
from tests.validators.test_work import FILES as WORK
from validators.base import Rejected
from validators.structure import READING_MEMORY

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")

ROOT = Path(__file__).parents[3]
#: The memory that the process takes besides the decode: loaded pages of code, and the allocator's overhead.
SLACK = 1 << 20


def plain(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 100).convert("RGB")


def png_of(width: int, height: int, depth: int, color: int, rows: bytes, interlace: int = 0) -> bytes:
    header = png_header(width, height, depth, color, interlace)
    return header + png_chunk(b"IDAT", zlib.compress(rows, 1)) + png_chunk(b"IEND", b"")


def lossless_of(width: int, height: int, **options: object) -> bytes:
    stream = lossless.stream(width, height, **options)  # type: ignore[arg-type]  # passed through
    return c.riff_of([(b"VP8L", lossless.header(width, height) + stream)])


def alpha_of(width: int, height: int, stream: bytes, filtering: int = 0) -> bytes:
    """A lossy picture with losslessly coded transparency."""
    (lossy,) = c.riff_chunks_of(encoded(plain(width, height), "WEBP", method=0))
    alpha = (b"ALPH", bytes((1 | filtering << 2,)) + stream)
    return c.extended(width, height, 0x10, alpha, lossy)


def webp_with_tail(kind: bytes, size: int) -> bytes:
    """A small picture whose chunk ends with so many superfluous bytes."""
    ((kind, body),) = c.riff_chunks_of(webp(lossless=kind == b"VP8L"))
    return c.riff_of([(kind, body + bytes(size))])


def animated(width: int, height: int, repeats: int, *pictures: c.Chunk) -> bytes:
    """An animation whose frames fill the canvas: these pictures, repeated ``repeats`` times."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frames = [
        (
            b"ANMF",
            bytes(6) + size + bytes(4) + kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2),
        )
        for kind, body in pictures
    ]
    return c.extended(width, height, 0x12, (b"ANIM", bytes(6)), *frames * repeats)


def rows_of(image: Image.Image) -> bytes:
    """The rows of an RGB picture, unfiltered."""
    pixels, row = image.tobytes(), 3 * image.width
    return b"".join(b"\0" + pixels[at : at + row] for at in range(0, len(pixels), row))


def in_three_scans(grey: bytes) -> bytes:
    """A baseline JPEG of three components, each in a separate scan with the data of a grey JPEG."""
    segments = list(c.segments_of(grey))
    scan = grey[grey.index(b"\xff\xda") : -2]
    body = next(body for marker, body in segments if marker == 0xC0)
    components = b"".join(bytes((number, 0x11, 0)) for number in (1, 2, 3))
    head = b"".join(c.segment(marker, body) for marker, body in segments if marker in (0xE0, 0xDB, 0xC4))
    frame = c.segment(0xC0, body[:5] + b"\3" + components)
    scans = b"".join(scan[:5] + bytes((number,)) + scan[6:] for number in (1, 2, 3))
    return b"\xff\xd8" + head + frame + scans + b"\xff\xd9"


#: The rows of all passes of an interlaced picture of 8 × 800,000 pixels of 8 bytes.
INTERLACED = (
    800_000
    // 8
    * sum(
        rows * (1 + 8 * pixels) for rows, pixels in [(1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8)]
    )
)
BLOCKS = lossless.every_block(256, 256)

CASES: dict[str, Callable[[], bytes]] = {
    "png": lambda: encoded(plain(4000, 3000, "RGBA"), "PNG", compress_level=1),
    "png-noise": lambda: encoded(noise(1200, 1000), "PNG", compress_level=1),
    "png-16-bit-interlaced": lambda: png_of(8, 800_000, 16, 6, bytes(INTERLACED), 1),
    "png-of-one-row": lambda: png_of(6_000_000, 1, 16, 6, bytes(48_000_001)),
    "png-with-surplus": lambda: png_of(1000, 1000, 8, 2, rows_of(noise(1000, 1400))),
    "jpeg": lambda: jpeg_of(plain(5000, 4000)),
    "jpeg-noise": lambda: jpeg_of(noise(2000, 1500), quality=90),
    "jpeg-4:4:4": lambda: jpeg_of(plain(5000, 4000), subsampling=0),
    "jpeg-grey": lambda: jpeg_of(plain(5000, 4000, "L")),
    "jpeg-cmyk": lambda: jpeg_of(plain(5000, 4000, "CMYK")),
    "jpeg-three-scans": lambda: in_three_scans(jpeg_of(plain(3000, 2000, "L"))),
    "jpeg-wide": lambda: jpeg_of(plain(65_500, 64)),
    "jpeg-tall": lambda: jpeg_of(plain(64, 65_500)),
    "jpeg-progressive": lambda: jpeg_of(plain(4000, 3000), progressive=True),
    "jpeg-progressive-4:4:4": lambda: jpeg_of(plain(4000, 3000), progressive=True, subsampling=0),
    "jpeg-progressive-cmyk": lambda: jpeg_of(plain(3000, 2000, "CMYK"), progressive=True),
    "jpeg-progressive-wide": lambda: jpeg_of(plain(65_500, 64), progressive=True),
    "jpeg-restarts": lambda: jpeg_of(plain(4000, 3000), progressive=True, restart_marker_blocks=1),
    "webp": lambda: encoded(plain(3000, 2000), "WEBP", method=0),
    "webp-wide": lambda: encoded(plain(16_383, 64), "WEBP"),
    "webp-tall": lambda: encoded(plain(64, 16_383), "WEBP"),
    "webp-noise": lambda: encoded(noise(1600, 1200), "WEBP", quality=90, method=0),
    "webp-alpha": lambda: encoded(plain(3000, 2000, "LA").convert("RGBA"), "WEBP", method=0),
    "webp-long-tail": lambda: webp_with_tail(b"VP8 ", 5_200_000),
    "webp-lossless-long-tail": lambda: webp_with_tail(b"VP8L", 5_200_000),
    "webp-alpha-long-tail": lambda: alpha_of(64, 48, lossless.stream(64, 48) + bytes(5_200_000)),
    "webp-lossless": lambda: encoded(plain(3000, 2000), "WEBP", lossless=True),
    "webp-lossless-noise": lambda: encoded(noise(800, 600), "WEBP", lossless=True),
    "webp-lossless-wide": lambda: lossless_of(16_383, 64),
    "webp-lossless-tall": lambda: lossless_of(64, 16_383),
    "webp-lossless-empty": lambda: lossless_of(3000, 2000),
    "webp-color-cache": lambda: lossless_of(2000, 1000, cache_bits=11),
    "webp-transforms": lambda: lossless_of(2000, 1500, transforms=(0, 1, 2)),
    "webp-palette": lambda: lossless_of(2000, 1500, transforms=(3,), colors=2),
    "webp-all-transforms": lambda: lossless_of(2000, 1500, transforms=(3, 0, 1, 2), colors=16),
    "webp-groups": lambda: lossless_of(256, 256, groups=BLOCKS),
    "webp-groups-and-transforms": lambda: lossless_of(256, 256, groups=BLOCKS, transforms=(0, 1, 2)),
    "webp-groups-with-large-codes": lambda: lossless_of(256, 256, groups=BLOCKS, green_length=8),
    "webp-groups-with-color-cache": lambda: lossless_of(
        256, 256, groups=BLOCKS, cache_bits=11, green_length=11
    ),
    "webp-groups-of-large-blocks": lambda: lossless_of(
        1024, 1024, groups=lossless.every_block(1024, 1024, 5), block_bits=5
    ),
    "webp-groups-of-high-numbers": lambda: lossless_of(
        32, 32, groups=[999] * 64, cache_bits=11, green_length=11
    ),
    "webp-groups-of-many-blocks": lambda: lossless_of(
        256, 256, groups=[number % 1000 for number in range(4096)], cache_bits=11, green_length=11
    ),
    "webp-alpha-groups": lambda: alpha_of(256, 256, lossless.stream(256, 256, BLOCKS)),
    "webp-alpha-of-all-bits": lambda: alpha_of(2000, 1500, lossless.stream(2000, 1500, transforms=(0, 1))),
    "webp-alpha-of-a-palette": lambda: alpha_of(2000, 1500, lossless.stream(2000, 1500, transforms=(3,))),
    "webp-alpha-filtered": lambda: alpha_of(2000, 1500, lossless.stream(2000, 1500), filtering=3),
    "webp-animated": lambda: animated(1500, 1000, 4, c.riff_chunks_of(encoded(plain(1500, 1000), "WEBP"))[0]),
    "webp-animated-lossless": lambda: animated(
        1500, 1000, 4, (b"VP8L", lossless.header(1500, 1000) + lossless.stream(1500, 1000))
    ),
    "webp-animated-groups": lambda: animated(
        256, 256, 3, (b"VP8L", lossless.header(256, 256) + lossless.stream(256, 256, BLOCKS))
    ),
    "webp-animated-groups-in-the-first-frame": lambda: animated(
        256,
        256,
        1,
        (b"VP8L", lossless.header(256, 256) + lossless.stream(256, 256, BLOCKS)),
        (b"VP8L", lossless.header(256, 256) + lossless.stream(256, 256)),
    ),
}
SMALL = {"png": png(), "jpeg": jpeg(), "webp": webp(lossless=True)}


def jpeg_of(image: Image.Image, **options: object) -> bytes:
    return encoded(image, "JPEG", **options)


def measured(task: str, cases: dict[str, Callable[[], bytes]], folder: Path) -> dict[str, dict[str, int]]:
    """Runs ``peaks.py`` on the files that ``cases`` make; returns the figures of each."""
    for name, make in cases.items():
        (folder / f"{name}.bin").write_bytes(make())
        (folder / f"{name}.small").write_bytes(SMALL[re.split("[- ]", name)[0]])
    files = [str(folder / f"{name}.bin") for name in cases]
    # Freed memory is returned at once, so no decode reuses memory that the measurement does not count.
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.validators.decoding.peaks", task, *files],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {figures["name"]: figures for figures in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """Returns the estimate and the measured peak of the decode for each case."""
    return measured("decode", CASES, tmp_path_factory.mktemp("peaks"))


@pytest.mark.parametrize("name", CASES)
def test_no_decode_takes_more_than_its_estimate(name: str, peaks: dict[str, dict[str, int]]) -> None:
    figures = peaks[name]
    assert figures["taken"]
    assert figures["peak"] <= figures["estimate"] + SLACK


def xmp_of_attributes(namespace: bytes, count: int) -> bytes:
    """A packet with so many attributes of one namespace in one element."""
    return b'<a xmlns:p="%s" %s/>' % (namespace, b" ".join(b'p:a%x=""' % number for number in range(count)))


IPTC = b"http://iptc.org/std/Iptc4xmpExt/2008-02-29/"


def xmp_twice(packet: bytes) -> bytes:
    """A WebP with a packet twice: parsed once more, because a space precedes it."""
    return c.extended(64, 48, 4, *c.riff_chunks_of(webp()), (b"XMP ", packet), (b"XMP ", b" " + packet))


def raw_profile(text: bytes) -> bytes:
    return c.png_with(png(), (b"tEXt", b"Raw profile type exif\0\nexif\n 9\n" + text))


READ: dict[str, Callable[[], bytes]] = {
    **{name: make for name, make in WORK.items() if name.partition(" ")[0] in SMALL},
    "png attributes": lambda: c.png_with(
        png(), c.compressed_text(b"XML:com.adobe.xmp", xmp_of_attributes(b"u", 80_000))
    ),
    "png attributes of a long namespace": lambda: c.png_with(
        png(), c.compressed_text(b"XML:com.adobe.xmp", xmp_of_attributes(b"u" * 200_000, 2000))
    ),
    "png hexadecimal digits apart": lambda: raw_profile(b"4d " * 1_700_000),
    "png profile with a serial number": lambda: c.png_with(
        png(),
        (
            b"iCCP",
            b"x\0\0" + zlib.compress(c.profile_with_tag(c.profile(4_100_000), b"mmod", b"\1" * 40), 0),
        ),
    ),
    "jpeg tables as many as may be": lambda: c.jpeg_with(
        *[c.segment(0xC4, (b"\x10" + bytes(16)) * 3800)] * 5
    ),
    "webp attributes": lambda: c.extended(
        64, 48, 4, *c.riff_chunks_of(webp()), *[(b"XMP ", xmp_of_attributes(b"u", 80_000))] * 2
    ),
    "webp attributes of a known namespace": lambda: xmp_twice(xmp_of_attributes(IPTC, 80_000)),
    "webp prefixes": lambda: xmp_twice(
        b"<a %s/>" % b" ".join(b'xmlns:a%x=""' % number for number in range(39_000))
    ),
}


def test_reading_a_container_takes_no_more_than_workers_have_for_it(tmp_path: Path) -> None:
    figures = measured("read", READ, tmp_path)
    assert {name: found["peak"] for name, found in figures.items() if found["peak"] > READING_MEMORY} == {}


def test_groups_without_end_are_refused(refused: Callable[[bytes], Rejected]) -> None:
    data = lossless_of(1024, 1024, groups=lossless.every_block(1024, 1024))
    assert len(data) < 400_000
    rejected = refused(data)
    assert rejected.code == "too_many_pixels"
    assert rejected.reason.endswith("bytes to decode, MAX_DECODE_MEMORY is 400000000")
    alpha = alpha_of(1024, 1024, lossless.stream(1024, 1024, lossless.every_block(1024, 1024)))
    assert refused(alpha).code == "too_many_pixels"


@pytest.mark.parametrize("method", [0, 4, 6])
def test_an_ordinary_lossless_picture_is_charged_for_its_pixels(method: int) -> None:
    for image in (plain(816, 612), noise(816, 612), noise(102, 76).resize((816, 612))):
        data = encoded(image, "WEBP", lossless=True, method=method, quality=20)
        assert accepted(data).decode_bytes < 13 * 816 * 612 + 2 * len(data) + 7_000_000


def test_the_small_images_of_a_large_picture_may_be_larger() -> None:
    groups = [number % 200 for number in range(256 * 256)]
    data = lossless_of(2048, 2048, groups=groups, block_bits=3)
    assert accepted(data).decode_bytes < 60_000_000
