"""A picture in another width: upright, in sRGB, without metadata, as WebP.

The stored picture is decoded at the smallest scale that suffices, resampled, and then converted to sRGB, so
that the conversion takes the time that the small picture needs. The first frame of an animation stands for
all of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from errors import DomainError
from validators.base import JPEG, PNG, WEBP, ImageType, Limits, Rejected
from validators.containers.structure import Structure
from validators.structure import read_structure

QUALITY: Final = 80
#: The effort of libwebp's encoder, 0 to 6: more than 4 takes much time and saves few bytes.
EFFORT: Final = 4
#: The most pixels that a side of a WebP has: RFC 9649 section 2.7.1.
MAX_SIDE: Final = 16_383

#: A large picture is first averaged down by a whole factor, to no less than this many times its size.
_REDUCING_GAP: Final = 2.0

# The files were accepted under the limits of their time, so those of today do not apply.
_ANY: Final = 2**62
_NO_LIMITS: Final = Limits(
    max_pixels=_ANY, max_decode_bytes=_ANY, max_jpeg_scans=_ANY, max_chunks=_ANY, keep_metadata="none"
)
Image.MAX_IMAGE_PIXELS = None
# A profile has at most as many bytes as the limit of its file allowed.
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 26

_SIGNATURES: Final = ((b"\x89PNG", PNG), (b"\xff\xd8", JPEG), (b"RIFF", WEBP))
_FORMATS: Final = {PNG: "PNG", JPEG: "JPEG", WEBP: "WEBP"}

#: What turns a picture upright, by its orientation: Exif 2.32 (CIPA DC-008) section 4.6.5.1.6.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

#: The colour spaces of profiles (ICC.1:2022 section 7.2.6) and Pillow's modes that they describe.
_PROFILE_MODES: Final = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}


class NotResizable(DomainError):
    """The file is not a picture that can be read, or it has no size of this width."""

    code = "not_resizable"
    message = "Image can't be resized"


def sizes_of(width: int, height: int, widths: Iterable[int]) -> list[tuple[int, int]]:
    """The width and height, in pixels, of each size that a picture has, in ascending order.

    Args:
        width, height: of the picture as a viewer sees it, in pixels.
        widths: those that a size may have. Widths that are not smaller than the picture's are left out, and
            those at which the picture is too tall for a WebP.
    """
    sizes = [(narrow, max(1, round(height * narrow / width))) for narrow in sorted(set(widths))]
    return [size for size in sizes if size[0] < width and max(size) <= MAX_SIDE]


def memory(data: bytes, width: int) -> int:
    """An upper bound of the bytes of memory that ``resize`` takes, besides ``data`` itself.

    Raises:
        NotResizable
    """
    structure = _read(data)[0]
    _size(structure, width)
    return structure.decode_bytes + 13 * structure.width * structure.height


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
    structure, image_type = _read(data)
    size = _size(structure, width)
    if structure.display_size != (structure.width, structure.height):
        size = (size[1], size[0])
    try:
        with Image.open(io.BytesIO(structure.stripped), formats=[_FORMATS[image_type]]) as image:
            small, profile, gamma = _decoded(image, size)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise NotResizable(f"the decoder fails: {error}") from error
    small = _in_srgb(small, profile, gamma)
    if structure.orientation in _UPRIGHT:
        small = small.transpose(_UPRIGHT[structure.orientation])
    small.info.clear()
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=EFFORT)
    return file.getvalue()


def _read(data: bytes) -> tuple[Structure, ImageType]:
    """The structure and the type of a file. Raises NotResizable."""
    for signature, image_type in _SIGNATURES:
        if data.startswith(signature):
            try:
                return read_structure(image_type, data, _NO_LIMITS), image_type
            except Rejected as error:
                raise NotResizable(f"malformed: {error}") from error
    raise NotResizable("neither PNG, JPEG nor WebP")


def _size(structure: Structure, width: int) -> tuple[int, int]:
    """The width and height of a size as a viewer sees it. Raises NotResizable if there is no such size."""
    for size in sizes_of(*structure.display_size, [width]):
        return size
    raise NotResizable(f"{structure.display_size} has no size of width {width}")


def _decoded(
    image: ImageFile.ImageFile, size: tuple[int, int]
) -> tuple[Image.Image, bytes | None, float | None]:
    """The picture in another size, its profile, and the exponent of its samples."""
    image.draft(None, size)  # None leaves the mode as it is
    image.load()
    if image.info.get("default_image"):  # of an APNG whose first frame is another picture
        image.seek(1)
        image.load()
    gamma = None if "srgb" in image.info else image.info.get("gamma")
    return _scaled(image, size), image.info.get("icc_profile"), gamma


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in another size, in a mode that has levels: a palette can't be averaged."""
    if image.mode.startswith("I;16"):
        # Pillow clips 16 bits where it should divide them; the samples are little-endian.
        image = Image.frombytes("L", image.size, image.tobytes("raw", "I;16")[1::2])
    if image.has_transparency_data:
        mode = "LA" if image.mode in {"L", "LA"} else "RGBA"
    elif image.mode in {"L", "RGB", "CMYK"}:
        mode = image.mode
    else:
        mode = "L" if image.mode == "1" else "RGB"
    if image.mode != mode:
        image = image.convert(mode)
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=_REDUCING_GAP)


def _in_srgb(image: Image.Image, profile: bytes | None, gamma: float | None) -> Image.Image:
    """The picture in sRGB, as RGB or RGBA."""
    alpha = image.getchannel("A") if image.mode in {"LA", "RGBA"} else None
    colors = image.convert("L" if image.mode == "LA" else "RGB") if alpha else image
    converted = _by_profile(colors, profile) if profile else None
    if converted is None:
        converted = colors.convert("RGB")
        if gamma and not profile:
            converted = _by_gamma(converted, gamma)
    if alpha and alpha.getextrema() != (255, 255):
        converted.putalpha(alpha)
    return converted


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture converted by its profile; None if the profile does not fit the picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _PROFILE_MODES.get(source.profile.xcolor_space)
        if mode == "RGB" and image.mode == "L":
            image = image.convert("RGB")
        if mode != image.mode:
            return None
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def _by_gamma(image: Image.Image, gamma: float) -> Image.Image:
    """The picture of a PNG whose ``gAMA`` chunk says how its samples were encoded: PNG section 11.3.2.2."""
    exponent = 1 / (gamma * 2.2)
    table = [round(255 * (level / 255) ** exponent) for level in range(256)]
    return image.point(table * 3)
