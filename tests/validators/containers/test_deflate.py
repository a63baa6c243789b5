"""zlib and ISA-L behave alike: in steps, from pieces, up to the end of a stream, and with a checksum."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from validators.containers import deflate

ROOT = Path(__file__).parents[3]
SIZES = (1, 2, 3, 7, 100, 1 << 15)


@pytest.fixture(params=["fastest", "zlib"], autouse=True)
def _decompressor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test with the decompressor of this machine, and with zlib."""
    if request.param == "zlib":
        monkeypatch.setattr(deflate, "decompressobj", zlib.decompressobj)


def contents() -> list[bytes]:
    source = random.Random(5)  # noqa: S311  # nothing secret
    return [
        b"",
        b"a",
        bytes(300),
        source.randbytes(200),
        bytes(source.choice(b"ab\0") for _ in range(500)),
        b"".join(bytes((number,)) * (number % 19) for number in range(50)),
    ]


def pieces(data: bytes, size: int) -> list[memoryview]:
    view = memoryview(data)
    return [view[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("step", SIZES)
@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_stream_is_inflated_whatever_the_steps_and_the_pieces(
    step: int, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deflate, "STEP_INPUT", step)
    monkeypatch.setattr(deflate, "STEP_OUTPUT", step)
    for content in contents():
        packed = zlib.compress(content, level)
        for size in SIZES:
            for tail in (b"", b"x", b"more than enough bytes behind it"):
                stream = deflate.ZlibStream()
                parts = list(stream.steps(pieces(packed + tail, size)))
                assert b"".join(parts) == content
                assert max(map(len, parts), default=0) <= step
                assert stream.ended
                assert stream.length == len(packed)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_stream_that_is_cut_never_ends(level: int) -> None:
    for content in contents():
        packed = zlib.compress(content, level)
        for end in {0, 1, 2, *range(3, len(packed), 17), *range(max(0, len(packed) - 9), len(packed))}:
            stream = deflate.ZlibStream()
            assert content.startswith(b"".join(stream.steps([memoryview(packed[:end])])))
            assert not stream.ended
            assert stream.length == end


@pytest.mark.parametrize("offset", [-1, -2, -3, -4])
def test_a_wrong_checksum_is_an_error(offset: int) -> None:
    for content in contents():
        packed = bytearray(zlib.compress(content))
        packed[offset] ^= 0x10
        with pytest.raises(Exception, match=r"(?i)incorrect"):
            list(deflate.ZlibStream().steps([memoryview(bytes(packed))]))


@pytest.mark.parametrize("header", [b"\x88\x1c", b"\x78\x9d", b"\x79\x9c", b"\x78\xbb"])
def test_a_bad_header_is_an_error(header: bytes) -> None:
    packed = header + zlib.compress(b"content")[2:]
    stream = deflate.ZlibStream()
    with pytest.raises(Exception, match=r"(?i)window|incorrect|unsupported|dictionary|error 2"):
        list(stream.steps([memoryview(packed)]))


@pytest.mark.parametrize("content", contents(), ids=len)
def test_what_is_compressed_inflates(content: bytes) -> None:
    compress = deflate.compressobj(1)
    assert zlib.decompress(compress.compress(content) + compress.flush()) == content


@pytest.mark.parametrize("content", contents(), ids=len)
def test_both_compute_the_same_crc(content: bytes) -> None:
    assert deflate.crc32(content) == zlib.crc32(content)
    assert deflate.crc32(memoryview(content)) == zlib.crc32(content)


def test_without_isa_l_zlib_does_everything() -> None:
    script = (
        "import sys, zlib; sys.modules['isal'] = None\n"
        "from validators.containers import deflate\n"
        "assert deflate.decompressobj is zlib.decompressobj\n"
        "assert deflate.compressobj is zlib.compressobj\n"
        "assert deflate.crc32 is zlib.crc32\n"
        "from tests.pictures import png\n"
        "from tests.validators.conftest import accepted\n"
        "data = png()\n"
        "assert accepted(data).stripped is data\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)
