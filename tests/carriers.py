"""Builders of metadata (Exif, XMP, IPTC and others), and of files that contain it.

The metadata contains words of ``SECRETS``; a test checks that no stored file contains one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from tests.pictures import jpeg, png_chunk

SERIAL = b"SERIAL-9281736455"
ARTIST = b"Private Photographer"
COMMENT = b"a secret remark"
SCRIPT = b"<?php system($_GET['c']); ?>"
THUMBNAIL = jpeg(16, 12)
SECRETS = (SERIAL, ARTIST, COMMENT, SCRIPT, THUMBNAIL, b"GPSLatitude", b"52,30.1234N")

_ASCII, _SHORT, _LONG, _RATIONAL = 2, 3, 4, 5


def _directory(entries: list[tuple[int, int, int, bytes]], offset: int, following: int = 0) -> bytes:
    """A TIFF directory at ``offset``, followed by the values that do not fit into its entries."""
    values = b""
    body = struct.pack(">H", len(entries))
    behind = offset + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) <= 4:
            field = value.ljust(4, b"\0")
        else:
            field = struct.pack(">I", behind + len(values))
            values += value + b"\0" * (len(value) % 2)
        body += struct.pack(">HHI", tag, kind, count) + field
    return body + struct.pack(">I", following) + values


def _short(value: int) -> bytes:
    return struct.pack(">H", value)


def exif(orientation: int | None = None, *, gps: bool = True, thumbnail: bool = True) -> bytes:
    """An Exif block that starts with its TIFF header: artist, serial number, place and thumbnail."""
    entries = [(0x013B, _ASCII, len(ARTIST) + 1, ARTIST + b"\0")]
    if orientation is not None:
        entries.append((0x0112, _SHORT, 1, _short(orientation)))
    pointers = 2 if gps else 1
    size = 2 + 12 * (len(entries) + pointers) + 4 + len(ARTIST) + 2
    serial = _directory([(0xA431, _ASCII, len(SERIAL) + 1, SERIAL + b"\0")], 8 + size)
    entries.append((0x8769, _LONG, 1, struct.pack(">I", 8 + size)))
    place = b""
    if gps:
        offset = 8 + size + len(serial)
        entries.append((0x8825, _LONG, 1, struct.pack(">I", offset)))
        degrees = struct.pack(">6I", 52, 1, 30, 1, 1234, 100)
        place = _directory(
            [
                (1, _ASCII, 2, b"N\0"),
                (2, _RATIONAL, 3, degrees),
                (3, _ASCII, 2, b"E\0"),
                (4, _RATIONAL, 3, degrees),
            ],
            offset,
        )
    second = 8 + size + len(serial) + len(place)
    main = _directory(sorted(entries), 8, second if thumbnail else 0).ljust(size, b"\0")
    preview = b""
    if thumbnail:
        tags = [(0x0201, second + 2 + 24 + 4), (0x0202, len(THUMBNAIL))]
        preview = _directory([(tag, _LONG, 1, struct.pack(">I", value)) for tag, value in tags], second)
        preview += THUMBNAIL
    return b"MM\0*" + struct.pack(">I", 8) + main + serial + place + preview


def exif_density(
    size: tuple[int, int],
    resolution: tuple[int, int] = (144, 1),
    orientation: int = 1,
    *,
    unit: int = 2,
    size_type: int = _LONG,
) -> bytes:
    """An Exif block with an artist, a resolution (numerator, denominator) and a stated size in pixels."""
    ratio = struct.pack(">II", *resolution)
    entries = [
        (0x0112, _SHORT, 1, _short(orientation)),
        (0x011A, _RATIONAL, 1, ratio),
        (0x011B, _RATIONAL, 1, ratio),
        (0x0128, _SHORT, 1, _short(unit)),
        (0x013B, _ASCII, len(ARTIST) + 1, ARTIST + b"\0"),
    ]
    following = 8 + len(_directory([*entries, (0x8769, _LONG, 1, bytes(4))], 8))
    main = _directory([*entries, (0x8769, _LONG, 1, struct.pack(">I", following))], 8)
    pack = ">I" if size_type == _LONG else ">H"
    sides = zip((0xA002, 0xA003), size, strict=True)
    sub = _directory([(tag, size_type, 1, struct.pack(pack, side)) for tag, side in sides], following)
    return b"MM\0*" + struct.pack(">I", 8) + main + sub


def xmp() -> bytes:
    """An XMP packet with a place and a serial number."""
    return (
        b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" '
        b'exif:GPSLatitude="52,30.1234N" aux:SerialNumber="' + SERIAL + b'"/></rdf:RDF></x:xmpmeta>'
        b'<?xpacket end="w"?>'
    )


def source_xmp(term: str) -> bytes:
    """A packet that says how a picture was made, and a serial number."""
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" '
        b'xmlns:e="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        b'aux:SerialNumber="'
        + SERIAL
        + b'" e:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/'
        + term.encode()
        + b'"/></rdf:RDF></x:xmpmeta>'
    )


def iptc() -> bytes:
    """A Photoshop image resource with an IPTC-IIM record, a by-line."""
    record = b"\x1c\x02\x50" + struct.pack(">H", len(ARTIST)) + ARTIST
    return b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0"


def profile(size: int = 3000) -> bytes:
    """A colour profile of ``size`` bytes (132 or more), with one private tag whose data does not repeat."""
    body = b"".join(zlib.crc32(number.to_bytes(4)).to_bytes(4) for number in range(size // 4))
    tags = struct.pack(">I4sII", 1, b"prVt", 144, size - 144) if size >= 144 else bytes(4)
    header = struct.pack(">I", size) + bytes(32) + b"acsp" + bytes(88)
    return (header + tags + body)[:size]


def profile_with_tag(icc: bytes, name: bytes, data: bytes) -> bytes:
    """A profile with a further tag, the last of its table."""
    count = int.from_bytes(icc[128:132])
    end = 132 + 12 * count
    table = b"".join(
        tag + struct.pack(">II", offset + 12, size)
        for tag, offset, size in struct.iter_unpack(">4sII", icc[132:end])
    )
    size = len(icc) + 12 + len(data)
    table += name + struct.pack(">II", len(icc) + 12, len(data))
    return struct.pack(">I", size) + icc[4:128] + struct.pack(">I", count + 1) + table + icc[end:] + data


# --- JPEG


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def app1_exif(block: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + block)


def app1_xmp(packet: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)


def app1_extended_xmp(packet: bytes) -> bytes:
    header = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", len(packet), 0)
    return segment(0xE1, header + packet)


def app2_profile(icc: bytes, part: int = 60_000) -> bytes:
    """A colour profile, divided into segments of at most ``part`` bytes of it."""
    parts = [icc[at : at + part] for at in range(0, len(icc), part)]
    return b"".join(
        segment(0xE2, b"ICC_PROFILE\0" + bytes((number, len(parts))) + piece)
        for number, piece in enumerate(parts, 1)
    )


def jfxx() -> bytes:
    return segment(0xE0, b"JFXX\0\x10" + THUMBNAIL)


def jfif_with_thumbnail() -> bytes:
    return segment(0xE0, b"JFIF\0\x01\x02\x01\0\x48\0\x48\x04\x04" + COMMENT.ljust(48, b"."))


def jpeg_with(*segments: bytes, data: bytes | None = None, tail: bytes = b"") -> bytes:
    """A JPEG with further segments after its JFIF header, and ``tail`` after its end marker."""
    data = jpeg() if data is None else data
    header = 4 + int.from_bytes(data[4:6]) - 2 + 2 if data[2:4] == b"\xff\xe0" else 2
    return data[:header] + b"".join(segments) + data[header:] + tail


def segments_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The markers and bodies of a JPEG's segments before the first scan."""
    position = 2
    while data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
        yield data[position + 1], data[position + 4 : end]
        position = end


