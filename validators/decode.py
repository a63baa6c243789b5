"""Does it decode, whole?"""

from __future__ import annotations

import io
import warnings
from typing import Final

from PIL import Image, JpegImagePlugin, _webp

from validators.base import JPEG, WEBP, Limits, Rejected, Upload, corrupt, over_budget
from validators.containers.png import PngStructure
from validators.memory import DECODE_MEMORY
from validators.png_rows import decode_png

# PixelBudget judges the dimensions before Pillow sees them, by our setting instead of Pillow's own.
Image.MAX_IMAGE_PIXELS = None
# Once and for the process: catch_warnings() is not safe between threads.
warnings.filterwarnings("error", module=r"PIL\.")

#: libjpeg decodes at 1/8 at the least: each block to one pixel, from the same entropy-coded bytes.
JPEG_SHRINK: Final = 8


def _decode_jpeg(upload: Upload) -> None:
    structure = upload.structure
    # `formats` keeps every other decoder of Pillow out of reach.
    with Image.open(io.BytesIO(structure.stripped), formats=("JPEG",)) as image:
        if image.size != (structure.width, structure.height):
            raise corrupt("the headers disagree on the dimensions")
        if isinstance(image, JpegImagePlugin.JpegImageFile):  # always: it narrows the type
            # "L": the colours are read like the rest, but nobody looks at the pixels that they make.
            image.draft("L", (max(1, image.width // JPEG_SHRINK), max(1, image.height // JPEG_SHRINK)))
        image.load()


def _decode_webp(upload: Upload) -> None:
    structure = upload.structure
    # Image.open() does the same, and then copies each canvas into an image: a fifth of the time and a
    # quarter of the memory, for pixels that nobody looks at.
    decoder = _webp.WebPAnimDecoder(structure.stripped)
    size, _, _, frames, _ = decoder.get_info()
    if (*size, frames) != (structure.width, structure.height, structure.frames):
        raise corrupt("the headers disagree on the dimensions or the frames")
    for _ in range(frames):
        if decoder.get_next() is None:
            raise corrupt("a frame does not decode")


def _decode(upload: Upload) -> None:
    if upload.image_type is JPEG:
        _decode_jpeg(upload)
    elif upload.image_type is WEBP:
        _decode_webp(upload)
    elif isinstance(upload.structure, PngStructure):
        decode_png(upload.structure, upload.file.data)


class FullDecode:
    """What will be stored is decoded once, every entropy-coded byte: of an animation all frames, of
    a JPEG that holds several pictures the first, at 1/8 of its size.

    What Pillow's ``verify()`` adds to that, the checksums of PNG chunks, ``structure`` has checked.
    The memory of the decodes that run at a time is bounded: one that does not fit waits.
    """

    name = "decode"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        try:
            with DECODE_MEMORY.reserve(upload.structure.decode_bytes, limits.max_decode_bytes_in_flight):
                _decode(upload)
        except Rejected:
            raise
        except MemoryError:
            raise over_budget("memory ran out as it was decoded") from None
        except Exception as error:  # noqa: BLE001  # see below
            # Broken files escape Pillow as OSError, SyntaxError, ValueError, IndexError, struct.error
            # and others; their texts can hold memory addresses, so only the type is kept.
            raise corrupt(type(error).__name__) from None
