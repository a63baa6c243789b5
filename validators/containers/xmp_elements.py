"""Parses an XMP packet into the elements that ``xmp.py`` reads, at a cost proportional to its size.

A parser that resolves namespaces writes the URI of the namespace into every name, so a URI of a megabyte that
ten thousand attributes share takes ten gigabytes. This module lets expat return the names as they are
written, and replaces the prefixes of the names that ``xmp.py`` reads. Other names, and text and elements that
nothing reads, are dropped while the packet is parsed.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml import DefusedXmlException
from defusedxml.expatreader import create_parser

RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NAMESPACES: Final = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "plus": "http://ns.useplus.org/ldf/xmp/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
}
#: The names that are read of each namespace, which one string stands for in all elements.
_NAMES: Final = {
    (uri, name): f"{{{uri}}}{name}"
    for uri, names in (
        (RDF, ("RDF", "Description", "li", "resource")),
        (NAMESPACES["Iptc4xmpExt"], ("DigitalSourceType",)),
        (NAMESPACES["dc"], ("creator", "rights")),
        (NAMESPACES["photoshop"], ("Credit",)),
        (NAMESPACES["plus"], ("Licensor", "LicensorName", "LicensorURL", "LicensorEmail")),
        (NAMESPACES["xmpRights"], ("UsageTerms",)),
    )
    for name in names
}
_KNOWN: Final = frozenset(uri for uri, _ in _NAMES)

_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_MAX_PACKET: Final = 1 << 20
#: The most tags and attributes of all packets of a file, together, and the most attributes of a packet. The
#: longest history of a document that fits into a packet has about 35,000 tags, or as many attributes.
MAX_NAMES: Final = 100_000
_MAX_ATTRIBUTES: Final = 40_000
#: The levels that are read: meta, RDF, description, property, container, item, description, property,
#: container, item.
_MAX_LEVEL: Final = 10


def names_in(packet: bytes) -> int:
    """An upper bound of the tags and attributes of a packet."""
    return packet.count(b"<") + packet.count(b"=")


def parse_packet(packet: bytes) -> Element | None:
    """Returns the root of a packet; None if it is no XML, has a document type, or exceeds a maximum.

    The names of ``_NAMES`` have the form ``{namespace}name``. The tag of any other element is empty, and any
    other attribute is left out. An element has the text before its first child.
    """
    if len(packet) > _MAX_PACKET or names_in(packet) > MAX_NAMES or packet.count(b"=") > _MAX_ATTRIBUTES:
        return None
    reader = _Reader()
    parser = create_parser(forbid_dtd=True)
    parser.setContentHandler(reader)
    try:
        # Some writers leave zeros after the packet. In UTF-16 a zero byte can be half of a character.
        parser.feed(packet if packet[:2] in _UTF16 else packet.strip(b"\0 \t\r\n"))
        parser.close()
    except (SAXException, DefusedXmlException, ValueError, LookupError):
        return None
    return reader.root


class _Reader(ContentHandler):
    """Builds the tree.

    Attributes:
        root: the first element; None before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root: Element | None = None
        #: The open elements, of the levels that are read, and the pieces of the text of each.
        self._open: list[tuple[Element, list[str]]] = []
        self._level = 0
        #: The namespace of each prefix; empty if it is not a known one.
        self._namespaces: dict[str, str] = {}
        #: For each open element that declares namespaces: its level, and what the prefixes meant before it.
        self._declared: list[tuple[int, dict[str, str]]] = []

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802  # the base class's name
        self._level += 1
        self._declare(attrs)
        if self._level > _MAX_LEVEL:
            return
        # An attribute without a prefix has no namespace, not the default one.
        values = {
            known: value for sent, value in attrs.items() if ":" in sent and (known := self._known(sent))
        }
        element = Element(self._known(name) or "", values)
        if self._open:
            self._open[-1][0].append(element)
        else:
            self.root = element
        self._open.append((element, []))

    def endElement(self, name: str) -> None:  # noqa: N802  # the base class's name
        if self._declared and self._declared[-1][0] == self._level:
            self._namespaces |= self._declared.pop()[1]
        if self._level <= _MAX_LEVEL:
            element, pieces = self._open.pop()
            element.text = "".join(pieces)
        self._level -= 1

    def characters(self, content: str) -> None:
        if self._level <= _MAX_LEVEL and self._open and not len(self._open[-1][0]):
            self._open[-1][1].append(content)

    def _declare(self, attrs: AttributesImpl) -> None:
        before: dict[str, str] = {}
        for name, uri in attrs.items():
            if name == "xmlns" or name.startswith("xmlns:"):
                prefix = name[len("xmlns:") :]
                before[prefix] = self._namespaces.get(prefix, "")
                self._namespaces[prefix] = uri if uri in _KNOWN else ""
        if before:
            self._declared.append((self._level, before))

    def _known(self, name: str) -> str | None:
        """The name with its namespace; None if it is none of those that are read."""
        prefix, _, local = name.rpartition(":")
        return _NAMES.get((self._namespaces.get(prefix, ""), local))
