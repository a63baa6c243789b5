"""That a PNG holds all its rows, and nothing but its rows, whatever kind it is."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from tests import carriers as c
from tests.pictures import animation, encoded, picture, png, png_chunk, png_header
from tests.validators.conftest import accepted
from validators.base import Rejected
from validators.decoding import png as png_rows

Refused = Callable[..., Rejected]

#: For each colour type and depth the bits of a pixel.
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


def rows(bits: int, *, interlaced: bool = False) -> bytes:
    """Unfiltered rows of pixels that are not zero."""
    data = b""
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, lines = len(range(left, WIDTH, across)), len(range(top, HEIGHT, down))
        if columns:
            data += (b"\0" + b"\x5a" * -(-columns * bits // 8)) * lines
    return data


def png_of_rows(
    data: bytes,
    color: int = 2,
    depth: int = 8,
    *,
    interlaced: bool = False,
    tail: bytes = b"",
    pieces: int = 1,
) -> bytes:
    """A PNG of 13 × 7 pixels whose compressed data are these bytes."""
    stream = zlib.compress(data) + tail
    step = -(-len(stream) // pieces)
    palette = png_chunk(b"PLTE", bytes(range(256)) * 3) if color == 3 else b""
    return (
        png_header(WIDTH, HEIGHT, depth, color, int(interlaced))
        + palette
        + b"".join(png_chunk(b"IDAT", stream[at : at + step]) for at in range(0, len(stream), step))
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("kind", "bits"), KINDS.items(), ids=str)
def test_every_kind_must_hold_its_rows_and_no_more(
    kind: tuple[int, int], bits: int, refused: Refused, *, interlaced: bool
) -> None:
    data = rows(bits, interlaced=interlaced)
    accepted(png_of_rows(data, *kind, interlaced=interlaced))
    row = 1 + -(-WIDTH * bits // 8)
    for wrong in (
        b"",
        data[:row],
        data[:-row],
        data[:-1],
        data[: len(data) // 2],
        data + bytes(row),
        data + data,
    ):
        assert refused(png_of_rows(wrong, *kind, interlaced=interlaced)).code == "corrupt_image"


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\xa7"])
@pytest.mark.parametrize(("kind", "bits"), KINDS.items(), ids=str)
def test_a_last_row_of_one_colour_is_no_missing_row(kind: tuple[int, int], bits: int, fill: bytes) -> None:
    row = b"\0" + fill * -(-WIDTH * bits // 8)
    accepted(png_of_rows(row * HEIGHT, *kind))


def test_a_last_row_of_the_very_colour_of_the_filling_is_no_missing_row(refused: Refused) -> None:
    row = b"\0" + bytes((0xA7, 0x5C, 0x33)) * WIDTH
    accepted(png_of_rows(row * HEIGHT))
    assert refused(png_of_rows(row * (HEIGHT - 1))).code == "corrupt_image"


@pytest.mark.parametrize("pieces", [1, 2, 5, 1000])
def test_the_data_may_come_in_any_number_of_chunks(pieces: int) -> None:
    accepted(png_of_rows(rows(24), pieces=pieces))


ORDINARY = [png(mode=mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")] + [
    encoded(picture().convert("I;16"), "PNG"),
    encoded(picture(300, 500), "PNG", compress_level=0),
    encoded(Image.new("RGB", (64, 48)), "PNG"),
    encoded(Image.new("RGBA", (64, 48)), "PNG"),
    encoded(Image.new("RGB", (64, 48), "white"), "PNG"),
    animation("PNG"),
]


@pytest.mark.parametrize("data", ORDINARY)
def test_ordinary_data_is_inflated_only_once(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_rows, "_inflate", lambda *_: pytest.fail("inflated a second time"))
    accepted(data)


@pytest.mark.parametrize("offset", [-1, -2, -3, -4])
def test_a_wrong_checksum_of_the_data_is_refused(offset: int, refused: Refused) -> None:
    stream = bytearray(zlib.compress(rows(24)))
    stream[offset] ^= 0x10
    data = c.png_of(
        [(b"IDAT", bytes(stream)) if k == b"IDAT" else (k, b) for k, b in c.chunks_of(png_of_rows(rows(24)))]
    )
    assert refused(data).code == "corrupt_image"


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_data_cut_anywhere_is_refused(level: int, refused: Refused) -> None:
    for data in (rows(24), picture(WIDTH, HEIGHT).tobytes() + bytes(HEIGHT)):
        stream = zlib.compress(data, level)
        for end in range(len(stream)):
            cut = png_header(WIDTH, HEIGHT) + png_chunk(b"IDAT", stream[:end]) + png_chunk(b"IEND", b"")
            assert refused(cut).code == "corrupt_image", end


def test_what_stands_behind_the_data_in_its_chunks_goes() -> None:
    for pieces in (1, 3):
        clean = png_of_rows(rows(24))
        data = png_of_rows(rows(24), tail=c.SCRIPT * 100, pieces=pieces)
        structure = accepted(data)
        assert c.SCRIPT not in structure.stripped
        assert structure.removed == {"trailer"}
        assert len(structure.stripped) < len(clean) + 13 * pieces
        assert Image.open(io.BytesIO(structure.stripped)).tobytes() == Image.open(io.BytesIO(clean)).tobytes()
        assert accepted(structure.stripped).removed == frozenset()


def test_what_stands_behind_the_data_of_a_frame_goes() -> None:
    chunks = c.chunks_of(animation("PNG"))
    data = c.png_of([(kind, body + c.SCRIPT if kind == b"fdAT" else body) for kind, body in chunks])
    stored = accepted(data).stripped
    assert stored == animation("PNG")


def test_a_bad_filter_is_refused(refused: Refused) -> None:
    data = bytearray(rows(24))
    data[0] = 5
    assert refused(png_of_rows(bytes(data))).code == "corrupt_image"
