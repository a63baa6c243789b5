from __future__ import annotations

import struct

import pytest

from tests import carriers as c
from validators.containers.exif import exif_of_orientation, read_exif


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
