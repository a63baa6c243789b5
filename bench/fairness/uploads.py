"""Attacks by pictures: many, large, expensive to decode, or not sent whole."""

from __future__ import annotations

import zlib
from functools import cache

from bench.fairness.arena import Arena, noise
from bench.fairness.attack import Attack, Part, addresses, upload
from tests.carriers import png_with
from tests.lossless import every_block, header, stream
from tests.pictures import png, png_chunk, png_header

_ADDRESSES = addresses(1)


def _webp(data: bytes) -> bytes:
    """A WebP file with this VP8L chunk."""
    chunk = data + bytes(len(data) % 2)
    body = b"WEBPVP8L" + len(chunk).to_bytes(4, "little") + chunk
    return b"RIFF" + len(body).to_bytes(4, "little") + body


@cache
def huge_webp() -> bytes:
    """A few bytes that take nearly all of the decode memory."""
    return _webp(header(5400, 5400) + stream(5400, 5400))


def webp_of_groups() -> bytes:
    """A WebP of 1024 × 1024 with 65,536 prefix-code groups, which take 364 MB to decode."""
    return _webp(header(1024, 1024) + stream(1024, 1024, every_block(1024, 1024)))


def interlaced_png() -> bytes:
    """An interlaced PNG of 16 bits a sample that takes long to inflate for its size."""
    width, height = 4000, 2500
    rows = bytearray()
    for left, top, across, down in (
        *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
        *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
    ):
        columns, lines = -(-(width - left) // across), -(-(height - top) // down)
        rows += (b"\0" + bytes(range(256)) * (6 * columns // 256 + 1))[: 6 * columns + 1] * lines
    data = zlib.compress(bytes(rows), 1)
    start = png_header(width, height, depth=16, interlace=1)
    return start + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def png_of_profiles() -> bytes:
    """A PNG of 5 MB with 1,276 colour profiles, each of which inflates to 4 MB."""
    profile = b"icc\0\0" + zlib.compress(bytes(4_030_000), 9)
    return png_with(png(), *[(b"iCCP", profile)] * 1276)


def huge_webps(arena: Arena) -> Attack:
    request = upload(arena.attacker.key, arena.product, huge_webp())
    return Attack("450 uploads of a WebP that decodes to 5400 × 5400", [Part(450, [request], _ADDRESSES)])


def hang_ups(arena: Arena) -> Attack:
    request = upload(arena.attacker.key, arena.product, huge_webp())
    return Attack("the same, hung up at once", [Part(100, [request], _ADDRESSES, then="hang up", pause=0.05)])


def prefix_codes(arena: Arena) -> Attack:
    request = upload(arena.attacker.key, arena.product, webp_of_groups())
    return Attack("24 uploads of a WebP with 65,536 prefix-code groups", [Part(24, [request], _ADDRESSES)])


def interlaced_pngs(arena: Arena) -> Attack:
    request = upload(arena.attacker.key, arena.product, interlaced_png())
    return Attack("24 uploads of an interlaced 16-bit PNG", [Part(24, [request], _ADDRESSES)])


def profiles(arena: Arena) -> Attack:
    request = upload(arena.attacker.key, arena.product, png_of_profiles())
    return Attack("24 uploads of a PNG with 1,276 colour profiles", [Part(24, [request], _ADDRESSES)])


def unfinished_uploads(arena: Arena) -> Attack:
    request = upload(arena.attacker.key, arena.product, noise())[:-1000]
    return Attack("198 uploads of 4 MB that are not finished", [Part(198, [request], _ADDRESSES, pause=5)])


ATTACKS = (huge_webps, hang_ups, prefix_codes, interlaced_pngs, profiles, unfinished_uploads)
