"""Does it decode, whole?"""

from __future__ import annotations

import warnings

from PIL import Image

from validators.base import JPEG, WEBP, Limits, Rejected, Upload, corrupt, over_budget
from validators.containers.png import PngStructure
from validators.decoding.jpeg import decode_jpeg
from validators.decoding.memory import DECODE_MEMORY
from validators.decoding.png import decode_png
from validators.decoding.webp import decode_webp

# PixelBudget judges the dimensions before Pillow sees them, by our setting instead of Pillow's own.
Image.MAX_IMAGE_PIXELS = None
# Once and for the process: catch_warnings() is not safe between threads.
warnings.filterwarnings("error", module=r"PIL\.")


def _decode(upload: Upload) -> None:
    if upload.image_type is JPEG:
        decode_jpeg(upload.structure)
    elif upload.image_type is WEBP:
        decode_webp(upload.structure)
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
