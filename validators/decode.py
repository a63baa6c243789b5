"""Does it decode, whole?"""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, JpegImagePlugin

from validators.base import JPEG, PNG, Limits, Rejected, Upload, corrupt
from validators.pixels import check_pixels
from validators.png_rows import check_end, check_rows

# PixelBudget judges the dimensions before Pillow sees them, by our setting instead of Pillow's own.
Image.MAX_IMAGE_PIXELS = None

#: libjpeg decodes at 1/8 at the least: each block to one pixel, from the same entropy-coded bytes.
JPEG_SHRINK: Final = 8


def _open(upload: Upload) -> Image.Image:
    # `formats` keeps every other decoder of Pillow out of reach.
    return Image.open(io.BytesIO(upload.file.data), formats=(upload.image_type.pillow_format,))


def _decode_jpeg(upload: Upload) -> None:
    with _open(upload) as image:
        if isinstance(image, JpegImagePlugin.JpegImageFile):  # always: it narrows the type
            image.draft(None, (max(1, image.width // JPEG_SHRINK), max(1, image.height // JPEG_SHRINK)))
        image.load()


def _decode_frames(upload: Upload, limits: Limits) -> None:
    with _open(upload) as image:
        if image.size != (upload.width, upload.height):
            raise corrupt("the headers disagree on the dimensions")
        frames: int = getattr(image, "n_frames", 1)
        check_pixels(frames * upload.width * upload.height, limits)
        for index in range(frames):
            image.seek(index)
            image.load()
        if upload.image_type is PNG and (frames > 1 or _last_row_is_empty(image)):
            check_rows(upload.file.data)


def _last_row_is_empty(image: Image.Image) -> bool:
    """Whether rows may be missing: Pillow leaves zeros where the data ended.

    It is true of some whole pictures too. For all others it saves inflating the data twice.
    """
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    return last_row.getbbox() is None


class FullDecode:
    """Every entropy-coded byte is decoded once: of an animation all frames, of a JPEG that holds
    several pictures the first, at 1/8 of its size.
    """

    name = "decode"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        try:
            if upload.image_type is PNG:
                # load() passes over the checksums of the chunks, verify() over the pixels.
                _open(upload).verify()
                check_end(upload.file.data)
            if upload.image_type is JPEG:
                _decode_jpeg(upload)
            else:
                _decode_frames(upload, limits)
        except (Rejected, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001  # see below
            # Broken files escape Pillow as OSError, SyntaxError, ValueError, IndexError, struct.error
            # and others; their texts can hold memory addresses, so only the type is kept.
            raise corrupt(type(error).__name__) from None
