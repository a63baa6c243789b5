"""What would it cost to decode, by its structure alone?"""

from __future__ import annotations

from typing import Final

from validators.base import Limits, Upload, too_many_parts

#: A scan costs up to a fifth of a decode even when it changes nothing. This many over the most pixels
#: are about a second; ordinary progressive JPEGs have 10 to 20 scans.
FULL_SCANS: Final = 20


class PixelBudget:
    """The pixels, the memory and the passes that decoding takes are affordable.

    Nothing is decoded, or even opened, before this has passed: opening a WebP already allocates its
    canvas.
    """

    name = "pixels"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        structure = upload.structure
        canvas = structure.width * structure.height
        limits.check_pixels(canvas * structure.frames)
        limits.check_decode_bytes(structure.decode_bytes)
        if structure.scans > FULL_SCANS and canvas * structure.scans > limits.max_pixels * FULL_SCANS:
            raise too_many_parts(
                f"{structure.scans} scans of {canvas} pixels, "
                f"MAX_IMAGE_PIXELS allows {FULL_SCANS} of {limits.max_pixels}"
            )
