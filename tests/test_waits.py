"""The bounds of the threads that wait for slow clients, and of each wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from worker.refusals import RequestTimeout
from worker.sockets import PATIENCE, SLOWEST_BODY, DeadlineSocket
from worker.waits import Waits


@dataclass(eq=False)
class Connection:
    """A connection that records whether it was cut."""

    network: str
    since: float
    is_cut: bool = False

    def cut(self) -> None:
        self.is_cut = True


def waits_of(most: int, connections: list[Connection]) -> tuple[list[Connection], list[str]]:
    """Lets threads wait for these connections, one after the other.

    Returns:
        The connections that were cut, and the networks that were reported.
    """
    reported: list[str] = []
    waits = Waits(most, reported.append)
    with ExitStack() as stack:
        for connection in connections:
            stack.enter_context(waits.waiting(connection))
        return [connection for connection in connections if connection.is_cut], reported


def test_as_many_waits_as_allowed_are_not_cut() -> None:
    assert waits_of(3, [Connection("a", 1), Connection("a", 2), Connection("b", 3)]) == ([], [])


def test_the_network_with_the_most_waits_loses_its_oldest_request() -> None:
    honest, second, first = Connection("a", 1), Connection("b", 3), Connection("b", 2)
    assert waits_of(2, [honest, second, first]) == ([first], ["b"])


def test_of_networks_with_as_many_waits_the_latest_client_is_cut() -> None:
    newer, older, newest = Connection("a", 2), Connection("b", 1), Connection("c", 3)
    assert waits_of(2, [newer, older, newest]) == ([older], ["b"])


def test_each_further_wait_costs_one_of_the_attackers() -> None:
    honest = Connection("a", 0)
    attackers = [Connection("b", number) for number in range(1, 8)]
    assert waits_of(3, [honest, *attackers]) == (attackers[:5], ["b"] * 5)


def test_a_wait_that_ended_does_not_count() -> None:
    waits = Waits(1, lambda _: None)
    first, second = Connection("a", 1), Connection("a", 2)
    with waits.waiting(first):
        pass
    with waits.waiting(second):
        assert not second.is_cut
    with waits.waiting(first), waits.waiting(second):
        assert first.is_cut
    with waits.waiting(second):
        assert not second.is_cut


def test_a_thread_reports_that_it_waits_for_its_client_once_a_request() -> None:
    server, client = socket.socketpair()
    reports: list[DeadlineSocket] = []
    waits = Waits(9, lambda _: None)
    sock = DeadlineSocket(
        server.detach(), "a", send_seconds=1, waits=waits, on_wait=reports.append, on_close=None
    )
    with client, sock:
        for number in range(3):
            sock.begin()
            client.sendall(b"x")
            assert sock.recv(9) == b"x"
            for _ in range(2):
                sock.deadline = time.monotonic() + 0.01
                with pytest.raises(RequestTimeout):
                    sock.recv(9)
            assert reports == [sock] * (number + 1)


@pytest.mark.parametrize("method", [DeadlineSocket.send, DeadlineSocket.sendall])
def test_an_answer_that_is_not_read_ends_at_its_deadline(
    method: Callable[[DeadlineSocket, bytes], object],
) -> None:
    """gunicorn sends an interim answer ("100 Continue") with ``send``, and others with ``sendall``."""
    errors: list[type[Exception]] = []
    server, client = socket.socketpair()
    waits = Waits(9, lambda _: None)
    answering = DeadlineSocket(server.detach(), "a", send_seconds=0.1, waits=waits, on_close=None)

    def answer() -> None:
        try:
            while True:
                method(answering, bytes(1 << 16))
        except ConnectionResetError as error:
            errors.append(type(error))

    with client, answering:
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        thread.join(30)
        assert errors == [ConnectionResetError]


@pytest.fixture
def pair() -> Iterator[tuple[DeadlineSocket, socket.socket, list[str]]]:
    """A connection whose waits are cut at once, its client, and the networks of the waits that were cut."""
    server, client = socket.socketpair()
    cut: list[str] = []
    sock = DeadlineSocket(server.detach(), "a", send_seconds=1, waits=Waits(0, cut.append), on_close=None)
    with client, sock:
        yield sock, client, cut


@pytest.mark.parametrize(
    ("size", "seconds", "late"),
    [
        (0, 9, 9),
        (1, 9, 9),
        (SLOWEST_BODY, 9, 8),
        (5 * SLOWEST_BODY, 9, 4),
        (9 * SLOWEST_BODY, 9, 0),
        (20 * SLOWEST_BODY, 9, 0),
    ],
)
def test_a_client_is_as_late_as_its_bytes_lack_behind_the_slowest_rate(
    pair: tuple[DeadlineSocket, socket.socket, list[str]],
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    seconds: int,
    late: int,
) -> None:
    sock, client, _ = pair
    now = 100.0
    monkeypatch.setattr("worker.sockets.time.monotonic", lambda: now)
    sock.begin()
    sock.deadline = 1000.0
    now += seconds
    client.sendall(bytes(size))
    if size:
        assert len(sock.recv(1 << 20)) == size
    assert now - sock.since == pytest.approx(late, abs=0.01)
    now += PATIENCE - late
    with pytest.raises(RequestTimeout):
        sock.recv(9)
    assert sock.deadline <= now


def test_a_body_of_a_place_is_not_cut_for_the_sake_of_others(
    pair: tuple[DeadlineSocket, socket.socket, list[str]],
) -> None:
    sock, _, cut = pair
    for has_place, expected in ((True, []), (False, ["a"])):
        sock.begin()
        sock.has_place = has_place
        sock.deadline += 0.01
        with pytest.raises(RequestTimeout):
            sock.recv(9)
        assert cut == expected
