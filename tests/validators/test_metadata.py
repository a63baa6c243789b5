"""A picture is stored with the same pixels and colours, and without metadata about people."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageOps

from tests import carriers as c
from tests.pictures import animation, encoded, jpeg, picture, png, png_chunk, webp
from tests.programs import require_program
from tests.validators.conftest import accepted, upload_of
from validators.base import Limits
from validators.structure import WellFormed

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SIZE = (64, 48)


def still(flags: int, *chunks: c.Chunk) -> bytes:
    """A WebP in the extended format: chunks whose type is in lower case come before the picture."""
    (picture_chunk,) = c.riff_chunks_of(webp())
    return c.extended(*SIZE, flags, picture_chunk, *chunks)


def frame_with_unknown_chunk() -> bytes:
    chunks = c.riff_chunks_of(animation("WEBP"))
    at = next(number for number, (kind, _) in enumerate(chunks) if kind == b"ANMF")
    kind, payload = chunks[at]
    chunks[at] = (kind, payload + b"JUNK" + struct.pack("<I", len(c.SCRIPT)) + c.SCRIPT)
    return c.riff_of(chunks)


#: Files that carry metadata, and the names of what is removed from them.
CARRYING: dict[str, tuple[bytes, set[str]]] = {
    "jpeg exif": (c.jpeg_with(c.app1_exif(c.exif())), {"exif", "gps", "thumbnail"}),
    "jpeg exif without gps": (c.jpeg_with(c.app1_exif(c.exif(gps=False, thumbnail=False))), {"exif"}),
    "jpeg second exif": (
        c.jpeg_with(c.app1_exif(c.exif(6, gps=False)), c.app1_exif(c.exif(3))),
        {"exif", "gps", "thumbnail"},
    ),
    "jpeg broken exif": (c.jpeg_with(c.app1_exif(b"MM\0*\xff\xff\xff\xff" + c.SERIAL)), {"exif"}),
    "jpeg xmp": (c.jpeg_with(c.app1_xmp(c.xmp())), {"xmp", "gps"}),
    "jpeg extended xmp": (c.jpeg_with(c.app1_extended_xmp(c.xmp())), {"xmp", "gps"}),
    "jpeg iptc": (c.jpeg_with(c.segment(0xED, c.iptc())), {"iptc"}),
    "jpeg comment": (c.jpeg_with(c.segment(0xFE, c.COMMENT)), {"comment"}),
    "jpeg script": (c.jpeg_with(c.segment(0xFE, c.SCRIPT), tail=c.SCRIPT), {"comment", "trailer"}),
    "jpeg jfxx": (c.jpeg_with(c.jfxx()), {"thumbnail"}),
    "jpeg jfif thumbnail": (
        b"\xff\xd8" + c.jfif_with_thumbnail() + jpeg()[20:],
        {"thumbnail"},
    ),
    "jpeg picture info": (c.jpeg_with(c.segment(0xEC, b"[picture info]\0" + c.SERIAL)), {"other"}),
    "jpeg unknown application": (c.jpeg_with(c.segment(0xE2, b"FPXR\0" + c.SERIAL)), {"other"}),
    "jpeg zip tail": (jpeg() + b"PK\x03\x04" + c.SERIAL, {"trailer"}),
    "jpeg comment between scans": (
        (data := jpeg(progressive=True))[: (at := data.index(b"\xff\xda", data.index(b"\xff\xda") + 2))]
        + c.segment(0xFE, c.COMMENT)
        + data[at:],
        {"comment"},
    ),
    "jpeg long adobe": (
        c.jpeg_with(c.segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01" + c.SERIAL)),
        {"other"},
    ),
    "jpeg junk between segments": (c.jpeg_with(c.SERIAL), {"other"}),
    "mpo": (
        encoded(picture(), "MPO", save_all=True, append_images=[picture().rotate(90)]),
        {"pictures"},
    ),
    "mpo with exif in the second": (
        encoded(picture(), "MPO", save_all=True, append_images=[picture()], exif=b"Exif\0\0" + c.exif()),
        {"pictures", "exif", "gps", "thumbnail"},
    ),
    "ultra hdr": (
        c.jpeg_with(
            c.app1_xmp(b'<x:xmpmeta hdrgm:Version="1.0"/>'),
            c.segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\0"),
            tail=c.jpeg_with(c.app1_xmp(c.xmp())),
        ),
        {"pictures", "xmp"},
    ),
    "png exif": (c.png_with(png(), (b"eXIf", c.exif())), {"exif", "gps", "thumbnail"}),
    "png exif after the picture": (
        c.png_with(png(), (b"eXIf", c.exif()), before=b"IEND"),
        {"exif", "gps", "thumbnail"},
    ),
    "png texts": (
        c.png_with(png(), c.text(b"Comment", c.COMMENT), c.text(b"Author", c.ARTIST)),
        {"comment"},
    ),
    "png text after the picture": (
        c.png_with(png(), c.international_text(b"Comment", c.COMMENT), before=b"IEND"),
        {"comment"},
    ),
    "png xmp": (c.png_with(png(), c.international_text(b"XML:com.adobe.xmp", c.xmp())), {"xmp", "gps"}),
    "png raw exif": (
        c.png_with(png(), c.raw_profile(b"exif", b"Exif\0\0" + c.exif())),
        {"exif", "gps", "thumbnail"},
    ),
    "png raw exif without gps": (
        c.png_with(png(), c.raw_profile(b"APP1", b"Exif\0\0" + c.exif(gps=False, thumbnail=False))),
        {"exif"},
    ),
    "png raw xmp": (c.png_with(png(), c.raw_profile(b"xmp", c.xmp())), {"xmp", "gps"}),
    "png raw xmp of a jpeg": (
        c.png_with(png(), c.raw_profile(b"APP1", b"http://ns.adobe.com/xap/1.0/\0" + c.xmp())),
        {"xmp", "gps"},
    ),
    "png compressed xmp": (
        c.png_with(png(), c.compressed_text(b"XML:com.adobe.xmp", c.xmp())),
        {"xmp", "gps"},
    ),
    "png raw iptc": (c.png_with(png(), c.raw_profile(b"iptc", c.iptc())), {"iptc"}),
    "png time": (c.png_with(png(), (b"tIME", b"\x07\xea\x0b\x17\x0c\0\0")), {"time"}),
    "png unknown chunk": (c.png_with(png(), (b"prVt", c.SERIAL)), {"other"}),
    "png c2pa": (c.png_with(png(), (b"caBX", c.SERIAL)), {"c2pa"}),
    "jpeg c2pa": (c.jpeg_with(c.segment(0xEB, b"JP\0\1\0\0\0\1jumbc2pa" + c.SERIAL)), {"c2pa"}),
    "webp c2pa": (still(0, (b"C2PA", c.SERIAL)), {"c2pa"}),
    "png tail": (png() + c.SCRIPT, {"trailer"}),
    "apng text": (c.png_with(animation("PNG"), c.text(b"Comment", c.COMMENT), before=b"fdAT"), {"comment"}),
    "webp exif": (still(0x08, (b"EXIF", c.exif())), {"exif", "gps", "thumbnail"}),
    "webp exif with a prefix": (still(0x08, (b"EXIF", b"Exif\0\0" + c.exif())), {"exif", "gps", "thumbnail"}),
    "webp xmp": (still(0x04, (b"XMP ", c.xmp())), {"xmp", "gps"}),
    "webp unknown chunk": (still(0, (b"priv", c.SERIAL)), {"other"}),
    "webp tail": (webp() + c.SCRIPT, {"trailer"}),
    "webp chunk after a simple picture": (
        c.riff_of([*c.riff_chunks_of(webp()), (b"EXIF", c.exif())]),
        {"other"},
    ),
    "webp chunk in a frame": (frame_with_unknown_chunk(), {"other"}),
}

CARRIERS = pytest.mark.parametrize(("data", "removed"), CARRYING.values(), ids=CARRYING.keys())


def frames(data: bytes) -> list[tuple[Any, ...]]:
    """Returns the mode, pixels and transparency of every frame, or of the first picture of a JPEG."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about the Exif and MPF segments that will be removed
        with Image.open(io.BytesIO(data)) as image:
            count = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
            result = []
            for index in range(count):
                image.seek(index)
                transparency = image.info.get("transparency")
                result.append((image.mode, image.convert("RGBA").tobytes(), image.tobytes(), transparency))
            return result


