"""The tags of ICC profiles on which LittleCMS spends far more than their size.

Section numbers are those of ICC.1:2022.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Final

_HEADER: Final = 128
_TAG: Final = 12  # signature, offset and size (section 7.3)
#: The tags of multiProcessElementsType (section 10.16): DToB0 to DToB3 and BToD0 to BToD3. The elements of a
#: tag can overlap, so 8 bytes can stand for a table of any size: 500,000 of them take minutes and gigabytes.
_ELEMENTS: Final = re.compile(rb"(?:D2B|B2D)[0-3]")

#: lut16Type and lut8Type (sections 10.10 and 10.11), and lutAToBType and lutBToAType (10.12 and 10.13).
_EQUAL_WIDTHS: Final = (b"mft2", b"mft1")
_OWN_WIDTHS: Final = (b"mAB ", b"mBA ")
#: The bytes that tell the size of the table: in the tag, and where its table starts.
_LUT_HEADER: Final = 28
_WIDTHS: Final = 16


def bounded(profile: bytes) -> bytes | None:
    """Returns a profile for the same conversion whose tables take memory in proportion to its size.

    The tags of ``_ELEMENTS`` get names that LittleCMS ignores. It prefers them to the tags for the same
    conversion that Chromium reads.

    Returns:
        None if a table claims more entries than the profile has bytes. LittleCMS and browsers refuse such a
        profile too, but LittleCMS fills up to 512 MB with zeros before it reads the entries.
    """
    first = _HEADER + 4
    end = min(len(profile), first + _TAG * int.from_bytes(profile[_HEADER:first]))
    view = memoryview(profile)
    renamed: list[int] = []
    for at in range(first, end - _TAG + 1, _TAG):
        (offset,) = struct.unpack_from(">I", profile, at + 4)
        if _ELEMENTS.fullmatch(profile, at, at + 4):
            renamed.append(at)
        elif _entries(view[offset:]) > len(profile):
            return None
    if not renamed:
        return profile
    changed = bytearray(profile)
    for number, at in enumerate(renamed):
        changed[at : at + 4] = number.to_bytes(4)  # LittleCMS refuses a profile with the same name twice
    return bytes(changed)


def _entries(tag: memoryview) -> int:
    """The number of entries that the table of a tag claims; 0 if it has none."""
    if len(tag) < _LUT_HEADER:
        return 0
    kind, inputs, outputs, width = bytes(tag[:4]), tag[8], tag[9], tag[10]
    if kind in _EQUAL_WIDTHS:
        return outputs * int(width**inputs)
    start = int.from_bytes(tag[24:28])
    if kind not in _OWN_WIDTHS or not start:
        return 0
    widths = tag[start : start + _WIDTHS]
    return outputs * math.prod(widths[:inputs])
