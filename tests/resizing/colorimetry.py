"""Colours by published formulas: what a conversion must give, computed without the code under test."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from tests.carriers import profile_with_tag

Color = tuple[float, float, float]
Matrix = Sequence[Sequence[float]]

#: From XYZ with the white point D65 to linear sRGB: IEC 61966-2-1.
XYZ_TO_SRGB = ((3.2406, -1.5372, -0.4986), (-0.9689, 1.8758, 0.0415), (0.0557, -0.2040, 1.0570))
SRGB_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
#: From linear Adobe RGB to XYZ: Adobe RGB (1998) Color Image Encoding, section 4.3.5.3.
ADOBE_TO_XYZ = ((0.57667, 0.18556, 0.18823), (0.29734, 0.62736, 0.07529), (0.02703, 0.07069, 0.99134))
#: From linear Display P3 to XYZ: CSS Color 4 section 18.
P3_TO_XYZ = ((0.48657, 0.26567, 0.19822), (0.22897, 0.69174, 0.07929), (0.0, 0.04511, 1.04394))
#: From XYZ with the white point D50 to D65, by Bradford's method: CSS Color 4 section 18.
D50_TO_D65 = ((0.95547, -0.02310, 0.06326), (-0.02837, 1.00999, 0.02104), (0.01231, -0.02051, 1.33014))
D50 = (0.9642, 1.0, 0.8249)
D65 = (0.9505, 1.0, 1.0890)

ADOBE_GAMMA = 563 / 256


def applied(matrix: Matrix, vector: Sequence[float]) -> Color:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def linear(level: float) -> float:
    """The light of a level 0 to 255 of sRGB."""
    value = level / 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def level(light: float) -> float:
    light = min(1.0, max(0.0, light))
    return 255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055)


def srgb_of_xyz(xyz: Sequence[float]) -> Color:
    """The levels of a colour, each clipped to what sRGB can show."""
    red, green, blue = map(level, applied(XYZ_TO_SRGB, xyz))
    return red, green, blue


def srgb_of_p3(color: Sequence[float]) -> Color:
    return srgb_of_xyz(applied(P3_TO_XYZ, [linear(sample) for sample in color]))


def srgb_of_adobe(color: Sequence[float]) -> Color:
    return srgb_of_xyz(applied(ADOBE_TO_XYZ, [(sample / 255) ** ADOBE_GAMMA for sample in color]))


def srgb_of_lab(lab: Sequence[float]) -> Color:
    """The levels of a colour of CIELAB with the white point D50."""
    y = (lab[0] + 16) / 116
    xyz = [
        white * (f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29))
        for white, f in zip(D50, (y + lab[1] / 500, y, y - lab[2] / 200), strict=True)
    ]
    return srgb_of_xyz(applied(D50_TO_D65, xyz))


def lab_of_srgb(color: Sequence[float]) -> Color:
    x, y, z = (
        value ** (1 / 3) if value > (6 / 29) ** 3 else value / (3 * (6 / 29) ** 2) + 4 / 29
        for value in (
            component / white
            for component, white in zip(applied(SRGB_TO_XYZ, list(map(linear, color))), D65, strict=True)
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def delta_e(first: Sequence[float], second: Sequence[float]) -> float:
    """The difference of two colours of sRGB by CIEDE2000 (ISO/CIE 11664-6)."""
    (l1, a1, b1), (l2, a2, b2) = lab_of_srgb(first), lab_of_srgb(second)
    mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * math.sqrt(mean**7 / (mean**7 + 25**7))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue = (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * math.cos(math.radians(hue - 30))
        + 0.24 * math.cos(math.radians(2 * hue))
        + 0.32 * math.cos(math.radians(3 * hue + 6))
        - 0.20 * math.cos(math.radians(4 * hue - 63))
    )
    of_l = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / math.sqrt(20 + (lightness - 50) ** 2))
    of_c = (c2 - c1) / (1 + 0.045 * chroma)
    of_h = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    rotation = -2 * math.sqrt(chroma**7 / (chroma**7 + 25**7))
    rotation *= math.sin(math.radians(60 * math.exp(-(((hue - 275) / 25) ** 2))))
    return math.sqrt(of_l**2 + of_c**2 + of_h**2 + rotation * of_c * of_h)


# --- profiles: ICC.1:2022, written in version 2 as older programs write them


def _profile(space: bytes, connection: bytes, device: bytes, tags: dict[bytes, bytes]) -> bytes:
    position = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", position + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI", position + len(body), 0x02400000) + device + space + connection
    header += bytes(12) + b"acsp" + bytes(28) + _s15(*D50)
    return header.ljust(128, b"\0") + table + body


def _s15(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def _sampled_curve(light_of: Sequence[float]) -> bytes:
    return (
        b"curv"
        + struct.pack(">4xI", len(light_of))
        + struct.pack(f">{len(light_of)}H", *(round(65535 * light) for light in light_of))
    )


def rgb_profile(colorants: Matrix, curve: bytes) -> bytes:
    """A profile of three colorants, as XYZ with the white point D50, and a curve."""
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _s15(*D50)}
    for name, colorant in zip("rgb", colorants, strict=True):
        tags[f"{name}XYZ".encode()] = b"XYZ \0\0\0\0" + _s15(*colorant)
        tags[f"{name}TRC".encode()] = curve
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags)


#: The colorants that Apple's and Adobe's profiles have.
DISPLAY_P3 = rgb_profile(
    ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
    _sampled_curve([linear(255 * at / 1023) for at in range(1024)]),
)
ADOBE_RGB = rgb_profile(
    ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    _curve(ADOBE_GAMMA),
)


def grey_profile(gamma: float) -> bytes:
    tags = {b"wtpt": b"XYZ \0\0\0\0" + _s15(*D50), b"kTRC": _curve(gamma)}
    return _profile(b"GRAY", b"XYZ ", b"mntr", tags)


def lab_of_inks(inks: Sequence[float]) -> Color:
    """What ``cmyk_profile`` says of four amounts of ink, 0 to 255. All inks together are a perfect black."""
    cyan, magenta, yellow, black = (ink / 255 for ink in inks)
    return (
        100 - 20 * cyan - 25 * magenta - 5 * yellow - 50 * black,
        -25 * cyan + 45 * magenta - 20 * yellow,
        -30 * cyan - 5 * magenta + 35 * yellow,
    )


def cmyk_profile() -> bytes:
    """A profile of four inks: a table of two entries for each ink (section 10.11, lut8Type)."""
    table = bytearray()
    for number in range(16):
        lab = lab_of_inks([255 * (number >> shift & 1) for shift in (3, 2, 1, 0)])
        table += bytes((round(lab[0] * 255 / 100), round(lab[1] + 128), round(lab[2] + 128)))
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + _s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut += identity * 4 + bytes(table) + identity * 3
    return _profile(b"CMYK", b"Lab ", b"prtr", {b"wtpt": b"XYZ \0\0\0\0" + _s15(*D50), b"A2B0": lut})


def large_profile(space: bytes, channels: int, grid: int) -> bytes:
    """A profile with a table of ``grid`` entries for each channel, which says that all colours are one."""
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((channels, 3, grid, 0)) + _s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut += identity * channels + bytes(3 * grid**channels) + identity * 3
    return _profile(space, b"Lab ", b"prtr", {b"wtpt": b"XYZ \0\0\0\0" + _s15(*D50), b"A2B0": lut})


def with_elements(profile: bytes, count: int) -> bytes:
    """A profile with a tag DToB0 of version 4, which says that all colours are black.

    The tag has ``count`` sets of three curves, all of which are at the same place of the file
    (multiProcessElementsType, section 10.16).
    """
    black = struct.pack(">4s4xHH4f", b"parf", 0, 0, 1.0, 0.0, 0.0, 0.0)
    curve = struct.pack(">4s4xHHf", b"curf", 2, 0, 0.5) + 2 * black
    curves = struct.pack(">4s4xHH", b"cvst", 3, 3) + 3 * struct.pack(">II", 36, len(curve)) + curve
    tag = struct.pack(">4s4xHHI", b"mpet", 3, 3, count)
    tag += struct.pack(">II", 16 + 8 * count, len(curves)) * count + curves
    changed = profile_with_tag(profile, b"D2B0", tag)
    return changed[:8] + bytes((4,)) + changed[9:]


def with_large_table(kind: bytes) -> bytes:
    """A profile of four inks with a table that claims 75 MB, of which it has none.

    ``kind`` is the type of its tag A2B0: ``mft1``, ``mft2`` or ``mAB `` (sections 10.10 to 10.12).
    """
    if kind == b"mAB ":
        table = bytes([60] * 4 + [0] * 12) + b"\2\0\0\0"
        tag = (
            kind
            + bytes(4)
            + bytes((4, 3, 0, 0))
            + struct.pack(">5I", 52, 0, 0, 32, 0)
            + table
            + 3 * _curve(1.0)
        )
    else:
        tag = kind + bytes(4) + bytes((4, 3, 60, 0)) + _s15(1, 0, 0, 0, 1, 0, 0, 0, 1)
        tag += bytes(range(256)) * 4 if kind == b"mft1" else struct.pack(">2H", 2, 2) + b"\0\0\xff\xff" * 4
    return _profile(b"CMYK", b"Lab ", b"prtr", {b"wtpt": b"XYZ \0\0\0\0" + _s15(*D50), b"A2B0": tag})
