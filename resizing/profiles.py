"""ICC profiles of colour spaces that a PNG describes by numbers.

Sources: ICC.1:2022 sections 7.2 (header), 9.2 (tags), 10.18 (parametric curves), 10.31 (XYZ) and annex E
(chromatic adaptation); ITU-T H.273 section 8 (code points).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_Vector = tuple[float, float, float]
_Matrix = tuple[_Vector, _Vector, _Vector]


class Chromaticities(NamedTuple):
    """The chromaticities of the white point and the primaries, in the order of cHRM."""

    white_x: float
    white_y: float
    red_x: float
    red_y: float
    green_x: float
    green_y: float
    blue_x: float
    blue_y: float


class Curve(NamedTuple):
    """How samples become light: (scale × sample + offset)^exponent, below ``limit`` slope × sample."""

    exponent: float
    scale: float = 1.0
    offset: float = 0.0
    slope: float = 0.0
    limit: float = 0.0


_D65: Final = (0.3127, 0.329)
_BT709: Final = Chromaticities(*_D65, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_SRGB_CURVE: Final = Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
#: The curve of displays for pictures in these spaces: ITU-R BT.1886 annex 1, for a black level of zero.
_BT1886_CURVE: Final = Curve(2.4)

#: Primaries and transfer characteristics by their code points: H.273 tables 2 and 3. The code
#: points for a high dynamic range are absent, because their light exceeds what sRGB shows.
_PRIMARIES: Final = {
    1: _BT709,
    5: Chromaticities(*_D65, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: Chromaticities(*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: Chromaticities(*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    12: Chromaticities(*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
_CURVES: Final = {
    **dict.fromkeys((1, 6, 14, 15), _BT1886_CURVE),
    4: Curve(2.2),
    5: Curve(2.8),
    8: Curve(1.0),
    13: _SRGB_CURVE,
}

#: The white point of profiles: ICC.1 section 7.2.16.
_D50: Final = (0.9642, 1.0, 0.8249)
#: Bradford's matrix: ICC.1 annex E.
_BRADFORD: Final = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


def profile_of_code_points(primaries: int, transfer: int, matrix: int, full_range: int) -> bytes | None:
    """Returns the profile of a cICP chunk (PNG section 11.3.2.6); None if it can't be expressed."""
    if primaries not in _PRIMARIES or transfer not in _CURVES or matrix or not full_range:
        return None
    return rgb_profile(_PRIMARIES[primaries], _CURVES[transfer])


def rgb_profile(chromaticities: Chromaticities | None, curve: Curve | None) -> bytes | None:
    """Returns the profile of an RGB space; an argument that is None stands for that of sRGB.

    Returns:
        None if the chromaticities are not those of three different colours and a white.
    """
    try:
        colorants = _colorants(chromaticities or _BT709)
        coded = [
            struct.pack(">4s4x3i", b"XYZ ", *map(_fixed, colorant))
            for colorant in zip(*colorants, strict=True)
        ]
        parameters = map(_fixed, curve or _SRGB_CURVE)
        coded.append(struct.pack(">4s4xH2x5i", b"para", 3, *parameters))
    except (ZeroDivisionError, struct.error):
        return None
    return _profile(coded)


def _fixed(value: float) -> int:
    """The s15Fixed16Number of a value: ICC.1 section 4.6."""
    return round(value * 65536)


def _profile(coded: list[bytes]) -> bytes:
    """A profile of these colorants and this curve."""
    names = (b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    position = 128 + 4 + 12 * len(names)
    table = struct.pack(">I", len(names))
    places = []
    for data in coded:
        places.append((position, len(data)))
        position += len(data)
    for name, place in zip(names, [*places, places[-1], places[-1]], strict=True):
        table += name + struct.pack(">II", *place)
    header = struct.pack(">I4xI", position, 0x04300000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    header += struct.pack(">3i", *map(_fixed, _D50))
    return header.ljust(128, b"\0") + table + b"".join(coded)


def _colorants(chromaticities: Chromaticities) -> _Matrix:
    """The matrix from linear samples to XYZ with the white point D50."""
    white, red, green, blue = (_xyz(*chromaticities[at : at + 2]) for at in range(0, len(chromaticities), 2))
    primaries = _transposed((red, green, blue))
    amounts = _applied(_inverse(primaries), white)
    matrix = _product(primaries, _diagonal(amounts))
    cones = _diagonal(
        tuple(  # type: ignore[arg-type]  # three of each
            wanted / given
            for wanted, given in zip(_applied(_BRADFORD, _D50), _applied(_BRADFORD, white), strict=True)
        )
    )
    return _product(_product(_inverse(_BRADFORD), _product(cones, _BRADFORD)), matrix)


def _xyz(x: float, y: float) -> _Vector:
    return x / y, 1.0, (1 - x - y) / y


def _transposed(matrix: _Matrix) -> _Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return (a, d, g), (b, e, h), (c, f, i)


def _diagonal(values: _Vector) -> _Matrix:
    return (values[0], 0.0, 0.0), (0.0, values[1], 0.0), (0.0, 0.0, values[2])


def _applied(matrix: _Matrix, vector: _Vector) -> _Vector:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def _product(left: _Matrix, right: _Matrix) -> _Matrix:
    first, second, third = (_applied(left, column) for column in _transposed(right))
    return _transposed((first, second, third))


def _inverse(matrix: _Matrix) -> _Matrix:
    """Raises ZeroDivisionError if there is none."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / determinant, (c * h - b * i) / determinant, (b * f - c * e) / determinant),
        ((f * g - d * i) / determinant, (a * i - c * g) / determinant, (c * d - a * f) / determinant),
        ((d * h - e * g) / determinant, (b * g - a * h) / determinant, (a * e - b * d) / determinant),
    )
