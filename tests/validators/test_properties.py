"""Any change of a picture leads to acceptance or refusal, and every accepted picture decodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import carriers as c
from tests.pictures import animation, assert_decodes, encoded, jpeg, picture, png, webp
from tests.validators.conftest import PICTURE_CHECKS, upload_of
from validators.base import Limits, Rejected
from validators.signature import image_type

T = TypeVar("T")

#: Small files, so that a changed byte is likely to matter.
FILES = {
    "jpeg": c.jpeg_with(c.app1_exif(c.exif(6)), c.app2_profile(c.profile(300)), data=jpeg(20, 12)),
    "progressive": jpeg(20, 12, progressive=True),
    "restarts": encoded(picture(20, 12), "JPEG", restart_marker_blocks=1),
    "cmyk": encoded(picture(20, 12, "CMYK"), "JPEG"),
    "mpo": encoded(picture(20, 12), "MPO", save_all=True, append_images=[picture(20, 12)]),
    "png": c.png_with(
        png(20, 12), c.iccp(c.profile(300)), (b"eXIf", c.exif(6)), c.text(b"Comment", c.COMMENT)
    ),
    "palette": encoded(picture(20, 12, "P"), "PNG", transparency=3),
    "apng": animation("PNG", width=20, height=12),
    "webp": webp(20, 12, exif=b"Exif\0\0" + c.exif(6)),
    "lossless": webp(20, 12, lossless=True),
    "alpha": encoded(picture(20, 12, "RGBA"), "WEBP"),
    "animated webp": animation("WEBP", width=20, height=12),
}

bounded = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
names = st.sampled_from(sorted(FILES))


def check(data: bytes) -> None:
    """Fails on any exception other than Rejected, and on stored bytes that do not decode."""
    upload = upload_of(data)
    if image_type(data) is None:
        return
    try:
        for validator in PICTURE_CHECKS:
            validator(upload, Limits(max_pixels=2_000_000))
    except Rejected:
        return
    stored = upload.structure.stripped
    assert_decodes(stored, (upload.structure.width, upload.structure.height))


@bounded
@given(name=names, at=st.floats(0, 1))
def test_cut_anywhere(name: str, at: float) -> None:
    data = FILES[name]
    check(data[: int(at * len(data))])


@bounded
@given(name=names, at=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_with_any_byte_changed(name: str, at: float, change: int) -> None:
    data = bytearray(FILES[name])
    data[int(at * len(data))] ^= change
    check(bytes(data))


@bounded
@given(name=names, at=st.floats(0, 1), other=st.binary(max_size=40), drop=st.integers(0, 40))
def test_with_any_bytes_in_the_place_of_others(name: str, at: float, other: bytes, drop: int) -> None:
    data = FILES[name]
    start = int(at * len(data))
    check(data[:start] + other + data[start + drop :])


def jpeg_parts(data: bytes) -> list[bytes]:
    segments = [c.segment(marker, body) for marker, body in c.segments_of(data)]
    return [*segments, data[2 + sum(map(len, segments)) : -2], b"\xff\xd9"]


def shuffled(items: Sequence[T], draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[T]:
    """The items in another order, or with one item moved, missing or repeated."""
    number = len(items) - 1
    if draw(st.booleans()):
        order = list(items)
        order.insert(draw(st.integers(0, number)), order.pop(draw(st.integers(0, number))))
    else:
        order = list(draw(st.permutations(list(items))))
    extra: list[T] = draw(st.lists(st.sampled_from(items), max_size=1))
    return order[: draw(st.integers(number, number + 1))] + extra


@bounded
@given(name=st.sampled_from(["png", "palette", "apng"]), data=st.data())
def test_with_the_chunks_of_a_png_in_any_order(name: str, data: st.DataObject) -> None:
    check(c.png_of(shuffled(c.chunks_of(FILES[name]), data.draw)))


@bounded
@given(name=st.sampled_from(["webp", "lossless", "alpha", "animated webp"]), data=st.data())
def test_with_the_chunks_of_a_webp_in_any_order(name: str, data: st.DataObject) -> None:
    check(c.riff_of(shuffled(c.riff_chunks_of(FILES[name]), data.draw)))


@bounded
@given(name=st.sampled_from(["jpeg", "progressive", "cmyk"]), data=st.data())
def test_with_the_segments_of_a_jpeg_in_any_order(name: str, data: st.DataObject) -> None:
    check(b"\xff\xd8" + b"".join(shuffled(jpeg_parts(FILES[name]), data.draw)))
