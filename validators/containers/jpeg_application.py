"""The application segments of a JPEG: which of them are kept, and which metadata is removed.

Kept is what determines how a viewer shows the picture (JFIF, Adobe, ICC profile, orientation), and one
XMP packet.
"""

from __future__ import annotations

from typing import Final

from validators.base import Limits
from validators.containers.exif import ExifKeeper, kinds_in_xmp
from validators.containers.icc import read_profile
from validators.containers.iptc import PHOTOSHOP, read_rights
from validators.containers.xmp import XmpKeeper, packet_of

#: The start and end of bytes of the file, or bytes that are not in it.
Piece = tuple[int, int] | bytes

_APP0: Final = 0xE0
_EXIF: Final = (b"Exif\0\0", b"Exif\0\xff")
_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP: Final = b"http://ns.adobe.com/xmp/extension/\0"
_MAX_BODY: Final = 65533
_ICC: Final = b"ICC_PROFILE\0"
_ICC_HEADER: Final = 14  # the name, and number and count of the parts
_MAX_PART: Final = 65533 - _ICC_HEADER
_JFIF_SIZE: Final = 14  # without a thumbnail
_ADOBE_SIZE: Final = 12


def segment(marker: int, body: bytes) -> bytes:
    """A segment with its marker and length."""
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body


