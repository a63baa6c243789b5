"""Is the container whole and well-formed?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from validators.base import JPEG, PNG, WEBP, ImageType, Limits, Upload
from validators.containers.jpeg import read_jpeg
from validators.containers.png import read_png
from validators.containers.structure import Structure
from validators.containers.webp import read_webp

_READ: Final[dict[ImageType, Callable[[bytes, Limits], Structure]]] = {
    PNG: read_png,
    JPEG: read_jpeg,
    WEBP: read_webp,
}


class WellFormed:
    """The segments or chunks are whole, in order and not too many.

    The same pass finds the size that ``PixelBudget`` judges, and the parts of the file that are stored: the
    picture without its metadata. Only these parts are decoded; nothing interprets the others.
    """

    name = "structure"

    def __call__(self, upload: Upload, limits: Limits) -> None:
        upload.structure = _READ[upload.image_type](upload.file.data, limits)
