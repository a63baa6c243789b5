from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from PIL import Image

from tests import carriers as c
from tests.pictures import animation, encoded, picture, png, png_chunk
from tests.validators.conftest import accepted
from validators.base import Limits, Rejected
from validators.containers import icc, png_text

Refused = Callable[..., Rejected]
Chunks = list[tuple[bytes, bytes]]

STILL = c.chunks_of(png(200, 150, compress_level=0))
ALPHA = c.chunks_of(png(mode="RGBA"))
GREY = c.chunks_of(png(mode="L"))
PALETTE = c.chunks_of(png(mode="P"))
SMALL = c.chunks_of(encoded(picture(mode="L").quantize(4), "PNG"))
ANIMATED = c.chunks_of(animation("PNG"))


ICC = c.profile(3000)


@contextmanager
def counted_inflation() -> Iterator[Callable[[], int]]:
    """Counts the bytes that zlib inflates."""
    sizes = []

    class Counted:
        def __init__(self, wbits: int = zlib.MAX_WBITS) -> None:
            self._inflate = zlib.decompressobj(wbits)

        def decompress(self, data: bytes, max_length: int = 0) -> bytes:
            inflated = self._inflate.decompress(data, max_length)
            sizes.append(len(inflated))
            return inflated

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inflate, name)

    fake = SimpleNamespace(**vars(zlib) | {"decompressobj": Counted})
    with patch.object(icc, "zlib", fake), patch.object(png_text, "zlib", fake):
        yield lambda: sum(sizes)


def named(chunks: Chunks, kind: bytes) -> tuple[bytes, bytes]:
    return next(chunk for chunk in chunks if chunk[0] == kind)


def without(chunks: Chunks, kind: bytes) -> Chunks:
    return [chunk for chunk in chunks if chunk[0] != kind]


def png_of_palette(colors: int = 256, **options: Any) -> bytes:
    return encoded(picture(mode="L").quantize(colors), "PNG", **options)


def declaring(frames: int) -> Chunks:
    """The animation, with a number of frames in acTL."""
    return [(k, struct.pack(">II", frames, 0) if k == b"acTL" else b) for k, b in ANIMATED]


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


REFUSED: dict[str, Chunks] = {
    "no header": STILL[1:],
    "two headers": [STILL[0], *STILL],
    "a chunk before the header": [(b"tEXt", b"a\0b"), *STILL],
    "a short header": [(b"IHDR", STILL[0][1][:12]), *STILL[1:]],
    "a long header": [(b"IHDR", STILL[0][1] + b"\0"), *STILL[1:]],
    "no width": header(width=0),
    "no height": header(height=0),
    "depth 3": header(depth=3),
    "depth 4 in colour": header(depth=4),
    "colour type 1": header(color=1),
    "colour type 5": header(color=5),
    "compression 1": header(compression=1),
    "filter method 1": header(filtering=1),
    "interlace method 2": header(interlace=2),
    "no data": without(STILL, b"IDAT"),
    "empty data": [STILL[0], (b"IDAT", b""), STILL[-1]],
    "no data and no end": [STILL[0]],
    "an end before the data": [STILL[0], STILL[-1], *STILL[1:]],
    "an unknown critical chunk": [STILL[0], (b"CRIT", b""), *STILL[1:]],
    "a critical chunk without a name": [STILL[0], (b"A\0b1", b""), *STILL[1:]],
    "no palette": without(PALETTE, b"PLTE"),
    "two palettes": [PALETTE[0], named(PALETTE, b"PLTE"), *PALETTE[1:]],
    "an empty palette": [PALETTE[0], (b"PLTE", b""), *without(PALETTE, b"PLTE")[1:]],
    "a palette of half an entry": [PALETTE[0], (b"PLTE", bytes(4)), *without(PALETTE, b"PLTE")[1:]],
    "a palette of 257 entries": [PALETTE[0], (b"PLTE", bytes(771)), *without(PALETTE, b"PLTE")[1:]],
    "a palette after the data": [*without(PALETTE, b"PLTE")[:-1], named(PALETTE, b"PLTE"), PALETTE[-1]],
    "data in two places": [*STILL[:2], (b"tIME", bytes(7)), *STILL[2:]],
}


