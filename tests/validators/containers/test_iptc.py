"""Rights that IPTC-IIM states are kept as XMP."""

from __future__ import annotations

import json
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests import carriers as c
from tests.programs import require_program
from tests.validators.conftest import accepted
from validators.base import Limits
from validators.containers.iptc import read_rights
from validators.containers.xmp import Statements, packet_of

UTF8, LATIN1 = b"\x1b%G", b"\x1b.A"
RIGHTS = {"dc:creator": ("Zoë", "Bo"), "photoshop:Credit": ("Agence",), "dc:rights": ("© Zoë",)}
KEPT = Statements(
    None, (("dc:creator", ("Zoë", "Bo")), ("dc:rights", ("© Zoë",)), ("photoshop:Credit", ("Agence",)))
)


def data_set(record: int, number: int, value: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, record, number, len(value)) + value


def resource(data: bytes, kind: int = 0x0404, name: bytes = b"") -> bytes:
    padded = bytes((len(name),)) + name
    padded += b"\0" * (len(padded) % 2)
    return (
        b"8BIM"
        + struct.pack(">H", kind)
        + padded
        + struct.pack(">I", len(data))
        + data
        + b"\0" * (len(data) % 2)
    )


def photoshop(encoding: str, character_set: bytes, before: bytes = b"", name: bytes = b"") -> bytes:
    data = data_set(1, 90, character_set) if character_set else b""
    data += data_set(2, 90, c.SERIAL)
    for number, value in ((80, "Zoë"), (80, "Bo"), (110, "Agence"), (116, "© Zoë")):
        data += data_set(2, number, value.encode(encoding))
    return b"Photoshop 3.0\0" + before + resource(data, name=name)


FORMS = {
    "utf-8": photoshop("utf-8", UTF8),
    "latin-1": photoshop("latin-1", LATIN1),
    "utf-8 that is not stated": photoshop("utf-8", b""),
    "latin-1 that is not stated": photoshop("latin-1", b""),
    "latin-1 that is stated as utf-8": photoshop("latin-1", UTF8),
    "behind another resource": photoshop("utf-8", UTF8, before=resource(b"abc", 0x03ED)),
    "with a name of even length": photoshop("utf-8", UTF8, name=b"ab"),
    "with a name of odd length": photoshop("utf-8", UTF8, name=b"abc"),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_rights_are_read_in_every_form(body: bytes) -> None:
    assert read_rights(body) == RIGHTS


def test_stated_latin_1_is_not_taken_for_utf_8() -> None:
    body = b"Photoshop 3.0\0" + resource(data_set(1, 90, LATIN1) + data_set(2, 80, b"\xc3\xa9"))
    assert read_rights(body) == {"dc:creator": ("Ã©",)}


def test_a_body_cut_anywhere_yields_values_of_the_whole_one() -> None:
    body = FORMS["utf-8"]
    for end in range(len(body)):
        for name, values in read_rights(body[:end]).items():
            assert values == RIGHTS[name][: len(values)]


@pytest.mark.parametrize(
    "data",
    [
        data_set(2, 80, b"x" * 5000),
        b"\x1c\x02\x50\x80\x04\0\0\0\x02ab",
        b"\x1b" + data_set(2, 80, b"a"),
        data_set(2, 5, b"title") * 1000 + data_set(2, 80, b"a"),
    ],
    ids=["long value", "extended length", "no data set", "too many data sets"],
)
def test_what_is_out_of_bounds_says_nothing(data: bytes) -> None:
    assert read_rights(b"Photoshop 3.0\0" + resource(data)) == {}


def test_many_resources_and_data_sets_cost_little() -> None:
    before = time.thread_time()
    read_rights(b"Photoshop 3.0\0" + resource(data_set(2, 80, b"a") * 5) * 1500)
    assert time.thread_time() - before < 1


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS.keys())
def test_rights_are_stored_as_xmp_if_they_are_asked_for(body: bytes) -> None:
    data = c.jpeg_with(c.segment(0xED, body))
    limits = Limits(keep_metadata="rights")
    structure = accepted(data, limits)
    assert structure.removed == {"iptc"}
    assert packet_of(KEPT) in structure.stripped
    assert b"Photoshop" not in structure.stripped
    assert c.SERIAL not in structure.stripped
    assert accepted(structure.stripped, limits).stripped is structure.stripped
    assert b"Zo" not in accepted(data, Limits(keep_metadata="source")).stripped


def test_rights_in_xmp_have_precedence() -> None:
    own = Statements(None, (("dc:creator", ("Ada",)),))
    data = c.jpeg_with(c.app1_xmp(packet_of(own)), c.segment(0xED, FORMS["utf-8"]))
    stored = accepted(data, Limits(keep_metadata="rights")).stripped
    assert packet_of(Statements(None, (("dc:creator", ("Ada",)), *KEPT.texts[1:]))) in stored


def test_exiftool_reads_the_rights_and_nothing_else(tmp_path: Path) -> None:
    program = require_program("exiftool")
    path = tmp_path / "a.jpg"
    path.write_bytes(
        accepted(c.jpeg_with(c.segment(0xED, FORMS["latin-1"])), Limits(keep_metadata="rights")).stripped
    )
    done = subprocess.run(
        [program, "-json", "-G1", "-a", "-XMP:all", "-IPTC:all", "-Photoshop:all", "-warning", path],
        capture_output=True,
        check=True,
        timeout=60,
    )
    (tags,) = json.loads(done.stdout)
    del tags["SourceFile"]
    tags.pop("XMP-x:XMPToolkit", None)
    assert tags == {
        "XMP-dc:Creator": ["Zoë", "Bo"],
        "XMP-dc:Rights": "© Zoë",
        "XMP-photoshop:Credit": "Agence",
    }
