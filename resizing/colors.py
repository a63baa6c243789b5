"""Converts a picture to sRGB, by LittleCMS."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image, ImageCms

from resizing.profile_tags import bounded

#: The colour spaces of profiles (ICC.1:2022 section 7.2.6) and Pillow's modes that they describe.
_PROFILE_MODES: Final = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_STRAIGHT: Final = {"La": "LA", "RGBa": "RGBA"}
_OPAQUE: Final = (255, 255)


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
    affordable = bounded(profile)
    if affordable is None:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(affordable))
        mode = _PROFILE_MODES.get(profile[16:20])
        if mode == "RGB" and picture.mode == "L":
            picture = picture.convert("RGB")
        if mode != picture.mode:
            return None
        return ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
