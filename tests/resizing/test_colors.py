"""A size has the colours of its picture, whatever their space: within a CIEDE2000 difference of 2."""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from resizing import resize
from tests import carriers as c
from tests.pictures import encoded
from tests.resizing import colorimetry as cm

#: The side of a patch of one colour.
SIDE = 32
RGB = [
    *itertools.product((0, 128, 255), repeat=3),
    *((40, 40, 60), (200, 60, 60), (60, 200, 60), (250, 250, 200), (20, 20, 20)),
]
GREY = [(level,) for level in range(0, 256, 8)]
INKS = [
    *itertools.product((0, 200), (0, 200), (0, 200), (0, 100)),
    *((60, 60, 60, 0), (20, 90, 130, 40), (128, 0, 30, 0), (0, 0, 0, 90)),
]
JPEG: dict[str, Any] = {"quality": 98, "subsampling": 0}
OPTIONS: dict[str, dict[str, Any]] = {"JPEG": JPEG, "PNG": {}, "WEBP": {"lossless": True}}

Expected = Callable[[Sequence[float]], Sequence[float]]


def chart(mode: str, colors: Sequence[Sequence[int]]) -> Image.Image:
    """A patch of each colour, side by side in rows of eight."""
    image = Image.new(mode, (8 * SIDE, -(-len(colors) // 8) * SIDE))
    for number, color in enumerate(colors):
        left, top = number % 8 * SIDE, number // 8 * SIDE
        fill = tuple(color) if len(color) > 1 else color[0]
        image.paste(fill, (left, top, left + SIDE, top + SIDE))
    return image


def worst(data: bytes, colors: Sequence[Sequence[int]], expected: Expected) -> float:
    """The largest difference between the patches of a size of half the width and what is expected."""
    small = Image.open(io.BytesIO(resize(data, 4 * SIDE)), formats=["WEBP"]).convert("RGB")
    differences = []
    for number, color in enumerate(colors):
        left, top = number % 8 * SIDE // 2, number // 8 * SIDE // 2
        patch = small.crop((left + 4, top + 4, left + SIDE // 2 - 4, top + SIDE // 2 - 4)).resize(
            (1, 1), Image.Resampling.BOX
        )
        found = patch.getpixel((0, 0))
        assert isinstance(found, tuple)
        differences.append(cm.delta_e(found, expected(color)))
    return max(differences)


def test_the_difference_of_colours_is_that_of_the_standard() -> None:
    # Grey levels one apart in lightness, and pure red against pure green, by an independent calculator.
    assert cm.delta_e((119, 119, 119), (119, 119, 119)) == 0
    assert cm.delta_e((255, 0, 0), (0, 255, 0)) == pytest.approx(86.6, abs=0.1)
    assert cm.delta_e((0, 0, 0), (255, 255, 255)) == pytest.approx(100, abs=0.1)


def same(color: Sequence[float]) -> Sequence[float]:
    return color


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("profile", "expected"),
    [(b"", same), (cm.DISPLAY_P3, cm.srgb_of_p3), (cm.ADOBE_RGB, cm.srgb_of_adobe)],
    ids=["without-a-profile", "display-p3", "adobe-rgb"],
)
def test_colours_are_converted(pillow_format: str, profile: bytes, expected: Expected) -> None:
    data = encoded(chart("RGB", RGB), pillow_format, icc_profile=profile, **OPTIONS[pillow_format])
    assert worst(data, RGB, expected) < 2
    if profile:  # without the conversion they would differ
        assert worst(data, RGB, same) > 4


def test_a_profile_is_converted_by_the_tags_that_chromium_reads() -> None:
    """Also if it has others for the same conversion, which LittleCMS prefers."""
    data = encoded(chart("RGB", RGB), "PNG", icc_profile=cm.with_elements(cm.DISPLAY_P3, 2))
    assert worst(data, RGB, cm.srgb_of_p3) < 2


def inks_of_browsers(inks: Sequence[float]) -> Sequence[float]:
    """Without a profile, browsers multiply the light that each ink lets through."""
    return [(255 - ink) * (255 - inks[3]) / 255 for ink in inks[:3]]


def test_a_cmyk_jpeg_without_a_profile_looks_as_in_browsers() -> None:
    data = encoded(chart("CMYK", INKS), "JPEG", **JPEG)
    assert b"Adobe" in data[:40]  # its inks are stored inverted
    assert worst(data, INKS, inks_of_browsers) < 2


@pytest.mark.parametrize("kind", [b"mft1", b"mft2", b"mAB "])
def test_a_profile_that_claims_a_larger_table_than_it_has_does_not_count(kind: bytes) -> None:
    data = encoded(chart("CMYK", INKS), "JPEG", icc_profile=cm.with_large_table(kind), **JPEG)
    assert worst(data, INKS, inks_of_browsers) < 2


def test_a_cmyk_jpeg_is_converted_by_its_profile() -> None:
    data = encoded(chart("CMYK", INKS), "JPEG", icc_profile=cm.cmyk_profile(), **JPEG)

    def expected(inks: Sequence[float]) -> Sequence[float]:
        return cm.srgb_of_lab(cm.lab_of_inks(inks))

    assert worst(data, INKS, expected) < 2
    assert worst(data, INKS, inks_of_browsers) > 4


@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG"])
def test_grey_is_converted_by_its_profile(pillow_format: str) -> None:
    data = encoded(chart("L", GREY), pillow_format, icc_profile=cm.grey_profile(1.0))

    def expected(grey: Sequence[float]) -> Sequence[float]:
        return [cm.level(grey[0] / 255)] * 3

    assert worst(data, GREY, expected) < 2


def test_grey_is_converted_by_a_profile_of_rgb() -> None:
    data = encoded(chart("L", GREY), "PNG", icc_profile=cm.ADOBE_RGB)
    assert worst(data, GREY, lambda grey: cm.srgb_of_adobe([grey[0]] * 3)) < 2


def test_a_palette_is_converted_by_the_profile() -> None:
    image = chart("RGB", RGB).quantize(len(RGB))
    data = encoded(image, "PNG", icc_profile=cm.DISPLAY_P3)
    assert worst(data, RGB, cm.srgb_of_p3) < 2


def test_transparent_pictures_are_converted_by_the_profile() -> None:
    image = chart("RGBA", [(*color, 255) for color in RGB])
    image.putpixel((0, 0), (0, 0, 0, 0))
    data = encoded(image, "PNG", icc_profile=cm.DISPLAY_P3)
    small = Image.open(io.BytesIO(resize(data, 4 * SIDE)))
    assert small.mode == "RGBA"
    assert worst(data, RGB, cm.srgb_of_p3) < 2


@pytest.mark.parametrize(
    "profile",
    [
        b"\0\0\1\0" + bytes(32) + b"acsp" + bytes(400),
        cm.DISPLAY_P3[:300],
        cm.DISPLAY_P3[:128] + bytes(len(cm.DISPLAY_P3) - 128),
        cm.cmyk_profile(),
        cm.grey_profile(1.0),
        cm.DISPLAY_P3[:16] + b"\x8cGB " + cm.DISPLAY_P3[20:],
        cm.DISPLAY_P3[:16] + b"Lab " + cm.DISPLAY_P3[20:],
        b"no profile at all",
    ],
    ids=["empty", "cut off", "without tags", "of CMYK", "of grey", "of no space", "of Lab", "text"],
)
@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP"])
def test_a_profile_that_can_not_be_used_is_ignored(pillow_format: str, profile: bytes) -> None:
    data = encoded(chart("RGB", RGB), pillow_format, icc_profile=profile, **OPTIONS[pillow_format])
    assert worst(data, RGB, same) < 2


P3_CHROMATICITIES = (31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000)
CHRM = (b"cHRM", struct.pack(">8I", *P3_CHROMATICITIES))
LINEAR = (b"gAMA", struct.pack(">I", 100_000))
SRGB_GAMMA = (b"gAMA", struct.pack(">I", 45_455))


def of_light(color: Sequence[float]) -> Sequence[float]:
    return [cm.level(sample / 255) for sample in color]


def of_p3_light(color: Sequence[float]) -> Sequence[float]:
    return cm.srgb_of_xyz(cm.applied(cm.P3_TO_XYZ, [sample / 255 for sample in color]))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([LINEAR], of_light),
        ([LINEAR, CHRM], of_p3_light),
        ([SRGB_GAMMA], same),
        ([CHRM], same),  # browsers ignore it without gAMA
        ([(b"sRGB", b"\0"), LINEAR, CHRM], same),
        ([(b"cICP", bytes((12, 13, 0, 1)))], cm.srgb_of_p3),
        ([(b"cICP", bytes((12, 13, 0, 1))), (b"sRGB", b"\0")], cm.srgb_of_p3),
        ([(b"cICP", bytes((1, 8, 0, 1)))], of_light),
        ([(b"cICP", bytes((1, 13, 0, 1)))], same),
        ([(b"cICP", bytes((9, 16, 0, 1)))], same),  # a high dynamic range is not converted
        ([(b"cICP", bytes((0, 0, 0, 0)))], same),
        ([LINEAR, (b"cHRM", bytes(32))], same),
        ([(b"gAMA", bytes(4))], same),
        ([(b"gAMA", struct.pack(">I", 2**31 - 1))], None),
        ([(b"gAMA", struct.pack(">I", 1))], None),
    ],
    ids=[
        *("gAMA", "gAMA and cHRM", "gAMA of sRGB", "cHRM", "sRGB first", "cICP", "cICP before sRGB"),
        *("cICP of light", "cICP of sRGB", "cICP of HDR", "cICP of zeros", "cHRM of zeros", "gAMA of zero"),
        *("largest gAMA", "smallest gAMA"),
    ],
)
def test_the_chunks_of_a_png_say_which_colours_it_has(
    chunks: list[tuple[bytes, bytes]], expected: Expected | None
) -> None:
    data = c.png_with(encoded(chart("RGB", RGB), "PNG"), *chunks)
    if expected is None:
        assert resize(data, 4 * SIDE)  # whatever it looks like
    else:
        assert worst(data, RGB, expected) < 2


def test_a_large_profile_in_a_png_is_used() -> None:
    large = cm.DISPLAY_P3 + bytes(3 << 20)
    data = encoded(chart("RGB", RGB), "PNG", icc_profile=len(large).to_bytes(4) + large[4:])
    assert worst(data, RGB, cm.srgb_of_p3) < 2
