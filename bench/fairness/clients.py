"""The clients that attack: one thread of one process, so that they take little of the machine."""

from __future__ import annotations

import asyncio
import resource
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bench.fairness.attack import Part

_TIMEOUT: Final = 30.0
_NONCE: Final = b"NONCE"
#: The bytes of a status line up to its status: ``HTTP/1.1 200``.
_STATUS: Final = slice(9, 12)
#: Statuses of an answer that comes late because the client is slow.
_OF_SLOW_CLIENTS: Final = {0, 408}
_REFUSED: Final = 400


@dataclass(slots=True)
class Outcome:
    """What the clients of a part got.

    Attributes:
        statuses: how often each status came; 0 is a connection that ended without an answer.
        slowest_refusal: the most seconds until an error was answered.
        open: the most connections that were open at a time.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    slowest_refusal: float = 0.0
    open: int = 0

    @property
    def refusals(self) -> int:
        return sum(self.statuses[status] for status in self.statuses if _is_refusal(status))

    def note(self, status: int, seconds: float) -> None:
        self.statuses[status] += 1
        if _is_refusal(status):
            self.slowest_refusal = max(self.slowest_refusal, seconds)


def _is_refusal(status: int) -> bool:
    return status >= _REFUSED and status not in _OF_SLOW_CLIENTS


@dataclass(slots=True)
class _Clients:
    """The clients of a part while they attack."""

    part: Part
    stop: float
    outcome: Outcome = field(default_factory=Outcome)
    _number: count[int] = field(default_factory=count)
    _open: int = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._repeat() for _ in range(self.part.connections)))

    async def _repeat(self) -> None:
        while time.monotonic() < self.stop:
            try:
                await self._connect()
            except OSError:  # a TimeoutError is one too
                self.outcome.note(0, 0.0)
            await asyncio.sleep(self.part.pause)

    async def _connect(self) -> None:
        number = next(self._number)
        source = self.part.addresses[number % len(self.part.addresses)]
        async with asyncio.timeout(_TIMEOUT):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.part.port, local_addr=(source, 0), limit=1 << 20
            )
            self._open += 1
            self.outcome.open = max(self.outcome.open, self._open)
            try:
                await self._exchange(reader, writer, self.part.requests[number % len(self.part.requests)])
            finally:
                self._open -= 1
                writer.transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
    ) -> None:
        begun = time.monotonic()
        if self.part.then == "hold":
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # that of a socket can
        # The body keeps its length.
        nonce = secrets.token_hex(len(_NONCE))[: len(_NONCE)].encode()
        writer.write(request.replace(_NONCE, nonce))
        with suppress(ConnectionError):  # the server may refuse the request before it has all of it
            await writer.drain()
        if self.part.then == "hang up":
            writer.close()  # not a reset
            await writer.wait_closed()
            return
        if self.part.then == "hold":
            await asyncio.sleep(_TIMEOUT)
        status = await self._status(reader, writer)
        self.outcome.note(status, time.monotonic() - begun)
        with suppress(ConnectionError):  # the server may give up a client that goes on sending
            while await reader.read(1 << 20):
                pass

    async def _status(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Waits for the first bytes of the answer, and sends a byte now and then until they come."""
        first = asyncio.ensure_future(reader.read(1 << 16))
        while self.part.drip and not (await asyncio.wait([first], timeout=self.part.drip))[0]:
            writer.write(b"x")
        return int((await first)[_STATUS] or 0)


async def _attack(parts: Sequence[Part], stop: float) -> list[Outcome]:
    everyone = [_Clients(part, stop) for part in parts]
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, stop - time.monotonic())):
            await asyncio.gather(*(clients.run() for clients in everyone))
    return [clients.outcome for clients in everyone]


def attack(parts: Sequence[Part], stop: float) -> list[Outcome]:
    """Attacks until ``stop``, on the clock of time.monotonic(). Returns the outcome of each part."""
    # Two thousand connections at a time need more descriptors than the usual soft limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.run(_attack(parts, stop))
