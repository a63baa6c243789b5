"""Colour profiles: which parts of one are stored.

Sources: ICC.1:2022 section 7 (profile structure); Apple's ``mmod`` tag, which the ICC's registry of
private tags lists; ICCSpecial "dictType and metadataTag", which defines ``meta``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_HEADER: Final = 128
_SIGNATURE: Final = b"acsp"
_PROFILE_ID: Final = slice(84, 100)
_TAG: Final = 12
#: Type signature and reserved bytes at the start of the data of every tag.
_TYPE_HEADER: Final = 8
#: Profiles have 10 to 40 tags; the bound keeps the search for overlaps short.
_MAX_TAGS: Final = 1000
_MODEL_TAG: Final = b"mmod"
_DICTIONARY_TAG: Final = b"meta"
#: Keys of a dictionary that name a single device: the serial number, and the id that contains it.
_DEVICE_KEYS: Final = tuple(key.encode("utf-16-be") for key in ("EDID_", "MAPPING_device_id"))


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as it is stored.

    Attributes:
        data: the bytes; the same object that was read if nothing is changed.
        removed: names of the kinds of metadata that ``data`` lacks.
    """

    data: bytes
    removed: frozenset[str] = frozenset()


def read_profile(data: bytes) -> Profile | None:
    """Reads a profile as browsers do, and removes what identifies a display.

    A profile has a size in its first four bytes that is not larger than ``data``, room for its tag table,
    and ``acsp`` at offset 36 (section 7.2). Bytes after its declared size belong to no profile and are cut
    off.

    The data of ``mmod`` (make, model, serial number and date of a display) becomes zeros, and so does that
    of a ``meta`` dictionary with keys of a device. Neither takes part in colour conversion.

    Returns:
        None if the bytes are not a profile that browsers use.
    """
    if len(data) < _HEADER + 4 or data[36:40] != _SIGNATURE:
        return None
    size, tags = int.from_bytes(data[:4]), int.from_bytes(data[_HEADER : _HEADER + 4])
    if not _HEADER + 4 + _TAG * tags <= size <= len(data) or tags > _MAX_TAGS:
        return None
    profile = Profile(data) if size == len(data) else Profile(data[:size], frozenset({"other"}))
    return _without_device(profile, tags)


#: An entry of the tag table: signature, offset and size of its data.
_Tag = tuple[bytes, int, int]


def _without_device(profile: Profile, tags: int) -> Profile:
    table_end = _HEADER + 4 + _TAG * tags
    table = list(struct.iter_unpack(">4sII", profile.data[_HEADER + 4 : table_end]))
    blank = list(_device_spans(profile.data, table, table_end))
    if not blank:
        return profile
    data = bytearray(profile.data)
    for start, end in blank:
        data[start:end] = bytes(end - start)
    # Zeros say that no identifier is computed (section 7.2.18); the old one no longer fits.
    data[_PROFILE_ID] = bytes(16)
    return Profile(bytes(data), profile.removed | {"display-serial"})


def _device_spans(data: bytes, table: Sequence[_Tag], first: int) -> Iterator[tuple[int, int]]:
    """Spans to blank: what follows the type header of a tag that identifies a device.

    Data that the tag shares with another tag stays, since the other tag can take part in the colours. A
    span that is blank already is not returned.
    """
    for name in (_MODEL_TAG, _DICTIONARY_TAG):
        entry = next((entry for entry in table if entry[0] == name), None)
        if entry is None:
            continue
        _, start, size = entry
        end = min(start + size, len(data))
        body = data[start + _TYPE_HEADER : end]
        shared = any(other is not entry and other[1] < end and start < other[1] + other[2] for other in table)
        identifies = name == _MODEL_TAG or any(key in body for key in _DEVICE_KEYS)
        if start >= first and identifies and not shared and body.strip(b"\0"):
            yield start + _TYPE_HEADER, end


def inflate_profile(stream: bytes | memoryview, max_bytes: int) -> tuple[bytes, bool]:
    """Inflates the zlib stream of an iCCP chunk, up to ``max_bytes`` bytes.

    Browsers use a profile that inflates whole even if the stream's checksum is missing or wrong, or bytes
    follow the stream.

    Returns:
        What the stream holds, at most ``max_bytes`` of it, and whether the chunk holds this and nothing
        else: the stream ends with its checksum, and exactly where the chunk ends. Empty bytes if the
        compressed data is damaged.
    """
    for wbits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        inflate = zlib.decompressobj(wbits)
        # Without its two bytes of header, the stream inflates whatever its checksum (RFC 1950).
        compressed = stream if wbits > 0 else stream[2:]
        try:
            profile = inflate.decompress(compressed, max_bytes + 1)
        except zlib.error:
            continue
        clean = wbits > 0 and inflate.eof and not inflate.unused_data and len(profile) <= max_bytes
        return profile[:max_bytes], clean
    return b"", False