@pytest.mark.parametrize("chunks", REFUSED.values(), ids=REFUSED.keys())
def test_malformed_or_misplaced_critical_chunks_are_refused(chunks: Chunks, refused: Refused) -> None:
    assert refused(c.png_of(chunks)).code == "corrupt_image"


def test_a_negative_height_is_refused(refused: Refused) -> None:
    assert refused(c.png_of(header(height=2**31))).code == "corrupt_image"


TRANSPARENT = c.chunks_of(png_of_palette(transparency=b"\0\x80"))

#: Files with chunks that viewers ignore, the chunks of the file that is stored, and what is removed.
DROPPED: dict[str, tuple[Chunks, Chunks, str]] = {
    "an ancillary chunk without a name": ([STILL[0], (b"a\0b1", c.SCRIPT), *STILL[1:]], STILL, "other"),
    "an ancillary chunk of digits": ([STILL[0], (b"0123", c.SCRIPT), *STILL[1:]], STILL, "other"),
    "an end with content": ([*STILL[:-1], (b"IEND", c.SCRIPT)], STILL, "trailer"),
    "data after another chunk": (
        [*STILL[:-1], (b"tIME", bytes(7)), (b"IDAT", c.SCRIPT), STILL[-1]],
        STILL,
        "other",
    ),
    "transparency before the palette": ([PALETTE[0], (b"tRNS", b"\0"), *PALETTE[1:]], PALETTE, "other"),
    "transparency after the data": ([*STILL[:-1], (b"tRNS", bytes(6)), STILL[-1]], STILL, "other"),
    "short transparency": ([STILL[0], (b"tRNS", bytes(2)), *STILL[1:]], STILL, "other"),
    "long transparency": (
        [STILL[0], (b"tRNS", b"\0\1\0\2\0\3" + c.SCRIPT), *STILL[1:]],
        [STILL[0], (b"tRNS", b"\0\1\0\2\0\3"), *STILL[1:]],
        "other",
    ),
    "empty transparency": ([STILL[0], (b"tRNS", b""), *STILL[1:]], STILL, "other"),
    "transparency beside alpha": ([ALPHA[0], (b"tRNS", bytes(6)), *ALPHA[1:]], ALPHA, "other"),
    "transparency of more entries than the palette": (
        [*SMALL[:2], (b"tRNS", b"\0\1\2\3" + c.SCRIPT), *SMALL[2:]],
        [*SMALL[:2], (b"tRNS", b"\0\1\2\3"), *SMALL[2:]],
        "other",
    ),
    "transparency of more entries than any palette": (
        [*PALETTE[:2], (b"tRNS", bytes(257)), *PALETTE[2:]],
        PALETTE,
        "other",
    ),
    "a second palette after the data": ([*PALETTE[:-1], (b"PLTE", bytes(48)), PALETTE[-1]], PALETTE, "other"),
    "two transparencies": ([*TRANSPARENT[:2], (b"tRNS", b"\0\x80"), *TRANSPARENT[2:]], TRANSPARENT, "other"),
    "impossible chromaticities": ([STILL[0], (b"cHRM", c.SCRIPT.ljust(32)[:32]), *STILL[1:]], STILL, "other"),
    "impossible luminances": ([STILL[0], (b"cLLI", c.SCRIPT[:8]), *STILL[1:]], STILL, "other"),
    "an unknown rendering intent": ([STILL[0], (b"sRGB", b"\4"), *STILL[1:]], STILL, "other"),
    "a palette in colour": ([STILL[0], (b"PLTE", c.SCRIPT * 3), *STILL[1:]], STILL, "other"),
    "a palette in grey": ([GREY[0], (b"PLTE", c.SCRIPT * 3), *GREY[1:]], GREY, "other"),
    "a palette of more entries than indices": (
        [SMALL[0], (b"PLTE", named(SMALL, b"PLTE")[1] + c.SCRIPT * 3), *SMALL[2:]],
        SMALL,
        "other",
    ),
}


