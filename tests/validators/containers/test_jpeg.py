from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from PIL import Image

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
        jpeg()[:SCAN] + c.segment(0xDA, b"\x03") + jpeg()[SCAN:],
        c.jpeg_with(c.segment(0xDE, bytes(8))),
        c.jpeg_with(c.segment(0xF0, bytes(8))),
        c.jpeg_with(b"\xff\xfe\xff\xff"),
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


INTERLEAVED = jpeg()[:-2]
PROGRESSIVE = jpeg(progressive=True)[:-2]
JUNK = b"no decoder reads these bytes"

#: Files that browsers show whole, and what is stored of them.
WHOLE: dict[str, tuple[bytes, bytes]] = {
    "no end marker": (INTERLEAVED, jpeg()),
    "half an end marker": (INTERLEAVED + b"\xff", jpeg()),
    "no end marker of a progressive file": (PROGRESSIVE, PROGRESSIVE + b"\xff\xd9"),
    "a trailer in place of the end marker": (INTERLEAVED + JUNK, jpeg()),
    "a trailer with markers": (INTERLEAVED + JUNK + b"\xff\x10\xff\xd8" + JUNK, jpeg()),
    "a picture in place of the end marker": (INTERLEAVED + jpeg(), jpeg()),
    "a trailer that starts like a scan": (INTERLEAVED + c.segment(0xDA, b"\3") + JUNK, jpeg()),
    "data behind the last block": (INTERLEAVED + JUNK + b"\xff\xd9", jpeg()),
    "data behind a progressive picture": (PROGRESSIVE + JUNK + b"\xff\xd9", PROGRESSIVE + b"\xff\xd9"),
    "zeros behind the last block": (INTERLEAVED + bytes(1000) + b"\xff\xd9", jpeg()),
    "coded 0xff behind the last block": (INTERLEAVED + b"\xff\0" * 1000 + b"\xff\xd9", jpeg()),
    "filling before the end marker": (INTERLEAVED + b"\xff" * 50 + b"\xff\xd9", jpeg()),
    "a height that is given again": (INTERLEAVED + c.segment(0xDC, b"\0\x30") + b"\xff\xd9", jpeg()),
    "a height that is given before": (
        jpeg()[:SCAN] + c.segment(0xDC, b"\0\x30") + jpeg()[SCAN:],
        jpeg(),
    ),
    "an application segment of length 1": (c.jpeg_with(b"\xff\xe5\0\1"), jpeg()),
    "a comment of length 0": (c.jpeg_with(b"\xff\xfe\0\0" + JUNK), jpeg()),
    "a comment that is longer than its length": (c.jpeg_with(b"\xff\xfe\0\4" + JUNK), jpeg()),
    "a comment cut off behind the picture": (INTERLEAVED + b"\xff\xfe\1\0" + JUNK, jpeg()),
    "a table that no scan uses": (c.jpeg_with(c.segment(0xDB, b"\3" + JUNK * 2 + bytes(8))), jpeg()),
    "a table that is defined again": (c.jpeg_with(c.segment(0xDB, b"\0" + JUNK * 2 + bytes(8))), jpeg()),
    "a code table that no scan uses": (
        c.jpeg_with(c.segment(0xC4, b"\x13" + bytes(7) + b"\x1c" + bytes(8) + JUNK)),
        jpeg(),
    ),
    "a table behind the last scan": (
        INTERLEAVED + c.segment(0xDB, b"\0" + JUNK * 2 + bytes(8)) + b"\xff\xd9",
        jpeg(),
    ),
    "arithmetic conditioning": (c.jpeg_with(c.segment(0xCC, b"\0\1")), jpeg()),
}


@pytest.mark.parametrize(("data", "stored"), WHOLE.values(), ids=WHOLE.keys())
def test_the_picture_alone_is_stored_of_a_file_that_browsers_show_whole(data: bytes, stored: bytes) -> None:
    structure = accepted(data)
    assert structure.stripped == stored
    assert accepted(stored).stripped is stored


def scans_of(data: bytes) -> list[int]:
    """Where the scans of a JPEG without restart markers start."""
    return [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]


def test_data_behind_every_scan_of_a_progressive_picture_goes() -> None:
    data = jpeg(progressive=True)
    starts = [data.index(b"\xff\xc4", at) for at in scans_of(data)[:-1]]
    hiding = data
    for start in reversed(starts):
        hiding = hiding[:start] + JUNK + hiding[start:]
    assert accepted(hiding).stripped == data


@pytest.mark.parametrize("tail", [JUNK, JUNK * 100_000])
def test_a_trailer_in_place_of_the_end_of_a_panorama_goes(tail: bytes) -> None:
    data = encoded(Image.new("RGB", (12_000, 4000), "teal"), "JPEG")
    assert accepted(data[:-2] + tail).stripped == data


def test_data_before_a_restart_marker_goes_and_the_pixels_stay() -> None:
    data = encoded(picture(), "JPEG", restart_marker_blocks=4)
    at = data.index(b"\xff\xd1")
    stored = accepted(data[:at] + JUNK + data[at:]).stripped
    assert JUNK not in stored
    assert pixels(stored) == pixels(data)
    assert accepted(stored).stripped is stored


def test_a_picture_with_a_code_that_no_table_has_is_stored_without_its_tail() -> None:
    data = jpeg(400, 300)
    at = len(data) // 2
    damaged = data[:at] + b"\xff\0" * 8 + data[at:-2] + JUNK * 10 + b"\xff\xd9"
    stored = accepted(damaged).stripped
    assert JUNK not in stored
    assert pixels(stored) == pixels(damaged)


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


LACKING: dict[str, bytes] = {
    "cut at 30 %, with an end marker": cut(jpeg(400, 300), 0.3) + b"\xff\xd9",
    "a progressive one cut at 30 %": cut(jpeg(400, 300, progressive=True), 0.3) + b"\xff\xd9",
    "cut before the last scan": PROGRESSIVE[: PROGRESSIVE.rindex(b"\xff\xda")] + b"\xff\xd9",
    "cut after the first scan": PROGRESSIVE[: scans_of(PROGRESSIVE)[1]] + b"\xff\xd9",
    "no scan data": jpeg()[: SCAN + 14] + b"\xff\xd9",
    "no scan data and no end": jpeg()[: SCAN + 14],
    "the last byte is missing": INTERLEAVED[:-1] + b"\xff\xd9",
    "cut with a trailer": cut(jpeg(400, 300), 0.3) + b"\xff\xfe\0\4\0\0\xff\xd9",
    "arithmetic code": jpeg().replace(b"\xff\xc0", b"\xff\xc9"),
    "progressive arithmetic code": jpeg(progressive=True).replace(b"\xff\xc2", b"\xff\xca"),
}


@pytest.mark.parametrize("data", LACKING.values(), ids=LACKING.keys())
def test_a_picture_without_all_of_its_data_is_refused(data: bytes, refused: Refused) -> None:
    assert refused(data).code == "corrupt_image"


def test_a_cut_anywhere_with_an_end_marker_is_refused(refused: Refused) -> None:
    for data in (jpeg(), jpeg(progressive=True)):
        for end in range(100, len(data) - 2, 7):
            assert refused(data[:end] + b"\xff\xd9").code == "corrupt_image", end


def test_filling_between_segments_goes() -> None:
    assert accepted(c.jpeg_with(b"\xff" * 1_000_000)).stripped == jpeg()
