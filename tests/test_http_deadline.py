from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from http_deadline import SLOWEST_TRANSFER, Deadline

#: More than any of these deadlines, on a busy machine too.
SOON = 30.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(SOON)
        yield ours, theirs


def bytes_of(seconds: float) -> int:
    """As many bytes as may take so many seconds."""
    return int(seconds * SLOWEST_TRANSFER)


def test_a_connection_is_shut_down_when_the_time_is_over(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(0.1, patience=1) as deadline:
        deadline.watch(ours)
        assert theirs.recv(1) == b""  # the end of the connection
        assert deadline.is_over
        with pytest.raises(TimeoutError):
            deadline.watch(ours)


def test_the_time_of_a_transfer_does_not_count(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(0.3, patience=1) as deadline:
        deadline.watch(ours)
        with deadline.transfer(bytes_of(1000)):
            time.sleep(0.6)
            assert not deadline.is_over
            assert deadline.remaining > 900
        # What the transfer has left over is not added to the time of the call.
        assert deadline.remaining <= 0.3
        assert theirs.recv(1) == b""


def test_a_transfer_that_is_too_slow_counts(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(0.1, patience=1) as deadline:
        deadline.watch(ours)
        with deadline.transfer(bytes_of(0.1)):
            assert theirs.recv(1) == b""
        assert deadline.is_over


def test_the_time_that_one_block_leaves_over_is_for_the_next(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, _ = pair
    with Deadline(0.3, patience=1) as deadline:
        deadline.watch(ours)
        with deadline.transfer(bytes_of(1000)):
            pass
        with deadline.transfer(0):
            time.sleep(0.6)
        assert not deadline.is_over


def test_nothing_is_shut_down_after_the_call(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(0.05, patience=1) as deadline:
        deadline.watch(ours)
    time.sleep(0.2)
    ours.sendall(b"x")
    assert theirs.recv(1) == b"x"
    assert not deadline.is_over
