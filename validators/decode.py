"""The validator that decodes the picture completely."""

from __future__ import annotations

import warnings

from PIL import Image

from errors import DomainError
from validators.base import Limits, Upload, corrupt, over_budget
from validators.containers.jpeg import JpegStructure
from validators.containers.png import PngStructure
from validators.containers.webp import WebpStructure
from validators.decoding.jpeg import decode_jpeg
from validators.decoding.memory import DECODE_MEMORY
from validators.decoding.png import decode_png
from validators.decoding.webp import decode_webp

# PixelBudget has judged the dimensions by the setting MAX_IMAGE_PIXELS, so Pillow's own limit is off.
Image.MAX_IMAGE_PIXELS = None
# This holds for the whole process: catch_warnings() is not safe between threads.
warnings.filterwarnings("error", module=r"PIL\.")


def _decode(upload: Upload, limits: Limits) -> None:
    structure, file = upload.structure, upload.file.data
    if isinstance(structure, JpegStructure):
        decode_jpeg(structure, file, limits)
        return
    with DECODE_MEMORY.turn(structure.decode_bytes, limits.max_decode_bytes_in_flight):
        if isinstance(structure, WebpStructure):
            decode_webp(structure, file)
        elif isinstance(structure, PngStructure):
            decode_png(structure, file)


class FullDecode:
    """The picture decodes completely, up to the last entropy-coded byte.

    All frames of an animation are decoded, and a JPEG is decoded at 1/8 of its size. A PNG is only inflated,
    which is sufficient (``validators/decoding/png.py``); the validator ``structure`` has checked the
    checksums of its chunks. Bytes that no decoder reads are not stored.

    The memory of all concurrent decodes is bounded: a decode that does not fit waits for its turn.
    """

    name = "decode"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        try:
            _decode(upload, limits)
        except DomainError:  # a refusal of the picture, or no turn
            raise
        except MemoryError:
            raise over_budget("the process ran out of memory while it decoded") from None
        except Exception as error:  # noqa: BLE001  # see below
            # For broken files Pillow raises OSError, SyntaxError, ValueError, IndexError, struct.error and
            # others. Their texts can contain memory addresses, so only the type is kept.
            raise corrupt(type(error).__name__) from None
