from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from PIL import Image

from tests import carriers as c
from tests.pictures import animation, encoded, png, png_chunk
from tests.validators.conftest import accepted
from validators.base import Limits, Rejected

Refused = Callable[..., Rejected]
Chunks = list[tuple[bytes, bytes]]

STILL = c.chunks_of(png(200, 150, compress_level=0))
PALETTE = c.chunks_of(png(mode="P"))
ANIMATED = c.chunks_of(animation("PNG"))


def named(chunks: Chunks, kind: bytes) -> tuple[bytes, bytes]:
    return next(chunk for chunk in chunks if chunk[0] == kind)


def without(chunks: Chunks, kind: bytes) -> Chunks:
    return [chunk for chunk in chunks if chunk[0] != kind]


def header(**fields: int) -> Chunks:
    """The still picture with some of IHDR's fields changed."""
    names = ("width", "height", "depth", "color", "compression", "filtering", "interlace")
    values = dict(zip(names, struct.unpack(">IIBBBBB", STILL[0][1]), strict=True)) | fields
    return [(b"IHDR", struct.pack(">IIBBBBB", *values.values())), *STILL[1:]]


def control(**fields: int) -> bytes:
    names = ("sequence", "width", "height", "x", "y", "delay", "base", "dispose", "blend")
    values = dict.fromkeys(names, 0) | {"width": 64, "height": 48} | fields
    return struct.pack(">IIIIIHHBB", *values.values())


def with_control(number: int, **fields: int) -> Chunks:
    """The animation with one frame's fcTL changed."""
    chunks = list(ANIMATED)
    at = [index for index, (kind, _) in enumerate(chunks) if kind == b"fcTL"][number]
    chunks[at] = (b"fcTL", control(**({"sequence": int.from_bytes(chunks[at][1][:4])} | fields)))
    return chunks


MALFORMED: dict[str, Chunks] = {
    "no header": STILL[1:],
    "two headers": [STILL[0], *STILL],
    "a chunk before the header": [(b"tEXt", b"a\0b"), *STILL],
    "a short header": [(b"IHDR", STILL[0][1][:12]), *STILL[1:]],
    "a long header": [(b"IHDR", STILL[0][1] + b"\0"), *STILL[1:]],
    "no width": header(width=0),
    "no height": header(height=0),
    "a negative height": header(height=2**31),
    "depth 3": header(depth=3),
    "depth 4 in colour": header(depth=4),
    "colour type 1": header(color=1),
    "colour type 5": header(color=5),
    "compression 1": header(compression=1),
    "filter method 1": header(filtering=1),
    "interlace method 2": header(interlace=2),
    "no data": without(STILL, b"IDAT"),
    "empty data": [STILL[0], (b"IDAT", b""), STILL[-1]],
    "no end": without(STILL, b"IEND"),
    "an end with content": [*STILL[:-1], (b"IEND", b"x")],
    "an end before the data": [STILL[0], STILL[-1], *STILL[1:]],
    "an unknown critical chunk": [STILL[0], (b"CRIT", b""), *STILL[1:]],
    "a chunk without a name": [STILL[0], (b"a\0b1", b""), *STILL[1:]],
    "no palette": without(PALETTE, b"PLTE"),
    "two palettes": [PALETTE[0], named(PALETTE, b"PLTE"), *PALETTE[1:]],
    "an empty palette": [PALETTE[0], (b"PLTE", b""), *without(PALETTE, b"PLTE")[1:]],
    "a palette of half an entry": [PALETTE[0], (b"PLTE", bytes(4)), *without(PALETTE, b"PLTE")[1:]],
    "a palette after the data": [*without(PALETTE, b"PLTE")[:-1], named(PALETTE, b"PLTE"), PALETTE[-1]],
    "transparency before the palette": [PALETTE[0], (b"tRNS", b"\0"), *PALETTE[1:]],
    "transparency after the data": [*STILL[:-1], (b"tRNS", bytes(6)), STILL[-1]],
    "transparency of a wrong size": [STILL[0], (b"tRNS", bytes(2)), *STILL[1:]],
    "two transparencies": [STILL[0], (b"tRNS", bytes(6)), (b"tRNS", bytes(6)), *STILL[1:]],
    "data in two places": [*STILL[:2], (b"tIME", bytes(7)), *STILL[2:]],
    "fewer frames than declared": [
        (kind, struct.pack(">II", 4, 0) if kind == b"acTL" else body) for kind, body in ANIMATED
    ],
    "more frames than declared": [
        (kind, struct.pack(">II", 2, 0) if kind == b"acTL" else body) for kind, body in ANIMATED
    ],
    "no frames declared": [
        (kind, struct.pack(">II", 0, 0) if kind == b"acTL" else body) for kind, body in ANIMATED
    ],
    "two animations": [ANIMATED[0], named(ANIMATED, b"acTL"), *ANIMATED[1:]],
    "frames out of sequence": with_control(1, sequence=7),
    "a frame wider than the canvas": with_control(1, width=65),
    "a frame over the edge": with_control(1, x=1),
    "a frame without width": with_control(1, width=0),
    "an unknown disposal": with_control(1, dispose=3),
    "an unknown blending": with_control(1, blend=2),
    "a first frame that is small": with_control(0, width=32),
    "a frame without data": [chunk for chunk in ANIMATED if chunk != ANIMATED[-2]],
    "a short frame control": [(k, b[:25] if k == b"fcTL" else b) for k, b in ANIMATED],
    "frame data without a number": [(k, b[:3] if k == b"fdAT" else b) for k, b in ANIMATED],
    "frame data before the data": [*ANIMATED[:3], named(ANIMATED, b"fdAT"), *ANIMATED[3:]],
}


