"""The clients that put load on a server: raw requests, prepared beforehand, over kept connections.

They run in processes of their own, with a few threads each. A client sends the next request as soon as it has
read the answer to the last one, so the number of requests in flight is the number of clients.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from multiprocessing import get_context
from typing import Final, Self

#: More clients in one process would wait for the lock of its interpreter.
CLIENTS_A_PROCESS: Final = 4
_START_SECONDS: Final = 0.15
_HEAD: Final = 1 << 12
_RECEIVE: Final = 1 << 20
_UNUSED: Final = bytearray(_RECEIVE)


@dataclass(frozen=True, slots=True)
class Job:
    """The requests of the clients of one process.

    Attributes:
        port: the server's port on the loopback interface.
        heads: for each client, the heads of its requests, in order; it stops after the last.
        body: the body of every request.
        status: the expected status of every answer.
        start, stop: times of the monotonic clock, in seconds.
    """

    port: int
    heads: Sequence[Sequence[bytes]]
    body: bytes
    status: int
    start: float
    stop: float


@dataclass(slots=True)
class Outcome:
    """The result of a load.

    Attributes:
        requests: the number of answered requests.
        rate: requests a second, of all clients together.
        own_cpu: CPU seconds of the clients themselves.
    """

    requests: int = 0
    rate: float = 0.0
    own_cpu: float = 0.0
    failures: list[str] = field(default_factory=list)


def _receive(connection: socket.socket, status: int) -> None:
    """Reads one answer, to the length that its head states."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = connection.recv(_HEAD)
        if not piece:
            raise ConnectionError(f"closed after {answer!r}")
        answer += piece
    head, _, content = answer.partition(b"\r\n\r\n")
    if not head.startswith(f"HTTP/1.1 {status} ".encode()):
        raise ConnectionError(f"{answer[:500]!r}")
    _, found, length = head.lower().partition(b"\r\ncontent-length:")
    has_content = found and status != HTTPStatus.NOT_MODIFIED
    missing = int(length.partition(b"\r\n")[0]) - len(content) if has_content else 0
    while missing > 0:
        # The kernel counts these bytes and discards them: tcp(7).
        received = connection.recv_into(_UNUSED, min(missing, _RECEIVE), socket.MSG_TRUNC)
        if not received:
            raise ConnectionError("closed before the end of an answer")
        missing -= received


def _client(job: Job, heads: Sequence[bytes], outcome: Outcome) -> None:
    try:
        with socket.create_connection(("127.0.0.1", job.port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            time.sleep(max(0.0, job.start - time.monotonic()))
            begun = time.monotonic()
            done = 0
            for head in heads:
                if time.monotonic() >= job.stop:
                    break
                connection.sendall(head + job.body)
                _receive(connection, job.status)
                done += 1
            outcome.requests += done
            outcome.rate += done / (time.monotonic() - begun)
    except OSError as error:
        outcome.failures.append(repr(error))


def _run(job: Job) -> Outcome:
    before = time.process_time()
    outcomes = [Outcome() for _ in job.heads]
    threads = [
        threading.Thread(target=_client, args=(job, heads, outcome))
        for heads, outcome in zip(job.heads, outcomes, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = _sum(outcomes)
    total.own_cpu = time.process_time() - before
    return total


def _sum(outcomes: Sequence[Outcome]) -> Outcome:
    total = Outcome()
    for outcome in outcomes:
        total.requests += outcome.requests
        total.rate += outcome.rate
        total.own_cpu += outcome.own_cpu
        total.failures += outcome.failures
    return total


class Load:
    """Processes that play clients, kept until the ``with`` block ends.

    Args:
        max_clients: the most clients that a call of ``run`` needs.
    """

    def __init__(self, max_clients: int) -> None:
        workers = -(-max_clients // CLIENTS_A_PROCESS)
        # The processes are spawned: a fork of a process with threads could keep their locks for ever.
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def run(
        self, port: int, heads: Sequence[Sequence[bytes]], body: bytes, *, status: int, seconds: float
    ) -> Outcome:
        """Sends from ``len(heads)`` clients at once for this many seconds.

        Raises:
            RuntimeError: a request was answered otherwise, or not at all.
        """
        start = time.monotonic() + _START_SECONDS
        jobs = [
            Job(port, heads[first : first + CLIENTS_A_PROCESS], body, status, start, start + seconds)
            for first in range(0, len(heads), CLIENTS_A_PROCESS)
        ]
        total = _sum(list(self._pool.map(_run, jobs)))
        if total.failures:
            raise RuntimeError(total.failures[0])
        return total
