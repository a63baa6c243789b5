"""Nothing hidden is stored: a marker at any place of a file is not in what is served, or the file is refused.

Each sample yields variants of itself with the marker somewhere: at every offset without any repair, and where
the format allows it with lengths and checksums that are right. A place where the marker would be part of the
picture (its pixels, its colours) or of its colour profile is no hiding place; ``PICTURE`` lists those.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests import carriers as c
from tests.pictures import animation, encoded, picture
from tests.validators.conftest import PICTURE_CHECKS, upload_of
from validators.base import Limits, Rejected

MARKER = b"MaRk3r#7Zq~x"
Chunks = list[tuple[bytes, bytes]]

#: Chunks of fixed or bounded size whose every byte is a colour.
PICTURE = {b"PLTE", b"tRNS", b"mDCV"}


def unrepaired(data: bytes) -> Iterator[bytes]:
    """The marker at every offset, between the bytes and in their place."""
    for at in range(len(data) + 1):
        yield data[:at] + MARKER + data[at:]
        yield data[:at] + MARKER + data[at + len(MARKER) :]


def replaced(chunks: Chunks, number: int, body: bytes) -> bytes:
    return c.png_of([*chunks[:number], (chunks[number][0], body), *chunks[number + 1 :]])


def in_png(data: bytes) -> Iterator[bytes]:
    """The marker in every chunk of a PNG, in the streams, and in chunks of every type in every place."""
    chunks = c.chunks_of(data)
    for number, (kind, body) in enumerate(chunks):
        for at in range(len(body) + 1):
            if kind != b"PLTE" or at == len(body):
                yield replaced(chunks, number, body[:at] + MARKER + body[at:])
            if kind not in PICTURE:
                yield replaced(chunks, number, body[:at] + MARKER + body[at + len(MARKER) :])
        prefix = {b"iCCP": body.find(b"\0") + 2, b"IDAT": 0, b"fdAT": 4}.get(kind)
        if prefix is not None:
            content = zlib.decompress(body[prefix:]) + MARKER
            for level in (0, 9):
                yield replaced(chunks, number, body[:prefix] + zlib.compress(content, level))
    for kind in PNG_CHUNKS:
        for number in range(len(chunks) + 1):
            for body in (MARKER, MARKER * 2, (MARKER * 5)[:50], b"\0\0" + MARKER, MARKER + b"\0\0" + MARKER):
                yield c.png_of([*chunks[:number], (kind, body), *chunks[number:]])


#: Every registered type, two private ones, and types that are no names.
PNG_CHUNKS = (
    *(
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"tRNS",
        b"cHRM",
        b"gAMA",
        b"iCCP",
        b"sBIT",
    ),
    *(
        b"sRGB",
        b"cICP",
        b"mDCV",
        b"cLLI",
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"bKGD",
        b"hIST",
        b"pHYs",
        b"sPLT",
        b"eXIf",
    ),
    *(b"tIME", b"oFFs", b"pCAL", b"sCAL", b"gIFg", b"gIFx", b"sTER", b"dSIG", b"caBX", b"iDOT", b"vpAg"),
    *(b"prVt", b"PRVT", b"a\0b1", b"MaRk", b"maRk", b"1234", b"\xff\xff\xff\xff"),
)

ICC = c.profile(200)
COLOURS = [
    (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    (b"gAMA", struct.pack(">I", 45455)),
    (b"cICP", b"\x01\x0d\0\x01"),
    (b"mDCV", bytes(24)),
    (b"cLLI", bytes(8)),
    (b"sBIT", b"\x08\x08\x08"),
    (b"iCCP", b"icc\0\0" + zlib.compress(ICC)),
    (b"bKGD", bytes(6)),
    (b"tRNS", bytes(6)),
    (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    (b"eXIf", c.exif(6, gps=False, thumbnail=False)),
    c.text(b"Comment", b"a remark"),
]

#: For each sample, the file and its variants.
SAMPLES: dict[str, tuple[bytes, Callable[[bytes], Iterator[bytes]]]] = {
    "png": (c.png_with(encoded(picture(5, 4), "PNG"), *COLOURS), in_png),
    "interlaced palette png": (
        c.png_of(
            [
                (b"IHDR", struct.pack(">IIBBBBB", 3, 1, 2, 3, 0, 0, 1)),
                (b"PLTE", bytes(range(12))),
                (b"tRNS", b"\0\x80"),
                (b"IDAT", zlib.compress(b"\0\x40\0\x80\0\x40"[:6])),
                (b"IEND", b""),
            ]
        ),
        in_png,
    ),
    "apng": (animation("PNG", frames=2, width=5, height=4), in_png),
}


def served(data: bytes) -> bytes | None:
    """What is stored of a file; None if it is refused."""
    upload = upload_of(data)
    if not hasattr(upload, "image_type"):
        return None
    try:
        for check in PICTURE_CHECKS:
            check(upload, Limits())
    except Rejected:
        return None
    return upload.structure.stripped


def contents(stored: bytes) -> Iterator[bytes]:
    """The parts of a stored file in which the marker may not be, compressed ones inflated too.

    The inside of a real colour profile is left out.
    """
    if not stored.startswith(b"\x89PNG"):
        yield stored
        return
    streams: dict[tuple[bytes, int], bytes] = {}
    frame = 0
    for kind, body in c.chunks_of(stored):
        frame += kind == b"fcTL"
        if kind == b"iCCP":
            name, _, rest = body.partition(b"\0")
            yield name
            profile = inflated(rest[1:])
            assert int.from_bytes(profile[:4]) == len(profile)
            continue
        yield kind + body
        if kind in (b"IDAT", b"fdAT"):
            part = body[4:] if kind == b"fdAT" else body
            streams[kind, frame] = streams.get((kind, frame), b"") + part
    yield from map(inflated, streams.values())


def inflated(stream: bytes) -> bytes:
    """What a zlib stream holds that must end where its chunks end."""
    inflate = zlib.decompressobj()
    content = inflate.decompress(stream)
    assert inflate.eof
    assert not inflate.unused_data
    return content


@pytest.mark.parametrize(("data", "variants"), SAMPLES.values(), ids=SAMPLES.keys())
def test_a_marker_at_any_place_is_not_served(
    data: bytes, variants: Callable[[bytes], Iterator[bytes]]
) -> None:
    assert served(data)
    accepted = 0
    for variant in (*unrepaired(data), *variants(data)):
        stored = served(variant)
        if stored is not None:
            accepted += 1
            assert not any(MARKER in content for content in contents(stored)), variant
    assert accepted > len(MARKER)  # the marker was in accepted files too
