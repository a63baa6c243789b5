"""Compares the multipart parser that Vetrina uses with two others: time, and accepted broken forms.

``python -m bench.forms`` prints the table of docs/operations.md. streaming-form-data is included if it is
installed (``pip install streaming-form-data``).
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

from multipart import PushMultipartParser
from werkzeug.formparser import MultiPartParser

BOUNDARY: Final = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
ROUNDS: Final = 31

#: Returns the bytes of the file; raises or returns None if the form is broken.
Parser = Callable[[bytes], bytes | None]


def ours(body: bytes) -> bytes | None:
    pieces: list[bytes] = []
    with PushMultipartParser(BOUNDARY, max_segment_count=32, strict=True) as parser:
        pieces.extend(event for event in parser.parse(body) if isinstance(event, bytes))
    return b"".join(pieces)


def werkzeug(body: bytes) -> bytes | None:
    parser = MultiPartParser(max_form_memory_size=500_000, max_form_parts=32)
    _, files = parser.parse(io.BytesIO(body), BOUNDARY.encode(), len(body))
    file = files.get("file")
    return None if file is None else file.stream.read()


def streaming(body: bytes) -> bytes | None:
    from streaming_form_data import StreamingFormDataParser  # noqa: PLC0415  # only if it is installed
    from streaming_form_data.targets import ValueTarget  # noqa: PLC0415  # as above

    parser = StreamingFormDataParser({"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"})
    target = ValueTarget()
    parser.register("file", target)
    parser.data_received(body)
    return bytes(target.value) or None


def form(data: bytes) -> bytes:
    """A form with one file, as a browser sends it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def broken_forms() -> dict[str, bytes]:
    """Broken forms, which a server must refuse."""
    data = os.urandom(10_000).replace(b"-", b"+")
    good = form(data)
    return {
        "cut inside the file": good[:5000],
        "no boundary after the file": good[: good.index(data) + len(data)],
        "no closing boundary": good.removesuffix(b"--\r\n") + b"\r\n",
        "another boundary": good.replace(b"7MA4", b"8NB5"),
        "line feeds alone": good.replace(b"\r\n", b"\n"),
        "no disposition": good.replace(b"Content-Disposition", b"Content-Position"),
        "a header without a colon": good.replace(b"Content-Type:", b"Content-Type"),
        "a header of 5 MB": good.replace(b"Content-Type:", b"X: " + b"x" * 5_000_000 + b"\r\nContent-Type:"),
        "1500 parts": good.replace(f"\r\n--{BOUNDARY}--\r\n".encode(), b"\r\n") * 1500 + good,
        "no multipart at all": data,
    }


def refuses(parser: Parser, body: bytes) -> bool:
    try:
        return parser(body) is None
    except Exception:  # noqa: BLE001  # each parser has exceptions of its own
        return True


def milliseconds(parser: Parser, body: bytes) -> float:
    """The median CPU milliseconds of a form."""
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time_ns()
        parser(body)
        times.append(time.process_time_ns() - begun)
    return statistics.median(times) / 1e6


def main() -> None:
    parsers: dict[str, Parser] = {"multipart": ours, "werkzeug": werkzeug}
    if find_spec("streaming_form_data"):
        parsers["streaming-form-data"] = streaming
    print("|  |", " | ".join(parsers), "|")
    print("| --- |", " | ".join("---:" for _ in parsers), "|")
    for size in (374_000, 4_000_000):
        body = form(os.urandom(size))
        row = [f"{milliseconds(parser, body):.2f}" for parser in parsers.values()]
        print(f"| {size // 1000} kB, ms |", " | ".join(row), "|")
    for name, body in broken_forms().items():
        row = ["refused" if refuses(parser, body) else "**taken**" for parser in parsers.values()]
        print(f"| {name} |", " | ".join(row), "|")


if __name__ == "__main__":
    main()
