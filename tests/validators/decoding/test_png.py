"""An accepted PNG has all its rows, and nothing but its rows is stored, for each kind and decompressor."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from tests import carriers as c
from tests.pictures import animation, encoded, picture, png, png_chunk, png_header
from tests.validators.conftest import accepted, upload_of
from validators.base import Limits, Rejected
from validators.containers import deflate
from validators.decode import FullDecode
from validators.structure import WellFormed

Refused = Callable[..., Rejected]

#: The bits of a pixel for each colour type and depth.
KINDS = {
    (color, depth): channels * depth
    for color, channels, depths in [
        (0, 1, (1, 2, 4, 8, 16)),
        (2, 3, (8, 16)),
        (3, 1, (1, 2, 4, 8)),
        (4, 2, (8, 16)),
        (6, 4, (8, 16)),
    ]
    for depth in depths
}
WIDTH, HEIGHT = 13, 7
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@pytest.fixture(params=["fastest", "zlib"], autouse=True)
def _decompressor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test with the decompressor of this machine, and with zlib."""
    if request.param == "zlib":
        monkeypatch.setattr(deflate, "decompressobj", zlib.decompressobj)


def rows(bits: int, width: int = WIDTH, height: int = HEIGHT, *, interlaced: bool = False) -> bytes:
    """Rows of pixels that are not zero, each with another filter type."""
    data, number = b"", 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, lines = len(range(left, width, across)), len(range(top, height, down))
        for _ in range(lines if columns else 0):
            data += bytes((number % 5,)) + b"\x5a" * -(-columns * bits // 8)
            number += 1
    return data


def png_of_stream(
    stream: bytes,
    color: int = 2,
    depth: int = 8,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    *,
    interlaced: bool = False,
    pieces: int = 1,
) -> bytes:
    """A PNG with this zlib stream."""
    step = -(-len(stream) // pieces) or 1
    return (
        png_header(*size, depth, color, int(interlaced))
        + (png_chunk(b"PLTE", bytes(range(3)) * 2**depth) if color == 3 else b"")
        + b"".join(png_chunk(b"IDAT", stream[at : at + step]) for at in range(0, len(stream), step))
        + png_chunk(b"IEND", b"")
    )


def png_of_rows(
    data: bytes,
    color: int = 2,
    depth: int = 8,
    *,
    interlaced: bool = False,
    tail: bytes = b"",
    pieces: int = 1,
) -> bytes:
    """A PNG of 13 × 7 pixels whose zlib stream holds these bytes."""
    stream = zlib.compress(data) + tail
    return png_of_stream(stream, color, depth, interlaced=interlaced, pieces=pieces)


def noise_of(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311  # nothing secret


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


# --- whole pictures


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "bits"), KINDS.items(), ids=str)
def test_every_kind_and_size_that_pillow_decodes_is_accepted(
    kind: tuple[int, int], bits: int, *, interlaced: bool
) -> None:
    for width in range(1, 18):
        for height in (1, 2, 3, 4, 5, 8, 9):
            stream = zlib.compress(rows(bits, width, height, interlaced=interlaced))
            data = png_of_stream(stream, *kind, (width, height), interlaced=interlaced)
            assert pixels(data)
            assert accepted(data).stripped is data, (width, height)


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE])
def test_every_way_to_compress_is_accepted(level: int, strategy: int) -> None:
    for size in ((1, 1), (300, 200), (16_000, 2), (2, 16_000)):
        noise = noise_of(3 * size[0])
        compress = zlib.compressobj(level, zlib.DEFLATED, 15, 8, strategy)
        stream = compress.compress((b"\4" + noise) * size[1]) + compress.flush()
        accepted(png_of_stream(stream, size=size))


@pytest.mark.parametrize("window", range(9, 16))
def test_every_size_of_the_window_is_accepted(window: int) -> None:
    compress = zlib.compressobj(9, zlib.DEFLATED, window)
    accepted(png_of_stream(compress.compress(rows(24)) + compress.flush()))


@pytest.mark.parametrize("pieces", [1, 2, 5, 1000])
def test_the_data_may_come_in_any_number_of_chunks(pieces: int) -> None:
    accepted(png_of_rows(rows(24), pieces=pieces))