@pytest.mark.parametrize(("chunks", "stored", "removed"), DROPPED.values(), ids=DROPPED.keys())
def test_chunks_that_viewers_ignore_are_dropped(chunks: Chunks, stored: Chunks, removed: str) -> None:
    structure = accepted(c.png_of(chunks))
    assert c.chunks_of(structure.stripped) == stored
    assert removed in structure.removed


#: Animations that break a rule.
BROKEN: dict[str, Chunks] = {
    "fewer frames than declared": declaring(4),
    "more frames than declared": declaring(2),
    "no frames declared": declaring(0),
    "a billion frames declared": declaring(2**31 - 1),
    "two animations": [ANIMATED[0], named(ANIMATED, b"acTL"), *ANIMATED[1:]],
    "a second animation after the data": [*ANIMATED[:-1], named(ANIMATED, b"acTL"), ANIMATED[-1]],
    "a short animation control": [(k, b[:7] if k == b"acTL" else b) for k, b in ANIMATED],
    "a long animation control": [(k, b + b"\0" if k == b"acTL" else b) for k, b in ANIMATED],
    "no animation control": without(ANIMATED, b"acTL"),
    "animation control after the data": [
        *without(ANIMATED, b"acTL")[:-1],
        named(ANIMATED, b"acTL"),
        ANIMATED[-1],
    ],
    "no frame control": without(ANIMATED, b"fcTL"),
    "no frame control and no frame data": [chunk for chunk in ANIMATED if chunk[0] not in (b"fcTL", b"fdAT")],
    "frame control before the data alone": [*without(ANIMATED, b"acTL")[:3], ANIMATED[-1]],
    "frames out of sequence": with_control(1, sequence=7),
    "a frame twice": [*ANIMATED[:-1], ANIMATED[-2], ANIMATED[-1]],
    "a frame wider than the canvas": with_control(1, width=65),
    "a frame over the edge": with_control(1, x=1),
    "a frame far over the edge": with_control(1, y=2**32 - 1),
    "a frame without width": with_control(1, width=0),
    "an unknown disposal": with_control(1, dispose=3),
    "an unknown blending": with_control(1, blend=2),
    "a first frame that is small": with_control(0, width=32),
    "a frame without data": [chunk for chunk in ANIMATED if chunk != ANIMATED[-2]],
    "a short frame control": [(k, b[:25] if k == b"fcTL" else b) for k, b in ANIMATED],
    "frame data without a number": [(k, b[:3] if k == b"fdAT" else b) for k, b in ANIMATED],
    "frame data before the data": [*ANIMATED[:3], named(ANIMATED, b"fdAT"), *ANIMATED[3:]],
}


@pytest.mark.parametrize("chunks", BROKEN.values(), ids=BROKEN.keys())
def test_of_a_broken_animation_the_still_picture_is_stored(chunks: Chunks) -> None:
    structure = accepted(c.png_of(chunks))
    assert c.chunks_of(structure.stripped) == [ANIMATED[0], named(ANIMATED, b"IDAT"), ANIMATED[-1]]
    assert structure.frames == 1
    assert structure.removed == {"other"}


@pytest.mark.parametrize("kind", [b"acTL", b"fcTL"])
def test_a_wrong_checksum_of_animation_control_breaks_the_animation(kind: bytes) -> None:
    data = bytearray(c.png_of(ANIMATED))
    data[data.index(kind) + 5] ^= 1
    assert c.chunks_of(accepted(bytes(data)).stripped) == [
        ANIMATED[0],
        named(ANIMATED, b"IDAT"),
        ANIMATED[-1],
    ]


