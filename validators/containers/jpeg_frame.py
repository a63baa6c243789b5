"""The frame and the scans of a JPEG: ITU-T T.81 sections B.2.2, B.2.3 and G.1.1.

A frame header declares the size and the components, and each scan codes some coefficients of some
components. Together they say which tables a scan uses and whether the file codes the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from validators.base import corrupt

#: Baseline, extended sequential, and progressive, all by Huffman code. No browser shows lossless or
#: hierarchical pictures, and Firefox shows no arithmetic-coded ones.
FRAMES: Final = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE: Final = 0xC2

_COEFFICIENTS: Final = 64
_COEFFICIENT_BYTES: Final = 2
_NOT_CODED: Final = -1

#: The kind of a table, and the number of its destination.
Table = tuple[str, int]
RESTART_INTERVAL: Final[Table] = ("restart", 0)


@dataclass(slots=True)
class _Component:
    identifier: int
    horizontal: int
    vertical: int
    quantization: int
    #: For each coefficient, the number of low bits that the scans so far leave out; -1 if it is not coded.
    missing_bits: list[int] = field(default_factory=lambda: [_NOT_CODED] * _COEFFICIENTS)


class Frame:
    """One frame header, and the coefficients that the scans after it have coded so far.

    Attributes:
        width, height: the size in pixels.
        components: the number of components: 1, 3 or 4.
        progressive: whether scans refine each other.
        decoded_in_one_pass: whether the first scan has all components, so a decoder keeps no coefficients.
    """

    def __init__(self, marker: int, body: bytes) -> None:
        """Reads the header. Raises Rejected if no decoder accepts it."""
        if len(body) < 6 or len(body) != 6 + 3 * body[5] or body[0] != 8:
            raise corrupt("the frame header is malformed, or not of 8 bits")
        self.width, self.height = int.from_bytes(body[3:5]), int.from_bytes(body[1:3])
        if 0 in (self.width, self.height):
            raise corrupt("a dimension is zero")
        self.progressive = marker == _PROGRESSIVE
        self._components = [
            _Component(body[at], body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])
            for at in range(6, len(body), 3)
        ]
        if len(self._components) not in (1, 3, 4) or not all(
            0 < c.horizontal <= 4 and 0 < c.vertical <= 4 for c in self._components
        ):
            raise corrupt("components that no decoder takes")
        self._scans = 0
        self.decoded_in_one_pass = False

    @property
    def components(self) -> int:
        return len(self._components)

    @property
    def complete(self) -> bool:
        """Whether the scans so far code every bit of every coefficient."""
        return all(not any(c.missing_bits) for c in self._components)

    @property
    def consistent(self) -> bool:
        """Whether every component has its DC coefficients, and every coded coefficient its low bits.

        A progressive file may omit coefficients, but it must code every bit of those that it codes.
        """
        return all(c.missing_bits[0] == 0 and max(c.missing_bits) == 0 for c in self._components)

    def take_scan(self, body: bytes) -> set[Table]:
        """Notes what a scan with this header codes; returns the tables that it uses.

        Raises:
            Rejected: the header is malformed, or decoders expect no further scan.
        """
        if not body or len(body) != 4 + 2 * body[0]:
            raise corrupt("a scan header is malformed")
        if self.decoded_in_one_pass and self._scans:
            raise corrupt("a scan behind the one that codes the whole picture")
        by_identifier = {c.identifier: c for c in reversed(self._components)}
        if not set(body[1:-3:2]) <= by_identifier.keys():
            raise corrupt("a scan of a component that the frame lacks")
        first, last, bits = body[-3:] if self.progressive else (0, 63, 0)
        if first > last or last >= _COEFFICIENTS:
            raise corrupt("a scan of coefficients that are none")
        tables: set[Table] = {RESTART_INTERVAL}
        for identifier, selectors in zip(body[1:-3:2], body[2:-3:2], strict=True):
            component = by_identifier[identifier]
            if max(component.missing_bits) == _NOT_CODED:
                # The decoder copies the table when the component's first scan starts.
                tables.add(("quantization", component.quantization))
            if first == 0 and bits >> 4 == 0:
                tables.add(("dc", selectors >> 4))
            if last > 0:
                tables.add(("ac", selectors & 15))
            component.missing_bits[first : last + 1] = [bits & 15] * (last + 1 - first)
        if self._scans == 0:
            self.decoded_in_one_pass = not self.progressive and body[0] == self.components
        self._scans += 1
        return tables

    def coefficient_bytes(self) -> int:
        """The memory of all coefficients, in bytes."""
        widest = max(c.horizontal for c in self._components)
        tallest = max(c.vertical for c in self._components)
        across, down = -(-self.width // (8 * widest)), -(-self.height // (8 * tallest))
        blocks = sum(across * c.horizontal * down * c.vertical for c in self._components)
        return blocks * _COEFFICIENTS * _COEFFICIENT_BYTES
