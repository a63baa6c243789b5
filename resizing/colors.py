"""Converts a picture to sRGB, by LittleCMS.

Section numbers are those of ICC.1:2022.
"""

from __future__ import annotations

import io
import re
from typing import Final

from PIL import Image, ImageCms

#: The colour spaces of profiles (section 7.2.6) and Pillow's modes that they describe.
_PROFILE_MODES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_STRAIGHT: Final = {"La": "LA", "RGBa": "RGBA"}
_OPAQUE: Final = (255, 255)

_HEADER: Final = 128
_TAG: Final = 12  # signature, offset and size (section 7.3)
#: The tags of multiProcessElementsType (section 10.16): DToB0 to DToB3 and BToD0 to BToD3. The elements of a
#: tag can overlap, so 8 bytes can stand for a table of any size: 500,000 of them take minutes and gigabytes.
_ELEMENTS: Final = re.compile(rb"(?:D2B|B2D)[0-3]")


def in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Converts a picture to sRGB.

    Args:
        picture: in a mode of ``resizing.pixels.Rows``.
        profile: the profile of its samples; None for sRGB. A profile that is damaged, or that describes
            another colour space than that of the samples, is ignored, as in browsers.

    Returns:
        The picture as ``RGB``, or as ``RGBA`` if some pixel is not opaque.
    """
    if picture.mode in _STRAIGHT:
        return _transparent_in_srgb(picture.convert(_STRAIGHT[picture.mode]), profile)
    return (profile and _converted(picture, profile)) or picture.convert("RGB")


def _transparent_in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    alpha = picture.getchannel("A")
    is_opaque = alpha.getextrema() == _OPAQUE
    converted = None
    if profile:
        converted = _converted(picture.convert("L" if picture.mode == "LA" else "RGB"), profile)
    if converted is None:
        return picture.convert("RGB" if is_opaque else "RGBA")
    if not is_opaque:
        converted.putalpha(alpha)
    return converted


def _converted(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """The picture converted from the space of a profile; None if the profile can't be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(_without_elements(profile)))
        mode = _PROFILE_MODES.get(profile[16:20])
        if mode == "RGB" and picture.mode == "L":
            picture = picture.convert("RGB")
        if mode != picture.mode:
            return None
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def _without_elements(profile: bytes) -> bytes:
    """The profile with the tags of ``_ELEMENTS`` under names that LittleCMS ignores.

    LittleCMS prefers them to the tags for the same conversion that Chromium reads.
    """
    first = _HEADER + 4
    end = min(len(profile), first + _TAG * int.from_bytes(profile[_HEADER:first]))
    found = [at for at in range(first, end, _TAG) if _ELEMENTS.fullmatch(profile, at, at + 4)]
    if not found:
        return profile
    changed = bytearray(profile)
    for number, at in enumerate(found):
        changed[at : at + 4] = number.to_bytes(4)  # LittleCMS refuses a profile with the same name twice
    return bytes(changed)