class ApplicationSegments:
    """Selects what is kept of the application segments of one file.

    Attributes:
        indices: the indices of the pieces that are application segments.
        digital_source_type: how the picture was made, according to its XMP; known after ``finish``.
        several_pictures: whether the file says that more pictures follow the first one.
    """

    def __init__(self, pieces: list[Piece], removed: set[str], limits: Limits) -> None:
        """Appends kept segments to ``pieces``, and adds the names of removed metadata to ``removed``."""
        self._pieces = pieces
        self._removed = removed
        self._max_icc_bytes = limits.max_icc_bytes
        self._xmp = XmpKeeper(limits.keep_metadata)
        self._xmp_kinds: set[str] = set()
        self._xmp_indices: list[int] = []  # into _pieces
        self._profile: list[tuple[int, bytes]] = []  # index into _pieces, and body
        self._adobe: int | None = None  # index into _pieces
        self._has_jfif = False
        self._exif_keeper = ExifKeeper()
        self._exif: list[tuple[int, bytes]] = []  # index into _pieces, and body
        self.indices: set[int] = set()
        self.several_pictures = False
        self.digital_source_type: str | None = None

    @property
    def orientation(self) -> int:
        """How a viewer turns and mirrors the picture (see Structure). Known after ``finish``."""
        return self._exif_keeper.orientation

    def take(self, kind: int, body: bytes, start: int, end: int, *, in_header: bool) -> None:
        """Takes a segment APP0 to APP15; ``in_header`` says whether it precedes the first scan."""
        if kind == 0:
            self._jfif(body, start, end, in_header=in_header)
        elif kind == 1:
            self._exif_or_xmp(body, start, end)
        elif kind == 2 and body[:12] == _ICC and len(body) > _ICC_HEADER and in_header:
            self._profile.append((len(self._pieces), body))
            self._keep((start, end))
        elif kind == 2 and body[:4] == b"MPF\0":
            self._removed.add("pictures")
            self.several_pictures = True
        elif kind == 11 and body[:2] == b"JP" and b"c2pa" in body:
            self._removed.add("c2pa")
        elif kind == 13 and body.startswith(PHOTOSHOP):
            self._removed.add("iptc")
            if self._xmp.keeps_rights:
                self._xmp.add_rights(read_rights(body))
        elif kind == 14 and body[:5] == b"Adobe" and len(body) >= _ADOBE_SIZE and in_header:
            if self._adobe is not None:  # decoders use the last one
                self._drop(self._adobe, "other")
            self._adobe = len(self._pieces)
            self._keep(self._cut(0xEE, body, _ADOBE_SIZE, (start, end)))
        else:
            self._removed.add("other")

    def finish(self, coded: tuple[int, int]) -> None:
        """Decides what depends on the whole file; ``coded`` is the size of the frame in pixels."""
        self._settle_profile()
        self._settle_exif(coded)
        self._settle_xmp()

    def _settle_exif(self, coded: tuple[int, int]) -> None:
        """Replaces the first Exif block by a minimal one, and drops all others."""
        for index, body in self._exif:
            smallest = self._exif_keeper.replace(body[6:], coded, self._removed)
            if smallest is None:
                self._pieces[index] = b""
            elif body != _EXIF[0] + smallest:
                self._pieces[index] = segment(0xE1, _EXIF[0] + smallest)

    def _settle_xmp(self) -> None:
        """Inserts one packet of the kept properties after the file's first application segments."""
        statements = self._xmp.statements()
        packet = packet_of(statements)
        if len(_XMP) + len(packet) > _MAX_BODY:
            packet = b""
        else:
            self.digital_source_type = statements.digital_source_type
        if packet and self._xmp.is_stored(packet):
            return
        self._removed |= self._xmp_kinds
        for index in self._xmp_indices:
            self._pieces[index] = b""
        if packet:
            at = next(at for at in range(1, len(self._pieces)) if at not in self.indices)
            self._pieces[at:at] = [segment(0xE1, _XMP + packet)]

    def _keep(self, piece: Piece) -> None:
        self.indices.add(len(self._pieces))
        self._pieces.append(piece)

    def _drop(self, index: int, name: str) -> None:
        self._pieces[index] = b""
        self._removed.add(name)

    def _cut(self, marker: int, body: bytes, size: int, span: tuple[int, int]) -> Piece:
        """Returns a segment with at most the first ``size`` bytes of its body."""
        if len(body) == size:
            return span
        self._removed.add("other")
        return segment(marker, body[:size])

    def _jfif(self, body: bytes, start: int, end: int, *, in_header: bool) -> None:
        if body[:5] == b"JFIF\0" and len(body) >= _JFIF_SIZE and in_header and not self._has_jfif:
            self._has_jfif = True
            if body[12:14] == b"\0\0":
                self._keep(self._cut(_APP0, body, _JFIF_SIZE, (start, end)))
            else:
                self._keep(segment(_APP0, body[:12] + b"\0\0"))
                self._removed.add("thumbnail")
        else:
            self._removed.add("thumbnail" if body[:5] == b"JFXX\0" else "other")

    def _exif_or_xmp(self, body: bytes, start: int, end: int) -> None:
        if body[:6] in _EXIF:
            self._exif.append((len(self._pieces), body))
            self._keep((start, end))
        elif body.startswith(_XMP):
            self._xmp_kinds |= kinds_in_xmp(body)
            self._xmp.add(body[len(_XMP) :])
            self._xmp_indices.append(len(self._pieces))
            self._keep((start, end))
        elif body.startswith(_EXTENDED_XMP):
            self._xmp_kinds |= kinds_in_xmp(body)
            at = len(_EXTENDED_XMP)  # a digest of 32 digits, the full size, the offset of this part
            self._xmp.add_extension(
                body[at : at + 32], int.from_bytes(body[at + 36 : at + 40]), body[at + 40 :]
            )
        else:
            self._removed.add("other")

    def _settle_profile(self) -> None:
        """Keeps one copy of one profile. No viewer uses a profile of which a part is missing."""
        parts: dict[int, tuple[int, bytes]] = {}
        for index, body in self._profile:
            if body[12] not in parts and body[13] == self._profile[0][1][13]:
                parts[body[12]] = index, body[_ICC_HEADER:]
        whole = bool(parts) and sorted(parts) == list(range(1, self._profile[0][1][13] + 1))
        joined = b"".join(parts[number][1] for number in sorted(parts)) if whole else b""
        profile = read_profile(joined) if len(joined) <= self._max_icc_bytes else None
        stays = {index for index, _ in parts.values()} if profile else set()
        for index, _ in self._profile:
            if index not in stays:
                self._drop(index, "icc")
        if profile and profile.data != joined:
            self._removed |= profile.removed
            for index in stays:
                self._pieces[index] = b""
            self._pieces[min(stays)] = _profile_segments(profile.data)


def _profile_segments(profile: bytes) -> bytes:
    parts = [profile[at : at + _MAX_PART] for at in range(0, len(profile), _MAX_PART)]
    return b"".join(
        segment(0xE2, _ICC + bytes((number, len(parts))) + part) for number, part in enumerate(parts, 1)
    )
