"""Resamples a decoded picture in bands of rows, so that only a band is ever in the resampler's format."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Protocol

from PIL import Image

#: A picture is first averaged down by a whole factor, to no less than this many times the wanted size: see
#: docs/performance.md "Sizes".
REDUCING_GAP: Final = 1.5
_FILTER: Final = Image.Resampling.HAMMING
#: The rows on each side of a pixel that the filter reads, for each row between two pixels.
_FILTER_SUPPORT: Final = 1.0
#: The approximate size of a band, in bytes.
_BAND_BYTES: Final = 1 << 20
#: The number of copies of a band, in different formats, that exist at a time.
_BAND_COPIES: Final = 4


class Rows(Protocol):
    """A decoded picture.

    Attributes:
        size: its width and height in pixels.
        mode: the mode of its bands: ``L``, ``RGB``, ``CMYK``, or one of the premultiplied modes ``La`` and
            ``RGBa``, in which transparent pixels have no colour that could bleed into their neighbours.
    """

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def mode(self) -> str: ...

    def band(self, top: int, bottom: int) -> Image.Image:
        """Returns the rows from ``top`` up to ``bottom``."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A decoded picture as the bytes of its rows, without padding."""

    size: tuple[int, int]
    mode: str
    data: memoryview

    def band(self, top: int, bottom: int) -> Image.Image:
        row = len(self.data) // self.size[1]
        rows = self.data[top * row : bottom * row]
        raw = "CMYK;I" if self.mode == "CMYK" else self.mode  # JPEGs have inverted inks
        size = (self.size[0], bottom - top)
        return Image.frombuffer(self.mode, size, rows, "raw", raw, 0, 1)  # type: ignore[arg-type]  # any buffer


@dataclass(frozen=True, slots=True)
class Placed:
    """A decoded picture on a larger, transparent canvas: the first frame of an animation.

    Attributes:
        size: of the canvas, in pixels.
        left, top: the place of the picture on the canvas, in pixels.
    """

    rows: Rows
    size: tuple[int, int]
    left: int
    top: int

    @property
    def mode(self) -> str:
        return "La" if self.rows.mode in {"L", "La"} else "RGBa"

    def band(self, top: int, bottom: int) -> Image.Image:
        canvas = Image.new(self.mode, (self.size[0], bottom - top))
        first, last = max(top - self.top, 0), min(bottom - self.top, self.rows.size[1])
        if first < last:
            rows = self.rows.band(first, last)
            if rows.mode != self.mode:
                rows = rows.convert(f"{rows.mode}A").convert(self.mode)
            canvas.paste(rows, (self.left, self.top + first - top))
        return canvas


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decoder returns.

    Attributes:
        rows: the picture.
        extent: the width and height, in pixels, of the part that has content; it starts at the upper left
            corner. It can be smaller than the picture, because a decoder that scales rounds the size of its
            result up.
        profile: an ICC profile that says which colours the samples are; None for sRGB.
    """

    rows: Rows
    extent: tuple[float, float]
    profile: bytes | None


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of a decoded picture before it is decoded.

    Attributes:
        size: its width and height in pixels.
        has_alpha: whether pixels can be transparent.
        memory: an upper bound of the memory that decoding takes, the result included, in bytes.
        profile_bytes: the size of the profile; 0 without one.
    """

    size: tuple[int, int]
    has_alpha: bool
    memory: int
    profile_bytes: int


def resampling_memory(decoded: tuple[int, int], size: tuple[int, int]) -> int:
    """An upper bound of the memory that ``scaled`` takes for a picture of a size, in bytes."""
    factors = _factors(decoded, size)
    if factors == (1, 1):
        step, rows = _resampled_rows(decoded, size[1])
        return 4 * (size[0] * size[1] + _BAND_COPIES * decoded[0] * rows + 2 * size[0] * (rows + step))
    reduced = (-(-decoded[0] // factors[0])) * (-(-decoded[1] // factors[1]))
    rows = min(_reduced_rows(decoded[0], factors[1]), decoded[1])
    enlarged = size[0] * -(-decoded[1] // factors[1])  # the result of the pass over columns
    return 4 * (size[0] * size[1] + reduced + max(_BAND_COPIES * decoded[0] * rows, enlarged))


def _factors(extent: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
    """The whole factors by which a picture is first averaged down."""
    across, down = (
        max(1, int(side / wanted / REDUCING_GAP)) for side, wanted in zip(extent, size, strict=True)
    )
    return across, down


def _reduced_rows(width: int, factor: int) -> int:
    """The rows of a band that is averaged down: a multiple of the factor."""
    return max(1, _band_rows(width) // factor) * factor


def _resampled_rows(decoded: tuple[int, int], height: int) -> tuple[int, int]:
    """The most rows of a band that is resampled: those of the result, and those that they are made from."""
    ratio = decoded[1] / height
    support = _support(ratio)
    step = max(1, int(max(_band_rows(decoded[0]), 4 * support) / ratio))
    return step, min(decoded[1], math.ceil(step * ratio) + 2 * support + 1)


def _support(ratio: float) -> int:
    """The rows before and after a band that the filter reads."""
    return math.ceil(_FILTER_SUPPORT * max(1.0, ratio)) + 1


def scaled(rows: Rows, extent: tuple[float, float], size: tuple[int, int]) -> Image.Image:
    """Resamples the part ``extent`` of a picture to ``size``, in the mode of the picture."""
    factors = _factors(extent, size)
    if factors == (1, 1):
        return _resampled(rows, extent, size)
    reduced = _reduced(rows, factors)
    box = (0.0, 0.0, extent[0] / factors[0], extent[1] / factors[1])
    return reduced.resize(size, _FILTER, box)


def _band_rows(width: int) -> int:
    return max(1, _BAND_BYTES // (4 * width))


def _reduced(rows: Rows, factors: tuple[int, int]) -> Image.Image:
    """The picture averaged down by whole factors."""
    width, height = rows.size
    across, down = factors
    reduced = Image.new(rows.mode, (-(-width // across), -(-height // down)))
    step = _reduced_rows(width, down)
    for top in range(0, height, step):
        band = rows.band(top, min(top + step, height))
        reduced.paste(band.reduce(factors), (0, top // down))
    return reduced


def _resampled(rows: Rows, extent: tuple[float, float], size: tuple[int, int]) -> Image.Image:
    result = Image.new(rows.mode, size)
    ratio = extent[1] / size[1]
    support = _support(ratio)
    step = _resampled_rows(rows.size, size[1])[0]
    for top in range(0, size[1], step):
        bottom = min(top + step, size[1])
        first = max(0, int(top * ratio) - support)
        last = min(rows.size[1], math.ceil(bottom * ratio) + support)
        box = (0.0, top * ratio - first, extent[0], min(bottom * ratio - first, last - first))
        part = rows.band(first, last).resize((size[0], bottom - top), _FILTER, box)
        result.paste(part, (0, top))
    return result