@pytest.mark.parametrize("chunks", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_or_misplaced_chunks_are_refused(chunks: Chunks, refused: Refused) -> None:
    assert refused(c.png_of(chunks)).code in ("corrupt_image", "too_many_pixels")


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT", b"IEND"])
@pytest.mark.parametrize("offset", [-1, -4, -5])
def test_a_wrong_checksum_of_a_critical_chunk_is_refused(kind: bytes, offset: int, refused: Refused) -> None:
    data = bytearray(png(mode="P"))
    start = data.index(kind) - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    data[end + offset] ^= 0x20
    assert refused(bytes(data)).code == "corrupt_image"


def test_a_frame_control_may_come_before_the_animation_s() -> None:
    chunks = list(ANIMATED)
    chunks[1], chunks[2] = chunks[2], chunks[1]
    structure = accepted(c.png_of(chunks))
    assert structure.frames == 3
    assert structure.removed == frozenset()


def test_without_animation_control_the_frames_go() -> None:
    structure = accepted(c.png_of(without(ANIMATED, b"acTL")))
    assert structure.frames == 1
    assert [kind for kind, _ in c.chunks_of(structure.stripped)] == [b"IHDR", b"IDAT", b"IEND"]


def test_a_default_picture_counts_beside_the_frames() -> None:
    chunks = [chunk for chunk in ANIMATED if chunk[0] not in (b"fcTL", b"fdAT")]
    frames = [(b"fcTL", control()), (b"fdAT", struct.pack(">I", 1) + named(ANIMATED, b"IDAT")[1])]
    declared = [(k, struct.pack(">II", 1, 0) if k == b"acTL" else b) for k, b in chunks]
    data = c.png_of([*declared[:-1], *frames, declared[-1]])
    assert accepted(data).frames == 2


def test_chunks_are_counted(refused: Refused) -> None:
    def crowded(count: int) -> bytes:
        return png()[:33] + png_chunk(b"teSt", b"") * count + png()[33:]

    assert accepted(crowded(10_000)).stripped == png()
    rejected = refused(crowded(100_000))
    assert rejected.code == "too_many_pixels"
    assert rejected.reason == "more chunks than MAX_IMAGE_CHUNKS, 20000"


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_what_inflates_to_much_is_not_inflated(kind: bytes) -> None:
    _, packed = c.iccp(bytes(100_000_000))
    head = {b"iCCP": b"a\0\0", b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    data = c.png_with(png(), (kind, head + packed[9:]))
    assert accepted(data).stripped == png()


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA"])
def test_the_memory_follows_the_size_of_the_file_alone(mode: str, refused: Refused) -> None:
    data = png(600, 400, mode)
    assert accepted(data).decode_bytes == 6 * len(data) + (3 << 20)
    assert accepted(encoded(Image.new(mode, (3000, 3000)), "PNG")).decode_bytes < 4_000_000
    rejected = refused(data, Limits(max_decode_bytes=3_000_000))
    assert rejected.reason.endswith("bytes to decode, MAX_DECODE_MEMORY is 3000000")