# --- PNG


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """The types and bodies of a PNG's chunks."""
    chunks, position = [], 8
    while position < len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4])
        chunks.append((data[position + 4 : position + 8], data[position + 8 : end - 4]))
        position = end
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


def png_with(data: bytes, *extra: tuple[bytes, bytes], before: bytes = b"IDAT") -> bytes:
    """A PNG with further chunks before its first chunk of the type ``before``."""
    chunks = chunks_of(data)
    index = next(number for number, (kind, _) in enumerate(chunks) if kind == before)
    return png_of([*chunks[:index], *extra, *chunks[index:]])


def zlib_of_zeros(count: int, after: bytes = b"") -> bytes:
    """A zlib stream of ``after`` and so many zeros. Most are in copies of one block, which saves time."""
    size = 1 << 20
    compress = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = compress.compress(after) + compress.flush(zlib.Z_FULL_FLUSH)
    block = compress.compress(bytes(size)) + compress.flush(zlib.Z_FULL_FLUSH)
    last = compress.compress(bytes(count % size)) + compress.flush()
    # Adler-32, whose lower sum zeros leave as it is: RFC 1950 section 8.2.
    upper, lower = divmod(zlib.adler32(after), 1 << 16)
    checksum = (upper + count * lower) % 65_521 << 16 | lower
    return b"\x78\xda" + first + block * (count // size) + last + struct.pack(">I", checksum)


def iccp(icc: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"profile\0\0" + zlib.compress(icc)


def raw_profile(name: bytes, content: bytes) -> tuple[bytes, bytes]:
    """A textual chunk as ImageMagick writes Exif, XMP and IPTC: in hexadecimal."""
    text = b"\n" + name + b"\n%8d\n" % len(content) + content.hex().encode() + b"\n"
    return b"zTXt", b"Raw profile type " + name + b"\0\0" + zlib.compress(text)


def text(keyword: bytes, content: bytes) -> tuple[bytes, bytes]:
    return b"tEXt", keyword + b"\0" + content


def international_text(keyword: bytes, content: bytes) -> tuple[bytes, bytes]:
    return b"iTXt", keyword + b"\0\0\0\0\0" + content


def compressed_text(keyword: bytes, content: bytes) -> tuple[bytes, bytes]:
    return b"iTXt", keyword + b"\0\1\0en\0\0" + zlib.compress(content)


# --- WebP

Chunk = tuple[bytes, bytes]


def riff_of(chunks: list[Chunk]) -> bytes:
    """A WebP of these chunks."""
    body = b"".join(
        kind + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)
        for kind, payload in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def riff_chunks_of(data: bytes) -> list[Chunk]:
    chunks, position = [], 12
    while position < len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        chunks.append((data[position : position + 4], data[position + 8 : position + 8 + size]))
        position += 8 + size + size % 2
    return chunks


def extended(width: int, height: int, flags: int, *chunks: Chunk) -> bytes:
    """A WebP in the extended format: RFC 9649 section 2.7."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return riff_of([(b"VP8X", bytes((flags, 0, 0, 0)) + canvas), *chunks])
