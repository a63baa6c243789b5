"""Decodes the first picture of a WebP, at the smallest scale that suffices.

Pillow decodes to the full size, keeps two canvases of four channels, and returns a copy. Its extension module
is linked with libwebp, and this module calls libwebp's public functions (``webp/decode.h``) through it, as
``validators/decoding/webp.py`` does.
"""

from __future__ import annotations

import ctypes
from typing import Final

from PIL import _webp

from resizing.pixels import Decoded, Outline, Placed, Rows, Samples
from validators.containers.webp import CodedPicture, WebpStructure
from validators.containers.webp_chunks import ALPHA, LOSSLESS, LOSSY, Chunks, encoded

#: The decoder scales a picture to this many times the wanted size: see docs/performance.md "Sizes".
_GAP: Final = 1.5

#: The version of the structures below: libwebp refuses to fill in others than its own.
_ABI_VERSION: Final = 0x0209
# VP8StatusCode
_OK: Final = 0
# WEBP_CSP_MODE: the second one is premultiplied.
_RGB: Final = 0
_RGBA: Final = 7
_ANY: Final = 2**62
_ALPHA_FLAG: Final = b"\x10\0\0\0"


def _integers(*names: str) -> list[tuple[str, type]]:
    return [(name, ctypes.c_int) for name in names]


class _Features(ctypes.Structure):
    """WebPBitstreamFeatures."""

    _fields_ = [
        *_integers("width", "height", "has_alpha", "has_animation", "format"),
        ("pad", ctypes.c_uint32 * 5),
    ]


class _Samples(ctypes.Structure):
    """WebPRGBABuffer."""

    _fields_ = [
        ("rgba", ctypes.c_void_p),
        ("stride", ctypes.c_int),
        ("size", ctypes.c_size_t),
    ]


class _Planes(ctypes.Structure):
    """WebPYUVABuffer."""

    _fields_ = [
        ("planes", ctypes.c_void_p * 4),
        ("strides", ctypes.c_int * 4),
        ("sizes", ctypes.c_size_t * 4),
    ]


class _Buffer(ctypes.Union):
    _fields_ = [("samples", _Samples), ("planes", _Planes)]


class _Output(ctypes.Structure):
    """WebPDecBuffer."""

    _fields_ = [
        *_integers("colorspace", "width", "height", "is_external_memory"),
        ("buffer", _Buffer),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    ]


class _Options(ctypes.Structure):
    """WebPDecoderOptions."""

    _fields_ = [
        *_integers("bypass_filtering", "no_fancy_upsampling"),
        *_integers("use_cropping", "crop_left", "crop_top", "crop_width", "crop_height"),
        *_integers("use_scaling", "scaled_width", "scaled_height"),
        *_integers("use_threads", "dithering_strength", "flip", "alpha_dithering_strength"),
        ("pad", ctypes.c_uint32 * 5),
    ]


class _Configuration(ctypes.Structure):
    """WebPDecoderConfig."""

    _fields_ = [
        ("input", _Features),
        ("output", _Output),
        ("options", _Options),
    ]


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(_webp.__file__)
    pointer = ctypes.POINTER(_Configuration)
    library.WebPInitDecoderConfigInternal.argtypes = [pointer, ctypes.c_int]
    library.WebPDecode.argtypes = [ctypes.c_char_p, ctypes.c_size_t, pointer]
    return library


_LIBWEBP: Final = _library()


