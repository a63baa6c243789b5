"""Which request gets a thread next when many arrive at once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from worker.admission import Admission
from worker.sockets import DeadlineSocket
from worker.waits import Waits

#: Requests of these names occupy all places of requests that may begin at once.
FIRST = [f"first {number}" for number in range(8)]


class Desk:
    """An admission whose time does not pass by itself, and connections with names.

    Attributes:
        now: its clock, in seconds.
        begun, ended, refused: the names of the requests that got a thread, whose connection was closed, and
            that were refused.
    """

    def __init__(self, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.refused: list[str] = []
        self._stack = stack
        self._names: dict[TConn, str] = {}
        self._sockets: dict[str, DeadlineSocket] = {}
        self._clients: dict[str, socket.socket] = {}
        monkeypatch.setattr("worker.admission.time.monotonic", lambda: self.now)
        self.admission = Admission(
            begin=lambda conn: self.begun.append(self._names[conn]),
            end=lambda conn: self.ended.append(self._names[conn]),
            refuse=lambda conn, _: self.refused.append(self._names[conn]),
        )

    def arrive(self, *names: str, network: str = "a", is_hung_up: bool = False) -> None:
        for name in names:
            server, client = socket.socketpair()
            waits = Waits(9, lambda _: None)
            sock = DeadlineSocket(server.detach(), network, send_seconds=1, waits=waits, on_close=None)
            self._stack.enter_context(sock)
            conn = TConn(Config(), sock, "", "")
            self._names[conn] = name
            self._sockets[name] = sock
            self._clients[name] = self._stack.enter_context(client)
            if is_hung_up:
                client.shutdown(socket.SHUT_WR)
            self.admission.add(conn, sock)

    def settle(self, name: str) -> None:
        self.admission.settle(self._sockets[name])

    def waited(self, name: str) -> float:
        return self._sockets[name].waited

    def hang_up(self, name: str) -> None:
        self._clients[name].close()


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(stack, monkeypatch)


def test_a_few_requests_begin_at_once_and_the_next_ones_when_these_settle(desk: Desk) -> None:
    desk.arrive(*FIRST, "second", "third")
    assert desk.begun == FIRST
    desk.settle("first 3")
    assert desk.begun == [*FIRST, "second"]
    desk.settle("first 3")  # it has waited for its client, and ends
    desk.settle("second")
    assert desk.begun == [*FIRST, "second", "third"]


def test_networks_take_turns(desk: Desk) -> None:
    desk.arrive(*FIRST, "a1", "a2", "a3")
    desk.arrive("b1", "b2", network="b")
    desk.arrive("c1", network="c")
    for name in FIRST:
        desk.settle(name)
    assert desk.begun == [*FIRST, "a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_network_with_an_unauthorized_request_comes_after_the_others_for_a_minute(desk: Desk) -> None:
    desk.admission.suspect("a")
    desk.arrive(*FIRST, "a1", "a2", "a3")
    desk.arrive("b1", "b2", network="b")
    for name in FIRST[:3]:
        desk.settle(name)
    assert desk.begun == [*FIRST, "b1", "b2", "a1"]
    desk.now += 60
    desk.arrive("b3", "b4", network="b")
    desk.admission.advance()
    assert desk.begun == [*FIRST, "b1", "b2", "a1", "a2", "b3", "a3", "b4"]


def test_room_is_made_at_the_expense_of_a_network_with_an_unauthorized_request(desk: Desk) -> None:
    desk.arrive(*FIRST, "a1")
    desk.arrive("b1", "b2", network="b")
    desk.admission.suspect("a")
    assert desk.admission.evict()
    assert desk.refused == ["a1"]


def test_a_request_that_takes_long_no_longer_keeps_another_one_from_beginning(desk: Desk) -> None:
    desk.arrive(*FIRST, "second")
    left = desk.admission.seconds_left()
    assert left is not None
    desk.now += left
    desk.admission.advance()
    assert desk.begun == [*FIRST, "second"]
    assert desk.admission.seconds_left() is None


def test_the_more_requests_run_the_later_others_begin(desk: Desk) -> None:
    """Requests that wait for the processors would only wait longer."""
    desk.arrive(*FIRST, *[f"next {number}" for number in range(40)])
    seconds = []
    for _ in range(3):
        left = desk.admission.seconds_left()
        assert left is not None
        seconds.append(left)
        desk.now += left
        desk.admission.advance()
    assert len(desk.begun) == 32
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    last = desk.admission.seconds_left()
    for name in desk.begun[:24]:
        desk.settle(name)
    after = desk.admission.seconds_left()
    assert last is not None
    assert after is not None
    assert after < last


def test_a_request_begins_with_the_time_that_it_has_waited(desk: Desk) -> None:
    desk.arrive(*FIRST, "second")
    desk.now += 0.5
    desk.settle("first 3")
    assert [desk.waited(name) for name in (FIRST[0], "second")] == [0.0, 0.5]


def test_nothing_begins_for_a_client_that_hung_up_while_it_waited(desk: Desk) -> None:
    desk.arrive(*FIRST, "second", "third")
    desk.hang_up("second")
    desk.settle("first 0")
    assert (desk.begun, desk.ended) == ([*FIRST, "third"], ["second"])


def test_a_request_that_has_waited_too_long_is_refused(desk: Desk) -> None:
    waiting = [f"waiting {number}" for number in range(17)]
    desk.arrive(*FIRST, *waiting)
    desk.now += 0.95
    desk.admission.advance()
    assert (desk.begun, desk.refused) == ([*FIRST, *waiting[:8]], [])
    desk.now += 0.15
    desk.admission.advance()
    assert (desk.begun, desk.refused) == ([*FIRST, *waiting[:16]], waiting[16:])


def test_room_is_made_at_the_expense_of_the_network_with_the_most_requests(desk: Desk) -> None:
    assert not desk.admission.evict()
    desk.arrive(*FIRST, "a1")
    desk.arrive("b1", "b2", network="b")
    assert desk.admission.evict()
    assert desk.refused == ["b2"]
    for name in FIRST:
        desk.settle(name)
    assert desk.begun == [*FIRST, "a1", "b1"]


def test_a_request_whose_client_is_gone_does_not_wait(desk: Desk) -> None:
    desk.arrive(*FIRST)
    desk.arrive("second", is_hung_up=True)
    assert (desk.begun, desk.ended) == (FIRST, ["second"])


def test_a_server_that_is_not_busy_answers_a_client_that_closes_its_sending_half(desk: Desk) -> None:
    desk.arrive("first", is_hung_up=True)
    assert desk.begun == ["first"]
