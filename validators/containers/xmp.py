"""Reads the source and the rights of a picture from XMP, and writes a packet that states only these.

Sources: ISO 16684-1 (XMP data model and serialization), IPTC Photo Metadata Standard 2023.1 (the properties),
PLUS License Data Format 2.0 (licensor), Adobe's XMP Specification Part 3 section 1.1.3.1 (extended XMP).

XMP is XML from untrusted sources (``xmp_elements.py``). A packet that can't be parsed, or exceeds a maximum,
counts as empty. The written packet is built from the parsed values; no bytes of the original are copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from validators.containers.structure import KeepMetadata
from validators.containers.xmp_elements import MAX_NAMES, NAMESPACES, RDF, names_in, parse_packet

#: The start of every packet that this module writes. Other programs add a version or a line break.
_START: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    f'<rdf:RDF xmlns:rdf="{RDF}">'
)
PACKET_START: Final = _START.encode()
_SOURCE: Final = "Iptc4xmpExt:DigitalSourceType"
_VOCABULARY: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_TERM: Final = re.compile(r"(?:https?://cv\.iptc\.org/newscodes/digitalsourcetype/)?([A-Za-z]{1,40})/?")

#: The most packets of a file, as many extended ones, and the most bytes of all of them.
_MAX_PACKETS: Final = 8
_MAX_BYTES: Final = 2 << 20
_MAX_TEXT: Final = 2000
_LICENSOR: Final = ("plus:LicensorName", "plus:LicensorURL", "plus:LicensorEmail")
#: Characters that XML 1.0 does not allow.
_FORBIDDEN: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Statements:
    """The properties of a packet that are kept.

    Attributes:
        digital_source_type: the term of IPTC's vocabulary, without the URL before it.
        texts: the names and values of the other kept properties.
        licensor: the properties of the first licensor.
    """

    digital_source_type: str | None = None
    texts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    licensor: tuple[tuple[str, str], ...] = ()


#: How each rights property is serialized: an ordered list, alternatives by language, or plain text.
_RIGHTS: Final = {
    "dc:creator": "Seq",
    "dc:rights": "Alt",
    "xmpRights:UsageTerms": "Alt",
    "photoshop:Credit": "",
}


def _tag(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def _clean(text: str | None) -> str:
    return _FORBIDDEN.sub("", text or "").strip()[:_MAX_TEXT]


def _values(description: Element, name: str) -> Iterator[str]:
    """Yields the values of a property in any serialization: attribute, text, resource or container."""
    if value := _clean(description.get(_tag(name))):
        yield value
    for element in description.findall(_tag(name)):
        items = element.findall(f"*/{{{RDF}}}li")
        for item in items or [element]:
            if value := _clean(item.get(f"{{{RDF}}}resource") or item.text):
                yield value


def _licensor(description: Element) -> tuple[tuple[str, str], ...]:
    for item in description.findall(f"{_tag('plus:Licensor')}/*/{{{RDF}}}li"):
        nested = item.find(f"{{{RDF}}}Description")
        holder = item if nested is None else nested
        found = ((name, next(_values(holder, name), "")) for name in _LICENSOR)
        return tuple((name, value) for name, value in found if value)
    return ()


def _descriptions(packet: bytes) -> list[Element]:
    """The descriptions at the top of a packet; none if it can't be parsed."""
    root = parse_packet(packet)
    if root is None:
        return []
    rdf = root if root.tag == f"{{{RDF}}}RDF" else root.find(f"{{{RDF}}}RDF")
    return [] if rdf is None else rdf.findall(f"{{{RDF}}}Description")


def read_statements(packet: bytes, keep: KeepMetadata) -> Statements:
    """Returns the source and rights in a packet that ``keep`` selects; never raises."""
    if keep == "none":
        return Statements()
    descriptions = _descriptions(packet)
    terms = (_TERM.fullmatch(value) for d in descriptions for value in _values(d, _SOURCE))
    source = next((term[1] for term in terms if term), None)
    if keep == "source":
        return Statements(source)
    texts = ((name, tuple(v for d in descriptions for v in _values(d, name))[:10]) for name in _RIGHTS)
    licensor = next((found for d in descriptions if (found := _licensor(d))), ())
    return Statements(source, tuple((name, values) for name, values in texts if values), licensor)


