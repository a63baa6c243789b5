"""Decodes a JPEG at the smallest scale that suffices.

libjpeg decodes at any multiple of 1/8, and leaves out what the scale does not show. Pillow offers 1, 1/2, 1/4
and 1/8 only, so the decoder is called through simplejpeg.
"""

from __future__ import annotations

import io
from typing import Final

import simplejpeg
from PIL import Image

from resizing.pixels import Decoded, Outline, Samples
from validators.containers.jpeg import JpegStructure

_EIGHTHS: Final = 8
_MODES: Final = {1: ("L", "GRAY"), 3: ("RGB", "RGB"), 4: ("CMYK", "CMYK")}
#: The bytes of memory for a column of the picture, which the decoder's rows of all components take.
_COLUMN_BYTES: Final = 256

_SOS, _APP0, _APP14 = 0xDA, 0xE0, 0xEE
#: Where a segment has the version of JFIF (ITU-T T.871 section 10.1), and the colour conversion of Adobe
#: (T.872 section 6.5.3), from the start of its marker.
_VERSION, _TRANSFORM = 9, 15
#: The colour conversion besides none that decoders know, by the number of components. They take it for any
#: unknown one.
_TRANSFORMS: Final = {3: 1, 4: 2}


def _eighths(structure: JpegStructure, size: tuple[int, int]) -> int:
    """The smallest number of eighths of its size at which the picture is not smaller than ``size``."""
    for eighths in range(1, _EIGHTHS):
        if all(
            _part(side, eighths) >= wanted
            for side, wanted in zip((structure.width, structure.height), size, strict=True)
        ):
            return eighths
    return _EIGHTHS


def _part(side: int, eighths: int) -> int:
    return -(-side * eighths // _EIGHTHS)


def _profile(structure: JpegStructure) -> bytes | None:
    """The profile in the segments of a JPEG.

    Raises:
        OSError, SyntaxError, ValueError: Pillow does not read the segments.
    """
    with Image.open(io.BytesIO(structure.stripped), formats=["JPEG"]) as image:  # decodes nothing
        profile: bytes | None = image.info.get("icc_profile")
    return profile


def _readable(structure: JpegStructure) -> bytes:
    """The file with a version of JFIF and a colour conversion that decoders know.

    Others are shown like these, but simplejpeg takes a warning about the header for an error.
    """
    file = structure.stripped
    transform = _TRANSFORMS.get(structure.components, 0)
    changed: dict[int, int] = {}
    at = 2
    while file[at + 1] != _SOS:
        if file[at + 1] == _APP0 and file[at + _VERSION] != 1:
            changed[at + _VERSION] = 1
        elif file[at + 1] == _APP14 and file[at + _TRANSFORM] not in (0, transform):
            changed[at + _TRANSFORM] = transform
        at += 2 + int.from_bytes(file[at + 2 : at + 4])
    if not changed:
        return file
    readable = bytearray(file)
    for place, value in changed.items():
        readable[place] = value
    return bytes(readable)


def outline(structure: JpegStructure, size: tuple[int, int]) -> Outline:
    """What ``decoded_jpeg`` returns for the same arguments."""
    eighths = _eighths(structure, size)
    decoded = _part(structure.width, eighths), _part(structure.height, eighths)
    coefficients = 0 if structure.decoded_in_one_pass else structure.coefficient_bytes
    columns = structure.components * _COLUMN_BYTES * structure.width
    memory = structure.components * decoded[0] * decoded[1] + coefficients + columns
    return Outline(decoded, has_alpha=False, memory=memory, profile_bytes=len(_profile(structure) or b""))


def decoded_jpeg(structure: JpegStructure, size: tuple[int, int]) -> Decoded:
    """Decodes a picture to a size that is not smaller than ``size``.

    Raises:
        ValueError, OSError, SyntaxError: the decoder refuses the file.
    """
    mode, name = _MODES[structure.components]
    eighths = _eighths(structure, size)
    wanted = (_part(structure.width, eighths), _part(structure.height, eighths))
    samples = simplejpeg.decode_jpeg(
        _readable(structure), name, min_height=wanted[1], min_width=wanted[0], strict=False
    )
    height, width = samples.shape[:2]
    extent = (structure.width * eighths / _EIGHTHS, structure.height * eighths / _EIGHTHS)
    data = memoryview(samples).cast("B")
    return Decoded(Samples((width, height), mode, data), extent, _profile(structure))