@CARRIERS
def test_metadata_is_removed_and_its_kinds_are_listed(data: bytes, removed: set[str]) -> None:
    structure = accepted(data)
    assert structure.removed == removed
    assert not [secret for secret in c.SECRETS if secret in structure.stripped]


FILES = pytest.mark.parametrize("data", [data for data, _ in CARRYING.values()], ids=CARRYING.keys())


@FILES
def test_the_same_pixels_come_out(data: bytes) -> None:
    assert frames(accepted(data).stripped) == frames(data)


@FILES
def test_a_stored_file_that_is_uploaded_again_is_stored_unchanged(data: bytes) -> None:
    stored = accepted(data).stripped
    again = accepted(stored)
    assert again.removed == frozenset()
    assert again.stripped is stored


@pytest.mark.parametrize("data", [jpeg(), jpeg(progressive=True), png(), webp(), animation("WEBP")])
def test_a_picture_without_metadata_stays_as_it_is(data: bytes) -> None:
    structure = accepted(data)
    assert structure.removed == frozenset()
    assert structure.stripped is data


# --- checked with exiftool


def exiftool(*files: Path) -> list[dict[str, Any]]:
    program = require_program("exiftool")
    done = subprocess.run(
        [program, "-json", "-G1", "-a", "-u", "-ee", *files], capture_output=True, check=True, timeout=60
    )
    return list(json.loads(done.stdout))


