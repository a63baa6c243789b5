"""Colour profiles and texts of PNGs: what is stored of them, and how much of them is inflated."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from tests import carriers as c
from tests.pictures import png
from tests.validators.conftest import accepted
from validators.containers import icc, png_text

ICC = c.profile(3000)


@contextmanager
def counted_inflation() -> Iterator[Callable[[], int]]:
    """Counts the bytes that zlib inflates."""
    sizes = []

    class Counted:
        def __init__(self, wbits: int = zlib.MAX_WBITS) -> None:
            self._inflate = zlib.decompressobj(wbits)

        def decompress(self, data: bytes, max_length: int = 0) -> bytes:
            inflated = self._inflate.decompress(data, max_length)
            sizes.append(len(inflated))
            return inflated

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inflate, name)

    fake = SimpleNamespace(**vars(zlib) | {"decompressobj": Counted})
    with patch.object(icc, "zlib", fake), patch.object(png_text, "zlib", fake):
        yield lambda: sum(sizes)


def profile_of(data: bytes) -> tuple[bytes, bytes]:
    """The name and the inflated profile of an iCCP chunk. The stream must be clean."""
    name, _, rest = dict(c.chunks_of(data))[b"iCCP"].partition(b"\0")
    inflate = zlib.decompressobj()
    profile = inflate.decompress(rest[1:])
    assert inflate.eof
    assert not inflate.unused_data
    return name, profile


@pytest.mark.parametrize("name", [b"ICC Profile", b"ICC profile", b"icc", b"Photoshop ICC profile"])
def test_a_profile_with_a_neutral_name_stays_as_it_is(name: bytes) -> None:
    data = c.png_with(png(), (b"iCCP", name + b"\0\0" + zlib.compress(ICC)))
    assert accepted(data).stripped is data


@pytest.mark.parametrize("name", [b"x", c.SERIAL, c.SERIAL.ljust(79), c.SERIAL.ljust(80)])
def test_any_other_name_of_a_profile_is_replaced(name: bytes) -> None:
    structure = accepted(c.png_with(png(), (b"iCCP", name + b"\0\0" + zlib.compress(ICC, 0))))
    assert profile_of(structure.stripped) == (b"ICC Profile", ICC)
    assert structure.removed == {"other"}


STREAM = zlib.compress(ICC)


@pytest.mark.parametrize(
    "stream",
    [
        STREAM + c.SERIAL,
        STREAM[:-4],
        STREAM[:-2],
        STREAM[:-4] + b"abcd",
        zlib.compress(ICC + c.SERIAL),
        c.zlib_of_zeros(100_000_000, after=ICC),
    ],
    ids=["a tail", "no checksum", "half a checksum", "a wrong checksum", "too long", "far too long"],
)
def test_a_profile_that_browsers_use_is_rewritten(stream: bytes) -> None:
    structure = accepted(c.png_with(png(), (b"iCCP", b"ICC Profile\0\0" + stream)))
    assert profile_of(structure.stripped) == (b"ICC Profile", ICC)
    assert structure.removed == {"other"}
    assert accepted(structure.stripped).stripped is structure.stripped


@pytest.mark.parametrize(
    "body",
    [
        b"ICC Profile\0\0" + zlib.compress(c.SERIAL * 100),
        b"ICC Profile\0\0" + zlib.compress(ICC[:-1]),
        b"ICC Profile\0\0" + STREAM[:-40],
        b"ICC Profile\0\0",
        b"ICC Profile\0\1" + STREAM,
        b"\0\0" + STREAM,
        b"x" * 81 + b"\0\0" + STREAM,
        b"ICC Profile",
        b"",
    ],
)
def test_bytes_that_are_no_profile_are_removed(body: bytes) -> None:
    structure = accepted(c.png_with(png(), (b"iCCP", body)))
    assert structure.stripped == png()
    assert structure.removed == {"icc"}


def test_the_serial_number_in_a_profile_is_removed() -> None:
    profile = c.profile_with_tag(ICC, b"mmod", b"mmod" + bytes(4) + c.SERIAL)
    structure = accepted(c.png_with(png(), (b"iCCP", b"icc\0\0" + zlib.compress(profile))))
    assert structure.removed == {"display-serial"}
    assert c.SERIAL not in profile_of(structure.stripped)[1]


# --- bounds of the work


def test_a_second_profile_is_not_inflated() -> None:
    bomb = b"icc\0\0" + zlib.compress(bytes(4_000_000), 9)
    data = c.png_with(png(), *[(b"iCCP", bomb)] * 1_200)
    with counted_inflation() as inflated:
        structure = accepted(data)
    assert structure.stripped == png()
    assert structure.removed == {"icc"}
    assert 4_000_000 <= inflated() < 10_000_000


@pytest.mark.parametrize("name", [b"Raw profile type exif", b"XML:com.adobe.xmp", b"Comment"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_all_texts_together_are_inflated_up_to_a_bound(kind: bytes, name: bytes) -> None:
    head = {b"zTXt": name + b"\0\0", b"iTXt": name + b"\0\1\0\0\0"}[kind]
    bomb = head + zlib.compress(bytes(4_000_000), 9)
    with counted_inflation() as inflated:
        structure = accepted(c.png_with(png(), *[(kind, bomb)] * 1_200))
    assert structure.stripped == png()
    assert inflated() < 10_000_000


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_a_chunk_that_inflates_to_100_megabytes_is_dropped(kind: bytes) -> None:
    head = {b"iCCP": b"a\0\0", b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0"}[kind]
    data = c.png_with(png(), (kind, head + c.zlib_of_zeros(100_000_000)))
    assert accepted(data).stripped == png()