@pytest.mark.parametrize(
    "data",
    [
        *(png(mode=mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        encoded(picture().convert("I;16"), "PNG"),
        encoded(picture(300, 500), "PNG", compress_level=0),
        encoded(Image.new("RGB", (64, 48)), "PNG"),
        encoded(Image.new("RGBA", (64, 48), "white"), "PNG"),
        animation("PNG"),
    ],
)
def test_ordinary_pictures_are_accepted(data: bytes) -> None:
    accepted(data)


# --- incomplete pictures


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "bits"), KINDS.items(), ids=str)
def test_a_picture_of_any_kind_that_lacks_bytes_is_refused(
    kind: tuple[int, int], bits: int, refused: Refused, *, interlaced: bool
) -> None:
    data = rows(bits, interlaced=interlaced)
    row = 1 + -(-WIDTH * bits // 8)
    for wrong in (b"", data[:1], data[:row], data[:-row], data[:-1], data[: len(data) // 2]):
        assert refused(png_of_rows(wrong, *kind, interlaced=interlaced)).code == "corrupt_image"


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_data_cut_anywhere_is_refused(level: int, refused: Refused) -> None:
    noise = noise_of(3 * WIDTH)
    for data in (rows(24), (b"\1" + noise) * HEIGHT):
        stream = zlib.compress(data, level)
        for end in range(len(stream)):
            assert refused(png_of_stream(stream[:end])).code == "corrupt_image", end


def test_a_frame_cut_anywhere_is_refused(refused: Refused) -> None:
    chunks = c.chunks_of(animation("PNG", width=20, height=12))
    for number, (kind, body) in enumerate(chunks):
        if kind == b"fdAT":
            for end in range(4, len(body)):
                cut = [*chunks[:number], (kind, body[:end]), *chunks[number + 1 :]]
                assert refused(c.png_of(cut)).code == "corrupt_image", end


def test_a_file_cut_anywhere_in_its_picture_data_is_refused(refused: Refused) -> None:
    data = png_of_rows(rows(24))
    for end in range(9, data.index(b"IEND") - 8):  # the checksum of IDAT is not picture data
        assert refused(data[:end]).code == "corrupt_image", end


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("offset", [-1, -2, -3, -4])
def test_a_wrong_checksum_of_the_data_is_refused(offset: int, bit: int, refused: Refused) -> None:
    stream = bytearray(zlib.compress(rows(24)))
    stream[offset] ^= 1 << bit
    assert refused(png_of_stream(bytes(stream))).code == "corrupt_image"


def test_any_changed_byte_of_the_data_is_refused(refused: Refused) -> None:
    stream = zlib.compress(rows(24))
    for at in range(len(stream)):
        changed = bytearray(stream)
        changed[at] ^= 1  # the first bit that deflate reads: the other bits of the last byte can be padding
        assert refused(png_of_stream(bytes(changed))).code == "corrupt_image", at


@pytest.mark.parametrize("header", [b"\x88\x1c", b"\x78\x9d", b"\x79\x9c", b"\x78\xbb", b"\0\0"])
def test_a_stream_with_a_bad_header_is_refused(header: bytes, refused: Refused) -> None:
    assert refused(png_of_stream(header + zlib.compress(rows(24))[2:])).code == "corrupt_image"


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "bits"), KINDS.items(), ids=str)
def test_an_unknown_filter_type_in_any_row_is_refused(
    kind: tuple[int, int], bits: int, refused: Refused, *, interlaced: bool
) -> None:
    data = rows(bits, interlaced=interlaced)
    at = 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, lines = len(range(left, WIDTH, across)), len(range(top, HEIGHT, down))
        for _ in range(lines if columns else 0):
            for wrong in (5, 255):
                changed = data[:at] + bytes((wrong,)) + data[at + 1 :]
                rejected = refused(png_of_rows(changed, *kind, interlaced=interlaced))
                assert rejected.reason == "a row has an unknown filter type"
            at += 1 + -(-columns * bits // 8)
    assert at == len(data)


@pytest.mark.parametrize("at", [0, 1, 21_844, 21_845, 65_534, 65_535, 65_536, 99_999])
def test_an_unknown_filter_type_is_found_wherever_the_steps_end(at: int, refused: Refused) -> None:
    data = bytearray(b"\0\x7f" * 100_000)  # rows of one grey pixel: most steps end within a row
    data[2 * at] = 5
    rejected = refused(png_of_stream(zlib.compress(data), 0, 8, (1, 100_000)))
    assert rejected.reason == "a row has an unknown filter type"


# --- bytes after the picture


@pytest.mark.parametrize("pieces", [1, 3, 40])
def test_bytes_after_the_stream_are_removed_from_its_chunks(pieces: int) -> None:
    clean = png_of_rows(rows(24))
    structure = accepted(png_of_rows(rows(24), tail=c.SCRIPT * 100, pieces=pieces))
    assert c.SCRIPT not in structure.stripped
    assert structure.removed == {"trailer"}
    assert len(structure.stripped) < len(clean) + 13 * pieces
    assert pixels(structure.stripped) == pixels(clean)
    assert accepted(structure.stripped).removed == frozenset()


def test_bytes_after_the_stream_of_a_frame_are_removed() -> None:
    chunks = c.chunks_of(animation("PNG"))
    data = c.png_of([(kind, body + c.SCRIPT if kind == b"fdAT" else body) for kind, body in chunks])
    assert accepted(data).stripped == animation("PNG")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "bits"), KINDS.items(), ids=str)