#: exiftool's groups of tags about the coded picture, its colours and the file itself.
HARMLESS = (
    "SourceFile",
    "ExifTool:",
    "System:",
    "File:",
    "Composite:",
    "JFIF:",
    "Adobe:",
    "ICC",
    "PNG:",
    "RIFF:",
)


def test_exiftool_finds_the_metadata_before_and_not_after(tmp_path: Path) -> None:
    before, after = [], []
    for number, (data, _) in enumerate(CARRYING.values()):
        extension = upload_of(data).image_type.extension
        before.append(tmp_path / f"{number}-before.{extension}")
        after.append(tmp_path / f"{number}-after.{extension}")
        before[-1].write_bytes(data)
        after[-1].write_bytes(accepted(data).stripped)
    found = json.dumps(exiftool(*before))
    assert all(word in found for word in ("GPSLatitude", "SerialNumber", "ThumbnailImage", "By-line"))
    for tags in exiftool(*after):
        names = {name for name in tags if not name.startswith(HARMLESS)}
        assert names <= {"IFD0:Orientation"}, tags["SourceFile"]
        assert "ExifTool:Warning" not in tags, tags


# --- what is kept


@pytest.mark.parametrize("size", [len(SRGB), 200_000, 2 * 1024 * 1024])
def test_a_colour_profile_stays_to_the_byte(size: int) -> None:
    icc = SRGB if size == len(SRGB) else c.profile(size)
    (picture_chunk,) = c.riff_chunks_of(webp())
    carrying = c.app1_exif(c.exif())
    files = [
        c.jpeg_with(carrying, c.app2_profile(icc)),
        c.png_with(png(), c.iccp(icc), c.text(b"Comment", c.COMMENT)),
        c.extended(*SIZE, 0x28, (b"ICCP", icc), picture_chunk, (b"EXIF", c.exif())),
    ]
    for data in files:
        stored = accepted(data).stripped
        assert len(stored) < len(data)
        if size < 1024 * 1024 or data[:4] != b"\x89PNG":  # the largest profile that Pillow reads in a PNG
            assert Image.open(io.BytesIO(stored)).info["icc_profile"] == icc
        else:
            assert (b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)) in c.chunks_of(stored)


def test_the_segments_of_a_profile_keep_their_order() -> None:
    halves = SRGB[:300], SRGB[300:]
    first, second = (
        c.segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 2)) + half) for number, half in enumerate(halves, 1)
    )
    stored = accepted(c.jpeg_with(second, c.segment(0xFE, c.COMMENT), first)).stripped
    assert second + first in stored


def test_a_profile_that_no_viewer_uses_is_removed() -> None:
    part = b"ICC_PROFILE\0\x01\x02" + SRGB
    (picture_chunk,) = c.riff_chunks_of(webp())
    files = [
        c.jpeg_with(c.segment(0xE2, part)),  # the second of two is missing
        c.jpeg_with(
            c.app2_profile(SRGB), c.app2_profile(SRGB)
        ),  # the second of two equal profiles is removed
        c.png_with(png(), (b"iCCP", b"profile\0\0not compressed")),
        c.png_with(png(), (b"iCCP", b"no end")),
        c.png_with(png(), c.iccp(SRGB), before=b"IEND"),
        c.png_with(png(), (b"iCCP", b"profile\0\0" + c.zlib_of_zeros(100_000_000))),
        c.jpeg_with(c.app2_profile(b"no profile" * 50)),
        c.extended(*SIZE, 0, (b"ICCP", SRGB), picture_chunk),
        c.extended(*SIZE, 0x20, (b"ICCP", b"no profile" * 50), picture_chunk),
    ]
    for data in files:
        structure = accepted(data)
        assert structure.removed == {"icc"}
        assert len(structure.stripped) < len(data)
    assert Image.open(io.BytesIO(accepted(files[1]).stripped)).info["icc_profile"] == SRGB


