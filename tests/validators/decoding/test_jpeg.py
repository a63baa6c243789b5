"""JPEGs whose coefficients are re-encoded, by a library that ends its process on an error."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.pictures import assert_decodes
from tests.validators.conftest import accepted
from validators.base import DecoderUnavailable, Limits, Rejected
from validators.decoding import jpeg
from validators.decoding.memory import DECODE_MEMORY

Refused = Callable[..., Rejected]


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2) + body


def table(kind: int, *symbols: int) -> bytes:
    """A Huffman table whose codes are 00, 01 and 10, or the first of them."""
    return segment(0xC4, bytes((kind, 0, len(symbols), *bytes(14), *symbols)))


def damaged(dc_bits: int = 1, ac_bits: int = 1, width: int = 16, height: int = 8) -> bytes:
    """A grey JPEG with coefficients of this many bits, and an unknown code in its second block.

    Decoders show it: they treat the unknown code as 0. Baseline JPEG allows 11 bits for DC, and 10 for AC.
    """
    bits = "00" + "1" * dc_bits  # DC
    bits += "00" + "1" * ac_bits + "01"  # AC, end of the block
    bits += "00" + "1" * dc_bits + "1" * 17  # DC, and no code of the table: the decoder reads 17 bits
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8).replace(b"\xff", b"\xff\0")
    frame = b"\x08" + height.to_bytes(2) + width.to_bytes(2) + b"\1\1\x11\0"
    return b"".join(
        (
            b"\xff\xd8",
            segment(0xDB, b"\0" + b"\1" * 64),
            segment(0xC0, frame),
            table(0x00, dc_bits),
            table(0x10, ac_bits, 0),
            segment(0xDA, b"\1\1\0\0\x3f\0"),
            coded,
            b"\xff\xd9",
        )
    )


def test_a_picture_with_an_unknown_code_is_re_encoded() -> None:
    structure = accepted(damaged())
    assert_decodes(structure.stripped, (16, 8))
    assert structure.stripped != damaged()
    assert structure.removed == {"other"}
    assert accepted(structure.stripped).stripped == structure.stripped


@pytest.mark.parametrize(("dc_bits", "ac_bits"), [(1, 11), (1, 15), (13, 1), (15, 15)])
def test_a_coefficient_out_of_range_does_not_end_the_process(
    dc_bits: int, ac_bits: int, refused: Refused
) -> None:
    assert refused(damaged(dc_bits, ac_bits)).code == "corrupt_image"
    assert accepted(damaged()).width == 16


def test_the_process_gets_no_secret_and_no_descriptor_and_writes_nowhere(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], refused: Refused
) -> None:
    calls: list[tuple[list[str], dict[str, Any]]] = []
    run = subprocess.run

    def watched(command: list[str], **options: Any) -> Any:
        calls.append((command, options))
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", watched)
    monkeypatch.setenv("SECRET", "an obvious fake")
    refused(damaged(ac_bits=15))
    [(command, options)] = calls
    assert "SECRET" not in options["env"]
    assert "preexec_fn" not in options
    assert not options.get("pass_fds")
    assert command[0] == sys.executable
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("problem", [BlockingIOError(11, "no more processes"), OSError(12, "no memory")])
def test_a_picture_may_be_sent_again_to_a_system_without_a_free_process(
    problem: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(DecoderUnavailable) as unavailable:
        accepted(damaged())
    monkeypatch.undo()
    assert unavailable.value.retry_after == 5
    assert str(problem.strerror) in str(unavailable.value)
    assert accepted(damaged()).width == 16


def children() -> set[str]:
    """The ids of the processes that this process has started and not reaped."""
    tasks = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def test_a_process_that_takes_too_long_is_killed(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    before = children()
    monkeypatch.setattr("validators.decoding.jpeg._OPTIMIZE", "import time; time.sleep(600)")
    monkeypatch.setattr("validators.decoding.jpeg._OPTIMIZE_SECONDS", 0.5)
    assert "too long" in str(refused(damaged()))
    assert children() <= before  # none runs or waits to be reaped


def test_a_process_has_a_limit_of_its_memory(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setattr(
        "validators.decoding.jpeg._OPTIMIZE",
        jpeg._OPTIMIZE.replace("import mozjpeg", "bytearray(300 << 20)\nimport mozjpeg"),
    )
    assert "status 1" in str(refused(damaged()))


def test_the_processes_that_run_at_a_time_share_the_decode_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    run = subprocess.run

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return run(*arguments, **options)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(subprocess, "run", counted)
    limits = Limits(max_decode_bytes_in_flight=40 << 20)
    with ThreadPoolExecutor(8) as pool:
        assert len([*pool.map(lambda _: accepted(damaged(), limits), range(8))]) == 8
    assert 1 <= most <= 2
    assert DECODE_MEMORY.waiting == 0