@pytest.mark.parametrize("offset", [5, 30])
def test_a_wrong_checksum_of_frame_data_is_refused(offset: int, refused: Refused) -> None:
    data = bytearray(c.png_of(ANIMATED))
    data[data.index(b"fdAT") + 4 + offset] ^= 1
    assert refused(bytes(data)).code == "corrupt_image"


@pytest.mark.parametrize("chunks", [STILL, PALETTE, ANIMATED], ids=["still", "palette", "animated"])
def test_a_missing_or_cut_end_is_written(chunks: Chunks) -> None:
    data = c.png_of(chunks)
    for length in range(12):
        structure = accepted(data[: len(data) - 12 + length])
        assert structure.stripped == data
        assert structure.removed == frozenset()


def test_a_chunk_that_is_cut_off_after_the_data_is_dropped() -> None:
    data = c.png_of([*STILL[:-1], c.text(b"Comment", c.COMMENT * 10), STILL[-1]])
    for length in (5, 20, 100):
        structure = accepted(data[: len(c.png_of(STILL)) - 12 + length])
        assert structure.stripped == c.png_of(STILL)
        assert structure.removed == {"trailer"}


def test_an_animation_that_is_cut_anywhere_is_refused(refused: Refused) -> None:
    data = c.png_of(ANIMATED)
    for end in range(data.index(b"IDAT"), len(data) - 12):
        assert refused(data[:end]).code == "corrupt_image", end


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT", b"IEND"])
@pytest.mark.parametrize("offset", [-1, -4, -5])
def test_a_wrong_checksum_of_a_critical_chunk_is_refused(kind: bytes, offset: int, refused: Refused) -> None:
    data = bytearray(png(mode="P"))
    start = data.index(kind) - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    data[end + offset] ^= 0x20
    assert refused(bytes(data)).code == "corrupt_image"


def test_the_first_frame_control_may_come_before_the_animation_control() -> None:
    chunks = list(ANIMATED)
    chunks[1], chunks[2] = chunks[2], chunks[1]
    structure = accepted(c.png_of(chunks))
    assert structure.frames == 3
    assert structure.removed == frozenset()


def test_a_still_picture_outside_the_animation_counts_as_a_frame() -> None:
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
    assert rejected.code == "too_many_parts"
    assert rejected.message == "Image has too many chunks, segments or scans"
    assert rejected.reason == "more chunks than MAX_IMAGE_CHUNKS, 20000"


# --- profiles


def profile_of(data: bytes) -> tuple[bytes, bytes]:
    """The name and the inflated profile of an iCCP chunk. The stream must be clean."""
    name, _, rest = named(c.chunks_of(data), b"iCCP")[1].partition(b"\0")
    inflate = zlib.decompressobj()
    profile = inflate.decompress(rest[1:])
    assert inflate.eof
    assert not inflate.unused_data
    return name, profile


@pytest.mark.parametrize("name", [b"ICC Profile", b"ICC profile", b"icc", b"Photoshop ICC profile"])
def test_a_profile_with_a_neutral_name_stays_as_it_is(name: bytes) -> None:
    data = c.png_with(png(), (b"iCCP", name + b"\0\0" + zlib.compress(ICC)))
    assert accepted(data).stripped is data


@pytest.mark.parametrize("name", [b"x", c.SERIAL, c.SERIAL.ljust(79), c.SERIAL.ljust(80)])
def test_any_other_name_of_a_profile_is_replaced(name: bytes) -> None:
    structure = accepted(c.png_with(png(), (b"iCCP", name + b"\0\0" + zlib.compress(ICC, 0))))
    assert profile_of(structure.stripped) == (b"ICC Profile", ICC)
    assert structure.removed == {"other"}


STREAM = zlib.compress(ICC)