@pytest.mark.parametrize("orientation", range(10))
def test_of_the_exif_tags_the_orientation_alone_is_kept(orientation: int) -> None:
    block = c.exif(orientation)
    files = [
        c.jpeg_with(c.app1_exif(block)),
        c.jpeg_with(c.app1_xmp(c.xmp()), c.app1_exif(block), c.app1_exif(c.exif(3))),
        c.png_with(png(), (b"eXIf", block)),
        c.png_with(png(), (b"eXIf", block), before=b"IEND"),
        still(0x08, (b"EXIF", block)),
    ]
    for data in files:
        expected = orientation if orientation in range(2, 9) else None
        with Image.open(io.BytesIO(accepted(data).stripped)) as stored:
            stored.load()
            assert stored.getexif().get(0x0112) == expected
            assert set(stored.getexif()) <= {0x0112}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pillow_format", ["JPEG", "PNG", "WEBP"])
def test_viewers_apply_the_same_orientation_before_and_after(orientation: int, pillow_format: str) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x013B] = c.ARTIST.decode()
    data = encoded(picture(), pillow_format, exif=tags)
    shown = [
        ImageOps.exif_transpose(Image.open(io.BytesIO(file))) for file in (data, accepted(data).stripped)
    ]
    assert shown[0].tobytes() == shown[1].tobytes()


def test_the_flags_of_a_webp_match_its_chunks() -> None:
    (picture_chunk,) = c.riff_chunks_of(webp())
    data = c.extended(*SIZE, 0x2C, (b"ICCP", SRGB), picture_chunk, (b"EXIF", c.exif()), (b"XMP ", c.xmp()))
    (kind, header), *chunks = c.riff_chunks_of(accepted(data).stripped)
    assert (kind, header[0]) == (b"VP8X", 0x20)
    assert chunks == [(b"ICCP", SRGB), picture_chunk]
    turned = accepted(data.replace(c.exif(), c.exif(6)[: len(c.exif())])).stripped
    assert c.riff_chunks_of(turned)[0][1][0] & 0x04 == 0


def test_the_colour_chunks_of_a_png_are_kept() -> None:
    colours = [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
        (b"cICP", b"\x09\x10\0\x01"),
        (b"mDCV", bytes(24)),
        (b"cLLI", bytes(8)),
        (b"sRGB", b"\0"),
        (b"sBIT", b"\x08\x08\x08"),
        (b"bKGD", bytes(6)),
        (b"tRNS", bytes(6)),
        (b"pHYs", struct.pack(">IIB", 2835, 2835, 1)),
    ]
    structure = accepted(c.png_with(png(), *colours, c.text(b"Comment", c.COMMENT)))
    assert c.chunks_of(structure.stripped)[1:11] == colours
    assert structure.removed == {"comment"}


def test_a_damaged_or_repeated_ancillary_chunk_is_removed() -> None:
    gamma = (b"gAMA", struct.pack(">I", 45455))
    damaged = bytearray(png_chunk(*gamma))
    damaged[8] ^= 1
    data = png()[:33] + bytes(damaged) + png()[33:]
    assert accepted(data).stripped == png()
    assert accepted(c.png_with(png(), gamma, gamma)).stripped == c.png_with(png(), gamma)
    assert accepted(c.png_with(png(), (b"gAMA", b"short"))).stripped == png()


@pytest.mark.parametrize("transform", [0, 1, 2])
def test_the_adobe_segment_is_kept_because_it_defines_the_colours(transform: int) -> None:
    adobe = c.segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((transform,)))
    bare = jpeg()[:2] + jpeg()[20:]
    for data in (b"\xff\xd8" + adobe + bare[2:], c.jpeg_with(adobe), encoded(picture(mode="CMYK"), "JPEG")):
        assert accepted(data).stripped is data


def test_reading_the_structure_copies_and_decodes_nothing() -> None:
    upload = upload_of(c.jpeg_with(c.app1_exif(c.exif())))
    WellFormed()(upload, Limits())
    assert "stripped" not in vars(upload.structure)