def _decode(file: bytes, size: tuple[int, int], *, has_alpha: bool, is_scaled: bool) -> Samples:
    """Decodes a file of one picture to ``size``, which is not larger than the picture.

    Raises:
        ValueError: libwebp refuses the file, or has not enough memory.
    """
    configuration = _Configuration()
    if not _LIBWEBP.WebPInitDecoderConfigInternal(configuration, _ABI_VERSION):
        raise ValueError("libwebp has other structures")
    row = size[0] * (4 if has_alpha else 3)
    data = bytearray(row * size[1])
    buffer = (ctypes.c_char * len(data)).from_buffer(data)
    output, options = configuration.output, configuration.options
    output.colorspace = _RGBA if has_alpha else _RGB
    output.is_external_memory = 1
    samples = output.buffer.samples
    samples.rgba, samples.stride, samples.size = ctypes.addressof(buffer), row, len(data)
    options.use_scaling, options.scaled_width, options.scaled_height = int(is_scaled), *size
    status = _LIBWEBP.WebPDecode(file, len(file), configuration)
    if status != _OK:  # a damaged alpha channel has the status of a lack of memory
        raise ValueError(f"libwebp's status is {status}")
    return Samples(size, "RGBa" if has_alpha else "RGB", memoryview(data))


def _has_alpha(picture: CodedPicture, data: bytes) -> bool:
    """Whether a picture has an alpha channel (RFC 9649 section 3.4 for the lossless format)."""
    last = picture.parts[-1]
    return len(picture.parts) > 1 or (last.kind == LOSSLESS and bool(data[last.body + 4] & 0x10))


def _decoded_size(picture: CodedPicture, wanted: tuple[int, int]) -> tuple[int, int]:
    """The size to which the decoder scales a picture.

    It averages lossy pictures before it applies their alpha channel, which would show colours of transparent
    pixels, so these are not scaled.
    """
    if picture.parts[0].kind == ALPHA:
        return picture.width, picture.height
    return (
        min(picture.width, round(_GAP * wanted[0])),
        min(picture.height, max(1, round(_GAP * wanted[1]))),
    )


def _first_size(structure: WebpStructure, wanted: tuple[int, int]) -> tuple[int, int]:
    first = structure.pictures[0]
    if (first.width, first.height) == (structure.width, structure.height):
        return _decoded_size(first, wanted)
    return first.width, first.height


def outline(structure: WebpStructure, data: bytes, wanted: tuple[int, int]) -> Outline:
    """What ``decoded_webp`` returns for the same arguments."""
    first, canvas = structure.pictures[0], (structure.width, structure.height)
    size = _first_size(structure, wanted)
    has_alpha = _has_alpha(first, data)
    memory = (4 if has_alpha else 3) * size[0] * size[1] + structure.picture_bytes + len(data)
    if (first.width, first.height) != canvas:
        size, has_alpha = canvas, True
    return Outline(size, has_alpha, memory, len(_profile(data) or b""))


def decoded_webp(structure: WebpStructure, data: bytes, wanted: tuple[int, int]) -> Decoded:
    """Decodes the picture, or the first frame of the animation on its canvas, to no less than ``wanted``.

    Raises:
        ValueError: the decoder refuses the file, or has not enough memory.
    """
    first = structure.pictures[0]
    canvas = (structure.width, structure.height)
    parts = [encoded(part.kind, data[part.body : part.end]) for part in first.parts]
    if first.parts[0].kind == ALPHA:
        sides = (first.width - 1).to_bytes(3, "little") + (first.height - 1).to_bytes(3, "little")
        parts.insert(0, encoded(b"VP8X", _ALPHA_FLAG + sides))
    file = encoded(b"RIFF", b"WEBP" + b"".join(parts))
    size = _first_size(structure, wanted)
    rows: Rows = _decode(
        file, size, has_alpha=_has_alpha(first, data), is_scaled=size != (first.width, first.height)
    )
    if (first.width, first.height) == canvas:
        canvas = size
    else:
        left, top = (2 * int.from_bytes((first.frame or b"")[at : at + 3], "little") for at in (0, 3))
        rows = Placed(rows, canvas, left, top)
    return Decoded(rows, canvas, _profile(data))


def _profile(data: bytes) -> bytes | None:
    """The profile in a WebP, which precedes its pictures (RFC 9649 section 2.7)."""
    for chunk in Chunks(data, _ANY).between(12, len(data)):
        if chunk.kind == b"ICCP":
            return data[chunk.body : chunk.end]
        if chunk.kind in {LOSSY, LOSSLESS, ALPHA, b"ANMF"}:
            break
    return None
