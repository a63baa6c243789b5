"""No hidden data is stored: if a file with a marker is accepted, the stored file lacks the marker.

Each sample yields variants with the marker at one place: at every offset without repair (``STEPS`` lists the
exceptions), and, where the format allows it, with correct lengths and checksums. Places where the marker is
part of the picture (its pixels or colours) or of its colour profile do not count; ``PICTURE`` lists them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
from PIL import Image

from tests import carriers as c
from tests.pictures import animation, encoded, jpeg, picture, webp
from tests.validators.conftest import PICTURE_CHECKS, upload_of
from validators.base import Limits, Rejected

MARKER = b"MaRk3r#7Zq~x"
Chunks = list[tuple[bytes, bytes]]

#: Chunks of fixed or bounded size whose every byte is a colour.
PICTURE = {b"PLTE", b"tRNS", b"mDCV"}


#: The samples whose coded data is mostly re-encoded, in a new process for each variant. Their headers are as
#: in the sample "jpeg", and ``in_jpeg`` has the marker at the end of each of their scans, so their other
#: offsets are taken in steps.
STEPS = {"progressive jpeg": 5, "jpeg with restart markers": 5}


def unrepaired(data: bytes, step: int) -> Iterator[bytes]:
    """The marker at every ``step``-th offset, between the bytes and in their place."""
    for at in range(0, len(data) + 1, step):
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


#: Every registered type, two private ones, and invalid types.
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


def insertions(body: bytes) -> Iterator[bytes]:
    """The marker before each byte of a body, and after the last."""
    for at in range(len(body) + 1):
        yield body[:at] + MARKER + body[at:]


def in_jpeg(data: bytes) -> Iterator[bytes]:
    """The marker in every segment with a correct length, in segments of every kind, and after every scan."""
    header, starts = list(c.segments_of(data)), [2]
    for _, body in header:
        starts.append(starts[-1] + 4 + len(body))
    for start, (kind, body) in zip(starts, header, strict=False):
        if kind not in (0xC4, 0xDB) and body[:4] != b"ICC_":
            for changed in insertions(body):
                yield data[:start] + c.segment(kind, changed) + data[start + 4 + len(body) :]
    tables = [
        c.segment(0xDB, b"\3" + MARKER * 5 + bytes(4)),
        c.segment(0xC4, b"\x13" + bytes(7) + b"\x0c" + bytes(8) + MARKER),
        c.segment(0xC4, b"\x10" + bytes(7) + b"\x0c" + bytes(8) + MARKER),
    ]
    profile = c.segment(0xE2, b"ICC_PROFILE\0\1\1" + MARKER * 20)
    others = [c.segment(kind, MARKER) for kind in range(0xC0, 0xFF)]
    # A quantization table is part of the picture, unless a later table replaces it before the scans.
    superseded = c.segment(0xDB, b"\0" + MARKER * 5 + bytes(4))
    last = max(at for at, (kind, body) in zip(starts, header, strict=False) if (kind, body[0]) == (0xDB, 0))
    for start in starts:
        if start <= last:
            yield data[:start] + superseded + data[start:]
        for piece in (*tables, profile, *others, b"\xff\xd0" + MARKER, b"\xff\xfe\0\0" + MARKER):
            yield data[:start] + piece + data[start:]
    ends = [
        at for at in range(starts[-1] + 1, len(data)) if data[at] == 0xFF and data[at + 1] not in (0, 0xFF)
    ]
    for end in ends:
        for content in (MARKER, MARKER * 100, MARKER + bytes(20), b"\xff\0" * 9 + MARKER):
            yield data[:end] + content + data[end:]


def in_webp(data: bytes) -> Iterator[bytes]:
    """The marker in every chunk, in chunks of every type in every place, and after every bitstream."""
    chunks = c.riff_chunks_of(data)
    for number, (kind, body) in enumerate(chunks):
        places = range(len(body) + 1) if kind in (b"VP8X", b"ANIM", b"EXIF", b"XMP ") else (len(body),)
        for at in places:
            for content in (MARKER, MARKER + b"\0", MARKER * 100):
                changed = body[:at] + content + body[at:]
                yield c.riff_of([*chunks[:number], (kind, changed), *chunks[number + 1 :]])
        if kind == b"ANMF":
            yield from in_frame(chunks, number)
    for kind in (b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L", b"VP8X", b"EXIF", b"XMP ", b"junk"):
        for number in range(len(chunks) + 1):
            for content in (MARKER, MARKER * 30, bytes(6) + MARKER):
                yield c.riff_of([*chunks[:number], (kind, content), *chunks[number:]])


def in_frame(chunks: Chunks, number: int) -> Iterator[bytes]:
    """The marker after each bitstream in a frame."""
    header, parts = chunks[number][1][:16], c.riff_chunks_of(bytes(12) + chunks[number][1][16:])
    for at, (kind, body) in enumerate(parts):
        changed = c.riff_of([*parts[:at], (kind, body + MARKER * 2), *parts[at + 1 :]])[12:]
        yield c.riff_of([*chunks[:number], (b"ANMF", header + changed), *chunks[number + 1 :]])


def translucent(width: int, height: int) -> Image.Image:
    image = picture(width, height, "RGBA")
    image.putalpha(Image.radial_gradient("L").resize((width, height)))
    return image


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
    "jpeg": (c.jpeg_with(c.app1_exif(c.exif(6)), c.app2_profile(ICC), data=jpeg(20, 12)), in_jpeg),
    "progressive jpeg": (jpeg(20, 12, progressive=True), in_jpeg),
    "jpeg with restart markers": (encoded(picture(20, 12), "JPEG", restart_marker_blocks=1), in_jpeg),
    "webp": (webp(20, 12, exif=b"Exif\0\0" + c.exif(6), icc_profile=ICC), in_webp),
    "lossless webp": (webp(20, 12, lossless=True), in_webp),
    "webp with alpha": (encoded(translucent(20, 12), "WEBP"), in_webp),
    "animated webp": (animation("WEBP", frames=2, width=20, height=12), in_webp),
}


def served(data: bytes) -> bytes | None:
    """Returns the stored version of a file; None if the file is refused."""
    upload = upload_of(data)
    if not hasattr(upload, "image_type"):
        return None
    try:
        for check in PICTURE_CHECKS:
            check(upload, Limits())
    except Rejected:
        return None
    return upload.structure.stripped


def outside_picture(stored: bytes) -> bytes:
    """A JPEG or WebP without its coded pictures, the tables that decode them and profile contents."""
    if stored.startswith(b"\xff\xd8"):
        segments = c.segments_of(stored)
        return b"\0".join(
            body[:14] if body[:12] == b"ICC_PROFILE\0" else body
            for kind, body in segments
            if kind not in (0xC4, 0xDB)
        )
    headers = {b"VP8 ": 0, b"VP8L": 0, b"ALPH": 0, b"ICCP": 0, b"ANMF": 16}
    return b"\0".join(kind + body[: headers.get(kind, len(body))] for kind, body in c.riff_chunks_of(stored))


def contents(stored: bytes, *, whole: bool) -> Iterator[bytes]:
    """Returns the parts of a stored file that must not contain the marker, compressed ones inflated too.

    The contents of a real colour profile are left out. The coded picture of a JPEG or WebP is included only
    with ``whole``: a decoder reads the bytes in the middle of it.
    """
    if not stored.startswith(b"\x89PNG"):
        yield stored if whole else outside_picture(stored)
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
    """Returns the contents of a zlib stream, which must end where its chunks end."""
    inflate = zlib.decompressobj()
    content = inflate.decompress(stream)
    assert inflate.eof
    assert not inflate.unused_data
    return content


@pytest.mark.parametrize("name", SAMPLES)
def test_a_marker_at_any_place_is_not_served(name: str) -> None:
    data, variants = SAMPLES[name]
    assert served(data)
    accepted = 0
    every = [(variant, False) for variant in unrepaired(data, STEPS.get(name, 1))] + [
        (variant, True) for variant in variants(data)
    ]
    for variant, whole in every:
        stored = served(variant)
        if stored is not None:
            accepted += 1
            assert not any(MARKER in content for content in contents(stored, whole=whole)), variant
    assert accepted > len(MARKER)  # some files with the marker are accepted
