"""Does a JPEG decode? At 1/8 of its size, which reads every entropy-coded byte."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, JpegImagePlugin

from validators.base import corrupt
from validators.containers.structure import Structure

#: libjpeg decodes at 1/8 at the least: each block to one pixel, from the same entropy-coded bytes.
JPEG_SHRINK: Final = 8


def decode_jpeg(structure: Structure) -> None:
    """Decodes it.

    Raises:
        Rejected: the decoder and the container disagree.
        Exception: any that Pillow raises on damaged data.
    """
    # `formats` keeps every other decoder of Pillow out of reach.
    with Image.open(io.BytesIO(structure.stripped), formats=("JPEG",)) as image:
        if image.size != (structure.width, structure.height):
            raise corrupt("the headers disagree on the dimensions")
        if isinstance(image, JpegImagePlugin.JpegImageFile):  # always: it narrows the type
            # "L": the colours are read like the rest, but nobody looks at the pixels that they make.
            image.draft("L", (max(1, image.width // JPEG_SHRINK), max(1, image.height // JPEG_SHRINK)))
        image.load()
