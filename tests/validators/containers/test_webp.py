from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence

import pytest
from PIL import Image

from tests import carriers as c
from tests.pictures import animation, encoded, picture, webp
from tests.validators.conftest import accepted
from validators.base import Rejected

Refused = Callable[..., Rejected]

(LOSSY,) = c.riff_chunks_of(webp())
(LOSSLESS,) = c.riff_chunks_of(webp(lossless=True))
ANIMATED = c.riff_chunks_of(animation("WEBP"))
TRANSLUCENT = picture(mode="RGBA")
TRANSLUCENT.putalpha(Image.radial_gradient("L").resize((64, 48)))
ALPHA = c.riff_chunks_of(encoded(TRANSLUCENT, "WEBP"))
SIZE = (64, 48)


def changed(chunk: c.Chunk, at: int, value: int) -> c.Chunk:
    kind, payload = chunk
    return kind, payload[:at] + bytes((value,)) + payload[at + 1 :]


FRAME = next(chunk for chunk in ANIMATED if chunk[0] == b"ANMF")
CONTROL = next(chunk for chunk in ANIMATED if chunk[0] == b"ANIM")
ALPHA_PLANE = next(chunk for chunk in ALPHA if chunk[0] == b"ALPH")

MALFORMED: dict[str, bytes] = {
    "no chunks": c.riff_of([]),
    "an unknown first chunk": c.riff_of([(b"JUNK", b""), LOSSY]),
    "a metadata chunk first": c.riff_of([(b"EXIF", c.exif()), LOSSY]),
    "a picture cut short": c.riff_of([(LOSSY[0], LOSSY[1][:9])]),
    "an interframe": c.riff_of([changed(LOSSY, 0, LOSSY[1][0] | 1)]),
    "another start code": c.riff_of([changed(LOSSY, 3, 0)]),
    "no width": c.riff_of([changed(changed(LOSSY, 6, 0), 7, 0)]),
    "another lossless signature": c.riff_of([changed(LOSSLESS, 0, 0x2E)]),
    "lossless version 1": c.riff_of([changed(LOSSLESS, 4, LOSSLESS[1][4] | 0x20)]),
    "no picture": c.extended(*SIZE, 0),
    "a short header": c.riff_of([(b"VP8X", bytes(9)), LOSSY]),
    "another canvas": c.extended(65, 48, 0, LOSSY),
    "two pictures": c.extended(*SIZE, 0, LOSSY, LOSSY),
    "alpha without a picture": c.extended(*SIZE, 0x10, LOSSY, ALPHA_PLANE),
    "alpha before a lossless picture": c.extended(*SIZE, 0x10, ALPHA_PLANE, LOSSLESS),
    "a picture outside the frames": c.extended(*SIZE, 2, CONTROL, FRAME, LOSSY),
    "frames without the flag": c.extended(*SIZE, 0, CONTROL, FRAME),
    "frames without control": c.extended(*SIZE, 2, FRAME),
    "an animation without frames": c.extended(*SIZE, 2, CONTROL),
    "control behind the first frame": c.extended(*SIZE, 2, FRAME, CONTROL),
    "a frame cut off by the file": c.extended(*SIZE, 2, CONTROL, FRAME)[:-40],
    "a size of the container that is none": webp()[:4] + bytes(4) + webp()[8:],
    "a frame over the edge": c.extended(*SIZE, 2, CONTROL, changed(FRAME, 0, 1)),
    "a frame of another size": c.extended(*SIZE, 2, CONTROL, changed(FRAME, 6, 20)),
    "a frame without a picture": c.extended(*SIZE, 2, CONTROL, (b"ANMF", FRAME[1][:16])),
    "a frame cut short": c.extended(*SIZE, 2, CONTROL, (b"ANMF", FRAME[1][:15])),
    "a size within the picture": webp()[:4] + struct.pack("<I", len(webp()) - 108) + webp()[8:],
    "a chunk beyond the container": webp()[:16] + struct.pack("<I", len(webp())) + webp()[20:],
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_or_misplaced_chunks_are_refused(data: bytes, refused: Refused) -> None:
    assert refused(data).code == "corrupt_image"


@pytest.mark.parametrize(
    "data",
    [
        c.extended(*SIZE, 0, LOSSY),
        c.extended(*SIZE, 0x10, LOSSLESS),
        c.extended(*SIZE, 2, CONTROL, FRAME),
        encoded(picture(mode="RGBA"), "WEBP"),
        animation("WEBP"),
    ],
)
def test_well_formed_files_pass(data: bytes) -> None:
    assert accepted(data).stripped is data


def test_the_padding_of_the_last_chunk_may_be_missing() -> None:
    data = c.riff_of([(LOSSLESS[0], LOSSLESS[1] + b"\0" * (1 - len(LOSSLESS[1]) % 2))])
    unpadded = data[:4] + struct.pack("<I", len(data) - 9) + data[8:-1]
    assert len(unpadded) % 2 == 1
    assert accepted(unpadded).stripped == data


def sized(data: bytes, size: int) -> bytes:
    """The file with another size in its RIFF header."""
    return data[:4] + struct.pack("<I", size) + data[8:]


TAIL = b"no decoder reads these bytes"
(PROFILE,) = [(b"ICCP", c.profile(300))]
SIMPLE = webp()


def tailed(chunk: c.Chunk) -> c.Chunk:
    return chunk[0], chunk[1] + TAIL


ALPHA_AND_PICTURE = [chunk for chunk in ALPHA if chunk[0] in (b"ALPH", b"VP8 ")]
STILL_WITH_ALPHA = c.extended(*SIZE, 0x10, *ALPHA_AND_PICTURE)
RAW_ALPHA = (b"ALPH", b"\0" + bytes(SIZE[0] * SIZE[1]))


#: Files that browsers show whole, and what is stored of them.
WHOLE: dict[str, tuple[bytes, bytes]] = {
    "a size that is the file's length": (sized(SIMPLE, len(SIMPLE)), SIMPLE),
    "a size that is 2 too large": (sized(SIMPLE, len(SIMPLE) - 6), SIMPLE),
    "a size that is 2 too small": (sized(SIMPLE, len(SIMPLE) - 10), SIMPLE),
    "a size that is 8 too small": (sized(SIMPLE, len(SIMPLE) - 16), SIMPLE),
    "control twice": (
        c.extended(*SIZE, 2, CONTROL, CONTROL, FRAME),
        c.extended(*SIZE, 2, CONTROL, FRAME),
    ),
    "control behind a frame": (
        c.extended(*SIZE, 2, CONTROL, FRAME, CONTROL),
        c.extended(*SIZE, 2, CONTROL, FRAME),
    ),
    "control in a still": (c.extended(*SIZE, 0, CONTROL, LOSSY), c.extended(*SIZE, 0, LOSSY)),
    "a tail of the control": (
        c.extended(*SIZE, 2, tailed(CONTROL), FRAME),
        c.extended(*SIZE, 2, CONTROL, FRAME),
    ),
    "a tail of a frame": (
        c.extended(*SIZE, 2, CONTROL, (FRAME[0], FRAME[1] + b"tail")),
        c.extended(*SIZE, 2, CONTROL, FRAME),
    ),
    "a profile behind the picture": (
        c.extended(*SIZE, 0x20, LOSSY, PROFILE),
        c.extended(*SIZE, 0x20, LOSSY, PROFILE),
    ),
    "a profile between the frames": (
        c.extended(*SIZE, 0x22, CONTROL, FRAME, PROFILE, FRAME),
        c.extended(*SIZE, 0x22, CONTROL, FRAME, PROFILE, FRAME),
    ),
    "a tail of the profile": (
        c.extended(*SIZE, 0x20, tailed(PROFILE), LOSSY),
        c.extended(*SIZE, 0x20, PROFILE, LOSSY),
    ),
    "reserved bits": (c.extended(*SIZE, 0xC1, LOSSY), c.extended(*SIZE, 0, LOSSY)),
    "metadata cut off behind the picture": (
        c.extended(*SIZE, 8, LOSSY, (b"EXIF", c.exif()))[:-40],
        c.extended(*SIZE, 0, LOSSY),
    ),
    "a tail of a lossless picture": (c.riff_of([tailed(LOSSLESS)]), c.riff_of([LOSSLESS])),
    "a long tail of a lossless picture": (
        c.riff_of([(LOSSLESS[0], LOSSLESS[1] + TAIL * 1000)]),
        c.riff_of([LOSSLESS]),
    ),
    "a tail of a compressed alpha channel": (
        c.extended(*SIZE, 0x10, tailed(ALPHA_AND_PICTURE[0]), ALPHA_AND_PICTURE[1]),
        STILL_WITH_ALPHA,
    ),
    "a tail of an alpha channel": (
        c.extended(*SIZE, 0x10, tailed(RAW_ALPHA), LOSSY),
        c.extended(*SIZE, 0x10, RAW_ALPHA, LOSSY),
    ),
}


@pytest.mark.parametrize(("data", "stored"), WHOLE.values(), ids=WHOLE.keys())
def test_the_picture_alone_is_stored_of_a_file_that_browsers_show_whole(data: bytes, stored: bytes) -> None:
    assert accepted(data).stripped == stored
    assert accepted(stored).stripped is stored


@pytest.mark.parametrize("length", [1, 40, 5000])
def test_a_tail_of_a_lossy_picture_goes(length: int) -> None:
    tail = (TAIL * 200)[:length]
    stored = accepted(c.riff_of([(LOSSY[0], LOSSY[1] + tail)])).stripped
    ((_, payload),) = c.riff_chunks_of(stored)
    assert LOSSY[1].startswith(payload[: len(LOSSY[1])])
    # An encoder may write up to four bytes that decoders do not need.
    assert len(LOSSY[1]) - 4 <= len(payload) <= len(LOSSY[1]) + 1
    with Image.open(io.BytesIO(stored)) as image, Image.open(io.BytesIO(SIMPLE)) as expected:
        assert image.tobytes() == expected.tobytes()


def test_tails_of_any_lengths_go_from_the_frames_of_an_animation() -> None:
    def frames(lengths: Sequence[int]) -> bytes:
        size = b"\x3f\0\0\x2f\0\0"
        pictures = [(LOSSLESS[0], LOSSLESS[1] + (TAIL * 200)[:length]) for length in lengths]
        return c.extended(
            *SIZE,
            2,
            CONTROL,
            *[(b"ANMF", bytes(6) + size + bytes(4) + c.riff_of([part])[12:]) for part in pictures],
        )

    # Decoders need the last byte; up to four bytes more may remain.
    lengths = [0, 20, 20, 5, 8, 8, 9, 5000, 12, 40, 40, 6, 0, 20]
    assert accepted(frames(lengths)).stripped == frames([0] * len(lengths))


@pytest.mark.parametrize("bits", [9458 | 9458 << 14, (1 << 28) - 1])
def test_28_bytes_of_a_huge_canvas_are_refused_unopened(bits: int, refused: Refused) -> None:
    data = c.riff_of([(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(3))])
    assert len(data) == 28
    rejected = refused(data)
    assert (rejected.code, rejected.message) == ("too_many_pixels", "Image has too many pixels")


def test_chunks_are_counted(refused: Refused) -> None:
    many = [(b"priv", b"")] * 100_000
    for data in (c.extended(*SIZE, 0, LOSSY, *many), c.riff_of([LOSSY, *many])):
        assert refused(data).reason == "more chunks than MAX_IMAGE_CHUNKS, 20000"


def test_the_chunks_of_all_frames_count_together(refused: Refused) -> None:
    crowded = (b"ANMF", FRAME[1] + b"priv\0\0\0\0" * 6_000)
    assert accepted(c.extended(*SIZE, 2, CONTROL, *[crowded] * 3)).frames == 3
    rejected = refused(c.extended(*SIZE, 2, CONTROL, *[crowded] * 4))
    assert rejected.reason == "more chunks than MAX_IMAGE_CHUNKS, 20000"
