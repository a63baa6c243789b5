"""The work that a file may cause is bounded in total, not for each of its parts."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable

import pytest

from tests import carriers as c
from tests import lossless
from tests.pictures import animation, jpeg, png, webp
from tests.validators.conftest import PICTURE_CHECKS, upload_of
from validators.base import MAX_IMAGE_BYTES, Limits, Rejected
from validators.containers.xmp import PACKET_START

#: The CPU seconds that validating any file may take. The files below take up to 1.1 on an idle machine, and
#: more on a busy one; a file that the decoder's clock stops takes 2.1. If the work grows with the number of
#: parts, they take 5 to 41.
BOUND = 3.0
#: The most parts that a file may have, minus those of the picture.
PARTS = 19_900

BOMB = zlib.compress(bytes(4_000_000), 9)
HEXADECIMAL_BOMB = zlib.compress(b"\nexif\n 2000000\n" + b"4d" * 2_000_000, 9)
EXIF = b"MM\0*\0\0\0\x08" + struct.pack(">H", 19) + b"\x01\x12\0\3\0\0\0\1\0\1\0\0" * 19


def png_header(width: int, height: int, depth: int, color: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)


def filled(*chunk: bytes) -> bytes:
    """A PNG with as many copies of a chunk as a file can have."""
    kind, body = chunk
    count = min(PARTS, (MAX_IMAGE_BYTES - 10_000) // (len(body) + 12))
    return c.png_with(png(), *[(kind, body)] * count)


def png_of_zeros(width: int, height: int, depth: int, color: int, row: int, surplus: int = 0) -> bytes:
    data = c.zlib_of_zeros(row * height + surplus)
    return c.png_of([png_header(width, height, depth, color), (b"IDAT", data), (b"IEND", b"")])


def png_of_empty_blocks() -> bytes:
    """A PNG whose zlib stream starts with four million blocks of fixed codes that hold nothing."""
    # Of an empty block's ten bits only the second is set (RFC 1951 section 3.2.3).
    four = sum(0b10 << 10 * number for number in range(4)).to_bytes(5, "little")
    rows = zlib.compress(bytes(25 * 8 + 1), 0)
    data = rows[:2] + four * 1_000_000 + rows[2:]
    return c.png_of([png_header(8, 8, 8, 2), (b"IDAT", data), (b"IEND", b"")])


def frames_of_one_pixel() -> bytes:
    """An APNG with data after the row of every frame."""
    stream = zlib.compress(b"\0abc" + c.SCRIPT)
    control = struct.pack(">IIIIHHBB", 1, 1, 0, 0, 1, 1, 0, 0)
    chunks = [png_header(1, 1, 8, 2), (b"acTL", struct.pack(">II", 6000, 0))]
    number = 0
    for frame in range(6000):
        chunks.append((b"fcTL", struct.pack(">I", number) + control))
        chunks.append((b"fdAT", struct.pack(">I", number + 1) + stream) if frame else (b"IDAT", stream))
        chunks.append((b"tEXt", b"a\0b"))
        number += 2 if frame else 1
    return c.png_of([*chunks, (b"IEND", b"")])


def pieces_of_one_frame() -> bytes:
    """An APNG whose frame is in 9,000 pieces, each followed by a text, and has data after its row."""
    stream = zlib.compress(b"\0abc" + bytes(36_000), 0)
    control = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 1, 0, 0)
    chunks = [png_header(1, 1, 8, 2), (b"acTL", struct.pack(">II", 1, 0)), (b"IDAT", zlib.compress(b"\0abc"))]
    chunks.append((b"fcTL", control))
    step = len(stream) // 9000 + 1
    for number, at in enumerate(range(0, len(stream), step), 1):
        chunks += [(b"fdAT", struct.pack(">I", number) + stream[at : at + step]), (b"tEXt", b"a\0b")]
    return c.png_of([*chunks, (b"IEND", b"")])


def animated_webp(width: int, height: int, count: int, stream: bytes, extra: bytes = b"") -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    payload = lossless.header(width, height) + stream
    payload += b"\0" * (len(payload) % 2)
    frame = bytes(6) + size + bytes(4) + b"VP8L" + struct.pack("<I", len(payload)) + payload + extra
    return c.extended(width, height, 2, (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * count)


def code_lengths() -> bytes:
    """A lossless bitstream of two small images with codes of all symbols, and then a transform twice."""
    out = lossless.BitWriter()
    for kind in (0, 1):
        out.bits(1, 1)
        out.bits(kind, 2)
        out.bits(7, 3)  # blocks of 512 pixels, so the image has one pixel
        out.bits(0, 1)
        for length in (8, 8, 8, 8, 5):
            lossless.flat(out, length)
        out.bits(0, 32)
    out.bits(0b001, 3)
    return out.data() + bytes(3000)


def copied_pixels() -> bytes:
    """A lossless bitstream with an entropy image whose pixels are all copied, which takes no bits."""
    out = lossless.BitWriter()
    out.bits(0b100, 3)  # no transform, no color cache, an entropy image
    out.bits(0, 3)  # of blocks of 4 pixels
    out.bits(0, 1)
    lossless.single_copy(out)
    for _ in range(4):
        lossless.single(out)
    return out.data() + bytes(3200)


def long_namespace() -> bytes:
    """An XMP packet with a namespace of 900 kB, which 20,000 tags have."""
    return b'<a xmlns:p="%s">%s</a>' % (b"u" * 900_000, b"<p:b/>" * 20_000)


def webp_with(*chunks: c.Chunk) -> bytes:
    (still,) = c.riff_chunks_of(webp())
    return c.extended(64, 48, 8, still, *chunks)


FILES: dict[str, Callable[[], bytes]] = {
    "png profiles": lambda: filled(b"iCCP", b"icc\0\0" + BOMB),
    "png real profiles": lambda: filled(b"iCCP", b"icc\0\0" + zlib.compress(c.profile(3000), 0)),
    "png raw profiles": lambda: filled(b"zTXt", b"Raw profile type exif\0\0" + BOMB),
    "png hexadecimal": lambda: filled(b"zTXt", b"Raw profile type exif\0\0" + HEXADECIMAL_BOMB),
    "png plain hexadecimal": lambda: filled(
        b"tEXt", b"Raw profile type exif\0\nexif\n 9\n" + b"4d" * 2_500_000
    ),
    "png texts": lambda: filled(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
    "png namespaces": lambda: filled(
        b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(long_namespace())
    ),
    "png packets": lambda: filled(
        b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + PACKET_START + b"<a b=''/>" * 49_000
    ),
    "png exif": lambda: filled(b"eXIf", EXIF),
    "png large exif": lambda: filled(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + EXIF[10:22] * 65_535),
    "png empty chunks": lambda: filled(b"teSt", b""),
    "png of 16 bits": lambda: png_of_zeros(7000, 7000, 16, 6, 56_001),
    "png of one column": lambda: png_of_zeros(1, 49_000_000, 1, 0, 2),
    "png of empty blocks": png_of_empty_blocks,
    "png with surplus rows": lambda: png_of_zeros(7000, 7000, 16, 6, 56_001, 60_000_000),
    "apng frames": frames_of_one_pixel,
    "apng pieces": pieces_of_one_frame,
    "jpeg exif": lambda: c.jpeg_with(*[c.app1_exif(EXIF)] * (PARTS - 1000)),
    "jpeg profiles": lambda: c.jpeg_with(
        *[c.segment(0xE2, b"ICC_PROFILE\0" + bytes((n % 255 + 1, 255)) + bytes(200)) for n in range(PARTS)]
    ),
    "jpeg xmp": lambda: c.jpeg_with(*[c.app1_xmp(b"x" * 65_000)] * 78),
    "jpeg tables": lambda: c.jpeg_with(*[c.segment(0xC4, (b"\x10" + bytes(16)) * 3800)] * 80),
    "jpeg junk": lambda: c.jpeg_with(b"x" * 5_000_000),
    "jpeg filling": lambda: c.jpeg_with(b"\xff" * 5_000_000),
    "jpeg markers": lambda: c.jpeg_with(b"\xff\xd0" * 2_400_000),
    "jpeg trailer": lambda: jpeg() + b"\xff\xd8\xff" * 1_600_000,
    "webp chunks": lambda: webp_with(*[(b"junk", b"")] * PARTS),
    "webp exif": lambda: webp_with(*[(b"EXIF", EXIF)] * (PARTS - 1000)),
    "webp namespaces": lambda: webp_with(*[(b"XMP ", long_namespace())] * 2),
    "webp copied pixels": lambda: animated_webp(5700, 5700, 400, copied_pixels()),
    "webp frames": lambda: animated_webp(1, 1, 9_900, lossless.stream(1, 1)),
    "webp chunks in frames": lambda: animated_webp(1, 1, 30, lossless.stream(1, 1), b"junk\0\0\0\0" * 19_000),
    "webp prefix codes": lambda: animated_webp(
        512, 512, 140, lossless.stream(512, 512, [number % 200 for number in range(16_384)])
    ),
    "webp unused prefix codes": lambda: animated_webp(8, 4, 1_900, lossless.stream(8, 4, [999, 0])),
    "webp code lengths": lambda: animated_webp(160, 160, 1_600, code_lengths()),
}


#: The processor decides whether these take longer than the decoder's clock allows.
EITHER = {"png of empty blocks"}
#: The codes of the files that are refused; the others are accepted.
REFUSED = {
    "jpeg markers": "too_many_parts",
    "jpeg tables": "too_many_parts",
    "png of empty blocks": "too_many_pixels",
    "webp chunks in frames": "too_many_parts",
    "webp copied pixels": "too_many_pixels",
    "webp unused prefix codes": "too_many_pixels",
    "webp code lengths": "corrupt_image",
}


def verdict(data: bytes) -> str:
    """The code with which a file is refused; empty if it is accepted."""
    upload = upload_of(data)
    try:
        for check in PICTURE_CHECKS:
            check(upload, Limits())
        assert upload.structure.stripped
    except Rejected as rejected:
        return rejected.code
    return ""


@pytest.mark.parametrize("name", FILES)
def test_the_work_of_a_file_is_bounded_in_total(name: str) -> None:
    data = FILES[name]()
    assert len(data) <= MAX_IMAGE_BYTES
    before = time.thread_time()
    code = verdict(data)
    assert time.thread_time() - before < BOUND
    assert code == REFUSED.get(name, "") or (name in EITHER and not code)


def test_a_file_whose_blocks_take_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("validators.decoding.clock.MAX_SECONDS", 0.2)
    assert verdict(png_of_empty_blocks()) == "too_many_pixels"


def test_an_animation_of_many_small_frames_is_accepted() -> None:
    upload = upload_of(animation("WEBP", frames=200, width=20, height=10))
    for check in PICTURE_CHECKS:
        check(upload, Limits())
    assert upload.structure.frames == 200
