from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import carriers as c
from tests.pictures import encoded, jpeg, picture
from tests.validators.conftest import accepted
from validators.base import Limits, Rejected

Refused = Callable[..., Rejected]

FRAME = jpeg().index(b"\xff\xc0")
SCAN = jpeg().index(b"\xff\xda")


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes((value,)) + data[at + 1 :]


@pytest.mark.parametrize(
    "data",
    [
        with_byte(jpeg(), FRAME + 6, 0)[: FRAME + 5] + b"\0\0" + jpeg()[FRAME + 7 :],
        jpeg()[: FRAME + 5] + b"\0\0" + jpeg()[FRAME + 7 :],
        jpeg()[: FRAME + 7] + b"\0\0" + jpeg()[FRAME + 9 :],
        with_byte(jpeg(), FRAME + 4, 12),
        with_byte(jpeg(), FRAME + 9, 2),
        with_byte(jpeg(), FRAME + 11, 0),
        with_byte(jpeg(), FRAME + 11, 0x51),
        with_byte(jpeg(), FRAME + 1, 0xC3),
        with_byte(jpeg(), FRAME + 1, 0xC5),
        jpeg()[:FRAME] + jpeg()[FRAME : FRAME + 19] + jpeg()[FRAME:],
        jpeg()[:FRAME] + jpeg()[FRAME + 19 :],
        jpeg()[:SCAN] + b"\xff\xd9",
        jpeg()[:SCAN] + c.segment(0xDC, b"\0\x30") + jpeg()[SCAN:],
        jpeg()[:-2] + c.segment(0xDC, b"\0\x30") + b"\xff\xd9",
        jpeg()[:-2] + b"\xff\xd8" + jpeg()[2:],
        jpeg()[:SCAN] + c.segment(0xDA, b"\x03") + jpeg()[SCAN:],
        c.jpeg_with(c.segment(0xDE, bytes(8))),
        c.jpeg_with(c.segment(0xF0, bytes(8))),
        c.jpeg_with(b"\xff\xe5\0\x01"),
        c.jpeg_with(b"\xff\xfe\xff\xff"),
        jpeg()[:-2],
        jpeg()[:-1],
        jpeg()[:2] + b"\xff" * 1_000_000,
    ],
)
def test_malformed_segments_are_refused(data: bytes, refused: Refused) -> None:
    assert refused(data).code == "corrupt_image"


@pytest.mark.parametrize(
    "data",
    [
        c.jpeg_with(b"\xff\xff\xff"),
        c.jpeg_with(b"\xff\x01\xff\xd0"),
        encoded(picture(), "JPEG", restart_marker_blocks=1),
        encoded(picture(), "JPEG", subsampling=0, progressive=True),
        encoded(picture(), "JPEG", subsampling=2),
        encoded(picture(mode="CMYK"), "JPEG", progressive=True),
    ],
)
def test_odd_but_right_files_pass(data: bytes) -> None:
    accepted(data)


def test_scans_are_counted_before_anything_is_decoded(refused: Refused) -> None:
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    rejected = refused(data[:-2] + data[last:-2] * 1000 + b"\xff\xd9")
    assert rejected.code == "too_many_parts"
    assert rejected.reason == "more scans than MAX_JPEG_SCANS, 100"


def test_many_scans_over_many_pixels_are_refused(refused: Refused) -> None:
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    limits = Limits(max_pixels=64 * 48)
    accepted(data, limits)
    rejected = refused(data[:-2] + data[last:-2] * 50 + b"\xff\xd9", limits)
    assert "scans of 3072 pixels" in rejected.reason


def test_segments_are_counted(refused: Refused) -> None:
    assert accepted(c.jpeg_with(c.segment(0xFE, b"") * 10_000)).removed == {"comment"}
    rejected = refused(c.jpeg_with(c.segment(0xFE, b"") * 100_000))
    assert rejected.reason == "more segments than MAX_IMAGE_CHUNKS, 20000"


@pytest.mark.parametrize(
    ("options", "bytes_of_a_pixel"),
    [
        ({}, 0),
        ({"progressive": True, "subsampling": 2}, 3),
        ({"progressive": True, "subsampling": 0}, 6),
    ],
)
def test_progressive_files_take_the_memory_of_their_coefficients(
    options: dict[str, object], bytes_of_a_pixel: int
) -> None:
    width, height = 640, 480
    data = jpeg(width, height, **options)
    expected = width * height * (bytes_of_a_pixel + 4 / 64) + 2 * len(data)
    assert accepted(data).decode_bytes == pytest.approx(expected, rel=0.05)


def test_filling_between_segments_goes() -> None:
    assert accepted(c.jpeg_with(b"\xff" * 1_000_000)).stripped == jpeg()
