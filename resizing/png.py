"""Decodes the first picture that a PNG shows: PNG (W3C, third edition)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from PIL import Image, ImageChops

from resizing.pixels import Decoded, Outline, Placed, Rows
from resizing.profiles import Chromaticities, Curve, profile_of_code_points, rgb_profile
from validators.containers.icc import inflate_profile
from validators.containers.ihdr import COLOR_TYPES, PALETTE
from validators.containers.png import SIGNATURE, PngStructure, png_chunk

# Colour types: table 11.1.
_GREY, _COLOR = 0, 2
#: The depth of samples of two bytes.
_DEEP: Final = 16
_MAX_PROFILE: Final = 1 << 26
#: The value of a field that means 1 in gAMA and cHRM (sections 11.3.2.1 and 11.3.2.2).
_ONE: Final = 100_000
_GAMMA_OF_SRGB: Final = 45_455


@dataclass(slots=True)
class _FirstPicture:
    """The chunks that the first picture needs.

    Attributes:
        size: its width and height in pixels.
        place: the position of its upper left corner on the canvas.
        colors: the bodies of the chunks about colours, by their types.
        data: the chunks of the image data.
    """

    size: tuple[int, int]
    place: tuple[int, int] = (0, 0)
    colors: dict[bytes, bytes] = field(default_factory=dict)
    data: list[bytes | memoryview] = field(default_factory=list)

    def file(self, structure: PngStructure) -> bytes:
        """A PNG of this picture alone."""
        header = structure.header
        fields = (*self.size, header.depth, header.color, 0, 0, int(header.interlaced))
        head = [SIGNATURE, png_chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))]
        if header.color == PALETTE:
            head += [png_chunk(kind, self.colors[kind]) for kind in (b"PLTE", b"tRNS") if kind in self.colors]
        return b"".join([*head, *self.data, png_chunk(b"IEND", b"")])


def _chunks(file: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """The type, the body and the whole of each chunk of a file whose structure is known to be right."""
    view, position = memoryview(file), len(SIGNATURE)
    while position < len(file):
        end = position + 12 + int.from_bytes(view[position : position + 4])
        yield file[position + 4 : position + 8], view[position + 8 : end - 4], view[position:end]
        position = end


def _first_picture(file: bytes, canvas: tuple[int, int]) -> _FirstPicture:
    """Reads the chunks up to the end of the first picture: of the first frame, if there are frames."""
    first = _FirstPicture(canvas)
    animated, frames = False, 0
    for kind, body, chunk in _chunks(file):
        if kind == b"acTL":
            animated = True
        elif kind == b"fcTL":
            frames += 1
            if frames > 1:
                break
            width, height, left, top = struct.unpack_from(">IIII", body, 4)
            first.size, first.place = (width, height), (left, top)
        elif kind == b"IDAT":
            if frames or not animated:
                first.data.append(chunk)
        elif kind == b"fdAT":
            first.data.append(png_chunk(b"IDAT", bytes(body[4:])))
        else:
            first.colors[kind] = bytes(body)
    return first


@dataclass(frozen=True, slots=True)
class _PngRows:
    """Pillow's picture.

    Attributes:
        mode: the mode of its bands.
        image: the picture, with one sample for each pixel and channel; for samples of 16 bits, their high
            bytes.
        low: the low bytes of the samples, if a transparent colour must be compared with them.
        transparent: the samples of the one transparent colour, with their high bytes in ``image``.
    """

    mode: str
    image: Image.Image
    low: Image.Image | None = None
    transparent: tuple[int, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size

    def band(self, top: int, bottom: int) -> Image.Image:
        box = (0, top, self.image.width, bottom)
        band = self.image.crop(box)
        low = self.low.crop(box) if self.low else None
        if band.mode == "I;16":
            samples = band.tobytes("raw", "I;16")
            band, low = (Image.frombytes("L", band.size, samples[at::2]) for at in (1, 0))
        if self.transparent:
            band = self._with_alpha(band, low)
        elif band.mode in {"1", "P"}:
            band = band.convert({"L": "L", "RGB": "RGB"}.get(self.mode, "RGBA"))
        return band if band.mode == self.mode else band.convert(self.mode)

    def _with_alpha(self, band: Image.Image, low: Image.Image | None) -> Image.Image:
        """Makes the one transparent colour transparent."""
        band = band.convert("L") if band.mode == "1" else band
        others = _differing(band, [sample >> 8 if low else sample for sample in self.transparent])
        if low:
            others = ImageChops.lighter(
                others, _differing(low, [sample & 255 for sample in self.transparent])
            )
        band.putalpha(others)
        return band


def _differing(image: Image.Image, samples: list[int]) -> Image.Image:
    """255 where a pixel has other samples than these, and 0 where it has the same."""
    result = Image.new("L", image.size)
    for channel, sample in zip(image.split(), samples, strict=True):
        table = [255] * 256
        table[sample] = 0
        result = ImageChops.lighter(result, channel.point(table))
    return result


def _loaded(file: bytes, raw_mode: str | None = None) -> Image.Image:
    """Decodes a PNG; ``raw_mode`` is how the samples are read, if not as Pillow chooses."""
    with Image.open(io.BytesIO(file), formats=["PNG"]) as image:
        if raw_mode:
            image.tile = [tile._replace(args=raw_mode) for tile in image.tile]
        image.load()
    return image


def _transparent(structure: PngStructure, body: bytes) -> tuple[int, ...]:
    """The samples of the one transparent colour, as Pillow scales them (section 11.3.1.1)."""
    depth = structure.header.depth
    samples = struct.unpack(f">{COLOR_TYPES[structure.header.color][0]}H", body)
    if depth == _DEEP:
        return samples
    return tuple((sample & (1 << depth) - 1) * 255 // ((1 << depth) - 1) for sample in samples)


def _rows(structure: PngStructure, first: _FirstPicture) -> Rows:
    header, body = structure.header, first.colors.get(b"tRNS", b"")
    file = first.file(structure)
    image = _loaded(file)
    if header.color == PALETTE:
        return _PngRows("RGBa" if body else "RGB", image)
    if header.color not in {_GREY, _COLOR}:
        return _PngRows("La" if image.mode == "LA" else "RGBa", image)
    mode = "L" if header.color == _GREY else "RGB"
    if not body:
        return _PngRows(mode, image)
    low = _loaded(file, "RGB;16L") if header.color == _COLOR and header.depth == _DEEP else None
    return _PngRows(f"{mode}a", image, low, _transparent(structure, body))


def _profile(colors: dict[bytes, bytes]) -> bytes | None:
    """The profile of the samples: section 4.3 has the precedence of the chunks."""
    if (points := colors.get(b"cICP")) and (profile := profile_of_code_points(*points)):
        return profile
    if b"iCCP" in colors:
        return inflate_profile(colors[b"iCCP"].partition(b"\0")[2][1:], _MAX_PROFILE)[0]
    gamma = int.from_bytes(colors.get(b"gAMA", b""))
    # Browsers ignore cHRM without gAMA, and take the value of gAMA that goes with sRGB for sRGB.
    if b"sRGB" in colors or not gamma or (gamma == _GAMMA_OF_SRGB and b"cHRM" not in colors):
        return None
    chromaticities = None
    if b"cHRM" in colors:
        chromaticities = Chromaticities(*(field / _ONE for field in struct.unpack(">8I", colors[b"cHRM"])))
    return rgb_profile(chromaticities, Curve(_ONE / gamma))


def outline(structure: PngStructure) -> Outline:
    """What ``decoded_png`` returns for the same structure."""
    header, canvas = structure.header, (structure.width, structure.height)
    first = _first_picture(structure.stripped, canvas)
    is_transparent = b"tRNS" in first.colors
    channels = COLOR_TYPES[header.color][0]
    bytes_per_pixel = 4 if channels > 1 else 2 if header.depth == _DEEP else 1
    if header.depth == _DEEP and header.color == _COLOR and is_transparent:
        bytes_per_pixel *= 2
    memory = bytes_per_pixel * first.size[0] * first.size[1] + 4 * header.row_bytes(header.width)
    has_alpha = is_transparent or header.color not in {_GREY, _COLOR, PALETTE} or first.size != canvas
    profile = _profile(first.colors) or b""
    return Outline(canvas, has_alpha, memory + len(structure.stripped), len(profile))


def decoded_png(structure: PngStructure) -> Decoded:
    """Decodes the picture, or the first frame of the animation on its canvas.

    Raises:
        OSError, SyntaxError, ValueError: the decoder refuses the file.
    """
    canvas = (structure.width, structure.height)
    first = _first_picture(structure.stripped, canvas)
    rows = _rows(structure, first)
    if first.size != canvas:
        rows = Placed(rows, canvas, *first.place)
    return Decoded(rows, canvas, _profile(first.colors))
