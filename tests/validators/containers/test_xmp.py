"""What is kept of XMP: the statement how the picture was made, and the rights if the setting says so."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests import carriers as c
from tests.pictures import jpeg, png, webp
from tests.programs import require_program
from tests.validators.conftest import accepted, upload_of
from validators.base import Limits
from validators.containers.structure import KeepMetadata
from validators.containers.xmp import Statements, packet_of, read_statements

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
EXTENSION = 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
RIGHTS = (
    '<dc:creator xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Seq><rdf:li>Ada &lt;L&gt;</rdf:li>'
    "<rdf:li>Bo</rdf:li></rdf:Seq></dc:creator>"
    '<dc:rights xmlns:dc="http://purl.org/dc/elements/1.1/"><rdf:Alt><rdf:li xml:lang="x-default">'
    "© Ada</rdf:li></rdf:Alt></dc:rights>"
    '<r:UsageTerms xmlns:r="http://ns.adobe.com/xap/1.0/rights/"><rdf:Alt><rdf:li xml:lang="en">ask</rdf:li>'
    "</rdf:Alt></r:UsageTerms>"
    '<p:Credit xmlns:p="http://ns.adobe.com/photoshop/1.0/">Agency</p:Credit>'
    '<plus:Licensor xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"><rdf:Seq>'
    '<rdf:li rdf:parseType="Resource">'
    "<plus:LicensorName>Agency</plus:LicensorName><plus:LicensorURL>https://agency.example</plus:LicensorURL>"
    "</rdf:li></rdf:Seq></plus:Licensor>"
)
TEXTS = (
    ("dc:creator", ("Ada <L>", "Bo")),
    ("dc:rights", ("© Ada",)),
    ("xmpRights:UsageTerms", ("ask",)),
    ("photoshop:Credit", ("Agency",)),
)
LICENSOR = (("plus:LicensorName", "Agency"), ("plus:LicensorURL", "https://agency.example"))


def packet(attributes: str = "", content: str = "", before: str = "") -> bytes:
    secret = f'xmlns:aux="http://ns.adobe.com/exif/1.0/aux/" aux:SerialNumber="{c.SERIAL.decode()}"'
    return (
        f'{before}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}><rdf:Description {EXTENSION} {secret} '
        f"{attributes}>{content}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


GENERATED = packet(f'Iptc4xmpExt:DigitalSourceType="{SOURCE}trainedAlgorithmicMedia"', RIGHTS)

FORMS: dict[str, bytes] = {
    "attribute": GENERATED,
    "element": packet(
        content=f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"
    ),
    "resource": packet(
        content=f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{SOURCE}trainedAlgorithmicMedia"/>'
    ),
    "https": packet(
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE.replace("http", "https")}trainedAlgorithmicMedia"'
    ),
    "term alone": packet('Iptc4xmpExt:DigitalSourceType="trainedAlgorithmicMedia"'),
    "another prefix": GENERATED.replace(b"Iptc4xmpExt:", b"q:").replace(b":Iptc4xmpExt", b":q"),
    "utf-16": GENERATED.decode().encode("utf-16"),
    "padding": b'<?xpacket begin="" id="x"?>' + GENERATED + b" " * 2000 + b'<?xpacket end="w"?>',
    "zeros behind": GENERATED + bytes(100),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS.keys())
def test_the_source_is_read_in_every_form(data: bytes) -> None:
    assert read_statements(data, "source") == Statements("trainedAlgorithmicMedia")


@pytest.mark.parametrize(
    "value", ["https://evil.example/trainedAlgorithmicMedia", "a b", "", SOURCE, "x" * 41]
)
def test_a_value_outside_the_vocabulary_s_form_is_none(value: str) -> None:
    assert read_statements(packet(f'Iptc4xmpExt:DigitalSourceType="{value}"'), "rights") == Statements()


def test_rights_stay_if_they_are_asked_for() -> None:
    assert read_statements(GENERATED, "none") == Statements()
    assert read_statements(GENERATED, "source") == Statements("trainedAlgorithmicMedia")
    everything = Statements("trainedAlgorithmicMedia", TEXTS, LICENSOR)
    assert read_statements(GENERATED, "rights") == everything
    assert read_statements(packet_of(everything), "rights") == everything


ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
HOSTILE: dict[str, bytes] = {
    "entities": packet(f'Iptc4xmpExt:DigitalSourceType="{SOURCE}digitalArt"', "&b;" * 1000, before=ENTITY),
    "external entity": packet(before='<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', content="&a;"),
    "ten megabytes": packet(f'Iptc4xmpExt:DigitalSourceType="{SOURCE}digitalArt"', "x" * 10_000_000),
    "deep": b"<a>" * 300_000,
    "wide": packet(f'Iptc4xmpExt:DigitalSourceType="{SOURCE}digitalArt"', "<a/>" * 200_000),
    "wide utf-16": packet(f'Iptc4xmpExt:DigitalSourceType="{SOURCE}digitalArt"', "<a/>" * 120_000)
    .decode()
    .encode("utf-16"),
    "many attributes": b"<a " + b" ".join(b'a%d=""' % number for number in range(80_000)) + b"/>",
    "as many tags as a packet may have": b"<a>" * 50_000,
    "no xml": b"\xff" * 1000,
    "unknown encoding": b'<?xml version="1.0" encoding="nope"?><a/>',
    "text in pieces": b"<a>" + b"x" * 400_000 + b"x<?a?>" * 95_000 + b"</a>",
    "cut": GENERATED[:-20],
    "empty": b"",
}


def test_a_long_history_does_not_hide_the_source() -> None:
    history = "<rdf:li>uuid:00000000-0000-0000</rdf:li>" * 17_500
    data = packet(f'Iptc4xmpExt:DigitalSourceType="{SOURCE}digitalArt"', f"<rdf:Bag>{history}</rdf:Bag>")
    assert read_statements(data, "source") == Statements("digitalArt")


def test_a_value_in_pieces_is_read_whole() -> None:
    value = f"{SOURCE}digital<?page 1?>A<!-- -->rt"
    data = packet(content=f"<Iptc4xmpExt:DigitalSourceType>{value}</Iptc4xmpExt:DigitalSourceType>")
    assert read_statements(data, "source") == Statements("digitalArt")


@pytest.mark.parametrize(("number", "source"), [(1, "trainedAlgorithmicMedia"), (2, None)])
def test_a_packet_is_not_read_after_too_many_tags_in_others(number: int, source: str | None) -> None:
    (still,) = c.riff_chunks_of(webp())
    tags = [(b"XMP ", b"<a>%s</a>" % (b"<b/>" * 49_995 + b" " * place)) for place in range(number)]
    data = c.extended(64, 48, 4, still, *tags, (b"XMP ", GENERATED))
    assert accepted(data).digital_source_type == source


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_packet_says_nothing_and_costs_little(data: bytes) -> None:
    before = time.thread_time()
    assert read_statements(data, "rights") == Statements()
    assert time.thread_time() - before < 1


def extended_xmp(data: bytes, step: int) -> list[bytes]:
    name = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + len(data).to_bytes(4)
    return [c.segment(0xE1, name + at.to_bytes(4) + data[at : at + step]) for at in range(0, len(data), step)]


(STILL,) = c.riff_chunks_of(webp())

CARRIERS: dict[str, bytes] = {
    "jpeg": c.jpeg_with(c.app1_xmp(GENERATED)),
    "jpeg behind exif": c.jpeg_with(c.app1_exif(c.exif(6)), c.app1_xmp(GENERATED)),
    "jpeg extended": c.jpeg_with(c.app1_xmp(packet()), *extended_xmp(GENERATED, 500)),
    "jpeg extended in disorder": c.jpeg_with(c.app1_xmp(packet()), *extended_xmp(GENERATED, 500)[::-1]),
    "png": c.png_with(png(), c.international_text(b"XML:com.adobe.xmp", GENERATED)),
    "png compressed": c.png_with(png(), c.compressed_text(b"XML:com.adobe.xmp", GENERATED)),
    "png behind the picture": c.png_with(
        png(), c.international_text(b"XML:com.adobe.xmp", GENERATED), before=b"IEND"
    ),
    "webp": c.extended(64, 48, 4, STILL, (b"XMP ", GENERATED)),
    "webp before the picture": c.extended(64, 48, 4, (b"XMP ", GENERATED), STILL),
}
KEPT = {
    "none": Statements(),
    "source": Statements("trainedAlgorithmicMedia"),
    "rights": Statements("trainedAlgorithmicMedia", TEXTS, LICENSOR),
}


@pytest.mark.parametrize("keep", ["none", "source", "rights"])
@pytest.mark.parametrize("data", CARRIERS.values(), ids=CARRIERS.keys())
def test_a_packet_of_what_is_kept_is_stored_and_nothing_else(data: bytes, keep: KeepMetadata) -> None:
    limits = Limits(keep_metadata=keep)
    structure = accepted(data, limits)
    assert structure.digital_source_type == KEPT[keep].digital_source_type
    assert "xmp" in structure.removed
    assert not [secret for secret in c.SECRETS if secret in structure.stripped]
    assert structure.stripped.count(b"<rdf:RDF") == (keep != "none")
    assert packet_of(KEPT[keep]) in structure.stripped
    again = accepted(structure.stripped, limits)
    assert again.stripped is structure.stripped
    assert (again.removed, again.digital_source_type) == (frozenset(), structure.digital_source_type)


@pytest.mark.parametrize("data", [jpeg(), png(), webp()])
def test_a_picture_that_says_nothing_has_no_packet(data: bytes) -> None:
    assert accepted(data, Limits(keep_metadata="rights")).stripped is data


def test_exiftool_reads_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    program = require_program("exiftool")
    for name, data in CARRIERS.items():
        stored = accepted(data, Limits(keep_metadata="rights")).stripped
        path = tmp_path / f"{name}.{upload_of(data).image_type.extension}"
        path.write_bytes(stored)
        done = subprocess.run(
            [program, "-json", "-G1", "-a", "-XMP:all", "-warning", path],
            capture_output=True,
            check=True,
            timeout=60,
        )
        (tags,) = json.loads(done.stdout)
        del tags["SourceFile"]
        tags.pop("XMP-x:XMPToolkit", None)
        assert tags == {
            "XMP-iptcExt:DigitalSourceType": f"{SOURCE}trainedAlgorithmicMedia",
            "XMP-dc:Creator": ["Ada <L>", "Bo"],
            "XMP-dc:Rights": "© Ada",
            "XMP-xmpRights:UsageTerms": "ask",
            "XMP-photoshop:Credit": "Agency",
            "XMP-plus:LicensorName": "Agency",
            "XMP-plus:LicensorURL": "https://agency.example",
        }, name
