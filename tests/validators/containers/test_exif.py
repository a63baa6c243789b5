from __future__ import annotations

import struct
import time

import pytest

from tests import carriers as c
from validators.containers.exif import ExifKeeper, exif_of_density, exif_of_orientation, read_exif


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_smallest_block_tells_its_orientation(orientation: int) -> None:
    block = exif_of_orientation(orientation)
    assert len(block) == 26
    assert read_exif(block).orientation == orientation
    assert read_exif(block).holds == {"exif"}


def test_either_byte_order_is_read() -> None:
    block = b"II*\0" + struct.pack("<IHHHIHxxI", 8, 1, 0x0112, 3, 1, 6, 0)
    assert read_exif(block).orientation == 6


def test_what_identifies_people_is_found() -> None:
    assert read_exif(c.exif(6)).holds == {"exif", "gps", "thumbnail"}
    assert read_exif(c.exif(6, gps=False, thumbnail=False)).holds == {"exif"}


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"MM\0*",
        b"XX\0*" + exif_of_orientation(6)[4:],
        b"MM\0*\xff\xff\xff\xff\0\1",
        b"MM\0*\0\0\0\x08\xff\xff",
        struct.pack(">4sIHHHIHxxI", b"MM\0*", 8, 1, 0x0112, 4, 1, 6, 0),
        struct.pack(">4sIHHHIHxxI", b"MM\0*", 8, 1, 0x0112, 3, 2, 6, 0),
    ],
)
def test_what_can_not_be_read_is_not_there(block: bytes) -> None:
    assert read_exif(block).orientation is None


def test_a_block_cut_anywhere_raises_nothing() -> None:
    block = c.exif(6)
    first_entry_ends = 8 + 2 + 12  # the TIFF header, the number of entries, the entry of the orientation
    for end in range(len(block)):
        assert read_exif(block[:end]).orientation == (6 if end >= first_entry_ends else None)


CODED = (64, 48)
#: Blocks whose density browsers apply to a picture of 64 by 48 pixels: orientation and size.
APPLIED: dict[str, tuple[bytes, int | None, tuple[int, int]]] = {
    "exact": (c.exif_density((32, 24)), None, (32, 24)),
    "turned": (c.exif_density((32, 24), orientation=6), 6, (32, 24)),
    "short": (c.exif_density((32, 24), size_type=3), None, (32, 24)),
    "fraction": (c.exif_density((32, 24), (1440, 10)), None, (32, 24)),
    "rounded": (c.exif_density((46, 35), (100, 1)), None, (46, 35)),
    "enlarged": (c.exif_density((1 << 20, 786_432), (18, 4096)), None, (1 << 20, 786_432)),
}


@pytest.mark.parametrize(("block", "orientation", "size"), APPLIED.values(), ids=APPLIED.keys())
def test_a_density_that_browsers_apply_is_rebuilt(
    block: bytes, orientation: int | None, size: tuple[int, int]
) -> None:
    removed: set[str] = set()
    kept = ExifKeeper().replace(block, CODED, removed)
    assert kept == exif_of_density(orientation, CODED, size)
    assert removed == {"exif"}
    removed.clear()
    assert ExifKeeper().replace(kept, CODED, removed) == kept
    assert removed == set()


@pytest.mark.parametrize(
    "block",
    [
        c.exif_density((64, 48), (72, 1)),
        c.exif_density((33, 24)),
        c.exif_density((32, 25)),
        c.exif_density((0, 0)),
        c.exif_density((32, 24), unit=3),
        c.exif_density((32, 24), (0, 1)),
        c.exif_density((32, 24), (144, 0)),
        c.exif_density((0, 0), (0xFFFFFFFF, 1)),
        c.exif_density((0xFFFFFFFF, 0xFFFFFFFF), (1, 0xFFFFFFFF)),
    ],
)
def test_a_density_without_effect_goes(block: bytes) -> None:
    removed: set[str] = set()
    assert ExifKeeper().replace(block, CODED, removed) is None
    assert removed == {"exif"}


def test_only_the_first_block_counts() -> None:
    keeper, removed = ExifKeeper(), set[str]()
    assert keeper.replace(c.exif(None), CODED, removed) is None
    assert keeper.replace(c.exif_density((32, 24), orientation=6), CODED, removed) is None


def test_a_block_with_a_density_cut_anywhere_raises_nothing() -> None:
    block = c.exif_density((32, 24), orientation=6)
    kept = {ExifKeeper().replace(block[:end], CODED, set()) for end in range(len(block) + 1)}
    assert kept == {None, exif_of_orientation(6), exif_of_density(6, CODED, (32, 24))}


@pytest.mark.parametrize("resolution", [(0, 1), (144, 0)])
def test_a_resolution_after_one_of_zero_does_not_count(resolution: tuple[int, int]) -> None:
    block = c.exif_density((32, 24))
    zero = struct.pack(">HHII", 0x011A, 5, 1, len(block)), struct.pack(">II", *resolution)
    orientation = struct.pack(">HHIHxx", 0x0112, 3, 1, 1)
    assert read_exif(block).density is not None
    assert read_exif(block.replace(orientation, zero[0]) + zero[1]).density is None


def test_of_many_pointers_to_a_directory_one_is_followed() -> None:
    pointers = struct.pack(">HHII", 0x8769, 4, 1, 8) * 5000
    before = time.thread_time()
    assert read_exif(b"MM\0*" + struct.pack(">IH", 8, 5000) + pointers).density is None
    assert time.thread_time() - before < 1
