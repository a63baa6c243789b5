from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tests import carriers as c
from tests.pictures import animation, encoded, picture, png, png_chunk
from tests.validators.conftest import accepted
from validators.base import Limits, Rejected

Refused = Callable[..., Rejected]
Chunks = list[tuple[bytes, bytes]]

STILL = c.chunks_of(png(200, 150, compress_level=0))
ALPHA = c.chunks_of(png(mode="RGBA"))
GREY = c.chunks_of(png(mode="L"))
PALETTE = c.chunks_of(png(mode="P"))
SMALL = c.chunks_of(encoded(picture(mode="L").quantize(4), "PNG"))
ANIMATED = c.chunks_of(animation("PNG"))


def named(chunks: Chunks, kind: bytes) -> tuple[bytes, bytes]:
    return next(chunk for chunk in chunks if chunk[0] == kind)


def without(chunks: Chunks, kind: bytes) -> Chunks:
    return [chunk for chunk in chunks if chunk[0] != kind]


def png_of_palette(colors: int = 256, **options: Any) -> bytes:
    return encoded(picture(mode="L").quantize(colors), "PNG", **options)


def header(**fields: int) -> Chunks:
    """The still picture with some of IHDR's fields changed."""
    names = ("width", "height", "depth", "color", "compression", "filtering", "interlace")
    values = dict(zip(names, struct.unpack(">IIBBBBB", STILL[0][1]), strict=True)) | fields
    return [(b"IHDR", struct.pack(">IIBBBBB", *values.values())), *STILL[1:]]


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


#: A still picture of two IDAT chunks.
SPLIT = [*STILL[:-2], (b"IDAT", STILL[-2][1][:9000]), (b"IDAT", STILL[-2][1][9000:]), STILL[-1]]
ENDS = pytest.mark.parametrize("chunks", [STILL, SPLIT, PALETTE], ids=["one chunk", "two chunks", "palette"])
#: The bytes after the image data: the checksum of IDAT, and IEND.
END = 4 + 12


@ENDS
@pytest.mark.parametrize("missing", range(END + 1))
def test_a_file_that_is_cut_behind_the_image_data_is_made_whole(chunks: Chunks, missing: int) -> None:
    data = c.png_of(chunks)
    structure = accepted(data[: len(data) - missing])
    assert structure.stripped == data
    assert structure.removed == frozenset()


@ENDS
@pytest.mark.parametrize("at", range(END))
def test_a_byte_that_is_missing_behind_the_image_data_is_put_back(chunks: Chunks, at: int) -> None:
    data = c.png_of(chunks)
    lost = len(data) - END + at
    assert accepted(data[:lost] + data[lost + 1 :]).stripped == data


@pytest.mark.parametrize("missing", range(END + 1, END + 40))
def test_a_file_that_is_cut_within_the_image_data_is_refused(missing: int, refused: Refused) -> None:
    data = c.png_of(STILL)
    assert refused(data[:-missing]).code == "corrupt_image"


@ENDS
@pytest.mark.parametrize("offset", [-1, -4])
@pytest.mark.parametrize("behind", [0, 1, 11])
def test_a_wrong_checksum_at_the_end_of_the_file_is_corrected(
    chunks: Chunks, offset: int, behind: int
) -> None:
    data = c.png_of(chunks)
    cut = bytearray(data[: len(data) - 12 + behind])
    cut[len(data) - 12 + offset] ^= 0x20
    structure = accepted(bytes(cut))
    assert structure.stripped == data
    assert structure.removed == frozenset()


@pytest.mark.parametrize("chunks", [STILL, SPLIT, PALETTE, ANIMATED], ids=["1", "2", "palette", "animated"])
@pytest.mark.parametrize("body", [b"", c.SCRIPT])
def test_an_end_with_a_wrong_checksum_is_rewritten(chunks: Chunks, body: bytes) -> None:
    data = c.png_of(chunks)
    end = png_chunk(b"IEND", body)
    structure = accepted(data[:-12] + end[:-1] + bytes([end[-1] ^ 1]) + c.SERIAL)
    assert structure.stripped == data
    assert structure.removed == {"trailer"}


def test_image_data_that_a_last_chunk_without_checksum_holds_beyond_the_rows_is_dropped() -> None:
    data = c.png_of([*STILL[:-2], (b"IDAT", STILL[-2][1] + c.SERIAL), STILL[-1]])
    structure = accepted(data[:-14])
    assert structure.stripped == c.png_of(STILL)
    assert structure.removed == {"trailer"}


def test_a_chunk_that_declares_more_than_the_file_holds_keeps_the_image_data() -> None:
    data = c.png_of(PALETTE)
    at = data.index(b"IDAT") - 4
    assert accepted(data[:at] + b"\x7f\xff\xff\xff" + data[at + 4 :]).stripped == data


def test_the_whole_surplus_behind_the_end_is_dropped() -> None:
    surplus = png_chunk(b"IDAT", c.SERIAL) + png_chunk(b"tEXt", b"a\0" + c.COMMENT) + png_chunk(b"IEND", b"")
    structure = accepted(c.png_of(STILL) + surplus)
    assert structure.stripped == c.png_of(STILL)
    assert structure.removed == {"trailer"}


@pytest.mark.parametrize("at", [0, 100, -1])
def test_damaged_data_with_a_cut_checksum_is_refused(at: int, refused: Refused) -> None:
    stream = bytearray(STILL[-2][1])
    stream[at] ^= 0x55
    data = c.png_of([*STILL[:-2], (b"IDAT", bytes(stream)), STILL[-1]])
    assert refused(data[:-14]).code == "corrupt_image"


@pytest.mark.parametrize("offset", [-1, -4])
def test_a_wrong_checksum_between_two_chunks_of_image_data_is_refused(offset: int, refused: Refused) -> None:
    data = bytearray(c.png_of(SPLIT))
    data[data.rindex(b"IDAT") - 4 + offset] ^= 0x20
    assert refused(bytes(data)).code == "corrupt_image"


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
@pytest.mark.parametrize("offset", [-1, -4, -5])
def test_a_wrong_checksum_of_a_critical_chunk_is_refused(kind: bytes, offset: int, refused: Refused) -> None:
    data = bytearray(png(mode="P"))
    start = data.index(kind) - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    data[end + offset] ^= 0x20
    assert refused(bytes(data)).code == "corrupt_image"


def test_chunks_are_counted(refused: Refused) -> None:
    def crowded(count: int) -> bytes:
        return png()[:33] + png_chunk(b"teSt", b"") * count + png()[33:]

    assert accepted(crowded(10_000)).stripped == png()
    rejected = refused(crowded(100_000))
    assert rejected.code == "too_many_parts"
    assert rejected.message == "Image has too many chunks, segments or scans"
    assert rejected.reason == "more chunks than MAX_IMAGE_CHUNKS, 20000"


@pytest.mark.parametrize("mode", ["1", "P", "RGB", "RGBA"])
def test_the_memory_depends_on_the_size_of_the_file_only(mode: str, refused: Refused) -> None:
    data = png(600, 400, mode)
    assert accepted(data).decode_bytes == 6 * len(data) + (3 << 20)
    assert accepted(encoded(Image.new(mode, (3000, 3000)), "PNG")).decode_bytes < 4_000_000
    rejected = refused(data, Limits(max_decode_bytes=3_000_000))
    assert rejected.reason.endswith("bytes to decode, MAX_DECODE_MEMORY is 3000000")
