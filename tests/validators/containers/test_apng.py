"""Animated PNGs: if the animation breaks a rule, only the still picture is stored."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from tests import carriers as c
from tests.pictures import animation
from tests.validators.conftest import accepted
from validators.base import Rejected

Refused = Callable[..., Rejected]
Chunks = list[tuple[bytes, bytes]]

ANIMATED = c.chunks_of(animation("PNG"))


def named(chunks: Chunks, kind: bytes) -> tuple[bytes, bytes]:
    return next(chunk for chunk in chunks if chunk[0] == kind)


def without(chunks: Chunks, kind: bytes) -> Chunks:
    return [chunk for chunk in chunks if chunk[0] != kind]


def declaring(frames: int) -> Chunks:
    """The animation, with a number of frames in acTL."""
    return [(k, struct.pack(">II", frames, 0) if k == b"acTL" else b) for k, b in ANIMATED]


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
    "frame data for the frame of the image data": [
        ANIMATED[0],
        (b"acTL", struct.pack(">II", 1, 0)),
        *ANIMATED[2:4],
        (b"fdAT", struct.pack(">I", 1) + c.SCRIPT),
        ANIMATED[-1],
    ],
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


def test_a_frame_with_the_checksum_alone_damaged_is_refused(refused: Refused) -> None:
    data = bytearray(c.png_of(ANIMATED))
    data[-13] ^= 1
    assert refused(bytes(data)).reason == "the checksum of a frame is wrong"


def test_an_animation_that_is_cut_anywhere_is_refused(refused: Refused) -> None:
    data = c.png_of(ANIMATED)
    for end in range(data.index(b"IDAT"), len(data) - 12):
        assert refused(data[:end]).code == "corrupt_image", end


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
