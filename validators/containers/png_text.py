"""The kinds of metadata in the textual chunks of a PNG: PNG (W3C, third edition) section 11.3.3."""

from __future__ import annotations

import zlib
from typing import Final

from validators.containers.exif import kinds_in_xmp, read_exif
from validators.containers.xmp import XmpKeeper

TEXT_CHUNKS: Final = (b"tEXt", b"zTXt", b"iTXt")

#: Keywords under which ImageMagick, ExifTool and Adobe store another kind of metadata.
_KINDS: Final = {
    b"XML:com.adobe.xmp": "xmp",
    b"Raw profile type xmp": "xmp",
    b"Raw profile type exif": "exif",
    b"Raw profile type APP1": "exif",
    b"Raw profile type iptc": "iptc",
    b"Raw profile type 8bim": "iptc",
}
_RAW: Final = b"Raw profile type "
_EXIF: Final = b"Exif\0\0"
_XMP: Final = b"http://ns.adobe.com/"
_XMP_NAME: Final = b"http://ns.adobe.com/xap/1.0/\0"

_BLANKS: Final = b" \t\n\r\v\f"

#: The most bytes that are inflated from all texts of a file.
_MAX_INFLATED: Final = 1 << 20


class TextReader:
    """Names the kinds of metadata in the texts of one file. All texts together are inflated up to a bound."""

    def __init__(self, xmp: XmpKeeper) -> None:
        """Takes the keeper that gets the XMP packets among the texts."""
        self._xmp = xmp
        self._budget = _MAX_INFLATED

    def kinds(self, chunk: bytes, body: memoryview) -> set[str]:
        """Returns the names of what a textual chunk holds; never raises on malformed chunks."""
        keyword, _, rest = bytes(body).partition(b"\0")
        kind = _KINDS.get(keyword)
        if kind is None:
            return {"comment"}
        content = self._content(chunk, rest)
        if keyword.startswith(_RAW):
            content = _from_hexadecimal(content)
        if kind == "exif" and not content.startswith(_XMP):
            return {"exif"} | read_exif(content.removeprefix(_EXIF)).holds
        if kind not in ("exif", "xmp"):
            return {kind}
        self._xmp.add(content.removeprefix(_XMP_NAME))
        return kinds_in_xmp(content)

    def _content(self, chunk: bytes, rest: bytes) -> bytes:
        """Returns the text, decompressed, without its language tag and translated keyword."""
        compressed = chunk == b"zTXt"
        if compressed:
            rest = rest[1:]
        elif chunk == b"iTXt":
            compressed = rest[:1] == b"\x01"
            rest = b"".join(rest[2:].split(b"\0", 2)[2:])
        return self._inflate(rest) if compressed else rest

    def _inflate(self, stream: bytes) -> bytes:
        if not self._budget:
            return b""
        try:
            content = zlib.decompressobj().decompress(stream, self._budget)
        except zlib.error:
            self._budget = 0  # zlib does not report the output before the error
            return b""
        self._budget -= len(content)
        return content


def _from_hexadecimal(text: bytes) -> bytes:
    """The content of a raw profile: a line with its name, one with its size, then hexadecimal digits."""
    digits = b"".join(text.split(b"\n", 3)[3:]).translate(None, _BLANKS)
    try:
        return bytes.fromhex(digits[: len(digits) & ~1].decode("ascii"))
    except ValueError:
        return b""