def test_bytes_after_the_last_row_are_removed(kind: tuple[int, int], bits: int, *, interlaced: bool) -> None:
    data = rows(bits, interlaced=interlaced)
    for surplus in (b"\0", bytes(1 + WIDTH), c.SCRIPT * 10_000):
        for pieces in (1, 7):
            sent = png_of_rows(data + surplus, *kind, interlaced=interlaced, pieces=pieces)
            structure = accepted(sent)
            assert structure.removed == {"trailer"}
            stored = b"".join(body for name, body in c.chunks_of(structure.stripped) if name == b"IDAT")
            assert zlib.decompress(stored) == data
            assert pixels(structure.stripped) == pixels(png_of_rows(data, *kind, interlaced=interlaced))
            assert accepted(structure.stripped).removed == frozenset()


def test_bytes_after_the_last_row_of_a_frame_are_removed() -> None:
    chunks = c.chunks_of(animation("PNG"))
    longer, number = [], 0
    for kind, body in chunks:
        if kind == b"fdAT":  # its stream is divided into three chunks
            stream = zlib.compress(zlib.decompress(body[4:]) + c.SCRIPT * 50)
            for part in (stream[:40], stream[40:60], stream[60:]):
                longer.append((kind, struct.pack(">I", number) + part))
                number += 1
        elif kind == b"fcTL":
            longer.append((kind, struct.pack(">I", number) + body[4:]))
            number += 1
        else:
            longer.append((kind, body))
    stored = accepted(c.png_of(longer)).stripped
    assert accepted(stored).stripped is stored
    assert c.SCRIPT not in stored
    with Image.open(io.BytesIO(stored)) as shown, Image.open(io.BytesIO(animation("PNG"))) as expected:
        for index in range(3):
            shown.seek(index)
            expected.seek(index)
            assert shown.convert("RGBA").tobytes() == expected.convert("RGBA").tobytes()


def test_damage_after_the_last_row_is_refused(refused: Refused) -> None:
    stream = bytearray(zlib.compress(rows(24) + bytes(range(256)) * 20, 0))
    stream[-100] ^= 1
    assert refused(png_of_stream(bytes(stream))).code == "corrupt_image"


def test_a_surplus_over_the_bound_is_refused(refused: Refused) -> None:
    rejected = refused(png_of_stream(c.zlib_of_zeros(70_000_000, after=rows(24))))
    assert rejected.reason == "far more pixel data than the header demands"


def test_the_surplus_of_all_frames_counts_together(refused: Refused) -> None:
    def with_surplus(frames: int) -> bytes:
        chunks, left = [], frames
        for kind, body in c.chunks_of(animation("PNG", frames=4)):
            if kind == b"fdAT" and left:
                left -= 1
                stream = c.zlib_of_zeros(30_000_000, after=zlib.decompress(body[4:]))
                chunks.append((kind, body[:4] + stream))
            else:
                chunks.append((kind, body))
        return c.png_of(chunks)

    assert accepted(with_surplus(2)).frames == 4
    assert refused(with_surplus(3)).reason == "far more pixel data than the header demands"


# --- memory


def test_a_picture_takes_no_memory_for_its_pixels() -> None:
    size = (5000, 5000)
    stream = c.zlib_of_zeros((1 + 4 * size[0]) * size[1])
    upload = upload_of(png_of_stream(stream, 6, 8, size))  # 100 MB of pixels
    WellFormed()(upload, Limits())
    tracemalloc.start()
    FullDecode()(upload, Limits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < upload.structure.decode_bytes < 5_000_000