@pytest.mark.parametrize(
    "stream",
    [
        STREAM + c.SERIAL,
        STREAM[:-4],
        STREAM[:-2],
        STREAM[:-4] + b"abcd",
        zlib.compress(ICC + c.SERIAL),
        zlib.compress(ICC + bytes(100_000_000)),
    ],
    ids=["a tail", "no checksum", "half a checksum", "a wrong checksum", "too long", "far too long"],
)
def test_a_profile_that_browsers_use_is_written_anew(stream: bytes) -> None:
    structure = accepted(c.png_with(png(), (b"iCCP", b"ICC Profile\0\0" + stream)))
    assert profile_of(structure.stripped) == (b"ICC Profile", ICC)
    assert structure.removed == {"other"}
    assert accepted(structure.stripped).stripped is structure.stripped


@pytest.mark.parametrize(
    "body",
    [
        b"ICC Profile\0\0" + zlib.compress(c.SERIAL * 100),
        b"ICC Profile\0\0" + zlib.compress(ICC[:-1]),
        b"ICC Profile\0\0" + STREAM[:-40],
        b"ICC Profile\0\0",
        b"ICC Profile\0\1" + STREAM,
        b"\0\0" + STREAM,
        b"x" * 81 + b"\0\0" + STREAM,
        b"ICC Profile",
        b"",
    ],
)
def test_bytes_that_are_no_profile_are_removed(body: bytes) -> None:
    structure = accepted(c.png_with(png(), (b"iCCP", body)))
    assert structure.stripped == png()
    assert structure.removed == {"icc"}


def test_the_serial_number_in_a_profile_is_removed() -> None:
    profile = c.profile_with_tag(ICC, b"mmod", b"mmod" + bytes(4) + c.SERIAL)
    structure = accepted(c.png_with(png(), (b"iCCP", b"icc\0\0" + zlib.compress(profile))))
    assert structure.removed == {"display-serial"}
    assert c.SERIAL not in profile_of(structure.stripped)[1]


# --- bounds of the work


def test_a_second_profile_is_not_inflated() -> None:
    bomb = b"icc\0\0" + zlib.compress(bytes(4_000_000), 9)
    data = c.png_with(png(), *[(b"iCCP", bomb)] * 1_200)
    with counted_inflation() as inflated:
        structure = accepted(data)
    assert structure.stripped == png()
    assert structure.removed == {"icc"}
    assert 4_000_000 <= inflated() < 10_000_000


@pytest.mark.parametrize("name", [b"Raw profile type exif", b"XML:com.adobe.xmp", b"Comment"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_all_texts_together_are_inflated_up_to_a_bound(kind: bytes, name: bytes) -> None:
    head = {b"zTXt": name + b"\0\0", b"iTXt": name + b"\0\1\0\0\0"}[kind]
    bomb = head + zlib.compress(bytes(4_000_000), 9)
    with counted_inflation() as inflated:
        structure = accepted(c.png_with(png(), *[(kind, bomb)] * 1_200))
    assert structure.stripped == png()
    assert inflated() < 10_000_000


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_a_chunk_that_inflates_to_100_megabytes_is_dropped(kind: bytes) -> None:
    _, packed = c.iccp(bytes(100_000_000))
    head = {b"iCCP": b"a\0\0", b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    data = c.png_with(png(), (kind, head + packed[9:]))
    assert accepted(data).stripped == png()


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA"])
def test_the_memory_depends_on_the_size_of_the_file_only(mode: str, refused: Refused) -> None:
    data = png(600, 400, mode)
    assert accepted(data).decode_bytes == 6 * len(data) + (3 << 20)
    assert accepted(encoded(Image.new(mode, (3000, 3000)), "PNG")).decode_bytes < 4_000_000
    rejected = refused(data, Limits(max_decode_bytes=3_000_000))
    assert rejected.reason.endswith("bytes to decode, MAX_DECODE_MEMORY is 3000000")
