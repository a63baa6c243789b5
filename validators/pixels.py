"""The validator that bounds the cost of decoding, judged by the structure alone."""

from __future__ import annotations

from typing import Final

from validators.base import Limits, Upload, too_many_parts

#: A scan costs up to a fifth of a decode even if it changes no pixel. This many scans of the largest picture
#: take about a second; ordinary progressive JPEGs have 10 to 20 scans.
FULL_SCANS: Final = 20


class PixelBudget:
    """The number of pixels, the decoder's memory and the number of scans are within the limits.

    No decoder opens the file before this validator has passed: opening a WebP already allocates its canvas.
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