def packet_of(statements: Statements) -> bytes:
    """Returns a packet with only these statements; empty bytes if there are none."""
    if statements == Statements():
        return b""
    body = "".join(_element(name, _RIGHTS[name], values) for name, values in statements.texts)
    if statements.digital_source_type:
        body = _element(_SOURCE, "", (_VOCABULARY + statements.digital_source_type,)) + body
    if statements.licensor:
        fields = "".join(_element(name, "", (value,)) for name, value in statements.licensor)
        item = f'<rdf:li rdf:parseType="Resource">{fields}</rdf:li>'
        body += f"<plus:Licensor><rdf:Seq>{item}</rdf:Seq></plus:Licensor>"
    prefixes = sorted({prefix for prefix in NAMESPACES if f"<{prefix}:" in body})
    declared = "".join(f' xmlns:{prefix}="{NAMESPACES[prefix]}"' for prefix in prefixes)
    return (
        f'{_START}<rdf:Description rdf:about=""{declared}>{body}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def _element(name: str, container: str, values: tuple[str, ...]) -> str:
    if not container:
        return f"<{name}>{escape(values[0])}</{name}>"
    language = ' xml:lang="x-default"' if container == "Alt" else ""
    shown = values[:1] if container == "Alt" else values
    items = "".join(f"<rdf:li{language}>{escape(value)}</rdf:li>" for value in shown)
    return f"<{name}><rdf:{container}>{items}</rdf:{container}></{name}>"


class XmpKeeper:
    """Collects the XMP packets of one file, and selects the statements that are kept."""

    def __init__(self, keep: KeepMetadata) -> None:
        self._keep = keep
        self._packets: list[bytes] = []
        self._extended: dict[bytes, dict[int, bytes]] = {}
        self._size = 0
        self._read: dict[bytes, Statements] = {}
        self._names = 0  # the tags and attributes of the packets that were read
        self._iptc: dict[str, tuple[str, ...]] = {}

    @property
    def keeps_rights(self) -> bool:
        """Whether the rights are kept."""
        return self._keep == "rights"

    def add_rights(self, rights: dict[str, tuple[str, ...]]) -> None:
        """Takes rights from outside XMP, by XMP property. Rights in XMP have precedence."""
        for name, values in rights.items():
            cleaned = tuple(text for value in values if (text := _clean(value)))
            if cleaned:
                self._iptc.setdefault(name, cleaned)

    def add(self, packet: bytes) -> None:
        """Takes a packet."""
        self._size += len(packet)
        if self._keep != "none" and len(self._packets) < _MAX_PACKETS and self._size <= _MAX_BYTES:
            self._packets.append(packet)

    def add_extension(self, digest: bytes, offset: int, part: bytes) -> None:
        """Takes a part of an extended packet of a JPEG."""
        self._size += len(part)
        if self._keep != "none" and self._size <= _MAX_BYTES:
            self._extended.setdefault(digest, {})[offset] = part

    def read(self, packet: bytes) -> Statements:
        """Returns what a packet states; nothing if too many packets, bytes or names precede it."""
        if packet not in self._read:
            names = self._names + names_in(packet)
            size = sum(map(len, self._read)) + len(packet)
            if len(self._read) >= 2 * _MAX_PACKETS or size > _MAX_BYTES or names > MAX_NAMES:
                return Statements()
            self._names = names
            self._read[packet] = read_statements(packet, self._keep)
        return self._read[packet]

    def statements(self) -> Statements:
        """Merges all packets and the rights from outside XMP; the first value of each property counts."""
        extended = [b"".join(parts[at] for at in sorted(parts)) for parts in self._extended.values()]
        read = [self.read(packet) for packet in [*self._packets, *extended[:_MAX_PACKETS]]]
        texts: dict[str, tuple[str, ...]] = {}
        for name in _RIGHTS:
            stated = (dict(s.texts)[name] for s in read if name in dict(s.texts))
            values = next(stated, self._iptc.get(name))
            if values:
                texts[name] = values
        return Statements(
            next((s.digital_source_type for s in read if s.digital_source_type), None),
            tuple(texts.items()),
            next((s.licensor for s in read if s.licensor), ()),
        )

    def is_stored(self, packet: bytes) -> bool:
        """Whether ``packet`` is all the XMP in the file."""
        return self._packets == [packet] and not self._extended
