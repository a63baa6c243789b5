"""The rights that IPTC-IIM states, in the Photoshop segments of a JPEG.

Sources: IPTC-IIM 4.2 (data sets: chapter 3, coded character set: 1:90), Adobe Photoshop File Formats
Specification, "Image Resource Blocks". The IPTC Photo Metadata Standard 2023.1 defines the corresponding XMP
properties. IIM has no data set for usage terms.

Nothing in this module raises: reading ends at the first byte that violates the formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

PHOTOSHOP: Final = b"Photoshop 3.0\0"
_RESOURCE: Final = b"8BIM"
_IPTC: Final = 0x0404
_TAG: Final = 0x1C
_HEADER: Final = 5  # tag marker, record, data set, and a length of two bytes
_CODED_CHARACTER_SET: Final = (1, 90)
_UTF8: Final = b"\x1b%G"
#: For the record and number of a data set: the XMP property, and the most bytes that IIM allows.
_PROPERTIES: Final = {
    (2, 80): ("dc:creator", 32),
    (2, 110): ("photoshop:Credit", 32),
    (2, 116): ("dc:rights", 128),
}
#: The factor by which a value may exceed that size: writers exceed it, mostly with UTF-8.
_EXCESS: Final = 8
_MAX_DATA_SETS: Final = 1000
_MAX_VALUES: Final = 10


def _resources(body: bytes) -> Iterator[bytes]:
    """The data of each resource block of IPTC-IIM."""
    at = len(PHOTOSHOP)
    while body[at : at + 4] == _RESOURCE and at + 7 <= len(body):
        # A name with its length, then the data with its length; each is padded to an even size.
        start = at + 6 + (body[at + 6] + 2) // 2 * 2
        end = start + 4 + int.from_bytes(body[start : start + 4])
        if int.from_bytes(body[at + 4 : at + 6]) == _IPTC:
            yield body[start + 4 : end]
        at = end + (end - start) % 2


def _data_sets(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    at = 0
    for _ in range(_MAX_DATA_SETS):
        if at + _HEADER > len(data) or data[at] != _TAG:
            return
        size = int.from_bytes(data[at + 3 : at + _HEADER])
        end = at + _HEADER + size
        # The highest bit marks an extended length. No value of these properties is that long.
        if size & 0x8000 or end > len(data):
            return
        yield (data[at + 1], data[at + 2]), data[at + _HEADER : end]
        at = end


def _text(value: bytes, character_set: bytes) -> str:
    """Decodes a value. Many writers use UTF-8 or Latin-1 without a character set."""
    if character_set in (b"", _UTF8):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return value.decode("latin-1")


def read_rights(body: bytes) -> dict[str, tuple[str, ...]]:
    """Returns the values in a Photoshop segment, by XMP property; ``body`` starts with the segment's name."""
    found: dict[str, tuple[str, ...]] = {}
    for data in _resources(body):
        character_set = b""
        for key, value in _data_sets(data):
            if key == _CODED_CHARACTER_SET:
                character_set = value
            name, size = _PROPERTIES.get(key, ("", 0))
            if name and len(value) <= size * _EXCESS and len(found.get(name, ())) < _MAX_VALUES:
                found[name] = (*found.get(name, ()), _text(value, character_set))
    return found
