from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image, ImageCms

from tests import carriers as c
from tests.pictures import picture
from validators.containers.icc import inflate_profile, read_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DEVICE = struct.pack(">4sIIII16x", b"mmod", 0, 0x610, 0xA022, 0x5E21A1) + c.SERIAL
DICTIONARY = b"dict\0\0\0\0" + "EDID_serial".encode("utf-16-be") + c.SERIAL
LIMIT = 100_000


def converted(profile: bytes) -> bytes:
    """A chart of many colours, as a colour-managed viewer shows it."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    shown = ImageCms.profileToProfile(
        picture(256, 128), source, ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert isinstance(shown, Image.Image)
    return shown.tobytes()


@pytest.mark.parametrize("profile", [SRGB, c.profile(3000), c.profile(132)])
def test_a_profile_stays_as_it_is(profile: bytes) -> None:
    read = read_profile(profile)
    assert read is not None
    assert read.data is profile
    assert read.removed == frozenset()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        c.SERIAL * 20,
        SRGB[:100],
        SRGB[:-1],
        SRGB[:36] + b"ACSP" + SRGB[40:],
        struct.pack(">I", 131) + SRGB[4:],
        SRGB[:128] + struct.pack(">I", 2**32 - 1) + SRGB[132:],
        SRGB[:128] + struct.pack(">I", len(SRGB) // 12) + SRGB[132:],
    ],
    # A profile holds its creation time, so its bytes can't be part of a test id.
    ids=["nothing", "text", "cut header", "cut", "signature", "size", "many tags", "too many tags"],
)
def test_bytes_without_the_header_of_a_profile_are_no_profile(data: bytes) -> None:
    assert read_profile(data) is None


def test_bytes_after_the_declared_size_are_cut_off() -> None:
    read = read_profile(SRGB + c.SERIAL)
    assert read is not None
    assert (read.data, read.removed) == (SRGB, frozenset({"other"}))


@pytest.mark.parametrize("tag", [(b"mmod", DEVICE), (b"meta", DICTIONARY)])
def test_the_serial_number_of_a_display_is_removed_and_the_colours_are_kept(tag: tuple[bytes, bytes]) -> None:
    profile = c.profile_with_tag(SRGB[:84] + b"identifier of 16" + SRGB[100:], *tag)
    assert c.SERIAL in profile
    read = read_profile(profile)
    assert read is not None
    assert read.removed == {"display-serial"}
    assert c.SERIAL not in read.data
    assert len(read.data) == len(profile)
    assert read.data[84:100] == bytes(16)
    assert converted(read.data) == converted(profile) == converted(SRGB)
    again = read_profile(read.data)
    assert again is not None
    assert again.data is read.data
    assert again.removed == frozenset()


def test_a_dictionary_without_keys_of_a_device_stays() -> None:
    profile = c.profile_with_tag(SRGB, b"meta", b"dict\0\0\0\0" + "Licence".encode("utf-16-be"))
    read = read_profile(profile)
    assert read is not None
    assert read.data is profile


def test_data_that_another_tag_shares_are_kept() -> None:
    profile = bytearray(c.profile_with_tag(SRGB, b"mmod", DEVICE))
    (offset, size) = struct.unpack_from(">II", profile, 128 + 4 + 4)  # of the first tag
    table_end = 132 + 12 * int.from_bytes(profile[128:132])
    profile[table_end - 8 : table_end] = struct.pack(">II", offset, size)
    read = read_profile(bytes(profile))
    assert read is not None
    assert read.data == profile


def test_a_device_tag_that_points_into_the_header_changes_nothing() -> None:
    profile = bytearray(c.profile_with_tag(SRGB, b"mmod", DEVICE))
    table_end = 132 + 12 * int.from_bytes(profile[128:132])
    profile[table_end - 8 : table_end] = struct.pack(">II", 0, 200)
    read = read_profile(bytes(profile))
    assert read is not None
    assert read.data == profile


def test_a_whole_stream_is_clean() -> None:
    assert inflate_profile(zlib.compress(SRGB), LIMIT) == (SRGB, True)


def test_a_stream_that_browsers_use_all_the_same_is_not_clean() -> None:
    stream = zlib.compress(SRGB)
    for used in (stream + c.SERIAL, stream[:-4], stream[:-1], stream[:-4] + b"abcd", stream[:-4] + c.SERIAL):
        assert inflate_profile(used, LIMIT) == (SRGB, False)


def test_a_damaged_stream_has_no_profile() -> None:
    stream = zlib.compress(SRGB)
    for damaged in (b"", b"\x78", b"not compressed", stream[:20] + b"\xff" * 40 + stream[60:]):
        profile, clean = inflate_profile(damaged, LIMIT)
        assert read_profile(profile) is None
        assert not clean


def test_inflating_ends_at_the_bound() -> None:
    profile, clean = inflate_profile(c.zlib_of_zeros(100_000_000), LIMIT)
    assert (len(profile), clean) == (LIMIT, False)
