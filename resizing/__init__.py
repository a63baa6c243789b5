"""A picture in another width: upright, in sRGB, without metadata, as WebP.

The stored picture is decoded at the smallest scale that suffices, resampled in bands of rows, and then
converted to sRGB, so that the conversion takes the time that the small picture needs. The first frame of an
animation stands for all of them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Final

from PIL import Image

from errors import DomainError
from resizing import jpeg, png, webp
from resizing.colors import in_srgb
from resizing.pixels import Decoded, Outline, resampling_memory, scaled
from validators.base import Limits, Rejected
from validators.containers.jpeg import JpegStructure, read_jpeg
from validators.containers.png import PngStructure, read_png
from validators.containers.structure import Structure
from validators.containers.webp import WebpStructure, read_webp

QUALITY: Final = 80
#: The effort of libwebp's encoder, 0 to 6: see docs/performance.md "Sizes".
EFFORT: Final = 4
#: The most pixels that a side of a WebP has: RFC 6386 section 9.1.
MAX_SIDE: Final = 16_383
#: The most columns of a picture that has sizes: those of the widest JPEG. A few rows of a wider picture take
#: more memory than all of a usual one, and Pillow decodes no row of 256 MB.
MAX_WIDTH: Final = 65_535

# The files were accepted under the limits of that time, so the current limits do not apply.
_ANY: Final = 2**62
_NO_LIMITS: Final = Limits(
    max_pixels=_ANY, max_decode_bytes=_ANY, max_jpeg_scans=_ANY, max_chunks=_ANY, keep_metadata="none"
)

# The validators have judged the dimensions by the setting MAX_IMAGE_PIXELS, so Pillow's own limit is off.
Image.MAX_IMAGE_PIXELS = None

_READERS: Final[tuple[tuple[bytes, Callable[[bytes, Limits], Structure]], ...]] = (
    (b"\xff\xd8", read_jpeg),
    (b"\x89PNG", read_png),
    (b"RIFF", read_webp),
)

#: What turns a picture upright, by its orientation: Exif (CIPA DC-008) section 4.6.5.1.6.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: The most bytes of memory that the encoder takes for a pixel, and for its alpha channel. The memory depends
#: on the content: noise takes the most.
_ENCODER_BYTES: Final = 28
_ALPHA_ENCODER_BYTES: Final = 20
#: The same for the conversion to sRGB: copies in different modes.
_CONVERTER_BYTES: Final = 20
#: LittleCMS expands the tables of a profile; 8-bit tables grow to ten times their size.
_PROFILE_COPIES: Final = 12
#: The same for every picture: tables, a colour conversion, and loaded pages of code.
_FIXED_BYTES: Final = 6 << 20


class NotResizable(DomainError):
    """The file is not a picture that can be read, or it has no size of this width."""

    code = "not_resizable"
    message = "Image can't be resized"


def sizes_of(width: int, height: int, widths: Iterable[int]) -> list[tuple[int, int]]:
    """The width and height, in pixels, of each size that a picture has, in ascending order.

    Args:
        width, height: the dimensions of the picture as a viewer sees it, in pixels.
        widths: the widths that a size may have. Widths that are not smaller than the picture's are left out,
            and so are those at which the picture is too tall for a WebP. A picture of more than ``MAX_WIDTH``
            columns has no sizes.
    """
    if width > MAX_WIDTH:
        return []
    sizes = [(narrow, max(1, round(height * narrow / width))) for narrow in sorted(set(widths))]
    return [size for size in sizes if 0 < size[0] < width and max(size) <= MAX_SIDE]


def memory(data: bytes, width: int) -> int:
    """An upper bound of the bytes of memory that ``resize`` takes, besides ``data`` itself.

    Raises:
        NotResizable: see ``resize``.
    """
    structure = _read(data)
    size = _stored_size(structure, width)
    try:
        decoded = _outline(structure, data, size)
    except (OSError, SyntaxError, ValueError) as error:
        raise NotResizable(f"the decoder fails: {error}") from error
    # The stages follow each other, and each one frees all its memory except the picture.
    resampling = decoded.memory + resampling_memory(decoded.size, size)
    conversion = _CONVERTER_BYTES * size[0] * size[1] + _PROFILE_COPIES * decoded.profile_bytes
    encoding = encoding_memory(*size, has_alpha=decoded.has_alpha)
    return len(data) + max(resampling + _FIXED_BYTES, conversion + _FIXED_BYTES, encoding)


def encoding_memory(width: int, height: int, *, has_alpha: bool) -> int:
    """An upper bound of the bytes of memory that the encoder takes for a size of ``width`` × ``height``."""
    return width * height * (_ENCODER_BYTES + (_ALPHA_ENCODER_BYTES if has_alpha else 0)) + _FIXED_BYTES


def resize(data: bytes, width: int) -> bytes:
    """Makes a picture that is ``width`` pixels wide from a stored one.

    Args:
        data: a PNG, JPEG or WebP that the validators have accepted.
        width: in pixels; one of ``sizes_of``.

    Returns:
        A WebP file; its height is that of ``sizes_of``.

    Raises:
        NotResizable: the file can't be decoded, or has no size of this width.
        MemoryError: there is not enough memory.
    """
    structure = _read(data)
    picture = in_srgb(*_scaled(structure, data, _stored_size(structure, width)))
    if structure.orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[structure.orientation])
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=QUALITY, method=EFFORT)
    return file.getvalue()


def _read(data: bytes) -> Structure:
    """Raises NotResizable if the file is malformed."""
    for signature, read in _READERS:
        if data.startswith(signature):
            try:
                return read(data, _NO_LIMITS)
            except Rejected as error:
                raise NotResizable(f"malformed: {error}") from error
    raise NotResizable("neither PNG, JPEG nor WebP")


def _stored_size(structure: Structure, width: int) -> tuple[int, int]:
    """The size of the result before it is turned upright. Raises NotResizable if there is no such size."""
    for narrow, low in sizes_of(*structure.display_size, [width]):
        is_turned = structure.display_size != (structure.width, structure.height)
        return (low, narrow) if is_turned else (narrow, low)
    raise NotResizable(f"a picture of {structure.display_size} pixels has no size of width {width}")


def _outline(structure: Structure, data: bytes, size: tuple[int, int]) -> Outline:
    match structure:
        case JpegStructure():
            return jpeg.outline(structure, size)
        case PngStructure():
            return png.outline(structure)
        case WebpStructure():
            return webp.outline(structure, data, size)
    raise TypeError(structure)


def _decoded(structure: Structure, data: bytes, size: tuple[int, int]) -> Decoded:
    match structure:
        case JpegStructure():
            return jpeg.decoded_jpeg(structure, size)
        case PngStructure():
            return png.decoded_png(structure)
        case WebpStructure():
            return webp.decoded_webp(structure, data, size)
    raise TypeError(structure)


def _scaled(structure: Structure, data: bytes, size: tuple[int, int]) -> tuple[Image.Image, bytes | None]:
    """The picture in another size, and its profile. What was decoded is freed when this returns.

    Raises:
        NotResizable: the decoder refuses the file.
    """
    try:
        decoded = _decoded(structure, data, size)
        return scaled(decoded.rows, decoded.extent, size), decoded.profile
    except (OSError, SyntaxError, ValueError) as error:
        raise NotResizable(f"the decoder fails: {error}") from error
